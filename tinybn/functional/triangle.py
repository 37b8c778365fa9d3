"""Triangles and diagonals of matrices."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import DTypeLike
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError
from tinybn.functional.arguments import axis_number, check_not_bool, sizes_of, whole
from tinybn.functional.comparison import where
from tinybn.functional.reduction import sum
from tinybn.functional.shape import permute

__all__ = [
    "diag",
    "diagonal",
    "trace",
    "tril",
    "tril_indices",
    "triu",
    "triu_indices",
]


def tril(input: Any, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices (..., rows, columns), with 0 above the diagonal.

    Args:
        diagonal: a number above 0 keeps so many diagonals more, one below 0 fewer.

    >>> import tinybn as tb
    >>> tb.tril([[1, 2], [3, 4]])
    tensor([[1, 0],
            [3, 4]])
    """
    return _triangle("tril", input, diagonal, lower=True)


def triu(input: Any, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices (..., rows, columns), with 0 below the diagonal.

    Args:
        diagonal: a number above 0 keeps so many diagonals fewer, one below 0 more.
    """
    return _triangle("triu", input, diagonal, lower=False)


def _triangle(name: str, input: Any, diagonal: int, lower: bool) -> Tensor:
    x = as_tensor(input)
    offset = whole(f"{name}: diagonal", diagonal)
    if x.ndim < 2:
        raise ShapeError(f"{name}: expected at least two axes, got shape {x.shape}")
    rows, columns = x.shape[-2:]
    kept = np.tri(rows, columns, offset, bool) if lower else ~np.tri(rows, columns, offset - 1, bool)
    return where(kept, x, x.dtype.type(0))


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: DTypeLike = np.int64) -> Tensor:
    """Rows and columns of the elements that `tril` keeps of a matrix: (2, count).

    >>> import tinybn as tb
    >>> tb.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    return _indices("tril_indices", np.tril_indices, row, col, offset, dtype)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: DTypeLike = np.int64) -> Tensor:
    """Rows and columns of the elements that `triu` keeps of a matrix: (2, count)."""
    return _indices("triu_indices", np.triu_indices, row, col, offset, dtype)


def _indices(name: str, function: Any, row: Any, col: Any, offset: Any, dtype: DTypeLike) -> Tensor:
    rows, columns = sizes_of(name, (row, col))
    if np.dtype(dtype) not in (np.int32, np.int64):
        raise DTypeError(f"{name}: dtype is {np.dtype(dtype)}; expected int32 or int64")
    return Tensor(np.array(function(rows, whole(f"{name}: offset", offset), columns), dtype))


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two axes, as the last axis behind the other ones: a view.

    Args:
        offset: so many columns to the right (below 0: rows down) of the main diagonal.
        dim1, dim2: the axes of rows and columns.

    >>> import tinybn as tb
    >>> tb.diagonal([[1.0, 2.0], [3.0, 4.0]])
    tensor([1., 4.])
    """
    x = as_tensor(input)
    right = whole("diagonal: offset", offset)
    axes = axis_number("diagonal", x, dim1), axis_number("diagonal", x, dim2)
    if axes[0] == axes[1]:
        raise ValueError(f"diagonal: expected two different axes, got {dim1} and {dim2} of shape {x.shape}")
    matrices = permute(x, *(i for i in range(x.ndim) if i not in axes), *axes)
    return apply(ops.diagonal, matrices, right)


def diag(input: Any, diagonal: int = 0) -> Tensor:
    """The matrix with this diagonal, or the diagonal of a matrix.

    Args:
        diagonal: so many columns to the right (below 0: rows down) of the main diagonal.

    >>> import tinybn as tb
    >>> tb.diag([1, 2])
    tensor([[1, 0],
            [0, 2]])
    """
    x = as_tensor(input)
    right = whole("diag: diagonal", diagonal)
    if x.ndim == 2:
        return _diagonal(x, right)
    if x.ndim != 1:
        raise ShapeError(f"diag: expected one axis or two, got shape {x.shape}")
    steps = np.arange(x.numel())
    size = x.numel() + abs(right)
    return apply(ops.scatter, x, (max(0, -right) + steps, max(0, right) + steps), (size, size))


_diagonal = diagonal  # `diag` has an argument of that name


def trace(input: Any) -> Tensor:
    """The sum of a matrix' diagonal.

    >>> import tinybn as tb
    >>> tb.eye(3).trace()
    tensor(3.)
    """
    x = as_tensor(input)
    if x.ndim != 2:
        raise ShapeError(f"trace: expected a matrix, got shape {x.shape}")
    check_not_bool("trace", x)
    return sum(diagonal(x))
