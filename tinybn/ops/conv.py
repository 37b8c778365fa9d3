"""2-D convolution (cross-correlation, as everywhere in deep learning) by im2col and a matrix product.

Legend: N batch, C input channels, K output channels, G groups, H×W input, P×Q output, R×S kernel.

    y[n, k, p, q] = Σ_{c,r,s} x[n, c, p·stride + r·dilation − padding, q·stride + s·dilation − padding] · w[k, c, r, s]

The three primitives are each other's derivatives, so convolution can be differentiated any number of times:

    conv2d(x, w) → y        conv2d_input_grad(y, w) → x        conv2d_weight_grad(y, x) → w

Underneath, memory is channels-last: a row of columns is then R runs of S·C neighbouring numbers, and the product writes
the output where it belongs. Columns are made for a few images at a time, so that they are still in cache when the
product reads them.
"""

from __future__ import annotations  # those of nested functions would be computed at each call

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tinybn._typing import Array, Op, Shape
from tinybn.ops._call import call
from tinybn.saved import needs

# Bytes of columns made at a time. A step of the CNN of tools/cnn_step.py (batch 64) takes 35 to 36 ms on one core with
# 512 KB to 2 MB, and 38 with all at once; two cores want few products: 30 ms with 512 KB, 27 with 2 MB.
COLUMN_BYTES = 2 << 20


class Geometry(NamedTuple):
    """Where the kernel goes. Pairs are (height, width)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def output_size(self, size: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, int]:
        """(P, Q) of an input (H, W) under a kernel (R, S)."""
        p, q = (
            (n + 2 * pad - dil * (k - 1) - 1) // step + 1
            for n, k, step, pad, dil in zip(size, kernel, self.stride, self.padding, self.dilation, strict=True)
        )
        return p, q


@needs((1,), (0,), ())
def conv2d(x: Array, weight: Array, bias: Array | None, geometry: Geometry) -> Op:
    """x (N, C, H, W), weight (K, C/G, R, S), bias (K,) or None → (N, K, P, Q)."""
    p, q = geometry.output_size(x.shape[2:], weight.shape[2:])
    n, k = len(x), len(weight)
    y = np.empty((n, p, q, k), x.dtype)
    matrix = _weight_matrix(weight, geometry.groups)  # (G, R·S·C/G, K/G)
    for part, columns in _column_blocks(x, weight.shape[2:], geometry):
        _product(columns, matrix, out=y[part].reshape(-1, k))
    if bias is not None:
        y += bias
    x_shape, weight_shape = x.shape, weight.shape

    def backward(dy: Any, x: Any, weight: Any) -> tuple[Any, ...]:
        return (
            lambda: call(conv2d_input_grad, dy, weight, geometry, x_shape),
            lambda: call(conv2d_weight_grad, dy, x, geometry, weight_shape),
            lambda: dy.sum(axis=(0, 2, 3)),
        )

    return _in_layout_of(x, y), backward, (x, weight)


@needs((1,), (0,))
def conv2d_input_grad(y: Array, weight: Array, geometry: Geometry, shape: Shape) -> Op:
    """The gradient of conv2d for its input, of the given shape (N, C, H, W). A transposed convolution of y."""
    n, c, h, w = shape
    (r, s), (ph, pw) = weight.shape[2:], geometry.padding
    g, k = geometry.groups, len(weight)
    x = np.zeros((n, h + 2 * ph, w + 2 * pw, c), y.dtype)
    matrix = _weight_matrix(weight, g).mT  # (G, K/G, R·S·C/G)
    y_last = _channels_last(y)  # (N, P, Q, K)
    windows = _windows(x, (r, s), geometry)
    for part in _blocks(n, y_last[:1].size // k * r * s * c * y.itemsize):
        rows = y_last[part].reshape(-1, g, k // g).transpose(1, 0, 2)  # (G, n·P·Q, K/G)
        columns = (rows @ matrix).reshape(g, *y_last[part].shape[:3], r, s, c // g)
        for i in range(r):
            for j in range(s):
                # Windows overlap, but at one kernel position no two of them meet.
                windows[part, :, :, i, j] += columns[:, :, :, :, i, j].transpose(1, 2, 3, 0, 4)
    x = x[:, ph : ph + h, pw : pw + w]
    weight_shape = weight.shape

    def backward(dx: Any, y: Any, weight: Any) -> tuple[Any, ...]:
        return (
            lambda: call(conv2d, dx, weight, None, geometry),
            lambda: call(conv2d_weight_grad, y, dx, geometry, weight_shape),
        )

    return _in_layout_of(y, x), backward, (y, weight)


@needs((1,), (0,))
def conv2d_weight_grad(y: Array, x: Array, geometry: Geometry, shape: Shape) -> Op:
    """The gradient of conv2d for its weight, of the given shape (K, C/G, R, S)."""
    k, c, r, s = shape
    g = geometry.groups
    y_last = _channels_last(y)  # (N, P, Q, K)
    matrix = np.zeros((g, k // g, r * s * c), y.dtype)
    for part, columns in _column_blocks(x, (r, s), geometry):
        matrix += y_last[part].reshape(-1, g, k // g).transpose(1, 2, 0) @ columns
    weight = matrix.reshape(k, r, s, c).transpose(0, 3, 1, 2).copy()
    x_shape = x.shape

    def backward(dweight: Any, y: Any, x: Any) -> tuple[Any, ...]:
        return (
            lambda: call(conv2d, x, dweight, None, geometry),
            lambda: call(conv2d_input_grad, y, dweight, geometry, x_shape),
        )

    return weight, backward, (y, x)


def _column_blocks(x: Array, kernel: tuple[int, ...], geometry: Geometry) -> Iterator[tuple[slice, Array]]:
    """For a few images at a time, their slice and their columns (G, n·P·Q, R·S·C/G)."""
    (r, s), (ph, pw), g = kernel, geometry.padding, geometry.groups
    x = _channels_last(x)
    n, h, w, c = x.shape
    if ph or pw:
        padded = np.zeros((n, h + 2 * ph, w + 2 * pw, c), x.dtype)
        padded[:, ph : ph + h, pw : pw + w] = x
        x = padded
    windows = _windows(x, (r, s), geometry)  # (N, P, Q, R, S, G, C/G)
    windows = windows.transpose(5, 0, 1, 2, 3, 4, 6)
    image_bytes = windows[:, :1].size * x.itemsize
    buffer = np.empty(0, x.dtype)
    for part in _blocks(n, image_bytes):
        block = windows[:, part]
        if buffer.size < block.size:
            buffer = np.empty(block.size, x.dtype)
        columns = buffer[: block.size].reshape(block.shape)
        columns[...] = block
        yield part, columns.reshape(g, -1, r * s * c // g)


def _windows(x: Array, kernel: tuple[int, int], geometry: Geometry) -> Array:
    """A view (N, P, Q, R, S, G, C/G) of a padded channels-last array (N, H, W, C): what each output position sees."""
    (r, s), (sh, sw), (dh, dw), g = kernel, geometry.stride, geometry.dilation, geometry.groups
    n, h, w, c = x.shape
    p, q = geometry._replace(padding=(0, 0)).output_size((h, w), kernel)
    bn, bh, bw, bc = x.strides
    return np.lib.stride_tricks.as_strided(
        x, (n, p, q, r, s, g, c // g), (bn, bh * sh, bw * sw, bh * dh, bw * dw, bc * (c // g), bc)
    )


def _blocks(n: int, image_bytes: int) -> Iterator[slice]:
    """Slices over the N images whose columns fit in COLUMN_BYTES (one image at least)."""
    step = max(1, COLUMN_BYTES // max(1, image_bytes))
    return (slice(i, min(i + step, n)) for i in range(0, n, step))


def _weight_matrix(weight: Array, groups: int) -> Array:
    """(K, C/G, R, S) → (G, R·S·C/G, K/G), in the order of the columns."""
    k, c, r, s = weight.shape
    return weight.reshape(groups, k // groups, c, r, s).transpose(0, 3, 4, 2, 1).reshape(groups, r * s * c, k // groups)


def _product(columns: Array, matrix: Array, out: Array) -> None:
    """out (M, K) = columns (G, M, R·S·C/G) @ matrix (G, R·S·C/G, K/G), groups side by side in K."""
    g, m, k = len(matrix), len(out), matrix.shape[2]
    if g == 1:
        np.matmul(columns[0], matrix[0], out=out)
    else:
        out.reshape(m, g, k)[...] = (columns @ matrix).transpose(1, 0, 2)


def _channels_last(x: Array) -> Array:
    """(N, C, H, W) as a contiguous (N, H, W, C): a view if that is how it lies in memory, else a copy."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def _in_layout_of(x: Array, y_last: Array) -> Array:
    """y (N, H, W, C) as (N, C, H, W), in the memory layout of x. One channel is both: it counts as channels-last."""
    y = y_last.transpose(0, 3, 1, 2)
    if x.transpose(0, 2, 3, 1).flags.c_contiguous or not x.flags.c_contiguous:
        return y
    return np.ascontiguousarray(y)
