"""Compositions of elementwise ops and reductions, and the ops of two tensors that have no operator."""

from typing import Any, NamedTuple

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor, binary, promoted
from tinybn._typing import Axis
from tinybn.autograd import apply
from tinybn.functional.shape import squeeze


class Extremes(NamedTuple):
    """What `max` and `min` over an axis return."""

    values: Tensor
    indices: Tensor


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
        x = where(x < min, min, x)
    return x if max is None else where(x > max, max, x)


def where(condition: Any, input: Any, other: Any) -> Tensor:
    """``input`` where the condition holds, ``other`` elsewhere."""
    mask = as_tensor(condition).data
    if isinstance(input, Tensor):
        input, other = promoted(input, other)
    else:
        other, input = promoted(as_tensor(other), input)
    return apply(ops.where, mask, input, other)


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of the two, elementwise; equal ones share the gradient."""
    return binary(ops.maximum, as_tensor(input), other)


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of the two, elementwise; equal ones share the gradient."""
    return binary(ops.minimum, as_tensor(input), other)


def var(input: Any, dim: Axis = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """Σ(x − mean)²/(n − correction) over axes.

    >>> import tinybn as tb
    >>> tb.tensor([1.0, 3.0]).var().item()
    2.0
    """
    x = as_tensor(input)
    centered = x - x.mean(dim, keepdim=True)
    total = (centered * centered).sum(dim, keepdim)
    count = x.numel() // (total.numel() or 1)
    return total / (count - correction) if count > correction else total * np.nan


def std(input: Any, dim: Axis = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """√var."""
    return var(input, dim, correction, keepdim).sqrt()


def max(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest value of all, or `Extremes` over an axis: the values, and the indices of the first of each.

    >>> import tinybn as tb
    >>> values, indices = tb.tensor([[1.0, 3.0], [5.0, 2.0]]).max(1)
    >>> values.tolist(), indices.tolist()
    ([3.0, 5.0], [1, 0])
    """
    x = as_tensor(input)
    return x.amax() if dim is None else _take(x, x.argmax(dim, keepdim=True), dim, keepdim)


def min(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest value of all, or `Extremes` over an axis."""
    x = as_tensor(input)
    return x.amin() if dim is None else _take(x, x.argmin(dim, keepdim=True), dim, keepdim)


def _take(x: Tensor, indices: Tensor, dim: int, keepdim: bool) -> Extremes:
    if not x.ndim:
        return Extremes(x, indices)
    grid = list(np.indices(indices.shape, sparse=True))
    grid[dim] = indices.data
    values = x[tuple(grid)]
    return Extremes(values, indices) if keepdim else Extremes(squeeze(values, dim), squeeze(indices, dim))
