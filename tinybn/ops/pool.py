"""2-D pooling over windows R×S of (N, C, H, W) → (N, C, P, Q). Works on strides, so every memory layout is kept."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinybn._typing import Array, Op, Shape
from tinybn.ops._call import call
from tinybn.ops.conv import Geometry


def max_pool2d(x: Array, kernel: tuple[int, int], geometry: Geometry) -> Op:
    """The largest value of each window; padding counts as −inf. The gradient goes to the first of equal ones."""
    padded = _pad(x, geometry.padding, -np.inf)
    out: Array | None = None
    for k, window in enumerate(_positions(padded, kernel, geometry)):
        if out is None:
            out = window.copy(order="K")
            index = np.zeros_like(out, dtype=np.int32)
        else:
            better = (window > out) | (window != window)  # the second half lets a NaN through
            np.copyto(out, window, where=better)
            np.copyto(index, k, where=better)
    assert out is not None
    shape = x.shape

    def backward(dy: Any) -> tuple[Any, ...]:
        return (call(scatter_windows, dy, index, shape, kernel, geometry),)

    return (out, index), backward, ()


def gather_windows(x: Array, index: Array, kernel: tuple[int, int], geometry: Geometry) -> Op:
    """Of each window the value at the kernel position `index`."""
    padded = _pad(x, geometry.padding, 0)
    out = np.zeros_like(index, dtype=x.dtype)
    for k, window in enumerate(_positions(padded, kernel, geometry)):
        np.copyto(out, window, where=index == k)
    shape = x.shape

    def backward(dy: Any) -> tuple[Any, ...]:
        return (call(scatter_windows, dy, index, shape, kernel, geometry),)

    return out, backward, ()


def scatter_windows(y: Array, index: Array, shape: Shape, kernel: tuple[int, int], geometry: Geometry) -> Op:
    """The derivative of `gather_windows`: each value is added at the position that it came from."""
    padded = _zeros_padded(index, shape, y.dtype, geometry.padding)
    for k, window in enumerate(_positions(padded, kernel, geometry)):
        window += y * (index == k)
    out = _unpad(padded, geometry.padding)

    def backward(dx: Any) -> tuple[Any, ...]:
        return (call(gather_windows, dx, index, kernel, geometry),)

    return out, backward, ()


def sum_windows(x: Array, kernel: tuple[int, int], geometry: Geometry) -> Op:
    """The sum of each window; padding counts as 0."""
    out: Array | None = None
    for window in _positions(_pad(x, geometry.padding, 0), kernel, geometry):
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


def _pad(x: Array, padding: tuple[int, int], value: float) -> Array:
    ph, pw = padding
    if not (ph or pw):
        return x
    padded = _zeros_padded(x, x.shape, x.dtype, padding)
    if value:
        padded.fill(value)
    _unpad(padded, padding)[...] = x
    return padded


def _zeros_padded(like: Array, shape: Shape, dtype: Any, padding: tuple[int, int]) -> Array:
    """Zeros (N, C, H + 2·ph, W + 2·pw) in the memory layout of `like`."""
    n, c, h, w = shape
    return np.zeros_like(like, dtype=dtype, shape=(n, c, h + 2 * padding[0], w + 2 * padding[1]))


def _unpad(padded: Array, padding: tuple[int, int]) -> Array:
    (ph, pw), (h, w) = padding, padded.shape[2:]
    return padded[:, :, ph : h - ph, pw : w - pw]
