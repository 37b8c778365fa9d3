"""The twins of /kernels/products.pyx and /kernels/convolution.pyx."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinybn._typing import Array


def multiply(
    c: Array, a: Array, b: Array, bias: Array | None, scratch: Array, threads: int, relu: bool = False
) -> bool:
    """c (M, N) = a (M, K) · b (K, N) + bias (N,); relu: max(c, 0). True: there is nothing that it cannot take."""
    np.matmul(a, b, out=c)
    if bias is not None:
        c += bias
    if relu:
        np.maximum(c, 0, out=c)
    return True


def correlate(
    y: Array,
    x: Array,
    matrix: Array,
    bias: Array | None,
    taps: Array,
    length: int,
    scratch: Array | None,
    window: tuple[int, ...],
    threads: int,
    relu: bool = False,
    unpooled: Array | None = None,
) -> None:
    """y (N, P, Q, K) of x (N, H, W, C): what each window reads, times matrix (G, T·A, columns); relu: max(y, 0).

    With unpooled y is of half the size, with the largest values of 2×2 windows.
    """
    if unpooled is not None:
        whole = np.empty((len(y), 2 * y.shape[1], 2 * y.shape[2], y.shape[3]), y.dtype)
        correlate(whole, x, matrix, bias, taps, length, scratch, window, threads, relu)
        y[...] = largest_of_four(whole)
        return
    groups, per_group = len(matrix), y.shape[3] // len(matrix)
    reads = np.add.outer(taps, np.arange(length)).ravel()
    for n, first, columns in _bands(x, y.shape[1:3], reads, groups, scratch is not None, window):
        for g in range(groups):
            made = columns[g] @ matrix[g, :, :per_group]
            if bias is not None:
                made += bias[g, :per_group]
            rows = y[n, first : first + window[-1], :, g * per_group : (g + 1) * per_group]
            rows[...] = made.reshape(rows.shape)
    if relu:
        np.maximum(y, 0, out=y)


def largest_of_four(y: Array) -> Array:
    """The largest values (N, P//2, Q//2, K) of 2×2 windows that do not overlap; NaN is larger than everything."""
    n, p, q, k = y.shape
    made: Array = y[:, : p // 2 * 2, : q // 2 * 2].reshape(n, p // 2, 2, q // 2, 2, k).max(axis=(2, 4))
    return made


def correlate_weights(
    sums: Array,
    x: Array,
    dy: Array,
    taps: Array,
    scratch: Array,
    window: tuple[int, ...],
    parts: int,
    direct: bool,
    threads: int,
) -> None:
    """sums (chunks, G, T·A, B): for each chunk of the batch, what windows of x read, times dy (N, P, Q, K)."""
    chunks, groups, _, per_group = sums.shape
    sums.fill(0)
    chunk_of = np.repeat(np.arange(chunks), np.diff(len(x) * np.arange(chunks + 1) // chunks))
    for n, first, columns in _bands(x, dy.shape[1:3], taps, groups, not direct, window):
        rows = dy[n, first : first + window[-1]].reshape(-1, groups, per_group)
        for g in range(groups):
            sums[chunk_of[n], g] += columns[g].T @ rows[:, g]


def _bands(
    x: Array, out: tuple[int, ...], reads: Array, groups: int, copied: bool, window: tuple[int, ...]
) -> Iterator[tuple[int, int, Array]]:
    """For each band of windows its image, its first row, and what they read: (G, places, T·A)."""
    stride_h, stride_w, top, left, height, width, band = window
    _, h, w, c = x.shape
    pitch = (width if copied else w) * c
    for n in range(len(x)):
        for first in range(0, out[0], band):
            rows = min(band, out[0] - first)
            if copied:
                begin = first * stride_h - top
                inside = np.zeros((height, width, c), x.dtype)
                i, j = np.arange(begin, begin + height), np.arange(-left, width - left)
                p, q = np.flatnonzero((i >= 0) & (i < h)), np.flatnonzero((j >= 0) & (j < w))
                inside[np.ix_(p, q)] = x[n][np.ix_(i[p], j[q])]
            else:
                inside = x[n, first * stride_h :]
            starts = np.add.outer(np.arange(rows) * stride_h * pitch, np.arange(out[1]) * stride_w * c).ravel()
            flat, offsets = inside.ravel(), np.add.outer(starts, reads)
            yield n, first, np.stack([flat[offsets + g * (c // groups)] for g in range(groups)])


def spread(
    dx: Array,
    dy: Array,
    matrix: Array,
    taps: Array,
    length: int,
    scratch: Array,
    window: tuple[int, ...],
    threads: int,
) -> None:
    """dx (N, H, W, C): to what each window has read, dy (N, P, Q, K) times matrix (K, runs, columns) is added."""
    stride_h, stride_w, top, left, height, width = window
    _, h, w, c = dx.shape
    n, p, q, k = dy.shape
    values = (dy.reshape(-1, k) @ matrix[:, :, :length].reshape(k, -1)).reshape(n, p * q, -1)
    starts = np.add.outer(np.arange(p) * stride_h * width * c, np.arange(q) * stride_w * c).ravel()
    reads = np.add.outer(taps, np.arange(length)).ravel()
    image = np.zeros((n, height * width * c), dx.dtype)
    index: Any = (slice(None), np.add.outer(starts, reads))
    np.add.at(image, index, values)
    dx[...] = image.reshape(n, height, width, c)[:, top : top + h, left : left + w]


def gather_weights(matrix: Array, weight: Array, taps: Array, turned: bool) -> None:
    """matrix (G, T·A, columns) of weight (K, C/G, R, S): A is C/G and B is K/G, or the other way round; 0 behind B."""
    groups = len(matrix)
    by_tap = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)[..., taps]  # (G, K/G, C/G, T)
    rows = by_tap.transpose(0, 3, 1, 2) if turned else by_tap.transpose(0, 3, 2, 1)
    matrix[...] = 0
    matrix[:, :, : rows.shape[3]] = rows.reshape(groups, -1, rows.shape[3])


def sum_weights(weight: Array, sums: Array) -> None:
    """weight (K, C/G, R, S): the sum of sums (chunks, G, R·S·C/G, K/G) over the chunks."""
    k, c, r, s = weight.shape
    total = sums.sum(axis=0).reshape(sums.shape[1], r, s, c, -1)
    weight[...] = total.transpose(0, 4, 3, 1, 2).reshape(k, c, r, s)


def transpose_planes(out: Array, x: Array, threads: int) -> None:
    """out (N, B, A) = x (N, A, B)."""
    out[...] = x.transpose(0, 2, 1)
