"""Reductions over axes."""

from typing import Any, NamedTuple

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Axis
from tinybn.autograd import apply
from tinybn.functional.arguments import axes_of, axis_of, check_floating
from tinybn.functional.elementwise import sqrt
from tinybn.functional.shape import squeeze

__all__ = ["all", "amax", "amin", "any", "argmax", "argmin", "max", "mean", "min", "std", "sum", "var"]


def any(input: Any, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Whether something is true, over axes."""
    x = as_tensor(input)
    return Tensor(np.asarray(np.any(x.data, axis=axes_of("any", x, dim), keepdims=keepdim)))


def all(input: Any, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Whether everything is true, over axes."""
    x = as_tensor(input)
    return Tensor(np.asarray(np.all(x.data, axis=axes_of("all", x, dim), keepdims=keepdim)))


def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the largest value stands."""
    x = as_tensor(input)
    return Tensor(np.asarray(np.argmax(x.data, axis=_one_axis("argmax", x, dim), keepdims=keepdim)))


def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the smallest value stands."""
    x = as_tensor(input)
    return Tensor(np.asarray(np.argmin(x.data, axis=_one_axis("argmin", x, dim), keepdims=keepdim)))


def _one_axis(name: str, x: Tensor, dim: int | None) -> int | None:
    axis = None if dim is None else axis_of(name, x, dim)
    return axis if x.ndim else None


def sum(input: Any, dim: Axis = None, keepdim: bool = False, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over axes."""
    x = as_tensor(input)
    return apply(ops.sum, x, axes_of("sum", x, axis if dim is None else dim), keepdim or keepdims)


def mean(input: Any, dim: Axis = None, keepdim: bool = False, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over axes."""
    x = as_tensor(input)
    check_floating("mean", x)
    return apply(ops.mean, x, axes_of("mean", x, axis if dim is None else dim), keepdim or keepdims)


def amax(input: Any, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """The largest value over axes; equal ones share the gradient."""
    x = as_tensor(input)
    return apply(ops.amax, x, axes_of("amax", x, dim), keepdim)


def amin(input: Any, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """The smallest value over axes; equal ones share the gradient."""
    x = as_tensor(input)
    return apply(ops.amin, x, axes_of("amin", x, dim), keepdim)


class Extremes(NamedTuple):
    """What `max` and `min` over an axis return."""

    values: Tensor
    indices: Tensor


def var(input: Any, dim: Axis = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """Σ(x − mean)²/(n − correction) over axes.

    >>> import tinybn as tb
    >>> tb.tensor([1.0, 3.0]).var().item()
    2.0
    """
    x = as_tensor(input)
    centered = x - mean(x, dim, keepdim=True)
    total = sum(centered * centered, dim, keepdim)
    count = x.numel() // (total.numel() or 1)
    return total / (count - correction) if count > correction else total * np.nan


def std(input: Any, dim: Axis = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """√var."""
    return sqrt(var(input, dim, correction, keepdim))


def max(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest value of all, or `Extremes` over an axis: the values, and the indices of the first of each.

    >>> import tinybn as tb
    >>> values, indices = tb.tensor([[1.0, 3.0], [5.0, 2.0]]).max(1)
    >>> values.tolist(), indices.tolist()
    ([3.0, 5.0], [1, 0])
    """
    x = as_tensor(input)
    return amax(x) if dim is None else _take(x, argmax(x, dim, keepdim=True), dim, keepdim)


def min(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest value of all, or `Extremes` over an axis."""
    x = as_tensor(input)
    return amin(x) if dim is None else _take(x, argmin(x, dim, keepdim=True), dim, keepdim)


def _take(x: Tensor, indices: Tensor, dim: int, keepdim: bool) -> Extremes:
    if not x.ndim:
        return Extremes(x, indices)
    grid = list(np.indices(indices.shape, sparse=True))
    grid[dim] = indices.data
    values = x[tuple(grid)]
    return Extremes(values, indices) if keepdim else Extremes(squeeze(values, dim), squeeze(indices, dim))
