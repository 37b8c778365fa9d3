"""LayerNorm, RMSNorm and GroupNorm on arrays: each row, or each group of channels, has statistics of its own."""

import math

import numpy as np

from tinybn._typing import Array
from tinybn.errors import ShapeError
from tinybn.kernels import layout
from tinybn.kernels.batch_normalize import workers
from tinybn.kernels.table import chosen, modules

_layer_norm, _layer_norm_backward = chosen["layer_norm"], chosen["layer_norm_backward"]
_group_norm, _group_norm_backward = chosen["group_norm"], chosen["group_norm_backward"]
_contiguous = getattr(modules["rownorm"], "contiguous", layout.never_ready)

# In the backward, threads share chunks of rows, of which each has sums of its own for dweight and dbias.
CHUNK_ROWS = 8
MOST_CHUNKS = 16


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, axes: int, eps: float, centered: bool = True
) -> tuple[Array, Array]:
    """y = (x − mean)·rstd·weight + bias over the last ``axes`` axes; not centered: the mean counts as 0.

    Args:
        x: float32 or float64.
        weight, bias: of the shape of these axes and x's dtype, or None for 1 and 0.

    Returns:
        y, channels-last if whole examples of x are that, else contiguous; mean and biased variance (the mean of x², not
        centered) of each row, float64 (2, R).
    """
    rows = math.prod(x.shape[: x.ndim - axes])
    if _are_channels_last(x, axes):
        y, moments = _rows(layout.channels_last(x), _last(weight), _last(bias), rows, 1, eps, centered)
        return np.moveaxis(y, -1, 1), moments
    return _rows(x, weight, bias, rows, 1, eps, centered)


def layer_norm_backward(
    dy: Array,
    x: Array,
    moments: Array,
    weight: Array | None,
    axes: int,
    eps: float,
    centered: bool = True,
    affine: bool = True,
) -> tuple[Array, Array | None, Array | None]:
    """dx, dweight, dbias of `layer_norm`, whose moments these are; the last two are None if they are not wanted.

    With g = dy·weight and means over a row: dx = rstd·(g − mean(g) − x̂·mean(g·x̂)), without mean(g) if not centered;
    dweight = Σ dy·x̂ and dbias = Σ dy over the rows.
    """
    if dy.shape != x.shape:
        raise ShapeError(f"layer_norm_backward: the gradient has shape {dy.shape}; the input has {x.shape}")
    last = _are_channels_last(x, axes)
    if last:
        x, dy, weight = layout.channels_last(x), layout.channels_last(dy), _last(weight)
    shape = x.shape[x.ndim - axes :]
    dx, sums = _row_gradients(dy, x, moments, weight, math.prod(shape), 1, eps, centered, affine)
    if sums is None:
        return np.moveaxis(dx, -1, 1) if last else dx, None, None
    dweight, dbias = sums.reshape(2, *shape)
    if last:
        return np.moveaxis(dx, -1, 1), np.moveaxis(dweight, -1, 0), np.moveaxis(dbias, -1, 0)
    return dx, dweight, dbias


def group_norm(x: Array, weight: Array | None, bias: Array | None, groups: int, eps: float) -> tuple[Array, Array]:
    """y = (x − mean)·rstd·weight + bias over each of so many groups of channels of each example.

    Args:
        x: (N, C, ...), float32 or float64. The output has its layout.
        weight, bias: (C,), or None for 1 and 0.

    Returns:
        y like x; mean and biased variance of each example's groups, float64 (2, N·groups).
    """
    if x.ndim == 2:
        return _rows(x, weight, bias, len(x) * groups, groups, eps, True)
    x = layout.prepared("group_norm", x)
    weight, bias = layout.channels("weight", weight, x), layout.channels("bias", bias, x)
    y, moments, scratch = np.empty_like(x), np.empty((2, len(x) * groups)), np.empty((len(x), 2 * x.shape[1]))
    _group_norm(y, moments, x, weight, bias, groups, eps, scratch, workers(x, 3))
    return y, moments


def group_norm_backward(
    dy: Array, x: Array, moments: Array, weight: Array | None, groups: int, eps: float, affine: bool = True
) -> tuple[Array, Array | None, Array | None]:
    """dx, dweight, dbias of `group_norm`, whose moments these are: as `layer_norm_backward`, over groups."""
    if x.ndim == 2:
        dx, sums = _row_gradients(dy, x, moments, weight, x.shape[1], groups, eps, True, affine)
        return (dx, None, None) if sums is None else (dx, *sums)
    x = layout.prepared("group_norm_backward", x)
    dy, weight = layout.like(x, dy, "group_norm_backward"), layout.channels("weight", weight, x)
    dx, scratch = np.empty_like(x), np.empty((len(x), 2 * x.shape[1]))
    dweight, dbias = np.empty((2, x.shape[1]), x.dtype) if affine else (None, None)
    _group_norm_backward(dx, dweight, dbias, dy, x, moments, weight, groups, eps, scratch, workers(x, 5))
    return dx, dweight, dbias


def _rows(
    x: Array, weight: Array | None, bias: Array | None, rows: int, period: int, eps: float, centered: bool
) -> tuple[Array, Array]:
    """y and the moments of so many rows, of which the first ``period`` have weights of their own, then the next."""
    if not _contiguous(x, weight, bias):
        x, weight, bias = _plain(x), _plain_or_none(weight), _plain_or_none(bias)
    y, moments = np.empty(x.shape, x.dtype), np.empty((2, rows))
    _layer_norm(y, moments, x, weight, bias, period, eps, centered, workers(x, 3))
    return y, moments


def _row_gradients(
    dy: Array,
    x: Array,
    moments: Array,
    weight: Array | None,
    places: int,
    period: int,
    eps: float,
    centered: bool,
    affine: bool,
) -> tuple[Array, Array | None]:
    """dx, and dweight and dbias (2, places), or None."""
    if not _contiguous(x, dy, weight):
        x, weight = _plain(x), _plain_or_none(weight)
        dy = np.require(dy, x.dtype, ["C", "A"])
    chunks = max(1, min(MOST_CHUNKS, moments.shape[1] // CHUNK_ROWS))
    dx, scratch = np.empty(x.shape, x.dtype), np.empty((chunks, 4 * places))
    sums = np.empty((2, places), x.dtype) if affine else None
    dweight, dbias = (None, None) if sums is None else sums
    threads = workers(x, 5)
    _layer_norm_backward(dx, dweight, dbias, dy, x, moments, weight, period, eps, centered, scratch, threads)
    return dx, sums


def _are_channels_last(x: Array, axes: int) -> bool:
    """Whether whole examples are normalized that lie channels-last: another order of the same values."""
    return x.ndim == axes + 1 > 2 and not x.flags.c_contiguous and layout.channels_last(x).flags.c_contiguous


def _last(values: Array | None) -> Array | None:
    """(C, ...) as (..., C)."""
    return None if values is None else np.ascontiguousarray(np.moveaxis(values, 0, -1))


def _plain(a: Array) -> Array:
    """Contiguous, aligned, in the machine's byte order."""
    return np.require(a, a.dtype.newbyteorder("="), ["C", "A"])


def _plain_or_none(a: Array | None) -> Array | None:
    return None if a is None else _plain(a)
