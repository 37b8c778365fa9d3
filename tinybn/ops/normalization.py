"""BatchNorm over every axis but the second: x (N, C, *spatial), weight and bias (C,) or None.

    y = (x − mean) · rstd · weight + bias,    rstd = 1/√(var + eps),    var biased

The work is done by the kernels. To be differentiated twice, each backward is written once more with ops: it
recomputes the statistics from x, so that nothing is taken for a constant that is not one.
"""

from __future__ import annotations  # those of nested functions would be computed at each call

from typing import Any

import numpy as np

from tinybn import kernels
from tinybn._typing import Array, Op


def batch_norm(x: Array, weight: Array | None, bias: Array | None, eps: float) -> Op:
    """With the batch's own statistics. By-products: mean and biased variance (C,), in float64."""
    y, mean, var = kernels.batch_norm(x, weight, bias, eps)

    def backward(dy: Any, x: Any, weight: Any) -> tuple[Any, ...]:
        if isinstance(dy, np.ndarray):
            return kernels.batch_norm_backward(dy, x, mean, var, weight, eps)
        axes, shape = _reduced_axes(x), _channel_shape(x)
        centered = x - x.mean(axis=axes, keepdims=True)
        rstd = ((centered * centered).mean(axis=axes, keepdims=True) + eps) ** -0.5
        x_hat = centered * rstd
        scale = rstd if weight is None else rstd * weight.reshape(shape)
        dy_mean, dy_x_hat_mean = dy.mean(axis=axes, keepdims=True), (dy * x_hat).mean(axis=axes, keepdims=True)
        dx = scale * (dy - dy_mean - x_hat * dy_x_hat_mean)
        return dx, (dy * x_hat).sum(axis=axes), dy.sum(axis=axes)

    return (y, mean, var), backward, (x, weight)


def normalize(x: Array, weight: Array | None, bias: Array | None, mean: Array, var: Array, eps: float) -> Op:
    """With given statistics (C,), which are constants."""
    y = kernels.normalize(x, mean, var, weight, bias, eps)

    def backward(dy: Any, x: Any, weight: Any, mean: Array, var: Array) -> tuple[Any, ...]:
        if isinstance(dy, np.ndarray):
            return kernels.normalize_backward(dy, x, mean, var, weight, eps)
        axes, shape = _reduced_axes(x), _channel_shape(x)
        rstd = ((var + eps) ** -0.5).astype(x.dtype).reshape(shape)
        x_hat = (x - mean.astype(x.dtype).reshape(shape)) * rstd
        scale = rstd if weight is None else weight.reshape(shape) * rstd
        return dy * scale, (dy * x_hat).sum(axis=axes), dy.sum(axis=axes)

    return y, backward, (x, weight, mean, var)


def _reduced_axes(x: Any) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _channel_shape(x: Any) -> tuple[int, ...]:
    return (1, -1) + (1,) * (x.ndim - 2)
