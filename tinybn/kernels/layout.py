"""The two layouts of arrays that kernels take, and how others are brought to them."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinybn._typing import Array, DTypeLike, Shape
from tinybn.errors import DTypeError, ShapeError

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def prepared(name: str, x: Array) -> Array:
    """x (N, C, ...) contiguous or channels-last, copied if it is neither.

    Read-only arrays stay as they are; misaligned and byte-swapped ones are copied.

    Raises:
        ShapeError: x has fewer than two axes.
        DTypeError: x is neither float32 nor float64.
    """
    if x.ndim < 2:
        raise ShapeError(f"{name}: expected an array of shape (N, C, ...), got {x.shape}")
    if x.dtype not in _DTYPES:
        native = x.dtype.newbyteorder("=")
        if native not in _DTYPES:
            raise DTypeError(f"{name}: expected float32 or float64, got {x.dtype}")
        x = x.astype(native)
    if not x.flags.aligned:
        x = x.copy("K")
    if x.flags.c_contiguous or channels_last(x).flags.c_contiguous:
        return x
    if x.ndim > 2 and abs(x.strides[1]) < min(abs(stride) for stride in x.strides[2:]):  # a cut from channels-last data
        return np.moveaxis(np.ascontiguousarray(channels_last(x)), -1, 1)
    return np.ascontiguousarray(x)


def order(x: Array) -> str:
    """The layout of a prepared array.

    ``mc``: channels last in memory, which dense data always is. ``ncs``: contiguous, with one channel or with more than
    one position per channel.
    """
    return "mc" if x.shape[1] > 1 and channels_last(x).flags.c_contiguous else "ncs"


def channels(name: str, value: Array | None, x: Array, dtype: DTypeLike = None) -> Array | None:
    """A contiguous, aligned (C,) array of x's dtype, or of the one given; None stays None.

    Raises:
        ShapeError: another number of channels.
    """
    if value is not None and value.shape != x.shape[1:2]:
        raise ShapeError(f"{name}: expected shape {x.shape[1:2]} for an input of {x.shape}, got {value.shape}")
    return None if value is None else np.require(value, dtype or x.dtype, ["C", "A"])


def statistics(mean: Array, var: Array, x: Array) -> tuple[Any, Any]:
    """Mean and variance as kernels take them: both of x's dtype, or else both float64."""
    dtype = x.dtype if mean.dtype == var.dtype == x.dtype else np.dtype(np.float64)
    return channels("mean", mean, x, dtype), channels("var", var, x, dtype)


def check_writable(**outputs: Array | None) -> None:
    """Refuse outputs that cannot be written, or of which one would overwrite another, before any of them is."""
    given = {name: array for name, array in outputs.items() if array is not None}
    for name, array in given.items():
        if not array.flags.writeable:
            raise ValueError(f"{name} is an output, and read-only")
    for (name, array), (other, another) in itertools.combinations(given.items(), 2):
        if np.shares_memory(array, another):
            raise ValueError(f"{name} and {other} overlap in memory, and both are outputs")


def write_back(*pairs: tuple[Array | None, Array | None]) -> None:
    """Copy what kernels have made in place of outputs that they could not take as they lay."""
    for output, made in pairs:
        if output is not None:
            output[...] = made


def never_ready(*arrays: Any) -> bool:
    """In place of the compiled kernels' `ready`: their twins take anything, once it has been checked."""
    return False


def channels_last(x: Array) -> Array:
    """A view (N, ..., C) of (N, C, ...)."""
    return x.transpose(0, *range(2, x.ndim), 1)


def make(new: Callable[..., Array], layout: str, shape: Shape, dtype: DTypeLike) -> Array:
    """An array (N, C, ...) in a layout, by ``np.empty`` or ``np.zeros``.

    ``np.empty_like(x, shape=...)`` would guess the layout, and guesses wrongly where x has axes of size 1.
    """
    n, c, *space = shape
    return np.moveaxis(new((n, *space, c), dtype), -1, 1) if layout == "mc" else new(shape, dtype)


def like(x: Array, dy: Array, name: str) -> Array:
    """dy in the dtype and the memory layout of x.

    Raises:
        ShapeError: their shapes differ.
    """
    if dy.shape != x.shape:
        raise ShapeError(f"{name}: the gradient has shape {dy.shape}; the input has {x.shape}")
    if dy.dtype == x.dtype and dy.flags.aligned:
        same = channels_last(dy).flags.c_contiguous if order(x) == "mc" else dy.flags.c_contiguous
        if same:
            return dy
    out = np.empty_like(x)
    out[...] = dy
    return out
