"""Elementwise functions of one tensor or two."""

from typing import Any

from tinybn import ops
from tinybn._tensor import Tensor, as_float, as_tensor, binary
from tinybn.autograd import apply

__all__ = [
    "abs",
    "clamp",
    "exp",
    "log",
    "maximum",
    "minimum",
    "pow",
    "sigmoid",
    "sqrt",
    "square",
    "tanh",
]


def abs(input: Any) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    return as_tensor(input).__abs__()


def pow(input: Any, exponent: Any) -> Tensor:
    """x to the power of the exponent."""
    return as_tensor(input) ** exponent


def exp(input: Any) -> Tensor:
    """eˣ."""
    return apply(ops.exp, as_float(as_tensor(input)))


def log(input: Any) -> Tensor:
    """The natural logarithm."""
    return apply(ops.log, as_float(as_tensor(input)))


def sqrt(input: Any) -> Tensor:
    """√x."""
    return apply(ops.sqrt, as_float(as_tensor(input)))


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return apply(ops.tanh, as_float(as_tensor(input)))


def sigmoid(input: Any) -> Tensor:
    """1/(1 + exp(−x))."""
    return apply(ops.sigmoid, as_float(as_tensor(input)))


def square(input: Any) -> Tensor:
    """x²."""
    x = as_tensor(input)
    return x * x


def clamp(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """x limited to min..max. The gradient is 1 inside and at the limits, 0 outside.

    >>> import tinybn as tb
    >>> tb.tensor([-2.0, 0.5, 3.0]).clamp(-1, 1)
    tensor([-1. ,  0.5,  1. ])
    """
    if min is None and max is None:
        raise ValueError("clamp: give min, max or both")
    x = as_tensor(input)
    if min is not None:
        x = apply(ops.where, (x < min).data, min, x)
    return x if max is None else apply(ops.where, (x > max).data, max, x)


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of the two, elementwise; equal ones share the gradient."""
    return binary(ops.maximum, as_tensor(input), other)


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of the two, elementwise; equal ones share the gradient."""
    return binary(ops.minimum, as_tensor(input), other)
