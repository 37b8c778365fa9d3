"""Activations that PyTorch has in ``torch.nn.functional`` only. At a kink the gradient is PyTorch's."""

import math
from typing import Any

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn.autograd import apply
from tinybn.functional.arguments import check_floating, check_not_bool
from tinybn.functional.arithmetic import abs
from tinybn.functional.elementwise import erf, expm1, sigmoid, tanh

__all__ = [
    "celu",
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "relu6",
    "selu",
    "silu",
    "softplus",
    "softsign",
]


# --- piecewise linear -------------------------------------------------------------------------------------------------


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
    check_not_bool(name, x)
    if x.dtype.kind == "u" and low < 0:
        raise ValueError(f"{name}: min_val is {low}, which {x.dtype} cannot hold")
    bottom, top = x.dtype.type(low), x.dtype.type(high)
    return apply(ops.where, x.data <= bottom, bottom, apply(ops.where, x.data >= top, top, x))


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Tensor:
    """x where it is positive, negative_slope·x elsewhere (Maas 2013)."""
    x = _floating("leaky_relu", input)
    return apply(ops.where, x.data > 0, x, x * negative_slope)


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
    check_not_bool("softsign", x)
    return x / (1 + abs(x))


def _floating(name: str, input: Any) -> Tensor:
    x = as_tensor(input)
    check_floating(name, x)
    return x
