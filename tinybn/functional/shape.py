"""Compositions that change shapes, and the joining of tensors."""

import math
from collections.abc import Sequence
from typing import Any

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Axis
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError


def view(input: Tensor, *shape: Any) -> Tensor:
    """`Tensor.reshape`. Whether memory is shared is NumPy's decision: it is wherever it can be."""
    return input.reshape(*shape)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from start_dim to end_dim as one, in row-major order.

    >>> import tinybn as tb
    >>> tb.zeros(2, 3, 4).flatten(1).shape
    (2, 12)
    """
    x = as_tensor(input)
    if not x.ndim:
        return x.reshape(1)
    first, last = start_dim % x.ndim, end_dim % x.ndim
    if first > last:
        raise ShapeError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim} in shape {x.shape}")
    return x.reshape(*x.shape[:first], -1 if x.numel() else math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :])


def squeeze(input: Tensor, dim: Axis = None) -> Tensor:
    """Without the axes of size 1: all of them, or those named."""
    named = range(input.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    gone = {d % input.ndim for d in named} if input.ndim else set()
    return input.reshape(tuple(n for i, n in enumerate(input.shape) if n != 1 or i not in gone))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new axis of size 1."""
    if not -input.ndim - 1 <= dim <= input.ndim:
        raise IndexError(f"unsqueeze: axis {dim} is out of range for a tensor of shape {input.shape}")
    shape = list(input.shape)
    shape.insert(dim % (input.ndim + 1), 1)
    return input.reshape(shape)


def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors one behind the other along an axis.

    >>> import tinybn as tb
    >>> tb.cat([tb.zeros(1), tb.ones(2)])
    tensor([0., 1., 1.])
    """
    parts = [as_tensor(t) for t in tensors]
    if not parts:
        raise ShapeError("cat: expected at least one tensor, got none")
    dtypes = {t.dtype for t in parts}
    if len(dtypes) > 1:
        raise DTypeError(f"cat: expected tensors of one dtype, got {sorted(map(str, dtypes))}; cast them with .to()")
    return apply(ops.concatenate, *parts, axis=dim)


def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis."""
    return cat([unsqueeze(as_tensor(t), dim) for t in tensors], dim)
