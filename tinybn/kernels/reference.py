"""The NumPy twins of the kernels: same names, same arguments, same results, written to be read.

They serve where there is no compiler, and the tests hold the compiled kernels against them. Legend: N batch,
C channels, S positions, M = N·S values per channel; ``threads`` is there for the compiled ones.
"""

import math

import numpy as np

from tinybn._typing import Array

# --- BatchNorm -------------------------------------------------------------------------------------------------------
# An (N, C, S) array reduces over axes 0 and 2, an (M, C) array over axis 0; statistics line up with axis 1 of either.


def batch_moments_ncs(mean: Array, var: Array, x: Array, threads: int) -> None:
    """Mean and biased variance per channel, in float64."""
    axes = (0, 2) if x.ndim == 3 else (0,)
    x = x.astype(np.float64)
    with np.errstate(all="ignore"):
        mean[...] = x.mean(axis=axes)
        deviation = x - _channels(mean, x)
        correction = deviation.mean(axis=axes)  # what rounding has left in the mean
        var[...] = (deviation * deviation).mean(axis=axes) - correction * correction
        mean += correction


def batch_norm_ncs(
    y: Array, mean: Array, var: Array, x: Array, weight: Array, bias: Array, eps: float, threads: int
) -> None:
    """Moments of x, and x normalized with them."""
    batch_moments_ncs(mean, var, x, threads)
    normalize_ncs(y, x, mean, var, weight, bias, eps, threads)


def normalize_ncs(
    y: Array, x: Array, mean: Array, var: Array, weight: Array, bias: Array, eps: float, threads: int
) -> None:
    """y = (x − mean)·rstd·weight + bias with rstd = 1/√(var + eps)."""
    with np.errstate(all="ignore"):
        centered = x.astype(np.float64) - _channels(mean, x)
        y[...] = centered * _channels(weight / np.sqrt(var + eps), x) + _channels(bias, x)


def batch_norm_backward_ncs(
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array,
    eps: float,
    threads: int,
) -> None:
    """dx = weight·rstd·(dy − Σdy/M − x̂·Σ(dy·x̂)/M), dweight = Σ dy·x̂, dbias = Σ dy."""
    normalize_backward_ncs(dx, dweight, dbias, dy, x, mean, var, weight, eps, threads)
    with np.errstate(all="ignore"):
        rstd, count = 1 / np.sqrt(var + eps), x.size // len(mean)
        x_hat = (x.astype(np.float64) - _channels(mean, x)) * _channels(rstd, x)
        inner = dy - _channels(dbias / count, x) - x_hat * _channels(dweight / count, x)
        dx[...] = _channels(weight * rstd, x) * inner


def normalize_backward_ncs(
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array,
    eps: float,
    threads: int,
) -> None:
    """dx = weight·rstd·dy, dweight = Σ dy·x̂, dbias = Σ dy: the statistics are constants."""
    axes = (0, 2) if x.ndim == 3 else (0,)
    with np.errstate(all="ignore"):
        rstd = 1 / np.sqrt(var + eps)
        x_hat = (x.astype(np.float64) - _channels(mean, x)) * _channels(rstd, x)
        dweight[...] = (dy * x_hat).sum(axis=axes)
        dbias[...] = dy.sum(axis=axes, dtype=np.float64)
        dx[...] = dy * _channels(weight * rstd, x)


def _channels(values: Array, x: Array) -> Array:
    """(C,) so that it lines up with axis 1 of x, in float64."""
    return values.astype(np.float64).reshape((1, -1) + (1,) * (x.ndim - 2))


# The two layouts differ for NumPy only in the axes, which every function above reads off its arrays.
batch_moments_mc = batch_moments_ncs
batch_norm_mc = batch_norm_ncs
normalize_mc = normalize_ncs
batch_norm_backward_mc = batch_norm_backward_ncs
normalize_backward_mc = normalize_backward_ncs


# --- max-pooling, on (N, H, W, C) ------------------------------------------------------------------------------------


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


def scatter_plane(x: Array, y: Array, index: Array, threads: int) -> None:
    """Add y (N, L, C) to x (N, H·W, C) at the positions of index (N, L, C); a negative one is left out."""
    n, i, c = np.nonzero(index >= 0)
    np.add.at(x, (n, index[n, i, c], c), y[n, i, c])


# --- special functions, on flat arrays --------------------------------------------------------------------------------


def erf(out: Array, x: Array, threads: int) -> None:
    """2/√π·∫ exp(−t²) dt from 0 to x."""
    out[...] = [math.erf(value) for value in x.tolist()]
