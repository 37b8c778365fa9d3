"""Sorting, and what follows from it. NaN counts as the largest; equal values keep their order in both directions."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import axis_number, check_not_bool, whole
from tinybn.functional.extremes import ValuesAndIndices, pick, selected, shared

__all__ = ["argsort", "kthvalue", "median", "sort", "topk"]


def sort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> ValuesAndIndices:
    """The values in ascending order along an axis, and where they stood: ``(values, indices)``.

    Args:
        stable: sorting is stable with and without it.

    >>> import tinybn as tb
    >>> values, indices = tb.sort([3.0, 1.0, 2.0])
    >>> values.tolist(), indices.tolist()
    ([1.0, 2.0, 3.0], [1, 2, 0])
    """
    x = as_tensor(input)
    axis = axis_number("sort", x, dim)
    return _first_of(x, axis, x.shape[axis] if x.ndim else 1, descending)


def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that `sort` returns.

    >>> import tinybn as tb
    >>> tb.argsort([3.0, 1.0, 2.0], descending=True)
    tensor([0, 2, 1])
    """
    x = as_tensor(input)
    axis = axis_number("argsort", x, dim)
    row = x.data if x.ndim else x.data.reshape(1)
    return Tensor(_order(row, axis, descending).reshape(x.shape))


def _order(x: Array, axis: int, descending: bool = False) -> Array:
    """The stable order. Downwards it is the upward order of the values read backwards, itself read backwards."""
    if not descending:
        return np.argsort(x, axis, kind="stable")
    backwards = np.argsort(np.flip(x, axis), axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(backwards, axis)


def _first_of(x: Tensor, axis: int, count: int, descending: bool) -> ValuesAndIndices:
    """The first values in order, and where they stood; a scalar is its own first value."""
    row = x if x.ndim else x.reshape(1)
    indices = _order(row.data, axis, descending)[(slice(None),) * axis + (slice(count),)]
    values = pick(row, axis, indices)
    if not x.ndim:
        return ValuesAndIndices(values.reshape(()), Tensor(indices.reshape(())))
    return ValuesAndIndices(values, Tensor(indices))


def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesAndIndices:
    """The k largest values along an axis, and where they stand: ``(values, indices)``.

    Args:
        largest: False for the smallest.
        sorted: they come in order with and without it.

    >>> import tinybn as tb
    >>> values, indices = tb.topk([1.0, 3.0, 2.0], 2)
    >>> values.tolist(), indices.tolist()
    ([3.0, 2.0], [1, 2])
    """
    x = as_tensor(input)
    check_not_bool("topk", x)
    axis = axis_number("topk", x, dim)
    count = _checked_count("topk", x, axis, k, least=0)
    return _first_of(x, axis, count if x.ndim else 1, largest)


def _checked_count(name: str, x: Tensor, axis: int, k: Any, least: int) -> int:
    count, size = whole(f"{name}: k", k), x.shape[axis] if x.ndim else 1
    if not least <= count <= size:
        raise ShapeError(f"{name}: k is {k}; expected {least} to {size}, the size of axis {axis} of shape {x.shape}")
    return count


def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """The k-th smallest value along an axis, counted from 1, and where it stands: ``(values, indices)``.

    >>> import tinybn as tb
    >>> tb.kthvalue([3.0, 1.0, 2.0], 2).values.item()
    2.0
    """
    x = as_tensor(input)
    check_not_bool("kthvalue", x)
    place = _checked_count("kthvalue", x, axis_number("kthvalue", x, dim), k, least=1) - 1
    return selected("kthvalue", x, dim, keepdim, lambda row, axis: np.take(_order(row, axis), [place], axis))


def median(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle value, of two middle ones the smaller one; NaN if one is there.

    Returns:
        Without ``dim`` a scalar, whose gradient equal values share; of no elements NaN.
        Else ``(values, indices)``.

    >>> import tinybn as tb
    >>> tb.median([4.0, 1.0, 3.0, 2.0]).item()
    2.0
    """
    x = as_tensor(input)
    check_not_bool("median", x)
    if dim is not None:
        return selected("median", x, dim, keepdim, _middle)
    if keepdim:
        raise TypeError("median: keepdim needs a dim")
    if not x.numel():
        if x.dtype.kind != "f":
            raise ShapeError(f"median: expected at least one integer, got shape {x.shape}")
        return apply(ops.mean, x)
    flat = x.data.reshape(-1)
    return shared(x, flat[_middle(flat, 0)[0]])


def _middle(x: Array, axis: int) -> Array:
    """Where the medians stand; the axis is kept. NaN come last in order: the first of them, if there are any."""
    size = x.shape[axis]
    count_nan = np.isnan(x).sum(axis=axis, keepdims=True)
    place = np.where(count_nan, size - count_nan, (size - 1) // 2)
    return np.take_along_axis(_order(x, axis), place, axis)
