"""What a benchmark runs on: shapes, dtypes, memory layouts, and arrays with a known start in memory."""

import math
from dataclasses import dataclass

import numpy as np

from tinybn._typing import Array, DTypeLike, Generator, Shape

DTYPES = ("float32", "float64")
LAYOUTS = ("contiguous", "channels-last", "dense")

# The shapes of the README's comparison: five convolutional layers and four dense ones.
STANDARD = (
    (64, 32, 28, 28),
    (32, 64, 32, 32),
    (128, 64, 14, 14),
    (64, 128, 7, 7),
    (64, 256, 28, 28),
    (64, 100),
    (128, 512),
    (256, 1024),
    (4096, 256),
)
DEFAULT = ((64, 100), (256, 1024), (64, 32, 28, 28))
QUICK = ((64, 100), (16, 16, 14, 14))
SWEEP = tuple((4**k, 64, 14, 14) for k in range(6))  # 50 KB to 51 MB of float32, for pictures over size
SHAPES = {"standard": STANDARD, "default": DEFAULT, "quick": QUICK, "sweep": SWEEP}

_LINE = 64  # bytes of a cache line and of an AVX-512 register: no load or store of an aligned array crosses two


@dataclass(frozen=True)
class Case:
    """The data of one comparison.

    Args:
        shape: (N, C) or (N, C, ...).
        dtype: "float32" or "float64".
        layout: "dense" for (N, C), else "contiguous" or "channels-last".
        mean: where the data sits, in standard deviations. Statistics taken in one pass go wrong far from 0.
    """

    shape: Shape
    dtype: str
    layout: str
    mean: float = 0.0

    @property
    def channels(self) -> int:
        return self.shape[1]

    @property
    def nbytes(self) -> int:
        """Of one tensor."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def empty(self) -> Array:
        """An array of the case's shape, dtype and layout that is full of NaN, which no kernel may leave behind."""
        n, c, *space = self.shape
        if self.layout == "channels-last":
            return np.moveaxis(aligned((n, *space, c), self.dtype), -1, 1)
        return aligned(self.shape, self.dtype)

    def normal(self, generator: Generator, mean: float = 0.0) -> Array:
        """Normal numbers with a mean of its own for each channel, ``mean`` and something of the order of 1."""
        x = self.noise(generator)
        x += (mean + generator.standard_normal((self.channels,) + (1,) * (len(self.shape) - 2))).astype(x.dtype)
        return x

    def noise(self, generator: Generator) -> Array:
        """Normal numbers about 0, as gradients are."""
        x = self.empty()
        x[...] = generator.standard_normal(self.shape, np.float32)
        return x

    def per_channel(self, values: Array) -> Array:
        """Values (C,) in the case's dtype, aligned."""
        array = aligned((self.channels,), self.dtype)
        array[...] = values
        return array

    def __str__(self) -> str:
        where = f", mean {self.mean:g}" if self.mean else ""
        return f"{shape_name(self.shape)} {self.dtype} {self.layout}{where}"


def aligned(shape: Shape, dtype: DTypeLike) -> Array:
    """A contiguous array that starts on a cache line; floating ones are full of NaN."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    array = memory[start : start + size].view(dtype).reshape(shape)
    array.fill(np.nan if dtype.kind == "f" else 0)  # touched, so that the clock does not see fresh pages
    return array


def layouts_of(shape: Shape) -> tuple[str, ...]:
    """The memory layouts that a shape can have: (N, C) is both contiguous and channels-last, and is called dense."""
    return ("dense",) if len(shape) == 2 else ("contiguous", "channels-last")


def parse_shape(text: str) -> Shape:
    """A shape from ``64,32,28,28``.

    Raises:
        ValueError: not at least two positive whole numbers.

    >>> parse_shape("64,100")
    (64, 100)
    """
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f"shape {text!r}: expected N,C or N,C,H,W as in 64,32,28,28, or one of {', '.join(SHAPES)}")
    return shape


def shape_name(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"
