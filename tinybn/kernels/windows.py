"""Where a convolution's windows lie in memory, as the numbers that its kernels take.

Legend: N batch, C input channels, K output channels, G groups, H×W input, P×Q output, R×S kernel.

The kernels know no kernel sizes, only taps, places in a window. So the gradient for the input is a convolution too: of
the output's gradient, with taps in the other direction. With stride s it is made of s·s such parts: the places h of the
input with the same (h + padding) mod s are met by the same taps.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tinybn._typing import Array, Shape

Pair = tuple[int, int]
Taps = tuple[tuple[int, int, int], ...]  # of each: row and column in the window, and its place in the weight, r·S + s

# Bytes of a band: rows of an image that are copied at a time, with zeros around them, to stay in a second-level cache
# of 1 MB beside the weights. Windows that need no copy are shared in bands of so many places.
BAND_BYTES = 1 << 18
BAND_PLACES = 1024

# The gradient for weights is summed over so many chunks of the batch, each by one thread at a time, and these sums are
# added in their order: as many threads have work, and their number changes no bit.
CHUNKS = 8

_KEPT = 1024  # results of each function here; a model asks for the same ones at each step


def scratch(threads: int, size: int, like: Array) -> Array:
    """Memory of so many values for each thread, apart by some lines of the cache."""
    return np.empty((threads, size + 64), like.dtype)


class Geometry(NamedTuple):
    """Where the kernel goes. Pairs are (height, width)."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def output_size(self, size: tuple[int, ...], kernel: tuple[int, ...]) -> Pair:
        """(P, Q) of an input (H, W) under a kernel (R, S)."""
        (h, w), (r, s), (sh, sw), (ph, pw), (dh, dw) = size, kernel, *self[:3]
        return (h + 2 * ph - dh * (r - 1) - 1) // sh + 1, (w + 2 * pw - dw * (s - 1) - 1) // sw + 1


class Windows(NamedTuple):
    """How P×Q windows lie in an image (H, W, C)."""

    places: Array  # (T,) of the taps, in the weight
    runs: Array  # where the runs of values that a window reads begin
    length: int  # of a run
    reads: Array  # (T·C/G,) where each of these values lies
    scratch: int  # values of a band's copy; 0 if windows are read where they lie
    shape: tuple[int, ...]  # (stride_h, stride_w, top, left, height, width, band), as the kernels take it
    bands: int


@lru_cache(maxsize=_KEPT)
def windows(
    size: Shape, out: Pair, taps: Taps, stride: Pair, edge: Pair, groups: int, itemsize: int, multiple: int = 1
) -> Windows:
    """A tap (h, w) of the window (p, q) reads the image (H, W, C) at (p·stride + h − top, q·stride + w − left).

    ``edge`` is (top, left): how far the first window reaches over the edge; negative if it begins inside.
    A band has a ``multiple`` of so many rows.
    """
    (height, width, c), (p, q), (sh, sw) = size, out, stride
    spans = [max((tap[axis] for tap in taps), default=-1) + 1 for axis in (0, 1)]
    reach = [(p - 1) * sh + spans[0], (q - 1) * sw + spans[1]]
    inside = edge == (0, 0) and reach[0] <= height and reach[1] <= width
    if inside:
        band, pitch = max(1, BAND_PLACES // q), width * c
    else:
        band, pitch = max(1, (BAND_BYTES // max(1, reach[1] * c * itemsize) - spans[0]) // sh + 1), reach[1] * c
    band = min(max(band // multiple, 1) * multiple, p)
    copied = (band - 1) * sh + spans[0]
    offsets = [h * pitch + w * c for h, w, _ in taps]
    runs, length = _runs(offsets, c) if groups == 1 else (offsets, c // groups)
    return Windows(
        places=np.array([place for _, _, place in taps], np.intp),
        runs=np.array(runs, np.intp),
        length=length,
        reads=np.add.outer(np.array(offsets, np.intp), np.arange(c // groups)).ravel(),
        scratch=0 if inside else copied * reach[1] * c,
        shape=(*stride, *edge, copied, reach[1], band),
        bands=-(-p // band),
    )


def _runs(offsets: list[int], c: int) -> tuple[list[int], int]:
    """Where taps of c values are neighbours in memory, fewer and longer runs; all are of one length."""
    starts = [o for i, o in enumerate(offsets) if i == 0 or o != offsets[i - 1] + c]
    length = len(offsets) // max(1, len(starts)) * c
    together = [start + i for start in starts for i in range(0, length, max(1, c))]
    return (starts, length) if together == offsets else (offsets, c)


@lru_cache(maxsize=_KEPT)
def forward_taps(kernel: Pair, dilation: Pair) -> Taps:
    """Those of a convolution."""
    (r, s), (dh, dw) = kernel, dilation
    return tuple((i * dh, j * dw, i * s + j) for i in range(r) for j in range(s))


class Phase(NamedTuple):
    """The places of an input that the same taps meet: `size` of them, from `first` on, one in each stride.

    `taps` and `edge` are those of the `windows` on the gradient of the output that they are made from.
    """

    first: Pair
    size: Pair
    taps: Taps
    edge: Pair


@lru_cache(maxsize=_KEPT)
def phases(size: Pair, kernel: Pair, geometry: Geometry) -> tuple[Phase, ...]:
    """What the gradient for an input (H, W) is made of: windows on the gradient of the output."""
    rows, columns = (_phases(*numbers) for numbers in zip(size, kernel, *geometry[:3], strict=True))
    made = []
    for (h, p, down), (w, q, across) in ((row, column) for row in rows for column in columns):
        top, left = (-min((distance for distance, _ in met), default=0) for met in (down, across))
        taps = tuple((i + top, j + left, r * kernel[1] + s) for i, r in down for j, s in across)
        made.append(Phase((h, w), (p, q), taps, (top, left)))
    return tuple(made)


def _phases(n: int, kernel: int, stride: int, padding: int, dilation: int) -> list[tuple[int, int, list[Pair]]]:
    """Along one axis: the first place, the number of places, and the taps that meet them, in the order of memory.

    Tap r meets place h in the window (h + padding − r·dilation) / stride.
    """
    made = []
    for first in range(min(stride, n)):
        distances = [(first + padding - r * dilation, r) for r in reversed(range(kernel))]
        met = [(distance // stride, r) for distance, r in distances if distance % stride == 0]
        made.append((first, len(range(first, n, stride)), met))
    return made
