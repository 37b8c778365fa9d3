"""Reading and scattering by index. Each is the other's derivative."""

from typing import Any

import numpy as np

from tinybn._typing import Array, Op, Shape
from tinybn.ops._call import call


def getitem(x: Array, index: Any) -> Op:
    """x[index] with NumPy's basic, boolean and integer indexing."""
    out = x[index]
    shape = x.shape

    def backward(dy: Any) -> tuple[Any, ...]:
        return (call(scatter, dy, index, shape),)

    return out, backward, ()


def scatter(y: Array, index: Any, shape: Shape) -> Op:
    """Zeros of `shape` with y added at `index`; where an index repeats, its values add up."""
    out = np.zeros(shape, y.dtype)
    if _is_basic(index):
        out[index] = y
    else:
        np.add.at(out, index, y)

    def backward(dy: Any) -> tuple[Any, ...]:
        return (call(getitem, dy, index),)

    return out, backward, ()


def _is_basic(index: Any) -> bool:
    """Basic indices name no element twice: plain assignment serves, some 50 times faster than add.at."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, slice | int | np.integer) for p in parts)
