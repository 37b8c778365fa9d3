"""Max-pooling on arrays."""

import numpy as np

from tinybn._typing import Array
from tinybn.kernels import layout
from tinybn.kernels.table import chosen
from tinybn.threads import get_num_threads

# Below so many elements a second thread costs more than it saves.
THREADED_SIZE = 1 << 16

# Where channels are last and so many, the gradient of max-pooling is written vector by vector: 163 µs for
# (64, 32, 28, 28) and windows of 2×2 on one core, instead of 312 by one number after the other, to zeros.
VECTOR_OF_CHANNELS = 16


def max_pool2d(
    x: Array,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[Array, Array]:
    """The largest value of each window of x (N, C, H, W), and where it stood, h·W + w as int32: both (N, C, *size).

    NaN is larger than everything, the first of equal values wins, and a window on padding alone gives −inf and −1.
    """
    x = layout.prepared("max_pool2d", x)
    order = layout.order(x)
    y, index = (layout.make(np.empty, order, (*x.shape[:2], *size), dtype) for dtype in (x.dtype, np.int32))
    if y.size:
        planes = [_planes(a, order) for a in (y, index, x)]
        chosen["max_pool2d"](*planes, *kernel, *stride, *padding, *dilation, _threads(x))
    return y, index


def max_pool2d_backward(
    dy: Array,
    index: Array,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Array:
    """The gradient (N, C, H, W) of `max_pool2d`, whose index this is."""
    order = layout.order(index) if dy.size else "ncs"
    overlap = dilation != (1, 1) or stride[0] < kernel[0] or stride[1] < kernel[1]
    if overlap or order == "ncs" or dy.shape[1] < VECTOR_OF_CHANNELS:
        return scatter_plane(dy, index, size)
    dy = layout.like(np.empty_like(index, dtype=dy.dtype), dy, "max_pool2d_backward")
    dx = layout.make(np.empty, order, (*dy.shape[:2], *size), dy.dtype)
    planes = [_planes(a, order) for a in (dx, dy, index)]
    chosen["max_pool2d_backward"](*planes, *kernel, *stride, *padding, _threads(dx))
    return dx


def scatter_plane(y: Array, index: Array, size: tuple[int, int]) -> Array:
    """Zeros (N, C, H, W), with each value of y (N, C, P, Q) added at the position h·W + w that index gives for it."""
    order = "mc" if layout.channels_last(index).flags.c_contiguous else "ncs"
    index = index if order == "mc" else np.ascontiguousarray(index)
    y = layout.like(np.empty_like(index, dtype=y.dtype), y, "scatter_plane")
    x = layout.make(np.zeros, order, (*y.shape[:2], *size), y.dtype)
    if x.size and y.size:
        flat = [a.reshape(a.shape[0], -1, a.shape[3]) for a in (_planes(a, order) for a in (x, y, index))]
        chosen["scatter_plane"](*flat, _threads(x))
    return x


def _planes(x: Array, order: str) -> Array:
    """(N, H, W, C) on the memory of x (N, C, H, W), or (N·C, H, W, 1) if its channels are not last."""
    return layout.channels_last(x) if order == "mc" else x.reshape(-1, *x.shape[2:], 1)


def _threads(x: Array) -> int:
    return get_num_threads() if x.size >= THREADED_SIZE else 1
