"""Activations. At a kink the gradient is PyTorch's, and NaN comes through."""

import math
from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import DTypeLike
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError
from tinybn.functional.arguments import axis_of, check_dtypes, check_floating
from tinybn.functional.elementwise import abs, erf, expm1, sigmoid, tanh

__all__ = [
    "celu",
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "silu",
    "softmax",
    "softplus",
    "softsign",
]


def _floating(name: str, input: Any) -> Tensor:
    x = as_tensor(input)
    check_floating(name, x)
    return x


# --- piecewise linear -------------------------------------------------------------------------------------------------


def relu(input: Any) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    x = as_tensor(input)
    if x.dtype == np.bool_:
        raise DTypeError("relu: expected numbers, got bools")
    return apply(ops.relu, x)


def relu6(input: Any) -> Tensor:
    """x limited to 0..6; the gradient at both is 0."""
    return _limited("relu6", input, 0, 6)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x limited to min_val..max_val; the gradient at both is 0, where `clamp` has 1.

    >>> import tinybn as tb
    >>> tb.functional.hardtanh([-2.0, 0.5, 2.0])
    tensor([-1. ,  0.5,  1. ])
    """
    return _limited("hardtanh", input, min_val, max_val)


def _limited(name: str, input: Any, low: float, high: float) -> Tensor:
    x = as_tensor(input)
    if low > high:
        raise ValueError(f"{name}: min_val is {low}, above max_val, {high}")
    if x.dtype == np.bool_:
        raise DTypeError(f"{name}: expected numbers, got bools")
    if x.dtype.kind == "u" and low < 0:
        raise ValueError(f"{name}: min_val is {low}, which {x.dtype} cannot hold")
    bottom, top = x.dtype.type(low), x.dtype.type(high)
    return apply(ops.where, x.data <= bottom, bottom, apply(ops.where, x.data >= top, top, x))


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Tensor:
    """x where it is positive, negative_slope·x elsewhere (Maas 2013)."""
    x = _floating("leaky_relu", input)
    return apply(ops.where, x.data > 0, x, x * negative_slope)


def prelu(input: Any, weight: Any) -> Tensor:
    """x where it is positive, weight·x elsewhere (He 2015).

    Args:
        input: (N, C, ...).
        weight: (C,) for a slope per channel, (1,) or () for one for all.

    >>> import tinybn as tb
    >>> tb.prelu(tb.tensor([[-2.0, -2.0]]), tb.tensor([0.5, 0.25]))
    tensor([[-1. , -0.5]])
    """
    x, slope = as_tensor(input), as_tensor(weight)
    check_dtypes("prelu", input=x, weight=slope)
    check_floating("prelu", x)
    if slope.ndim > 1:
        raise ShapeError(f"prelu: expected a weight of one axis, got shape {slope.shape}")
    channels = x.shape[1] if x.ndim > 1 else 1
    if slope.numel() not in (1, channels):
        raise ShapeError(f"prelu: expected 1 weight or {channels}, as many as channels, got shape {slope.shape}")
    slope = slope.reshape(-1, *(1,) * max(0, x.ndim - 2)) if x.ndim else slope.reshape(())
    positive = x.data > 0
    return apply(ops.where, positive, x, apply(ops.where, positive, 0.0, x) * slope)


def hardsigmoid(input: Any) -> Tensor:
    """relu6(x + 3)/6, a sigmoid of three straight lines (Courbariaux 2015)."""
    return relu6(_floating("hardsigmoid", input) + 3) / 6


def hardswish(input: Any) -> Tensor:
    """x·hardsigmoid(x) (Howard 2019)."""
    x = _floating("hardswish", input)
    return x * hardsigmoid(x)


# --- exponential where negative ---------------------------------------------------------------------------------------


def elu(input: Any, alpha: float = 1.0) -> Tensor:
    """x where it is positive, alpha·(eˣ − 1) elsewhere (Clevert 2016)."""
    return _elu("elu", input, alpha, 1.0)


def selu(input: Any) -> Tensor:
    """1.0507·elu(x, 1.6733), which keeps mean 0 and variance 1 (Klambauer 2017)."""
    return 1.0507009873554804934193349852946 * _elu("selu", input, 1.6732632423543772848170429916717, 1.0)


def celu(input: Any, alpha: float = 1.0) -> Tensor:
    """x where it is positive, alpha·(exp(x/alpha) − 1) elsewhere (Barron 2017)."""
    if alpha == 0:
        raise ValueError("celu: alpha is 0; expected any other number")
    return _elu("celu", input, alpha, 1 / alpha)


def _elu(name: str, input: Any, alpha: float, input_scale: float) -> Tensor:
    x = _floating(name, input)
    negative = x.data <= 0
    curved = alpha * expm1(apply(ops.where, negative, x, 0.0) * input_scale)  # where it is used; elsewhere eˣ overflows
    return apply(ops.where, negative, curved, x)


# --- smooth -----------------------------------------------------------------------------------------------------------


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """x·Φ(x), with the normal distribution's Φ(x) = ½(1 + erf(x/√2)) (Hendrycks 2016).

    Args:
        approximate: "tanh" takes ½(1 + tanh(√(2/π)·(x + 0.044715·x³))) for Φ.
    """
    x = _floating("gelu", input)
    if approximate == "none":
        return x * (0.5 * (1 + erf(x * math.sqrt(0.5))))
    if approximate != "tanh":
        raise ValueError(f"gelu: approximate is {approximate!r}; expected 'none' or 'tanh'")
    return x * (0.5 * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x)))))


def silu(input: Any) -> Tensor:
    """x·sigmoid(x), also called swish."""
    x = _floating("silu", input)
    return x * sigmoid(x)


def mish(input: Any) -> Tensor:
    """x·tanh(log(1 + eˣ)) (Misra 2019)."""
    x = _floating("mish", input)
    return x * tanh(apply(ops.logaddexp, x, 0.0))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta·x))/beta, a smooth relu; x itself where beta·x is above the threshold."""
    x = _floating("softplus", input)
    scaled = x * beta
    return apply(ops.where, scaled.data > threshold, x, apply(ops.logaddexp, scaled, 0.0) / beta)


def logsigmoid(input: Any) -> Tensor:
    """log sigmoid(x), without the overflow that the two in turn would have."""
    return -apply(ops.logaddexp, -_floating("logsigmoid", input), 0.0)


def softsign(input: Any) -> Tensor:
    """x/(1 + |x|).

    >>> import tinybn as tb
    >>> tb.functional.softsign([-1.0, 3.0])
    tensor([-0.5 ,  0.75])
    """
    x = as_tensor(input)
    if x.dtype == np.bool_:
        raise DTypeError("softsign: expected numbers, got bools")
    return x / (1 + abs(x))


# --- over an axis -----------------------------------------------------------------------------------------------------


def softmax(input: Any, dim: int, dtype: DTypeLike = None) -> Tensor:
    """exp(x)/Σexp(x) over an axis.

    Args:
        dtype: cast to it first.

    >>> import tinybn as tb
    >>> tb.functional.softmax(tb.zeros(4), dim=0)
    tensor([0.25, 0.25, 0.25, 0.25])
    """
    return _over_axis(ops.softmax, input, dim, dtype)


def log_softmax(input: Any, dim: int, dtype: DTypeLike = None) -> Tensor:
    """log softmax(x) over an axis, without the overflow that the two in turn would have."""
    return _over_axis(ops.log_softmax, input, dim, dtype)


def _over_axis(op: Any, input: Any, dim: int, dtype: DTypeLike) -> Tensor:
    """Apply an op that works on the last axis to another one."""
    x = as_tensor(input, dtype)
    check_floating(op.__name__, x)
    axis = axis_of(op.__name__, x, dim)
    if not x.ndim:
        return apply(op, x.reshape(1)).reshape(())
    if axis == x.ndim - 1:
        return apply(op, x)
    return apply(op, x.transpose(axis, -1)).transpose(axis, -1)
