"""BatchNorm over every axis but the second: x (N, C, *spatial), weight and bias (C,) or None.

    y = (x − mean) · rstd · weight + bias,    rstd = 1/√(var + eps),    var biased;    with relu: max(y, 0)

The work is done by the kernels. To be differentiated twice, each backward is written once more with ops: it
recomputes the statistics from x, so that nothing is taken for a constant that is not one.
"""

from __future__ import annotations  # those of nested functions would be computed at each call

from typing import Any

import numpy as np

from tinybn import kernels
from tinybn._typing import Array, Op


def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    momentum: float = 0.1,
    relu: bool = False,
    unbiased: bool = True,
) -> Op:
    """With the batch's own statistics. By-products: these, and whether the running ones were moved.

    The running arrays (C,) are outputs that the caller hands over, changed in the kernel's own pass. The statistics are
    mean and biased variance, float64 (2, C).
    """
    y, moments, moved = kernels.batch_norm(x, weight, bias, eps, running_mean, running_var, momentum, relu, unbiased)

    def backward(dy: Any, x: Any, weight: Any, bias: Any = None) -> tuple[Any, ...]:
        if isinstance(dy, np.ndarray):
            return kernels.batch_norm_backward(dy, x, moments[0], moments[1], weight, eps, bias, relu)
        axes, shape = _reduced_axes(x), _channel_shape(x)
        centered = x - x.mean(axis=axes, keepdims=True)
        rstd = ((centered * centered).mean(axis=axes, keepdims=True) + eps) ** -0.5
        x_hat = centered * rstd
        if relu:
            dy = dy * _positive(x_hat, weight, bias)
        scale = rstd if weight is None else rstd * weight.reshape(shape)
        dy_mean, dy_x_hat_mean = dy.mean(axis=axes, keepdims=True), (dy * x_hat).mean(axis=axes, keepdims=True)
        dx = scale * (dy - dy_mean - x_hat * dy_x_hat_mean)
        return dx, (dy * x_hat).sum(axis=axes), dy.sum(axis=axes)

    return (y, moments, moved), backward, (x, weight, bias) if relu else (x, weight)


def normalize(
    x: Array, weight: Array | None, bias: Array | None, mean: Array, var: Array, eps: float, relu: bool = False
) -> Op:
    """With given statistics (C,), which are constants."""
    y = kernels.normalize(x, mean, var, weight, bias, eps, relu)

    def backward(dy: Any, x: Any, weight: Any, mean: Array, var: Array, bias: Any = None) -> tuple[Any, ...]:
        if isinstance(dy, np.ndarray):
            return kernels.normalize_backward(dy, x, mean, var, weight, eps, bias, relu)
        axes, shape = _reduced_axes(x), _channel_shape(x)
        rstd = ((var + eps) ** -0.5).astype(x.dtype).reshape(shape)
        x_hat = (x - mean.astype(x.dtype).reshape(shape)) * rstd
        if relu:
            dy = dy * _positive(x_hat, weight, bias)
        scale = rstd if weight is None else weight.reshape(shape) * rstd
        return dy * scale, (dy * x_hat).sum(axis=axes), dy.sum(axis=axes)

    return y, backward, (x, weight, mean, var, bias) if relu else (x, weight, mean, var)


def _positive(x_hat: Any, weight: Any, bias: Any) -> Any:
    """A mask of where the output is not ≤ 0. No gradient flows through it."""
    shape = _channel_shape(x_hat)
    y = x_hat if weight is None else x_hat * weight.reshape(shape)
    return ~((y if bias is None else y + bias.reshape(shape)) <= 0)


def _reduced_axes(x: Any) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _channel_shape(x: Any) -> tuple[int, ...]:
    return (1, -1) + (1,) * (x.ndim - 2)
