"""Primitives that move elements without computing on them."""

from __future__ import annotations  # those of nested functions would be computed at each call

from typing import Any

import numpy as np

from tinybn._typing import Array, Op, Shape
from tinybn.ops._call import call


def reshape(x: Array, shape: Shape) -> Op:
    out = x.reshape(shape)
    source = x.shape

    def backward(dy: Any) -> tuple[Any, ...]:
        return (call(reshape, dy, source),)

    return out, backward, ()


def transpose(x: Array, axes: tuple[int, ...]) -> Op:
    """The axes in another order: out.shape[i] = x.shape[axes[i]]."""
    out = x.transpose(axes)
    inverse = tuple(int(i) for i in np.argsort([axis % x.ndim for axis in axes]))

    def backward(dy: Any) -> tuple[Any, ...]:
        return (call(transpose, dy, inverse),)

    return out, backward, ()


def broadcast_to(x: Array, shape: Shape) -> Op:
    out = x.view() if x.shape == tuple(shape) else np.broadcast_to(x, shape)

    def backward(dy: Any) -> tuple[Any, ...]:
        return (dy,)  # the engine sums it back to x's shape

    return out, backward, ()


def concatenate(*arrays: Array, axis: int = 0) -> Op:
    out = np.concatenate(arrays, axis=axis)
    axis %= out.ndim
    stops = np.cumsum([x.shape[axis] for x in arrays]).tolist()

    def backward(dy: Any) -> tuple[Any, ...]:
        return tuple(dy[(slice(None),) * axis + (slice(a, b),)] for a, b in zip([0, *stops], stops, strict=False))

    return out, backward, ()


def flip(x: Array, axes: tuple[int, ...]) -> Op:
    out = np.flip(x, axes)

    def backward(dy: Any) -> tuple[Any, ...]:
        return (call(flip, dy, axes),)

    return out, backward, ()


def clone(x: Array, order: Any = "K") -> Op:
    """A copy, in the memory layout of x or in row-major order, "C"."""
    out = x.copy(order=order)

    def backward(dy: Any) -> tuple[Any, ...]:
        return (dy,)

    return out, backward, ()
