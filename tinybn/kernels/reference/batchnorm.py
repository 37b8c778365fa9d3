"""The twins of /kernels/batchnorm.pyx, on (N, C, ...)."""

import numpy as np

from tinybn._typing import Array


def batch_moments(moments: Array, x: Array, threads: int) -> None:
    """Mean and biased variance per channel, float64 (2, C); zeros for an empty batch."""
    moments[...] = 0
    if x.size:
        axes, mean = _reduced(x), moments[0]
        x = x.astype(np.float64)
        with np.errstate(all="ignore"):
            mean[...] = x.mean(axis=axes)
            deviation = x - _channels(mean, x)
            correction = deviation.mean(axis=axes)  # what rounding has left in the mean
            moments[1] = (deviation * deviation).mean(axis=axes) - correction * correction
            mean += np.where(np.isfinite(mean), correction, 0)


def batch_norm(
    y: Array,
    moments: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    momentum: float,
    eps: float,
    relu: bool,
    threads: int,
    stream: bool,
    unbiased: bool = True,
) -> bool:
    """Moments of x, x normalized with them, and running = (1 − momentum)·running + momentum·new.

    The running statistics are left alone, and False is returned, when they could not hold the new ones: after a batch
    that is empty or not finite. The new variance is the unbiased one, unless that is not wanted.
    """
    batch_moments(moments, x, threads)
    normalize(y, x, moments[0], moments[1], weight, bias, eps, relu, threads, stream)
    count = x.size // max(1, x.shape[1])
    correction = 1.0 if not unbiased else count / (count - 1) if count > 1 else 0.0
    new = moments * [[1.0], [correction]]
    if not count or not np.abs(new).max(initial=0.0) <= np.finfo(x.dtype).max:  # NaN is not below anything
        return False
    for running, values in zip((running_mean, running_var), new, strict=True):
        if running is not None:
            running[...] = (1 - momentum) * running.astype(np.float64) + momentum * values
    return True


def normalize(
    y: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
    threads: int,
    stream: bool,
) -> None:
    """y = (x − mean)·rstd·weight + bias with rstd = 1/√(var + eps); relu: max(y, 0)."""
    with np.errstate(all="ignore"):
        y[...] = _normalized(x, mean, var, weight, bias, eps)
        if relu:
            np.maximum(y, 0, out=y)


def batch_norm_backward(
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
    threads: int,
    stream: bool,
) -> None:
    """dx = weight·rstd·(dy − Σdy/M − x̂·Σ(dy·x̂)/M), dweight = Σ dy·x̂, dbias = Σ dy; relu: dy counts where y > 0."""
    _gradients(True, dx, dweight, dbias, dy, x, mean, var, weight, bias, eps, relu)


def normalize_backward(
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
    threads: int,
    stream: bool,
) -> None:
    """dx = weight·rstd·dy, dweight = Σ dy·x̂, dbias = Σ dy: the statistics are constants."""
    _gradients(False, dx, dweight, dbias, dy, x, mean, var, weight, bias, eps, relu)


def _gradients(
    own: bool,
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
) -> None:
    axes, count = _reduced(x), x.size // max(1, x.shape[1])
    with np.errstate(all="ignore"):
        x_hat = _normalized(x, mean, var, None, None, eps)
        dy = dy.astype(np.float64)
        if relu:
            dy *= ~(_normalized(x, mean, var, weight, bias, eps) <= 0)
        sum_dy_x_hat, sum_dy = (dy * x_hat).sum(axis=axes), dy.sum(axis=axes)
        dweight[...], dbias[...] = sum_dy_x_hat, sum_dy
        if own and count:
            dy = dy - _channels(sum_dy / count, x) - x_hat * _channels(sum_dy_x_hat / count, x)
        rstd = 1 / np.sqrt(var.astype(np.float64) + eps)
        dx[...] = dy * _channels(rstd if weight is None else weight * rstd, x)


def _normalized(x: Array, mean: Array, var: Array, weight: Array | None, bias: Array | None, eps: float) -> Array:
    rstd = 1 / np.sqrt(var.astype(np.float64) + eps)
    centered = x.astype(np.float64) - _channels(mean, x)
    y = centered * _channels(rstd if weight is None else weight * rstd, x)
    return y if bias is None else y + _channels(bias, x)


def _channels(values: Array, x: Array) -> Array:
    """(C,) so that it lines up with axis 1 of x, in float64."""
    return values.astype(np.float64).reshape((1, -1) + (1,) * (x.ndim - 2))


def _reduced(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))
