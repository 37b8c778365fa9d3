"""The twins of /kernels/pooling.pyx, on (N, H, W, C)."""

import numpy as np

from tinybn._typing import Array


def max_pool2d(
    y: Array,
    index: Array,
    x: Array,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    threads: int,
) -> None:
    """The largest value of each window and where it stood, h·W + w; −inf and −1 for a window that sees only padding."""
    (_, height, width, _), (_, rows, columns, _) = x.shape, y.shape
    y.fill(-np.inf)
    index.fill(-1)
    for r in range(R):
        for s in range(S):
            h = np.arange(rows) * stride_h - pad_h + r * dilation_h
            w = np.arange(columns) * stride_w - pad_w + s * dilation_w
            p, q = (h >= 0) & (h < height), (w >= 0) & (w < width)
            where, source = (slice(None), *np.ix_(p, q)), (slice(None), *np.ix_(h[p], w[q]))
            values, best, places = x[source], y[where], index[where]
            better = (values > best) | np.isnan(values) | (places < 0)
            y[where] = np.where(better, values, best)
            index[where] = np.where(better, (h[p, None] * width + w[q])[None, :, :, None], places)


def max_pool2d_backward(
    dx: Array,
    dy: Array,
    index: Array,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    threads: int,
) -> None:
    """dx (N, H, W, C) of `max_pool2d` over windows that do not overlap."""
    dx.fill(0)
    n, c = len(dx), dx.shape[3]
    scatter_plane(dx.reshape(n, -1, c), dy.reshape(n, -1, c), index.reshape(n, -1, c), threads)


def scatter_plane(x: Array, y: Array, index: Array, threads: int) -> None:
    """Add y (N, L, C) to x (N, H·W, C) at the positions of index (N, L, C); a negative one is left out."""
    n, i, c = np.nonzero(index >= 0)
    np.add.at(x, (n, index[n, i, c], c), y[n, i, c])
