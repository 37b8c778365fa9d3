"""Reading and writing by index: a tensor, an array or a list of integers. Diagonals stand in a room of their own."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array, Shape
from tinybn.autograd import apply
from tinybn.errors import DTypeError, GraphError, ShapeError
from tinybn.functional.arguments import axis_number, broadcast_shape
from tinybn.functional.comparison import where
from tinybn.functional.extremes import grid_of, pick
from tinybn.functional.shape import clone

__all__ = [
    "gather",
    "index_add",
    "index_select",
    "masked_select",
    "nonzero",
    "scatter",
    "scatter_add",
    "take",
    "take_along_dim",
]


INT64 = (np.dtype(np.int64),)
INT32_OR_INT64 = (np.dtype(np.int32), np.dtype(np.int64))


def take(input: Any, index: Any) -> Tensor:
    """The elements with these numbers in row-major order, in the shape of the index. Negative ones count from the end.

    >>> import tinybn as tb
    >>> tb.take([[1.0, 2.0], [3.0, 4.0]], [0, -1])
    tensor([1., 4.])
    """
    x = as_tensor(input)
    numbers = indices_of("take", index, INT64)
    check_range("take", numbers, -x.numel(), x.numel())
    return x.reshape(x.numel())[numbers]


def indices_of(name: str, index: Any, dtypes: tuple[np.dtype[Any], ...]) -> Array:
    """The index as an array, of one of the dtypes; an empty list counts as integers."""
    array = as_tensor(index).data
    if isinstance(index, list | tuple) and not array.size:
        array = array.astype(np.int64)
    if array.dtype not in dtypes:
        raise DTypeError(f"{name}: expected {' or '.join(map(str, dtypes))} indices, got {array.dtype}")
    return array


def check_range(name: str, index: Array, first: int, end: int) -> None:
    wrong = index[(index < first) | (index >= end)]
    if wrong.size:
        raise IndexError(f"{name}: index {wrong[0]} is out of range; expected {first} to {end - 1}")


def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Tensor:
    """out[i][j][k] = x[i][indices[i][j][k]][k] for ``dim=1``; what `argsort` and `argmax` return fits.

    Args:
        indices: they have as many axes as the input, and the other axes broadcast. Negative ones count from the end.
        dim: None takes from the elements in row-major order.

    >>> import tinybn as tb
    >>> tb.take_along_dim([[1.0, 2.0], [3.0, 4.0]], [[1], [0]], dim=1)
    tensor([[2.],
            [3.]])
    """
    x = as_tensor(input)
    numbers = indices_of("take_along_dim", indices, INT64 if dim is not None else INT32_OR_INT64)
    if dim is None:
        check_range("take_along_dim", numbers, 0, x.numel())
        return x.reshape(x.numel())[numbers.reshape(-1)]
    axis = axis_number("take_along_dim", x, dim)
    if not x.ndim or numbers.ndim != x.ndim:
        raise ShapeError(
            f"take_along_dim: expected an input and indices of as many axes, got shapes {x.shape} and {numbers.shape}"
        )
    size = x.shape[axis]
    check_range("take_along_dim", numbers, -size, size)
    others = broadcast_shape("take_along_dim", *(_with_size(shape, axis, 1) for shape in (x.shape, numbers.shape)))
    x = x.expand(_with_size(others, axis, size))
    return pick(x, axis, np.broadcast_to(numbers, _with_size(others, axis, numbers.shape[axis])))


def _with_size(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j][k] = x[i][index[i][j][k]][k] for ``dim=1``, in the shape of the index.

    Args:
        index: it has as many axes as the input, and along the others than ``dim`` at most its size.
        sparse_grad: means nothing here, gradients are dense.

    >>> import tinybn as tb
    >>> tb.gather([[1.0, 2.0], [3.0, 4.0]], 1, [[0, 0], [1, 0]])
    tensor([[1., 1.],
            [4., 3.]])
    """
    x = as_tensor(input)
    axis = axis_number("gather", x, dim)
    numbers = indices_of("gather", index, INT32_OR_INT64)
    if not numbers.size:  # of any shape, as in PyTorch
        return x.reshape(x.numel())[numbers]
    grid = _checked_grid("gather", x, axis, numbers)
    return _with_axis(x)[grid].reshape(numbers.shape)


def _with_axis(x: Any) -> Any:
    """A scalar as a row of one."""
    return x if x.ndim else x.reshape(1)


def _checked_grid(name: str, x: Tensor, axis: int, index: Array) -> tuple[Array, ...]:
    """Where the elements stand that an index names along an axis; scalars count as rows of one.

    Raises:
        ShapeError, IndexError: the index does not fit.
    """
    size = _with_axis(x).shape
    index = _with_axis(index)
    if index.ndim != len(size):
        raise ShapeError(f"{name}: expected an index with as many axes as the input, got {index.shape} for {x.shape}")
    if _is_larger(index.shape, size, but=axis):
        raise ShapeError(f"{name}: expected an index within {x.shape} apart from axis {axis}, got {index.shape}")
    check_range(name, index, 0, size[axis])
    return grid_of(axis, index)


def _is_larger(shape: Shape, limit: Shape, but: int | None = None) -> bool:
    return any(n > most for i, (n, most) in enumerate(zip(shape, limit, strict=True)) if i != but)


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """x with src[i][j][k] added at [i][index[i][j][k]][k] for ``dim=1``; where places repeat, all are added.

    Args:
        index: it has as many axes as the input, and along the others than ``dim`` at most its size.
        src: at least as large as the index; what lies beyond it is not used.

    >>> import tinybn as tb
    >>> tb.scatter_add(tb.zeros(3), 0, [2, 2, 0], tb.ones(3))
    tensor([1., 0., 2.])
    """
    return _scattered("scatter_add", input, dim, index, src, "add")


def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """x with src[i][j][k] in place of [i][index[i][j][k]][k] for ``dim=1``.

    Where places repeat, the last one counts and gets the gradient.

    Args:
        index: it has as many axes as the input, and along the others than ``dim`` at most its size.
        src: a tensor at least as large as the index, or a number.
        value: the number, by name.
        reduce: "add" or "multiply" instead of replacing, all where places repeat. A ``src`` to multiply with may not
            require grad.

    >>> import tinybn as tb
    >>> tb.scatter(tb.zeros(2, 3), 1, [[2], [0]], 1.0)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if (src is None) == (value is None):
        raise TypeError("scatter: give src or value, and not both")
    if reduce not in (None, "add", "multiply"):
        raise ValueError(f"scatter: reduce is {reduce!r}; expected 'add', 'multiply' or None")
    return _scattered("scatter", input, dim, index, value if src is None else src, reduce)


def _scattered(name: str, input: Any, dim: int, index: Any, src: Any, reduce: str | None) -> Tensor:
    x = as_tensor(input)
    axis = axis_number(name, x, dim)
    numbers = indices_of(name, index, INT32_OR_INT64)
    if isinstance(src, Tensor | np.ndarray) and src.dtype != x.dtype:
        raise DTypeError(f"{name}: expected input and src of one dtype, got {x.dtype} and {src.dtype}")
    if not numbers.size:  # of any shape, as in PyTorch
        return clone(x)
    grid = _checked_grid(name, x, axis, numbers)
    row, source = _with_axis(x), _source(name, x, numbers, src)
    if reduce == "add":
        written = row + apply(ops.scatter, source, grid, row.shape)
    elif reduce == "multiply":
        written = row * _factors(source, grid, row.shape)
    else:
        written = _replaced(row, grid, source)
    return written.reshape(x.shape)


def _source(name: str, x: Tensor, index: Array, src: Any) -> Tensor:
    """What is written, in x's dtype and the index's shape, a scalar as a row of one."""
    shape = _with_axis(index).shape
    if isinstance(src, int | float | np.generic):
        return Tensor(np.full(shape, src).astype(x.dtype))
    if not isinstance(src, Tensor | np.ndarray | list | tuple):
        raise TypeError(f"{name}: src is {src!r}; expected a tensor or a number")
    source = _with_axis(as_tensor(src))
    if source.dtype != x.dtype:
        raise DTypeError(f"{name}: expected input and src of one dtype, got {x.dtype} and {source.dtype}")
    if source.ndim != len(shape) or _is_larger(shape, source.shape):
        raise ShapeError(f"{name}: expected src to be at least as large as the index {shape}, got {source.shape}")
    return source[tuple(map(slice, shape))]


def _factors(source: Tensor, grid: tuple[Array, ...], shape: Shape) -> Array:
    if source.requires_grad:
        raise GraphError("scatter: reduce='multiply' has no gradient for src; detach() it")
    factors = np.ones(shape, source.dtype)
    np.multiply.at(factors, grid, source.data)
    return factors


def _replaced(x: Tensor, grid: tuple[Array, ...], source: Tensor) -> Tensor:
    """x with the source at some places; of several at one place, the last one."""
    last = np.full(x.shape, -1)
    last[grid] = np.arange(source.numel()).reshape(source.shape)
    return where(last >= 0, source.reshape(source.numel())[np.maximum(last, 0)], x)


def index_select(input: Any, dim: int, index: Any) -> Tensor:
    """The parts with these numbers along an axis, in the order of the index.

    Args:
        index: numbers from 0 on, in one row.

    >>> import tinybn as tb
    >>> tb.index_select([[1.0, 2.0], [3.0, 4.0]], 1, [1])
    tensor([[2.],
            [4.]])
    """
    x = as_tensor(input)
    axis = axis_number("index_select", x, dim)
    numbers = _row_of_indices("index_select", index)
    if not x.ndim and numbers.size != 1:
        raise ShapeError(f"index_select: expected one index for a scalar, got {numbers.size}")
    row = _with_axis(x)
    check_range("index_select", numbers, 0, row.shape[axis])
    selected = row[(*_before(axis), numbers)]
    return selected if x.ndim else selected.reshape(())


def _row_of_indices(name: str, index: Any) -> Array:
    numbers: Array = _with_axis(indices_of(name, index, INT32_OR_INT64))
    if numbers.ndim > 1:
        raise ShapeError(f"{name}: expected an index with one axis, got shape {numbers.shape}")
    return numbers


def _before(axis: int) -> tuple[slice, ...]:
    """What leaves the axes in front of one as they are."""
    return (slice(None),) * axis


def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Tensor:
    """x with alpha·source added to the parts with these numbers along an axis; where numbers repeat, all are added.

    Args:
        index: numbers from 0 on, in one row.
        source: in the shape of the input, apart from ``dim``, where it is as long as the index.
        alpha: cut to a whole number for integers.

    >>> import tinybn as tb
    >>> tb.index_add(tb.zeros(3), 0, [2, 2], tb.ones(2))
    tensor([0., 0., 2.])
    """
    x, added = as_tensor(input), as_tensor(source)
    axis = axis_number("index_add", x, dim)
    numbers = _row_of_indices("index_add", index)
    if added.dtype != x.dtype:
        raise DTypeError(f"index_add: expected input and source of one dtype, got {x.dtype} and {added.dtype}")
    expected = _with_size(x.shape, axis, numbers.size) if x.ndim else ()
    if added.shape != expected or (not x.ndim and numbers.size != 1):
        raise ShapeError(
            f"index_add: an input of shape {x.shape} and {numbers.size} indices along axis {axis} need a source of "
            f"shape {expected}, got {added.shape}"
        )
    if not isinstance(alpha, int | float):
        raise TypeError(f"index_add: alpha is {alpha!r}; expected a number")
    row = _with_axis(x)
    check_range("index_add", numbers, 0, row.shape[axis])
    if x.dtype.kind != "f":
        alpha = x.dtype.type(alpha).item()
    scaled = _with_axis(added) * alpha
    return (row + apply(ops.scatter, scaled, (*_before(axis), numbers), row.shape)).reshape(x.shape)


def masked_select(input: Any, mask: Any) -> Tensor:
    """The elements where the mask is true, in a row. The two broadcast.

    >>> import tinybn as tb
    >>> tb.masked_select([[1.0, 2.0], [3.0, 4.0]], [True, False])
    tensor([1., 3.])
    """
    x, chosen = as_tensor(input), as_tensor(mask).data
    if chosen.dtype.kind != "b":
        raise DTypeError(f"masked_select: expected a mask of bools, got {chosen.dtype}")
    shape = broadcast_shape("masked_select", x.shape, chosen.shape)
    return x.expand(shape)[np.broadcast_to(chosen, shape)]


def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not 0, one row for each: (count, ndim), int64.

    Args:
        as_tuple: instead a tuple, with a tensor (count,) for each axis: x[nonzero(x, as_tuple=True)] works.

    >>> import tinybn as tb
    >>> tb.nonzero([[0, 1], [2, 0]])
    tensor([[0, 1],
            [1, 0]])
    """
    x = as_tensor(input).data
    if as_tuple:
        return tuple(Tensor(numbers) for numbers in np.nonzero(np.atleast_1d(x)))
    return Tensor(np.argwhere(x))
