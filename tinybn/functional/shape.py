"""Other shapes, other orders, and repetition. Joining and cutting stand in a room of their own.

Where memory can be shared, it is: what is a view in PyTorch is one here.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Axis, Shape
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError
from tinybn.functional.arguments import (
    axis_number,
    axis_to_cut,
    broadcast_shape,
    check_dtypes,
    distinct_axes,
    flat_sizes,
    new_axis,
    numpy_names,
    whole,
)
from tinybn.functional.joining import cat, cut, listed

__all__ = [
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
    "clone",
    "contiguous",
    "expand",
    "expand_as",
    "flatten",
    "flip",
    "fliplr",
    "flipud",
    "meshgrid",
    "moveaxis",
    "movedim",
    "permute",
    "ravel",
    "repeat",
    "repeat_interleave",
    "reshape",
    "reshape_as",
    "roll",
    "rot90",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "tile",
    "transpose",
    "unflatten",
    "unsqueeze",
    "view",
    "view_as",
]


# --- other shapes -----------------------------------------------------------------------------------------------------


def reshape(input: Any, *sizes: Any, shape: Any = None) -> Tensor:
    """The same elements in another shape, in row-major order; −1 stands for what is left.

    >>> import tinybn as tb
    >>> tb.arange(6).reshape(2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    return _reshaped("reshape", as_tensor(input), flat_sizes("reshape", sizes, shape))


def _reshaped(name: str, x: Tensor, sizes: Shape) -> Tensor:
    known = math.prod(n for n in sizes if n != -1)
    fits = x.numel() % known == 0 if known and -1 in sizes else x.numel() == known and -1 not in sizes
    if not fits or sizes.count(-1) > 1 or min(sizes, default=0) < -1:
        raise ShapeError(f"{name}: shape {x.shape} cannot be seen as {sizes}; one size may be −1 for what is left")
    return apply(ops.reshape, x, sizes)


def view(input: Any, *sizes: Any, size: Any = None) -> Tensor:
    """`reshape` that does not copy, but for one case: what lies in memory as channels-last (N, spatial axes, C).

    Convolutions answer in that layout where PyTorch's would not. It is copied into row-major order, so that
    a model written for PyTorch runs.

    Raises:
        ShapeError: the memory cannot be seen in this shape.
    """
    return _viewed("view", as_tensor(input), flat_sizes("view", sizes, size))


def _viewed(name: str, x: Tensor, sizes: Shape) -> Tensor:
    y = _reshaped(name, x, sizes)
    if y.data.size and not np.may_share_memory(x.data, y.data) and not _is_channels_last(x):
        raise ShapeError(
            f"{name}: memory of shape {x.shape} and strides {x.data.strides} cannot be seen as {y.shape}; use reshape"
        )
    return y


def _is_channels_last(x: Tensor) -> bool:
    return x.ndim >= 3 and np.moveaxis(x.data, 1, -1).flags.c_contiguous


def view_as(input: Any, other: Any) -> Tensor:
    """`view` in the shape of another tensor."""
    return _viewed("view_as", as_tensor(input), as_tensor(other).shape)


def reshape_as(input: Any, other: Any) -> Tensor:
    """`reshape` to the shape of another tensor."""
    return _reshaped("reshape_as", as_tensor(input), as_tensor(other).shape)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from start_dim to end_dim as one, in row-major order.

    >>> import tinybn as tb
    >>> tb.zeros(2, 3, 4).flatten(1).shape
    (2, 12)
    """
    x = as_tensor(input)
    first, last = axis_number("flatten", x, start_dim), axis_number("flatten", x, end_dim)
    if first > last:
        raise ShapeError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim} in shape {x.shape}")
    shape = x.array.shape
    return apply(ops.reshape, x, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


def ravel(input: Any) -> Tensor:
    """All axes as one."""
    return flatten(input)


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several, whose sizes multiply to its own; −1 stands for what is left.

    >>> import tinybn as tb
    >>> tb.zeros(2, 12).unflatten(1, (3, -1)).shape
    (2, 3, 4)
    """
    x, sizes = as_tensor(input), flat_sizes("unflatten", (sizes,))
    axis = axis_to_cut("unflatten", x, dim)
    known = math.prod(n for n in sizes if n != -1)
    left = x.shape[axis] // known if known else -1  # next to an axis of size 0, −1 could be anything
    parts = tuple(left if n == -1 else n for n in sizes)
    if not sizes or sizes.count(-1) > 1 or min(parts) < 0 or math.prod(parts) != x.shape[axis]:
        raise ShapeError(f"unflatten: sizes {sizes} do not multiply to {x.shape[axis]}, axis {dim} of {x.shape}")
    return reshape(x, *x.shape[:axis], *parts, *x.shape[axis + 1 :])


@numpy_names
def squeeze(input: Any, dim: Axis = None) -> Tensor:
    """Without the axes of size 1: all of them, or those named that have it."""
    x = as_tensor(input)
    gone = range(x.ndim) if dim is None else distinct_axes("squeeze", x, _as_tuple(dim))
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in gone))


@numpy_names
def unsqueeze(input: Any, dim: int) -> Tensor:
    """With a new axis of size 1, which will be axis ``dim``."""
    x = as_tensor(input)
    at = new_axis("unsqueeze", x, dim)
    return reshape(x, *x.shape[:at], 1, *x.shape[at:])


# --- other orders -----------------------------------------------------------------------------------------------------


def permute(input: Any, *axes: Any, dims: Any = None) -> Tensor:
    """The axes in another order.

    >>> import tinybn as tb
    >>> tb.zeros(2, 3, 4).permute(2, 0, 1).shape
    (4, 2, 3)
    """
    x, order = as_tensor(input), flat_sizes("permute", axes, dims)
    if len(order) != x.ndim:
        raise ShapeError(f"permute: expected all {x.ndim} axes of shape {x.shape}, got {order}")
    return apply(ops.transpose, x, distinct_axes("permute", x, order))


def transpose(input: Any, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged."""
    x = as_tensor(input)
    dim0, dim1 = axis_number("transpose", x, dim0), axis_number("transpose", x, dim1)
    exchanged = {dim0: dim1, dim1: dim0}
    return permute(x, tuple(exchanged.get(i, i) for i in range(x.ndim)))


swapdims = transpose


def swapaxes(input: Any, axis0: int, axis1: int) -> Tensor:
    """Two axes exchanged: `transpose` under NumPy's name."""
    return transpose(input, axis0, axis1)


def t(input: Any) -> Tensor:
    """A matrix transposed; a vector or a scalar as it is."""
    x = as_tensor(input)
    if x.ndim > 2:
        raise ShapeError(f"t: expected two axes at most, got shape {x.shape}; use transpose or permute")
    return permute(x, tuple(range(x.ndim)[::-1]))


def movedim(input: Any, source: Any, destination: Any) -> Tensor:
    """The axes ``source`` moved to the places ``destination`` (ints or tuples); the others keep their order.

    >>> import tinybn as tb
    >>> tb.zeros(2, 3, 4).movedim(0, -1).shape
    (3, 4, 2)
    """
    x = as_tensor(input)
    sources, places = (distinct_axes("movedim", x, _as_tuple(dims)) for dims in (source, destination))
    if len(sources) != len(places):
        raise ShapeError(f"movedim: expected as many places as axes, got source {source}, destination {destination}")
    if not x.ndim:
        return permute(x, ())
    order = [axis for axis in range(x.ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return permute(x, order)


moveaxis = movedim


def flip(input: Any, *axes: Any, dims: Any = None) -> Tensor:
    """A copy with the order along some axes reversed.

    >>> import tinybn as tb
    >>> tb.arange(3).flip(0)
    tensor([2, 1, 0])
    """
    x = as_tensor(input)
    reversed_axes = distinct_axes("flip", x, flat_sizes("flip", axes, dims))
    return clone(apply(ops.flip, x, reversed_axes) if x.ndim else x)


def fliplr(input: Any) -> Tensor:
    """A copy with the columns, axis 1, in reverse order."""
    return _flipped("fliplr", as_tensor(input), 1)


def flipud(input: Any) -> Tensor:
    """A copy with the rows, axis 0, in reverse order."""
    return _flipped("flipud", as_tensor(input), 0)


def _flipped(name: str, x: Tensor, axis: int) -> Tensor:
    if x.ndim <= axis:
        raise ShapeError(f"{name}: expected {axis + 1} or more axes, got shape {x.shape}")
    return flip(x, axis)


def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """A copy turned by k·90° in the plane of two axes, from the first towards the second.

    >>> import tinybn as tb
    >>> tb.rot90([[1, 2], [3, 4]])
    tensor([[2, 4],
            [1, 3]])
    """
    x, turns = as_tensor(input), whole("rot90: k", k) % 4
    if x.ndim < 2 or len(dims) != 2:
        raise ShapeError(f"rot90: expected two or more axes and two dims, got shape {x.shape} and dims {dims}")
    first, second = distinct_axes("rot90", x, dims)
    if turns == 0:
        return clone(x)
    if turns == 2:
        return flip(x, first, second)
    return flip(transpose(x, first, second), first if turns == 1 else second)


def roll(input: Any, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved along axes; what is pushed out at the end comes in again in front.

    Args:
        shifts: how far, an int or one per axis.
        dims: along which axes; None rolls all elements in row-major order.

    >>> import tinybn as tb
    >>> tb.arange(4).roll(1)
    tensor([3, 0, 1, 2])
    """
    x, distances = as_tensor(input), [whole("roll: a shift", shift) for shift in _as_tuple(shifts)]
    axes = () if dims is None else tuple(axis_to_cut("roll", x, d) for d in _as_tuple(dims))
    if len(distances) == 1 and not axes:
        return reshape(roll(flatten(x), shifts, 0), x.shape)
    if not distances or len(distances) != len(axes):
        raise ShapeError(f"roll: expected one shift for each axis, got shifts {shifts} and dims {dims}")
    for distance, axis in zip(distances, axes, strict=True):
        seam = -distance % max(1, x.shape[axis])
        x = cat([cut(x, axis, slice(seam, None)), cut(x, axis, slice(seam))], axis)
    return x


def _as_tuple(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


# --- copies and repetition --------------------------------------------------------------------------------------------


def clone(input: Any) -> Tensor:
    """A copy that gradients flow through."""
    x = as_tensor(input)
    return apply(ops.clone, x)


def contiguous(input: Any) -> Tensor:
    """In row-major order: itself, or a copy."""
    x = as_tensor(input)
    return x if x.data.flags.c_contiguous else apply(ops.clone, x, "C")


def expand(input: Any, *sizes: Any, size: Any = None) -> Tensor:
    """Broadcast to a shape without copying; −1 leaves an axis as it is.

    >>> import tinybn as tb
    >>> tb.tensor([[1], [2]]).expand(-1, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    return broadcast_checked("expand", as_tensor(input), flat_sizes("expand", sizes, size))


def expand_as(input: Any, other: Any) -> Tensor:
    """Broadcast to the shape of another tensor."""
    return broadcast_checked("expand_as", as_tensor(input), as_tensor(other).shape)


def broadcast_to(input: Any, *sizes: Any, size: Any = None) -> Tensor:
    """`expand` under NumPy's name."""
    return broadcast_checked("broadcast_to", as_tensor(input), flat_sizes("broadcast_to", sizes, size))


def broadcast_shapes(*shapes: Any) -> Shape:
    """The shape that tensors of these shapes broadcast to.

    >>> import tinybn as tb
    >>> tb.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    sizes = [flat_sizes("broadcast_shapes", (shape,)) for shape in shapes]
    if any(n < 0 for shape in sizes for n in shape):
        raise ShapeError(f"broadcast_shapes: expected sizes from 0 on, got {sizes}")
    return broadcast_shape("broadcast_shapes", *sizes)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """All of them broadcast to one shape."""
    parts = [as_tensor(t) for t in tensors]
    shape = broadcast_shape("broadcast_tensors", *(part.shape for part in parts))
    return tuple(broadcast_checked("broadcast_tensors", part, shape) for part in parts)


def broadcast_checked(name: str, x: Tensor, sizes: Shape) -> Tensor:
    """Broadcast to a shape, for the function of that name; −1 leaves an axis as it is."""
    front = len(sizes) - x.ndim
    own = (-1,) * front + x.shape
    shape = tuple(n if size == -1 else size for n, size in zip(own, sizes, strict=False))
    if front < 0 or any(size < 0 or n not in (-1, 1, size) for n, size in zip(own, shape, strict=True)):
        raise ShapeError(f"{name}: shape {x.shape} cannot be broadcast to {sizes}")
    return apply(ops.broadcast_to, x, shape)


def repeat(input: Any, *times: Any, repeats: Any = None) -> Tensor:
    """A copy that has the tensor so many times along each axis; missing axes are added in front.

    >>> import tinybn as tb
    >>> tb.arange(2).repeat(2, 2)
    tensor([[0, 1, 0, 1],
            [0, 1, 0, 1]])
    """
    x, counts = as_tensor(input), flat_sizes("repeat", times, repeats)
    if len(counts) < x.ndim or min(counts, default=0) < 0:
        raise ShapeError(f"repeat: expected numbers from 0 on, one for each axis of shape {x.shape}, got {counts}")
    sizes = (1,) * (len(counts) - x.ndim) + x.shape
    pairs = tuple(zip(counts, sizes, strict=True))
    side_by_side = expand(reshape(x, [n for size in sizes for n in (1, size)]), [n for pair in pairs for n in pair])
    return reshape(apply(ops.clone, side_by_side, "C"), [count * size for count, size in pairs])


def tile(input: Any, *times: Any, dims: Any = None) -> Tensor:
    """`repeat`, with 1 for the axes in front that ``dims`` leaves out."""
    x, counts = as_tensor(input), flat_sizes("tile", times, dims)
    if min(counts, default=0) < 0:
        raise ShapeError(f"tile: expected numbers from 0 on, got {counts}")
    return repeat(x, (1,) * (x.ndim - len(counts)) + counts)


def repeat_interleave(input: Any, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Each element so many times, one behind the other.

    Args:
        repeats: a number, or one for each place along the axis.
        dim: the axis; None takes all elements in row-major order.
        output_size: the axis' new size, to be checked.

    >>> import tinybn as tb
    >>> tb.tensor([1, 2]).repeat_interleave(2)
    tensor([1, 1, 2, 2])
    """
    x, counts = as_tensor(input), as_tensor(repeats).data
    if dim is None:
        return repeat_interleave(flatten(x), repeats, 0, output_size=output_size)
    axis = axis_to_cut("repeat_interleave", x, dim)
    if counts.dtype.kind not in "iu":
        raise DTypeError(f"repeat_interleave: expected whole numbers of repeats, got {counts.dtype}")
    if counts.ndim > 1 or counts.size not in (1, x.shape[axis]) or (counts < 0).any():
        raise ShapeError(
            f"repeat_interleave: expected one number from 0 on, or {x.shape[axis]} of them, got {counts.tolist()}"
        )
    places = np.repeat(np.arange(x.shape[axis]), counts)
    if output_size not in (None, len(places)):
        raise ShapeError(f"repeat_interleave: output_size is {output_size}, the repeats add up to {len(places)}")
    return cut(x, axis, places)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """The coordinates of a grid: each vector along an axis of its own, broadcast over the others.

    Args:
        tensors: 1-d or 0-d, of one dtype; or one list of them.
        indexing: ``"ij"``, or ``"xy"``, which exchanges the first two axes.

    >>> import tinybn as tb
    >>> [grid.tolist() for grid in tb.meshgrid(tb.arange(2), tb.arange(2))]
    [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    """
    parts = listed("meshgrid", tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors)
    if max(part.ndim for part in parts) > 1:
        raise ShapeError(f"meshgrid: expected vectors, got shapes {[part.shape for part in parts]}")
    check_dtypes("meshgrid", **{f"tensor {i}": part for i, part in enumerate(parts)})
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing is {indexing!r}; expected 'ij' or 'xy'")
    shape = tuple(part.numel() for part in parts)
    grids = (expand(reshape(part, -1, *(1,) * (len(parts) - 1 - i)), shape) for i, part in enumerate(parts))
    return tuple(transpose(grid, 0, 1) if indexing == "xy" and len(parts) > 1 else grid for grid in grids)
