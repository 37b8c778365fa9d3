"""Activations."""

from typing import Any

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn.autograd import apply


def relu(input: Any) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    return as_tensor(input).relu()


def sigmoid(input: Any) -> Tensor:
    """1/(1 + exp(−x))."""
    return as_tensor(input).sigmoid()


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return as_tensor(input).tanh()


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
    if not x.ndim:
        return _over_axis(op, x.reshape(1), 0).reshape(())
    if not -x.ndim <= dim < x.ndim:
        raise IndexError(f"{op.__name__}: axis {dim} is out of range for a tensor of shape {x.shape}")
    if dim in (-1, x.ndim - 1):
        return apply(op, x)
    return apply(op, x.transpose(dim, -1)).transpose(dim, -1)
