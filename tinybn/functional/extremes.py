"""The largest and the smallest: values and places."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array, Axis
from tinybn.autograd import apply
from tinybn.functional.arguments import axis_number, check_elements, check_not_bool, numpy_names, reduced_axes
from tinybn.functional.elementwise import maximum, minimum

__all__ = [
    "amax",
    "amin",
    "argmax",
    "argmin",
    "max",
    "min",
]


class ValuesAndIndices(NamedTuple):
    """Some elements along an axis, and where they stood on it."""

    values: Tensor
    indices: Tensor


def amax(input: Any, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """The largest value; equal ones share the gradient.

    >>> import tinybn as tb
    >>> tb.amax([[1, 2], [4, 3]], dim=(0, 1)).item()
    4
    """
    return _extreme("amax", ops.amax, input, dim, keepdim)


def amin(input: Any, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """The smallest value; equal ones share the gradient."""
    return _extreme("amin", ops.amin, input, dim, keepdim)


def _extreme(name: str, op: Any, input: Any, dim: Axis, keepdim: bool) -> Tensor:
    x = as_tensor(input)
    axes = reduced_axes(name, x, dim)
    check_elements(name, x, axes)
    return apply(op, x, axes, keepdim)


@numpy_names
def max(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest value of all; over one axis; or of two tensors.

    Returns:
        ``max(x)``: a scalar; equal values share the gradient.
        ``max(x, dim)``: ``(values, indices)``, of the first of equal values, which gets the gradient.
        ``max(x, other)``: `maximum`.

    >>> import tinybn as tb
    >>> values, indices = tb.max([[1.0, 3.0], [5.0, 2.0]], 1)
    >>> values.tolist(), indices.tolist()
    ([3.0, 5.0], [1, 0])
    """
    return _max_or_min("max", maximum, np.max, np.argmax, input, dim, keepdim, other)


@numpy_names
def min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest value of all; over one axis; or of two tensors. As `max`."""
    return _max_or_min("min", minimum, np.min, np.argmin, input, dim, keepdim, other)


def _max_or_min(
    name: str, of_two: Any, of_all: Any, position: Any, input: Any, dim: Any, keepdim: Any, other: Any
) -> Any:
    x = as_tensor(input)
    if isinstance(dim, Tensor | np.ndarray) and other is None:
        dim, other = None, dim
    if other is not None:
        if dim is not None or keepdim is not False:
            raise TypeError(f"{name}: the comparison with another tensor takes neither dim nor keepdim")
        return of_two(x, other)
    if dim is None:
        if keepdim:
            raise TypeError(f"{name}: keepdim needs a dim")
        check_elements(name, x, None)
        return shared(x, of_all(x.data))
    return selected(name, x, dim, keepdim, lambda row, axis: position(row, axis=axis, keepdims=True))


def shared(x: Tensor, value: Any) -> Tensor:
    """A value of x; the elements that have it share its gradient."""
    if value != value:  # NaN, which is nowhere equal
        return apply(ops.mean, x[np.isnan(x.data)])
    return apply(ops.amax, x[x.data == value])


def selected(
    name: str, x: Tensor, dim: int, keepdim: bool, position: Callable[[Array, int], Array]
) -> ValuesAndIndices:
    """One element of each row along an axis, at ``position(row, axis)``, which keeps the axis."""
    axis = axis_number(name, x, dim)
    check_elements(name, x, (axis,))
    row = x if x.ndim else x.reshape(1)
    indices = position(row.data, axis)
    shape = (*x.shape[:axis], *(1,) * (keepdim and x.ndim > 0), *x.shape[axis + 1 :])
    return ValuesAndIndices(pick(row, axis, indices).reshape(shape), Tensor(indices.reshape(shape)))


def pick(x: Tensor, axis: int, indices: Array) -> Tensor:
    """x at ``indices`` along an axis, each at its own place along the others, as ``np.take_along_axis`` does it."""
    return x[grid_of(axis, indices)]


def grid_of(axis: int, indices: Array) -> tuple[Array, ...]:
    """The index arrays that name, for each element of ``indices``, its own place with that number on the axis."""
    grid: list[Array] = [*np.indices(indices.shape, sparse=True)]
    grid[axis] = indices
    return tuple(grid)


@numpy_names
def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the largest value stands, the first of equal ones; without ``dim``, counted in row-major order.

    >>> import tinybn as tb
    >>> tb.argmax([[1.0, 3.0], [5.0, 2.0]], 1)
    tensor([1, 0])
    """
    return _position("argmax", np.argmax, input, dim, keepdim)


@numpy_names
def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the smallest value stands. As `argmax`."""
    return _position("argmin", np.argmin, input, dim, keepdim)


def _position(name: str, function: Any, input: Any, dim: int | None, keepdim: bool) -> Tensor:
    x = as_tensor(input)
    check_not_bool(name, x)
    axis = None if dim is None else axis_number(name, x, dim)
    check_elements(name, x, None if axis is None else (axis,))
    return Tensor(np.asarray(function(x.data, axis=axis if x.ndim else None, keepdims=keepdim)))
