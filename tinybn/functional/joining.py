"""Joining tensors, and cutting one into parts, which are views."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor, common_dtype
from tinybn._typing import Shape
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import axis_for_dim, axis_number, axis_to_cut, new_axis, whole

__all__ = [
    "cat",
    "chunk",
    "concat",
    "concatenate",
    "hstack",
    "narrow",
    "select",
    "split",
    "stack",
    "unbind",
    "vstack",
]


# --- joining ----------------------------------------------------------------------------------------------------------


@axis_for_dim
def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors one behind the other along an axis, in the dtype that they promote to.

    Vectors without elements join with everything, as in PyTorch.

    >>> import tinybn as tb
    >>> tb.cat([tb.zeros(1), tb.ones(2)])
    tensor([0., 1., 1.])
    """
    return _joined("cat", listed("cat", tensors), dim)


concat = concatenate = cat


@axis_for_dim
def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis.

    >>> import tinybn as tb
    >>> tb.stack([tb.zeros(2), tb.ones(2)], 1)
    tensor([[0., 1.],
            [0., 1.]])
    """
    parts = listed("stack", tensors)
    if any(part.shape != parts[0].shape for part in parts):
        raise ShapeError(f"stack: expected tensors of one shape, got {[part.shape for part in parts]}")
    at = new_axis("stack", parts[0], dim)
    return _joined("stack", [part.reshape((*part.shape[:at], 1, *part.shape[at:])) for part in parts], at)


def hstack(tensors: Sequence[Any]) -> Tensor:
    """Tensors side by side: vectors along their only axis, others along the second."""
    parts = [part.reshape(1) if not part.ndim else part for part in listed("hstack", tensors)]
    return _joined("hstack", parts, 0 if parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Tensor:
    """Tensors one below the other, along the first axis; a vector is a row."""
    return _joined("vstack", [p.reshape(1, p.numel()) if p.ndim < 2 else p for p in listed("vstack", tensors)], 0)


def listed(name: str, tensors: Any) -> list[Tensor]:
    """The tensors of a list, at least one."""
    if not isinstance(tensors, list | tuple):
        raise TypeError(f"{name}: expected a list or tuple of tensors, got {type(tensors).__name__}")
    if not tensors:
        raise ShapeError(f"{name}: expected at least one tensor, got none")
    return [as_tensor(t) for t in tensors]


def _joined(name: str, parts: list[Tensor], dim: int) -> Tensor:
    shapes = [part.shape for part in parts]
    if () in shapes:
        raise ShapeError(f"{name}: a tensor without axes cannot be joined; use stack; got shapes {shapes}")
    wide = parts[0]
    for part in parts[1:]:
        wide = wide.to(common_dtype(wide, part, name))
    chosen = [part for part in parts if part.shape != (0,)] or parts
    axis = axis_number(name, chosen[0], dim)
    if any(_without(part.shape, axis) != _without(chosen[0].shape, axis) for part in chosen):
        raise ShapeError(f"{name}: expected shapes that differ in axis {dim} only, got {shapes}")
    return apply(ops.concatenate, *(part.to(wide.dtype) for part in chosen), axis=axis)


def _without(shape: Shape, axis: int) -> tuple[Shape, Shape]:
    return shape[:axis], shape[axis + 1 :]


# --- cutting ----------------------------------------------------------------------------------------------------------


def split(input: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of the parts along an axis: all of one size but for the last, or of the sizes given.

    >>> import tinybn as tb
    >>> [part.tolist() for part in tb.arange(5).split(2)]
    [[0, 1], [2, 3], [4]]
    """
    x = as_tensor(input)
    axis = axis_to_cut("split", x, dim)
    count = x.shape[axis]
    if isinstance(split_size_or_sections, list | tuple):
        sizes = [whole("split: a size", n) for n in split_size_or_sections]
    else:
        size = whole("split: split_size", split_size_or_sections)
        if size < 0 or (size == 0 and count):
            raise ShapeError(f"split: expected a size from 1 on for an axis of {count}, got {size}")
        sizes = [min(size, count - i) for i in range(0, count, size)] if count else [0]
    if sum(sizes) != count or min(sizes, default=0) < 0:
        raise ShapeError(f"split: expected sizes from 0 on that add up to {count}, got {sizes}")
    stops = np.cumsum(sizes, dtype=int).tolist()
    return tuple(cut(x, axis, slice(stop - size, stop)) for size, stop in zip(sizes, stops, strict=True))


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of so many parts along an axis, or fewer: each but the last has ⌈size/chunks⌉."""
    x = as_tensor(input)
    axis, count = axis_to_cut("chunk", x, dim), whole("chunk: chunks", chunks)
    if count < 1:
        raise ValueError(f"chunk: expected a number of chunks from 1 on, got {count}")
    return split(x, -(-x.shape[axis] // count) if x.shape[axis] else [0] * count, axis)


def unbind(input: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of all places along an axis, without that axis."""
    x = as_tensor(input)
    axis = axis_to_cut("unbind", x, dim)
    return tuple(cut(x, axis, i) for i in range(x.shape[axis]))


def narrow(input: Any, dim: int, start: Any, length: int) -> Tensor:
    """A view of ``length`` places along an axis from ``start`` on, which counts from the end if it is negative."""
    x = as_tensor(input)
    axis = axis_to_cut("narrow", x, dim)
    count, first = x.shape[axis], whole("narrow: start", start)
    if not -count <= first <= count:
        raise IndexError(f"narrow: start {first} is out of range for an axis of {count}")
    first += count if first < 0 else 0
    size = whole("narrow: length", length)
    if not 0 <= size <= count - first:
        raise ShapeError(f"narrow: expected a length from 0 to {count - first} behind {first}, got {size}")
    return cut(x, axis, slice(first, first + size))


def select(input: Any, dim: int, index: int) -> Tensor:
    """A view of one place along an axis, without that axis."""
    x = as_tensor(input)
    axis = axis_to_cut("select", x, dim)
    place = whole("select: index", index)
    if not -x.shape[axis] <= place < x.shape[axis]:
        raise IndexError(f"select: index {place} is out of range for an axis of {x.shape[axis]}")
    return cut(x, axis, place)


def cut(x: Tensor, axis: int, index: Any) -> Tensor:
    """x at an index along an axis."""
    return x[(slice(None),) * axis + (index,)]
