"""The activations that are methods of Tensor too. At a kink the gradient is PyTorch's, and NaN comes through."""

from typing import Any

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import DTypeLike
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import axis_number, check_dtypes, check_floating, check_not_bool

__all__ = [
    "log_softmax",
    "prelu",
    "relu",
    "softmax",
]


def relu(input: Any) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    x = as_tensor(input)
    check_not_bool("relu", x)
    return apply(ops.relu, x)


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
    axis = axis_number(op.__name__, x, dim)
    if not x.ndim:
        return apply(op, x.reshape(1)).reshape(())
    if axis == x.ndim - 1:
        return apply(op, x)
    return apply(op, x.transpose(axis, -1)).transpose(axis, -1)
