"""Compositions of elementwise ops and reductions, and the ops of two tensors that have no operator."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, _binary, as_tensor, promoted
from tinybn._typing import Axis
from tinybn.autograd import apply
from tinybn.functional.shape import squeeze


def square(input: Tensor) -> Tensor:
    """x²."""
    return input * input


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x limited to min..max. The gradient is 1 inside and at the limits, 0 outside.

    >>> import tinybn as tb
    >>> tb.tensor([-2.0, 0.5, 3.0]).clamp(-1, 1)
    tensor([-1. ,  0.5,  1. ])
    """
    if min is None and max is None:
        raise ValueError("clamp: give min, max or both")
    if min is not None:
        input = where(input < min, min, input)
    return input if max is None else where(input > max, max, input)


def where(condition: Any, input: Any, other: Any) -> Tensor:
    """``input`` where the condition holds, ``other`` elsewhere."""
    mask = as_tensor(condition).data
    if isinstance(input, Tensor):
        input, other = promoted(input, other)
    else:
        other, input = promoted(as_tensor(other), input)
    return apply(ops.where, mask, input, other)


def maximum(input: Tensor, other: Any) -> Tensor:
    """The larger of the two, elementwise; equal ones share the gradient."""
    return _binary(ops.maximum, input, other)


def minimum(input: Tensor, other: Any) -> Tensor:
    """The smaller of the two, elementwise; equal ones share the gradient."""
    return _binary(ops.minimum, input, other)


def var(input: Tensor, dim: Axis = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """Σ(x − mean)²/(n − correction) over axes.

    >>> import tinybn as tb
    >>> tb.tensor([1.0, 3.0]).var().item()
    2.0
    """
    centered = input - input.mean(dim, keepdim=True)
    total = (centered * centered).sum(dim, keepdim)
    count = input.numel() // (total.numel() or 1)
    return total / (count - correction) if count > correction else total * np.nan


def std(input: Tensor, dim: Axis = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """√var."""
    return var(input, dim, correction, keepdim).sqrt()


def max(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest value of all, or ``(values, indices)`` over an axis."""
    return input.amax() if dim is None else _take(input, input.argmax(dim, keepdim=True), dim, keepdim)


def min(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest value of all, or ``(values, indices)`` over an axis."""
    return input.amin() if dim is None else _take(input, input.argmin(dim, keepdim=True), dim, keepdim)


def _take(input: Tensor, indices: Tensor, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    grid = list(np.indices(indices.shape, sparse=True))
    grid[dim] = indices.data
    values = input[tuple(grid)]
    return (values, indices) if keepdim else (squeeze(values, dim), squeeze(indices, dim))
