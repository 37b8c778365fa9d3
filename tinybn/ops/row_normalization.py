"""Normalization with statistics of each example's own: over its last axes, or over groups of its channels.

    y = (x − mean) · rstd · weight + bias,    rstd = 1/√(var + eps),    var biased

As in `normalization`, each backward is written once more with ops, to be differentiated twice.
"""

from __future__ import annotations  # those of nested functions would be computed at each call

import math
from typing import Any

import numpy as np

from tinybn import kernels
from tinybn._typing import Array, Op


def layer_norm(x: Array, weight: Array | None, bias: Array | None, axes: int, eps: float, centered: bool = True) -> Op:
    """Over the last ``axes`` axes, of which weight and bias have the shape; not centered (RMSNorm): with mean 0.

    By-product: mean and variance of each row, float64 (2, R).
    """
    y, moments = kernels.layer_norm(x, weight, bias, axes, eps, centered)
    affine = weight is not None or bias is not None

    def backward(dy: Any, x: Any, weight: Any) -> tuple[Any, ...]:
        if isinstance(dy, np.ndarray):
            return kernels.layer_norm_backward(dy, x, moments, weight, axes, eps, centered, affine)
        last = tuple(range(x.ndim - axes, x.ndim))
        x_hat, rstd = _standardized(x, last, eps, centered)
        dx = _input_gradient(dy if weight is None else dy * weight, x_hat, rstd, last, centered)
        return dx, dy * x_hat, dy  # the engine sums over the rows

    return (y, moments), backward, (x, weight)


def group_norm(x: Array, weight: Array | None, bias: Array | None, groups: int, eps: float) -> Op:
    """x (N, C, ...) over each group of channels of each example; weight and bias (C,).

    By-product: mean and variance of each example's groups, float64 (2, N·groups).
    """
    y, moments = kernels.group_norm(x, weight, bias, groups, eps)
    affine = weight is not None or bias is not None

    def backward(dy: Any, x: Any, weight: Any) -> tuple[Any, ...]:
        if isinstance(dy, np.ndarray):
            return kernels.group_norm_backward(dy, x, moments, weight, groups, eps, affine)
        grouped = (x.shape[0], groups, math.prod(x.shape[1:]) // groups)
        x_hat, rstd = _standardized(x.reshape(grouped), (2,), eps, True)
        g = dy if weight is None else dy * weight.reshape(-1, *(1,) * (x.ndim - 2))
        dx = _input_gradient(g.reshape(grouped), x_hat, rstd, (2,), True).reshape(x.shape)
        axes = (0, *range(2, x.ndim))
        return dx, (dy * x_hat.reshape(x.shape)).sum(axis=axes), dy.sum(axis=axes)

    return (y, moments), backward, (x, weight)


def _standardized(x: Any, axes: tuple[int, ...], eps: float, centered: bool) -> tuple[Any, Any]:
    """x̂ and rstd."""
    if centered:
        x = x - x.mean(axis=axes, keepdims=True)
    rstd = ((x * x).mean(axis=axes, keepdims=True) + eps) ** -0.5
    return x * rstd, rstd


def _input_gradient(g: Any, x_hat: Any, rstd: Any, axes: tuple[int, ...], centered: bool) -> Any:
    """rstd·(g − mean(g) − x̂·mean(g·x̂))."""
    inner = g - x_hat * (g * x_hat).mean(axis=axes, keepdims=True)
    if centered:
        inner = inner - g.mean(axis=axes, keepdims=True)
    return rstd * inner
