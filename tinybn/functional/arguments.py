"""What the functions share to look at their arguments."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinybn._tensor import Tensor
from tinybn._typing import Array, Axis, Shape
from tinybn.errors import DTypeError


def axis_of(name: str, x: Tensor, dim: int) -> int:
    """An axis counted from the front, where a 0-d tensor counts as having one.

    Raises:
        IndexError: there is no such axis.
    """
    count = max(1, x.ndim)
    if not -count <= dim < count:
        raise IndexError(f"{name}: axis {dim} is out of range for a tensor of shape {x.shape}")
    return dim % count


def axes_of(name: str, x: Tensor, dim: Axis) -> Axis:
    """What NumPy takes for an axis or several; none, or no axes to choose from, means all."""
    if dim is None:
        return None
    axes = tuple(axis_of(name, x, d) for d in ((dim,) if isinstance(dim, int) else dim))
    return axes if axes and x.ndim else None


def flat_sizes(sizes: Sequence[Any]) -> Shape:
    """f(2, 3) and f((2, 3)) alike."""
    if len(sizes) == 1 and not isinstance(sizes[0], int | np.integer):
        return tuple(int(n) for n in sizes[0])
    return tuple(int(n) for n in sizes)


def check_floating(name: str, x: Tensor) -> None:
    """Refuse a tensor that is not floating, by the name of the function that got it."""
    if x.data.dtype.kind != "f":
        raise DTypeError(f"{name}: expected a floating tensor, got {x.data.dtype}; use .float() first")


def check_dtypes(name: str, **tensors: Tensor | Array | None) -> None:
    """Refuse a mix of dtypes, as PyTorch does for layers."""
    dtypes = {key: t.dtype for key, t in tensors.items() if t is not None}
    if len(set(dtypes.values())) > 1:
        given = ", ".join(f"{key} {dtype}" for key, dtype in dtypes.items())
        raise DTypeError(f"{name}: expected one dtype, got {given}; cast the input with .to() or the module with .to()")
