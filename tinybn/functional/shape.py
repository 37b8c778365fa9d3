"""Compositions that change shapes, and the joining of tensors."""

import math
from collections.abc import Sequence
from typing import Any

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor, common_dtype
from tinybn._typing import Axis
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import axis_of, flat_sizes

__all__ = [
    "cat",
    "clone",
    "contiguous",
    "expand",
    "flatten",
    "flip",
    "permute",
    "reshape",
    "squeeze",
    "stack",
    "transpose",
    "unsqueeze",
    "view",
]


def reshape(input: Any, *shape: Any) -> Tensor:
    """The same elements in another shape, in row-major order; −1 stands for what is left."""
    return apply(ops.reshape, as_tensor(input), flat_sizes(shape))


def permute(input: Any, *dims: Any) -> Tensor:
    """The axes in another order."""
    return apply(ops.transpose, as_tensor(input), flat_sizes(dims))


def transpose(input: Any, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged."""
    x = as_tensor(input)
    axes = list(range(x.ndim))
    dim0, dim1 = axis_of("transpose", x, dim0), axis_of("transpose", x, dim1)
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return permute(x, axes)


def flip(input: Any, *dims: Any) -> Tensor:
    """The order along some axes reversed."""
    x = as_tensor(input)
    return apply(ops.flip, x, tuple(axis_of("flip", x, d) for d in flat_sizes(dims)))


def expand(input: Any, *shape: Any) -> Tensor:
    """Broadcast to a shape; −1 leaves an axis as it is."""
    x, sizes = as_tensor(input), flat_sizes(shape)
    front = len(sizes) - x.ndim
    if -1 in sizes[: max(0, front)]:
        raise ShapeError(f"expand: -1 stands for an axis that shape {x.shape} does not have, in {sizes}")
    return apply(ops.broadcast_to, x, tuple(x.shape[i - front] if n == -1 else n for i, n in enumerate(sizes)))


def clone(input: Any) -> Tensor:
    """A copy that gradients flow through."""
    x = as_tensor(input)
    return apply(ops.clone, x)


def contiguous(input: Any) -> Tensor:
    """In row-major order: itself, or a copy."""
    x = as_tensor(input)
    return x if x.data.flags.c_contiguous else apply(ops.clone, x, "C")


def view(input: Any, *shape: Any) -> Tensor:
    """`Tensor.reshape`. Whether memory is shared is NumPy's decision: it is wherever it can be."""
    return as_tensor(input).reshape(*shape)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from start_dim to end_dim as one, in row-major order.

    >>> import tinybn as tb
    >>> tb.zeros(2, 3, 4).flatten(1).shape
    (2, 12)
    """
    x = as_tensor(input)
    first, last = axis_of("flatten", x, start_dim), axis_of("flatten", x, end_dim)
    if not x.ndim:
        return x.reshape(1)
    if first > last:
        raise ShapeError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim} in shape {x.shape}")
    return x.reshape(*x.shape[:first], -1 if x.numel() else math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :])


def squeeze(input: Any, dim: Axis = None) -> Tensor:
    """Without the axes of size 1: all of them, or those named."""
    x = as_tensor(input)
    named = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    gone = {axis_of("squeeze", x, d) for d in named}
    return x.reshape(tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in gone))


def unsqueeze(input: Any, dim: int) -> Tensor:
    """With a new axis of size 1."""
    x = as_tensor(input)
    if not -x.ndim - 1 <= dim <= x.ndim:
        raise IndexError(f"unsqueeze: axis {dim} is out of range for a tensor of shape {x.shape}")
    shape = list(x.shape)
    shape.insert(dim % (x.ndim + 1), 1)
    return x.reshape(shape)


def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors one behind the other along an axis, in the dtype that they promote to.

    >>> import tinybn as tb
    >>> tb.cat([tb.zeros(1), tb.ones(2)])
    tensor([0., 1., 1.])
    """
    parts = [as_tensor(t) for t in tensors]
    if not parts:
        raise ShapeError("cat: expected at least one tensor, got none")
    for part in parts[1:]:  # each into the dtype that all promote to
        parts[0] = parts[0].to(common_dtype(parts[0], part, "cat"))
    parts = [part.to(parts[0].dtype) for part in parts]
    return apply(ops.concatenate, *parts, axis=axis_of("cat", parts[0], dim))


def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis."""
    return cat([unsqueeze(as_tensor(t), dim) for t in tensors], dim)
