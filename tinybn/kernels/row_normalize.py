"""LayerNorm, RMSNorm and GroupNorm on arrays: each row, or each group of an example's channels, has its own statistics."""

import math

import numpy as np

from tinybn._typing import Array
from tinybn.errors import ShapeError
from tinybn.kernels import layout
from tinybn.kernels.table import chosen, useful_threads
from tinybn.threads import get_num_threads

_layer_norm, _layer_norm_backward = chosen["layer_norm"], chosen["layer_norm_backward"]
_group_norm, _group_norm_backward = chosen["group_norm"], chosen["group_norm_backward"]

# As for BatchNorm: fewer elements stay on one thread.
THREADED_SIZE = 1 << 16


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, axes: int, eps: float, centered: bool = True
) -> tuple[Array, Array]:
    """y = (x − mean)·rstd·weight + bias over the last ``axes`` axes; not centered: the mean counts as 0.

    Args:
        x: float32 or float64.
        weight, bias: of the shape of these axes and x's dtype, or None for 1 and 0.

    Returns:
        y, contiguous; mean and biased variance (the mean of x², not centered) of each row, float64 (2, R).
    """
    rows, size = _rows(x, axes)
    y, moments = np.empty(x.shape, rows.dtype), np.empty((2, len(rows)))
    _layer_norm(y.reshape(rows.shape), moments, rows, _line(weight), _line(bias), eps, centered, _workers(x, 3))
    return y, moments


def layer_norm_backward(
    dy: Array, x: Array, moments: Array, weight: Array | None, axes: int, eps: float, centered: bool = True
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias of `layer_norm`, whose moments these are.

    With g = dy·weight and means over a row: dx = rstd·(g − mean(g) − x̂·mean(g·x̂)), without mean(g) if not centered;
    dweight = Σ dy·x̂ and dbias = Σ dy over the rows.
    """
    if dy.shape != x.shape:
        raise ShapeError(f"layer_norm_backward: the gradient has shape {dy.shape}; the input has {x.shape}")
    rows, size = _rows(x, axes)
    dy = np.require(dy, rows.dtype, ["C", "A"])
    dx, sums = np.empty(x.shape, rows.dtype), np.empty((2, size), rows.dtype)
    _layer_norm_backward(
        dx.reshape(rows.shape), sums[0], sums[1], dy.reshape(rows.shape), rows, moments, _line(weight), eps, centered,
        _workers(x, 5),
    )  # fmt: skip
    shape = x.shape[x.ndim - axes :]
    return dx, sums[0].reshape(shape), sums[1].reshape(shape)


def group_norm(
    x: Array, weight: Array | None, bias: Array | None, groups: int, eps: float
) -> tuple[Array, Array]:
    """y = (x − mean)·rstd·weight + bias over each of so many groups of channels of each example.

    Args:
        x: (N, C, ...), float32 or float64. The output has its layout.
        weight, bias: (C,), or None for 1 and 0.

    Returns:
        y like x; mean and biased variance of each example's groups, float64 (2, N·groups).
    """
    x = layout.prepared("group_norm", x)
    weight, bias = layout.channels("weight", weight, x), layout.channels("bias", bias, x)
    y, moments = np.empty_like(x), np.empty((2, len(x) * groups))
    _group_norm(y, moments, x, weight, bias, groups, eps, _workers(x, 3))
    return y, moments


def group_norm_backward(
    dy: Array, x: Array, moments: Array, weight: Array | None, groups: int, eps: float
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias of `group_norm`, whose moments these are: as `layer_norm_backward`, over groups."""
    x = layout.prepared("group_norm_backward", x)
    dy, weight = layout.like(x, dy, "group_norm_backward"), layout.channels("weight", weight, x)
    dx, sums = np.empty_like(x), np.empty((2, x.shape[1]), x.dtype)
    _group_norm_backward(dx, sums[0], sums[1], dy, x, moments, weight, groups, eps, _workers(x, 5))
    return dx, sums[0], sums[1]


def _rows(x: Array, axes: int) -> tuple[Array, int]:
    """x as (rows, values), contiguous, and how many values."""
    size = math.prod(x.shape[x.ndim - axes :])
    count = math.prod(x.shape[: x.ndim - axes])
    dtype = x.dtype if x.dtype.isnative else x.dtype.newbyteorder("=")
    return np.require(x, dtype, ["C", "A"]).reshape(count, size), size


def _line(values: Array | None) -> Array | None:
    return None if values is None else np.require(values, None, ["C", "A"]).reshape(-1)


def _workers(x: Array, passes: int) -> int:
    threads = get_num_threads()
    return 1 if threads == 1 or x.size < THREADED_SIZE else useful_threads(threads, passes * x.nbytes)
