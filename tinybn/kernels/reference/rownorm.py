"""The NumPy twins of LayerNorm, RMSNorm and GroupNorm, which work in float64."""

import math

import numpy as np

from tinybn._typing import Array


def layer_norm(
    y: Array,
    moments: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    period: int,
    eps: float,
    centered: bool,
    threads: int,
) -> None:
    """Mean and variance of each row, and y = (x − mean)·rstd·weight + bias; not centered: mean 0.

    x has as many rows as moments; row r has the weights from (r % period)·D on.
    """
    rows = _as_rows(x, moments)
    _row_moments(moments, rows, centered)
    if not x.size:
        return
    with np.errstate(all="ignore"):
        made = _standardized(rows, moments, eps)
        for values, combine in ((weight, np.multiply), (bias, np.add)):
            made = made if values is None else combine(_in_periods(made, period), values.reshape(1, period, -1))
        y[...] = made.reshape(x.shape)


def layer_norm_backward(
    dx: Array,
    dweight: Array | None,
    dbias: Array | None,
    dy: Array,
    x: Array,
    moments: Array,
    weight: Array | None,
    period: int,
    eps: float,
    centered: bool,
    scratch: Array,
    threads: int,
) -> None:
    """dx = rstd·(g − mean(g) − x̂·mean(g·x̂)), g = dy·weight; dweight = Σ dy·x̂, dbias = Σ dy."""
    if not x.size:
        for sums in (dweight, dbias):
            if sums is not None:
                sums.fill(0)
        return
    rows = _as_rows(x, moments)
    with np.errstate(all="ignore"):
        x_hat = _standardized(rows, moments, eps)
        wide = dy.reshape(rows.shape).astype(np.float64)
        g = wide if weight is None else (_in_periods(wide, period) * weight.reshape(1, period, -1)).reshape(rows.shape)
        dx[...] = _row_gradient(g, x_hat, moments, eps, centered).reshape(x.shape)
        if dweight is not None and dbias is not None:
            for sums, terms in ((dweight, wide * x_hat), (dbias, wide)):
                sums[...] = _in_periods(terms, period).sum(axis=0).reshape(sums.shape)


def group_norm(
    y: Array,
    moments: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    groups: int,
    eps: float,
    scratch: Array,
    threads: int,
) -> None:
    """Mean and variance of each group of channels of each example of x (N, C, ...), and y as `layer_norm`'s."""
    rows = _grouped(x, groups)
    _row_moments(moments, rows, True)
    with np.errstate(all="ignore"):
        made = _standardized(rows, moments, eps).reshape(x.shape)
        for values, combine in ((weight, np.multiply), (bias, np.add)):
            made = made if values is None else combine(made, _per_channel(values, x))
        y[...] = made


def group_norm_backward(
    dx: Array,
    dweight: Array | None,
    dbias: Array | None,
    dy: Array,
    x: Array,
    moments: Array,
    weight: Array | None,
    groups: int,
    eps: float,
    scratch: Array,
    threads: int,
) -> None:
    """As `layer_norm_backward`, over the groups of each example."""
    axes = (0, *range(2, x.ndim))
    with np.errstate(all="ignore"):
        x_hat = _standardized(_grouped(x, groups), moments, eps)
        g = dy if weight is None else dy * _per_channel(weight.astype(np.float64), x)
        dx[...] = _row_gradient(_grouped(g, groups), x_hat, moments, eps, True).reshape(x.shape)
        if dweight is not None and dbias is not None:
            dweight[...] = (dy * x_hat.reshape(x.shape)).sum(axis=axes)
            dbias[...] = dy.sum(axis=axes, dtype=np.float64)


def _in_periods(rows: Array, period: int) -> Array:
    """(R/period, period, D), or as it is if it is so already."""
    return rows if rows.ndim == 3 else rows.reshape(len(rows) // period, period, rows.shape[1])


def _as_rows(x: Array, moments: Array) -> Array:
    rows = moments.shape[1]
    return x.reshape(rows, x.size // max(1, rows))


def _grouped(x: Array, groups: int) -> Array:
    """(N·groups, values)."""
    return x.reshape(len(x) * groups, math.prod(x.shape[1:]) // groups)


def _per_channel(values: Array, x: Array) -> Array:
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def _row_moments(moments: Array, x: Array, centered: bool) -> None:
    """Of each row, in float64; of an empty one 0."""
    moments[...] = 0
    if x.size:
        with np.errstate(all="ignore"):
            wide = x.astype(np.float64)
            if centered:
                moments[0] = wide.mean(axis=1)
            moments[1] = np.square(wide - moments[0][:, None]).mean(axis=1)


def _standardized(x: Array, moments: Array, eps: float) -> Array:
    """x̂ in float64."""
    return (x - moments[0][:, None]) / np.sqrt(moments[1] + eps)[:, None]


def _row_gradient(g: Array, x_hat: Array, moments: Array, eps: float, centered: bool) -> Array:
    if not x_hat.size:
        return x_hat
    inner = g - x_hat * (g * x_hat).mean(axis=1, keepdims=True)
    if centered:
        inner = inner - g.mean(axis=1, keepdims=True, dtype=np.float64)
    return inner / np.sqrt(moments[1] + eps)[:, None]
