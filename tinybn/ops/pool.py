"""2-D pooling over windows R×S of (N, C, H, W) → (N, C, P, Q). The memory layout is kept."""

from __future__ import annotations  # those of nested functions would be computed at each call

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinybn import kernels
from tinybn._typing import Array, Op, Shape
from tinybn.kernels.windows import Geometry
from tinybn.ops._call import call


def max_pool2d(x: Array, kernel: tuple[int, int], geometry: Geometry) -> Op:
    """The largest value of each window; padding counts as −inf. The gradient goes to the first of equal ones.

    By-product: where each maximum stood, h·W + w.
    """
    size = x.shape[2:]
    windows = geometry.output_size(size, kernel)
    out, index = kernels.max_pool2d(x, windows, kernel, geometry.stride, geometry.padding, geometry.dilation)

    def backward(dy: Any) -> tuple[Any, ...]:
        if type(dy) is np.ndarray:
            return (kernels.max_pool2d_backward(dy, index, size, kernel, *geometry[:3]),)
        return (call(scatter_plane, dy, index, size),)

    return (out, index), backward, ()


def gather_plane(x: Array, index: Array) -> Op:
    """From each plane (H, W) of x the values at the positions `index`, h·W + w: (N, C, P, Q). 0 at a negative one."""
    planes, positions = (a.reshape(*a.shape[:2], a.shape[2] * a.shape[3]) for a in (x, index))
    out = np.where(positions < 0, 0, np.take_along_axis(planes, positions, axis=2)).reshape(index.shape)
    size = x.shape[2:]

    def backward(dy: Any, index: Any) -> tuple[Any, ...]:
        return (call(scatter_plane, dy, index, size),)

    return out, backward, (index,)


def scatter_plane(y: Array, index: Array, size: tuple[int, int]) -> Op:
    """The derivative of `gather_plane`: zeros (N, C, H, W) with each value of y added at its position."""
    out = kernels.scatter_plane(y, index, size)

    def backward(dx: Any, index: Any) -> tuple[Any, ...]:
        return (call(gather_plane, dx, index),)

    return out, backward, (index,)


def sum_windows(x: Array, kernel: tuple[int, int], geometry: Geometry) -> Op:
    """The sum of each window; padding counts as 0."""
    out: Array | None = None
    for window in _positions(_pad(x, geometry.padding), kernel, geometry):
        if out is None:
            out = window.copy(order="K")
        else:
            out += window
    shape = x.shape

    def backward(dy: Any) -> tuple[Any, ...]:
        return (call(spread_windows, dy, shape, kernel, geometry),)

    return out, backward, ()


def spread_windows(y: Array, shape: Shape, kernel: tuple[int, int], geometry: Geometry) -> Op:
    """The derivative of `sum_windows`: each value is added at every position of its window."""
    padded = _zeros_padded(y, shape, y.dtype, geometry.padding)
    for window in _positions(padded, kernel, geometry):
        window += y
    out = _unpad(padded, geometry.padding)

    def backward(dx: Any) -> tuple[Any, ...]:
        return (call(sum_windows, dx, kernel, geometry),)

    return out, backward, ()


def _positions(padded: Array, kernel: tuple[int, int], geometry: Geometry) -> Iterator[Array]:
    """For each kernel position a view (N, C, P, Q): what the windows have there."""
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    p, q = geometry._replace(padding=(0, 0)).output_size(padded.shape[2:], kernel)
    for i in range(0, kernel[0] * dh, dh):
        for j in range(0, kernel[1] * dw, dw):
            yield padded[:, :, i : i + sh * (p - 1) + 1 : sh, j : j + sw * (q - 1) + 1 : sw]


def _pad(x: Array, padding: tuple[int, int]) -> Array:
    if padding == (0, 0):
        return x
    padded = _zeros_padded(x, x.shape, x.dtype, padding)
    _unpad(padded, padding)[...] = x
    return padded


def _zeros_padded(like: Array, shape: Shape, dtype: Any, padding: tuple[int, int]) -> Array:
    """Zeros (N, C, H + 2·ph, W + 2·pw), channels-last in memory if `like` is."""
    n, c, h, w = shape
    h, w = h + 2 * padding[0], w + 2 * padding[1]
    if like.strides[1] < like.strides[3]:
        return np.zeros((n, h, w, c), dtype).transpose(0, 3, 1, 2)
    return np.zeros((n, c, h, w), dtype)


def _unpad(padded: Array, padding: tuple[int, int]) -> Array:
    (ph, pw), (h, w) = padding, padded.shape[2:]
    return padded[:, :, ph : h - ph, pw : w - pw]
