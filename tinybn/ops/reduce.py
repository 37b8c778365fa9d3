"""Reductions over axes. `axis` is None (all), an int or a tuple of ints."""

from __future__ import annotations  # those of nested functions would be computed at each call

from typing import Any

import numpy as np

from tinybn._typing import Array, Axis, Op, Shape
from tinybn.ops._call import call
from tinybn.ops.shape import broadcast_to, flip


def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Op:
    out = x.sum(axis=axis, keepdims=keepdims, dtype=x.dtype if x.dtype.kind == "f" else None)
    shape, kept = x.shape, kept_shape(x.shape, axis)

    def backward(dy: Any) -> tuple[Any, ...]:
        return (call(broadcast_to, dy.reshape(kept), shape),)

    return out, backward, ()


def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Op:
    count = x.size // max(1, int(np.prod(kept_shape(x.shape, axis)))) or 0
    # An empty mean is NaN, as in PyTorch, and no reason for a warning.
    total = x.sum(axis=axis, keepdims=keepdims, dtype=np.float32 if x.dtype == np.float16 else None)
    out = (total / total.dtype.type(count) if count else total * total.dtype.type(np.nan)).astype(x.dtype, copy=False)
    shape, kept = x.shape, kept_shape(x.shape, axis)

    def backward(dy: Any) -> tuple[Any, ...]:
        return (call(broadcast_to, (dy * (1 / count) if count else dy).reshape(kept), shape),)

    return out, backward, ()


def cumsum(x: Array, axis: int) -> Op:
    """The sums of the first 1, 2, … elements along an axis."""
    out = np.cumsum(x, axis=axis, dtype=x.dtype if x.dtype.kind == "f" else None)

    def backward(dy: Any) -> tuple[Any, ...]:
        return (call(flip, call(cumsum, call(flip, dy, (axis,)), axis), (axis,)),)

    return out, backward, ()


def amax(x: Array, axis: Axis = None, keepdims: bool = False) -> Op:
    """The largest value; equal ones share the gradient evenly."""
    out = x.max(axis=axis, keepdims=keepdims)
    return out, _backward_of_extreme(x, out, axis), ()


def amin(x: Array, axis: Axis = None, keepdims: bool = False) -> Op:
    """The smallest value; equal ones share the gradient evenly."""
    out = x.min(axis=axis, keepdims=keepdims)
    return out, _backward_of_extreme(x, out, axis), ()


def _backward_of_extreme(x: Array, out: Array, axis: Axis) -> Any:
    kept = kept_shape(x.shape, axis)
    hit = x == np.reshape(out, kept)
    share = (hit / hit.sum(axis=axis, keepdims=True)).astype(x.dtype)  # NaN where the extreme is NaN

    def backward(dy: Any) -> tuple[Any, ...]:
        return (dy.reshape(kept) * share,)

    return backward


def kept_shape(shape: Shape, axis: Axis) -> Shape:
    """The shape of a reduction with keepdims=True."""
    if axis is None:
        return (1,) * len(shape)
    axes = (axis,) if isinstance(axis, int) else axis
    reduced = {a % len(shape) for a in axes} if shape else set()
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))
