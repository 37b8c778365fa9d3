"""Reading and scattering by index. Each is the other's derivative."""

from __future__ import annotations  # those of nested functions would be computed at each call

import math
from typing import Any

import numpy as np

from tinybn._typing import Array, Op, Shape
from tinybn.ops._call import call


def getitem(x: Array, index: Any) -> Op:
    """x[index] with NumPy's basic, boolean and integer indexing."""
    out = x[index]
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
        np.add.at(out, index, y)

    def backward(dy: Any, index: Any) -> tuple[Any, ...]:
        return (call(getitem, dy, index),)

    return out, backward, (index,)


def put(x: Array, value: Array, index: Any, out: Array | None = None) -> Op:
    """x with x[index] = value; ``out=x`` makes the change in place. Where an index repeats, one of its values stays."""
    out = x.copy(order="K") if out is None else out
    out[index] = value
    shape = x.shape

    def backward(dy: Any, index: Any) -> tuple[Any, ...]:
        return lambda: call(put, dy, 0, index), lambda: call(getitem, dy, index) * _stay(shape, index)

    return out, backward, (index,)


def _stay(shape: Shape, index: Any) -> Any:
    """1 for each value that is put at `index` and stays, 0 for one that a later one overwrites."""
    if _is_basic(index):
        return 1
    places = np.arange(math.prod(shape)).reshape(shape)[index]
    last = np.zeros(math.prod(shape), int)
    last[places] = np.arange(places.size).reshape(places.shape)
    return last[places] == np.arange(places.size).reshape(places.shape)


def _is_basic(index: Any) -> bool:
    """Basic indices name no element twice: plain assignment serves, some 50 times faster than add.at."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, slice | int | np.integer) for p in parts)
