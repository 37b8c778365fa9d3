"""Activations."""

from typing import Any

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn.autograd import apply
from tinybn.functional.arguments import axis_of, check_floating

__all__ = ["log_softmax", "relu", "softmax"]


def relu(input: Any) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    return apply(ops.relu, as_tensor(input))


def softmax(input: Any, dim: int) -> Tensor:
    """exp(x)/Σexp(x) over an axis.

    >>> import tinybn as tb
    >>> tb.functional.softmax(tb.zeros(4), dim=0)
    tensor([0.25, 0.25, 0.25, 0.25])
    """
    return _over_axis(ops.softmax, input, dim)


def log_softmax(input: Any, dim: int) -> Tensor:
    """log softmax(x) over an axis, without the overflow that the two in turn would have."""
    return _over_axis(ops.log_softmax, input, dim)


def _over_axis(op: Any, input: Any, dim: int) -> Tensor:
    """Apply an op that works on the last axis to another one."""
    x = as_tensor(input)
    check_floating(op.__name__, x)
    axis = axis_of(op.__name__, x, dim)
    if not x.ndim:
        return apply(op, x.reshape(1)).reshape(())
    if axis == x.ndim - 1:
        return apply(op, x)
    return apply(op, x.transpose(axis, -1)).transpose(axis, -1)
