"""Reading and scattering by index. Each is the other's derivative."""

from __future__ import annotations  # those of nested functions would be computed at each call

import math
from typing import Any

import numpy as np

from tinybn._typing import Array, Op, Shape
from tinybn.ops._call import call


def getitem(x: Array, index: Any) -> Op:
    """x[index] with NumPy's basic, boolean and integer indexing, where integers are taken before arrays."""
    view, rest = _without_integers(x, index)
    out = view[rest]
    if type(out) is not np.ndarray:  # NumPy copies a single element; an Ellipsis makes it a view, as all basic indexing
        out = x[(*index, ...) if isinstance(index, tuple) else (index, ...)]
    shape = x.shape

    def backward(dy: Any, index: Any) -> tuple[Any, ...]:
        return (call(scatter, dy, index, shape),)

    return out, backward, (index,)


def scatter(y: Array, index: Any, shape: Shape) -> Op:
    """Zeros of `shape` with y added at `index`; where an index repeats, its values add up."""
    out = np.zeros(shape, y.dtype)
    if _is_basic(index):
        out[index] = y
    else:
        np.add.at(*_without_integers(out, index), y)

    def backward(dy: Any, index: Any) -> tuple[Any, ...]:
        return (call(getitem, dy, index),)

    return out, backward, (index,)


def diagonal(x: Array, offset: int) -> Op:
    """The diagonal of the last two axes, so many columns to the right of the main one: a view."""
    out = np.diagonal(x, offset, -2, -1)
    out.flags.writeable = x.flags.writeable  # NumPy's is read-only
    shape, length = x.shape, out.shape[-1]

    def backward(dy: Any) -> tuple[Any, ...]:
        steps = np.arange(length)
        return (call(scatter, dy, (..., max(0, -offset) + steps, max(0, offset) + steps), shape),)

    return out, backward, ()


def put(x: Array, value: Array, index: Any, out: Array | None = None) -> Op:
    """x with x[index] = value; ``out=x`` makes the change in place. Where an index repeats, one of its values stays."""
    out = x.copy(order="K") if out is None else out
    view, rest = _without_integers(out, index)
    view[rest] = value
    shape = x.shape

    def backward(dy: Any, index: Any) -> tuple[Any, ...]:
        return lambda: call(put, dy, 0, index), lambda: call(getitem, dy, index) * _stay(shape, index)

    return out, backward, (index,)


def _stay(shape: Shape, index: Any) -> Any:
    """1 for each value that is put at `index` and stays, 0 for one that a later one overwrites."""
    if _is_basic(index):
        return 1
    view, rest = _without_integers(np.arange(math.prod(shape)).reshape(shape), index)
    places = view[rest]
    last = np.zeros(math.prod(shape), int)
    last[places] = np.arange(places.size).reshape(places.shape)
    return last[places] == np.arange(places.size).reshape(places.shape)


def _without_integers(x: Array, index: Any) -> tuple[Array, Any]:
    """A view of x and what is left to index it with, where integers stand beside arrays in the index.

    NumPy broadcasts such integers with the arrays, which moves axes: x[0, :, [1, 2]] has its slice last. PyTorch takes
    them first, and so does this.
    """
    if not isinstance(index, tuple) or all(map(_is_integer, index)) or not any(map(_is_integer, index)):
        return x, index
    if any(isinstance(part, bool | np.bool_) for part in index) or _is_basic(index):
        return x, index
    view: list[Any] = []
    rest: list[Any] = []
    for part in index:
        if _is_integer(part):
            view.append(int(part))  # an array of one would copy
        elif part is None or part is Ellipsis or isinstance(part, slice):
            view.append(part)
            rest.append(part if part is Ellipsis else slice(None))
        else:
            axes = np.ndim(part) if np.asarray(part).dtype == np.bool_ else 1
            view.extend([slice(None)] * axes)
            rest.append(part)
    return x[tuple(view)], tuple(rest)


def _is_integer(part: Any) -> bool:
    return isinstance(part, int | np.integer) or (
        isinstance(part, np.ndarray) and part.shape == () and part.dtype != bool
    )


def _is_basic(index: Any) -> bool:
    """Basic indices name no element twice: plain assignment serves, some 50 times faster than add.at."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, slice | int | np.integer) for p in parts)
