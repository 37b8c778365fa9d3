"""Reductions over axes.

``dim`` is an axis or a tuple of axes; None, the default, means all. NumPy's names ``axis`` and ``keepdims`` are taken
for ``dim`` and ``keepdim`` where NumPy has the function too, so that ``np.sum(tensor, axis=0)`` works.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_float, as_tensor
from tinybn._typing import Array, Axis, DTypeLike
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError
from tinybn.functional.arguments import axis_of, check_floating
from tinybn.functional.comparison import where
from tinybn.functional.elementwise import abs, exp, log, maximum, minimum
from tinybn.functional.shape import cat, clone

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "cumsum",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "std",
    "std_mean",
    "sum",
    "var",
    "var_mean",
]

_Result = TypeVar("_Result")


class ValuesAndIndices(NamedTuple):
    """Some elements along an axis, and where they stood on it."""

    values: Tensor
    indices: Tensor


def numpy_names(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Let a function take ``axis`` for ``dim``, ``keepdims`` for ``keepdim``, and the ``out=None`` that NumPy adds."""
    name = function.__name__

    @wraps(function)
    def named(input: Any, *args: Any, **options: Any) -> _Result:
        for theirs, ours in (("axis", "dim"), ("keepdims", "keepdim")):
            if theirs in options:
                if ours in options:
                    raise TypeError(f"{name}: {theirs} is another name of {ours}; give only one of the two")
                options[ours] = options.pop(theirs)
        if options.pop("out", None) is not None:
            raise TypeError(f"{name}: out= is not supported")
        return function(input, *args, **options)

    return named


@numpy_names
def sum(input: Any, dim: Axis = None, keepdim: bool = False, *, dtype: DTypeLike = None) -> Tensor:
    """Σx; integers and bools add up in int64.

    Args:
        dtype: convert to this dtype first.

    >>> import tinybn as tb
    >>> tb.sum([[1, 2], [3, 4]], dim=0)
    tensor([4, 6])
    """
    x = _converted(as_tensor(input), dtype)
    total = apply(ops.sum, x, reduced_axes("sum", x, dim), keepdim)
    return total if dtype is None else total.to(dtype)


def _converted(x: Tensor, dtype: DTypeLike) -> Tensor:
    """Into the dtype asked for; without one, integers and bools into int64, which holds what they add up to."""
    if dtype is not None:
        return x.to(dtype)
    return x if x.dtype.kind == "f" else x.to(np.int64)


@numpy_names
def mean(input: Any, dim: Axis = None, keepdim: bool = False, *, dtype: DTypeLike = None) -> Tensor:
    """Σx/n; NaN for no elements.

    Args:
        dtype: convert to this floating dtype first.

    >>> import tinybn as tb
    >>> tb.mean([[1.0, 2.0], [3.0, 4.0]], dim=1)
    tensor([1.5, 3.5])
    """
    x = as_tensor(input, dtype)
    check_floating("mean", x)
    return apply(ops.mean, x, reduced_axes("mean", x, dim), keepdim)


@numpy_names
def prod(input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: DTypeLike = None) -> Tensor:
    """The product; 1 of no elements. Integers and bools multiply in int64.

    Halves are multiplied until one element is left, so no gradient divides by a zero.

    >>> import tinybn as tb
    >>> tb.prod([1.0, 2.0, 3.0]).item()
    6.0
    """
    x = _converted(as_tensor(input), dtype)
    if dim is None:
        if keepdim:
            raise TypeError("prod: keepdim needs a dim")
        x, axis = x.reshape(x.numel()), 0
    else:
        axis = axis_number("prod", x, dim)
    before = (slice(None),) * axis
    count = x.shape[axis] if x.ndim else 1
    left = count
    while left > 1:
        half = left // 2
        halves = x[(*before, slice(half))] * x[(*before, slice(half, 2 * half))]
        x = cat([halves, x[(*before, slice(2 * half, None))]], axis) if left % 2 else halves
        left = x.shape[axis]
    product: Tensor = apply(ops.sum, x, axis if x.ndim else None, keepdim)  # of one element, or of none
    return (product if count else product + 1).to(x.dtype)


@numpy_names
def var(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Σ(x − mean)²/(n − correction).

    Args:
        unbiased: True for ``correction=1``, False for 0; ``var(x, False)`` is understood too.
        correction: default 1. From n on, the divisor is 0.

    >>> import tinybn as tb
    >>> tb.var([1.0, 3.0]).item(), tb.var([1.0, 3.0], correction=0).item()
    (2.0, 1.0)
    """
    return _moments("var", input, dim, unbiased, keepdim, correction)[0]


@numpy_names
def std(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """√var, with the arguments of `var`. Where it is 0, so is its gradient."""
    return _power(_moments("std", input, dim, unbiased, keepdim, correction)[0], 0.5)


@numpy_names
def var_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """`var` and `mean`, with the arguments of `var`."""
    return _moments("var_mean", input, dim, unbiased, keepdim, correction)


@numpy_names
def std_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """`std` and `mean`, with the arguments of `var`."""
    variance, average = _moments("std_mean", input, dim, unbiased, keepdim, correction)
    return _power(variance, 0.5), average


def _moments(
    name: str, input: Any, dim: Any, unbiased: bool | None, keepdim: bool, correction: float | None
) -> tuple[Tensor, Tensor]:
    """Variance and mean."""
    x = as_tensor(input)
    check_floating(name, x)
    if isinstance(dim, bool) and unbiased is None:
        dim, unbiased = None, dim
    if unbiased is not None:
        if not isinstance(unbiased, bool) or correction is not None:
            raise TypeError(
                f"{name}: expected unbiased=True, unbiased=False or a correction, "
                f"got unbiased={unbiased!r} and correction={correction!r}"
            )
        correction = int(unbiased)
    elif correction is None:
        correction = 1
    elif not isinstance(correction, int | float):
        raise TypeError(f"{name}: correction is {correction!r}; expected a number")
    axes = reduced_axes(name, x, dim)
    average: Tensor = apply(ops.mean, x, axes, True)
    centered = x - average
    total: Tensor = apply(ops.sum, centered * centered, axes, keepdim)
    divisor = x.numel() // (average.numel() or 1) - correction
    return total / (0.0 if divisor < 0 else divisor), average.reshape(total.shape)


def _power(x: Tensor, exponent: float) -> Tensor:
    """x**exponent for x ≥ 0, with gradient 0 where x is 0."""
    zero = x == 0
    return where(zero, 0.0 if exponent > 0 else math.inf, where(zero, 1.0, x) ** exponent)


def norm(input: Any, p: Any = "fro", dim: Axis = None, keepdim: bool = False) -> Tensor:
    """(Σ|x|ᵖ)^(1/p), with gradient 0 at 0.

    Args:
        p: a number, where 0 counts what is not 0, inf is the largest |x| and −inf the smallest; None stands for 2, and
            so does "fro", the norm of matrices, which takes at most two axes.

    >>> import tinybn as tb
    >>> tb.norm([3.0, 4.0]).item(), tb.norm([3.0, 4.0], 1).item()
    (5.0, 7.0)
    """
    x = as_tensor(input)
    check_floating("norm", x)
    axes = reduced_axes("norm", x, dim)
    if p == "fro" and axes is not None and len(axes) > 2:
        raise ValueError(f"norm: p='fro' takes one axis, two or all, got {dim}; give p=2 for the root of all squares")
    if p is None or p == "fro":
        p = 2
    if not isinstance(p, int | float):
        raise ValueError(f"norm: p is {p!r}; expected a number or 'fro'")
    if p < 0 or p == math.inf:
        check_elements("norm", x, axes)
    if p == 0:
        return sum(x != 0, axes, keepdim, dtype=x.dtype)
    if p == 2:
        return _power(apply(ops.sum, x * x, axes, keepdim), 0.5)
    size = abs(x)
    if p == 1:
        return apply(ops.sum, size, axes, keepdim)
    if p in (math.inf, -math.inf):
        return apply(ops.amax if p > 0 else ops.amin, size, axes, keepdim)
    return _power(apply(ops.sum, _power(size, p), axes, keepdim), 1 / p)


def logsumexp(input: Any, dim: Axis, keepdim: bool = False) -> Tensor:
    """log Σeˣ, without overflow; −inf for no elements.

    >>> import tinybn as tb
    >>> tb.logsumexp([1000.0, 1000.0], dim=0).item() > 1000
    True
    """
    x = as_float(as_tensor(input))
    if dim is None:
        raise TypeError("logsumexp: expected an axis or a tuple of axes as dim, got None")
    axes = reduced_axes("logsumexp", x, dim)
    largest = np.max(x.data, axis=axes, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(largest), largest, 0)
    total: Tensor = apply(ops.sum, exp(x - shift), axes, keepdim)
    return log(total) + shift.reshape(total.shape)


@numpy_names
def cumsum(input: Any, dim: int, *, dtype: DTypeLike = None) -> Tensor:
    """The sums of the first 1, 2, … elements along an axis; integers and bools add up in int64.

    >>> import tinybn as tb
    >>> tb.cumsum([1, 2, 3], dim=0)
    tensor([1, 3, 6])
    """
    x = _converted(as_tensor(input), dtype)
    axis = axis_number("cumsum", x, dim)
    sums = apply(ops.cumsum, x, axis) if x.ndim else clone(x)
    return sums.to(x.dtype)


def amax(input: Any, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """The largest value; equal ones share the gradient.

    >>> import tinybn as tb
    >>> tb.amax([[1, 2], [4, 3]], dim=(0, 1)).item()
    4
    """
    return _extreme("amax", ops.amax, input, dim, keepdim)


def amin(input: Any, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """The smallest value; equal ones share the gradient."""
    return _extreme("amin", ops.amin, input, dim, keepdim)


def _extreme(name: str, op: Any, input: Any, dim: Axis, keepdim: bool) -> Tensor:
    x = as_tensor(input)
    axes = reduced_axes(name, x, dim)
    check_elements(name, x, axes)
    return apply(op, x, axes, keepdim)


@numpy_names
def max(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest value of all; over one axis; or of two tensors.

    Returns:
        ``max(x)``: a scalar; equal values share the gradient.
        ``max(x, dim)``: ``(values, indices)``, of the first of equal values, which gets the gradient.
        ``max(x, other)``: `maximum`.

    >>> import tinybn as tb
    >>> values, indices = tb.max([[1.0, 3.0], [5.0, 2.0]], 1)
    >>> values.tolist(), indices.tolist()
    ([3.0, 5.0], [1, 0])
    """
    return _max_or_min("max", maximum, np.max, np.argmax, input, dim, keepdim, other)


@numpy_names
def min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest value of all; over one axis; or of two tensors. As `max`."""
    return _max_or_min("min", minimum, np.min, np.argmin, input, dim, keepdim, other)


def _max_or_min(
    name: str, of_two: Any, of_all: Any, position: Any, input: Any, dim: Any, keepdim: Any, other: Any
) -> Any:
    x = as_tensor(input)
    if isinstance(dim, Tensor | np.ndarray) and other is None:
        dim, other = None, dim
    if other is not None:
        if dim is not None or keepdim is not False:
            raise TypeError(f"{name}: the comparison with another tensor takes neither dim nor keepdim")
        return of_two(x, other)
    if dim is None:
        if keepdim:
            raise TypeError(f"{name}: keepdim needs a dim")
        check_elements(name, x, None)
        return shared(x, of_all(x.data))
    return selected(name, x, dim, keepdim, lambda row, axis: position(row, axis=axis, keepdims=True))


def shared(x: Tensor, value: Any) -> Tensor:
    """A value of x; the elements that have it share its gradient."""
    if value != value:  # NaN, which is nowhere equal
        return apply(ops.mean, x[np.isnan(x.data)])
    return apply(ops.amax, x[x.data == value])


def selected(
    name: str, x: Tensor, dim: int, keepdim: bool, position: Callable[[Array, int], Array]
) -> ValuesAndIndices:
    """One element of each row along an axis, at ``position(row, axis)``, which keeps the axis."""
    axis = axis_number(name, x, dim)
    check_elements(name, x, (axis,))
    row = x if x.ndim else x.reshape(1)
    indices = position(row.data, axis)
    shape = (*x.shape[:axis], *(1,) * (keepdim and x.ndim > 0), *x.shape[axis + 1 :])
    return ValuesAndIndices(pick(row, axis, indices).reshape(shape), Tensor(indices.reshape(shape)))


def pick(x: Tensor, axis: int, indices: Array) -> Tensor:
    """x at ``indices`` along an axis, each at its own place along the others, as ``np.take_along_axis`` does it."""
    return x[grid_of(axis, indices)]


def grid_of(axis: int, indices: Array) -> tuple[Array, ...]:
    """The index arrays that name, for each element of ``indices``, its own place with that number on the axis."""
    grid: list[Array] = [*np.indices(indices.shape, sparse=True)]
    grid[axis] = indices
    return tuple(grid)


@numpy_names
def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the largest value stands, the first of equal ones; without ``dim``, counted in row-major order.

    >>> import tinybn as tb
    >>> tb.argmax([[1.0, 3.0], [5.0, 2.0]], 1)
    tensor([1, 0])
    """
    return _position("argmax", np.argmax, input, dim, keepdim)


@numpy_names
def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the smallest value stands. As `argmax`."""
    return _position("argmin", np.argmin, input, dim, keepdim)


def _position(name: str, function: Any, input: Any, dim: int | None, keepdim: bool) -> Tensor:
    x = as_tensor(input)
    check_not_bool(name, x)
    axis = None if dim is None else axis_number(name, x, dim)
    check_elements(name, x, None if axis is None else (axis,))
    return Tensor(np.asarray(function(x.data, axis=axis if x.ndim else None, keepdims=keepdim)))


@numpy_names
def any(input: Any, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Whether something is not 0. A uint8 for uint8, else a bool.

    >>> import tinybn as tb
    >>> tb.any([[0, 1], [0, 0]], dim=1)
    tensor([ True, False])
    """
    return _truth("any", np.any, input, dim, keepdim)


@numpy_names
def all(input: Any, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Whether nothing is 0. A uint8 for uint8, else a bool."""
    return _truth("all", np.all, input, dim, keepdim)


def _truth(name: str, function: Any, input: Any, dim: Axis, keepdim: bool) -> Tensor:
    x = as_tensor(input)
    # No axes mean none here, as in PyTorch.
    axes = () if isinstance(dim, tuple | list) and not dim else reduced_axes(name, x, dim)
    return Tensor(np.asarray(function(x.data, axis=axes, keepdims=keepdim), np.uint8 if x.dtype == np.uint8 else bool))


def count_nonzero(input: Any, dim: Axis = None) -> Tensor:
    """How many elements are not 0.

    >>> import tinybn as tb
    >>> tb.count_nonzero([[0, 1], [2, 3]], dim=0)
    tensor([1, 2])
    """
    x = as_tensor(input)
    return Tensor(np.asarray(np.count_nonzero(x.data, axis=reduced_axes("count_nonzero", x, dim))))


# --- checks ---------------------------------------------------------------------------------------------------


def axis_number(name: str, x: Tensor, dim: Any) -> int:
    """One axis, counted from the front.

    Raises:
        TypeError: it is no whole number.
        IndexError: there is no such axis.
    """
    if isinstance(dim, bool) or not isinstance(dim, int | np.integer):
        raise TypeError(f"{name}: expected a whole number as dim, got {dim!r}")
    return axis_of(name, x, int(dim))


def reduced_axes(name: str, x: Tensor, dim: Any) -> tuple[int, ...] | None:
    """Axes, counted from the front; None for all of them, which is what no axes mean too.

    Raises:
        ValueError: an axis stands there twice.
    """
    if dim is None:
        return None
    dims = dim if isinstance(dim, tuple | list) else (dim,)
    axes = tuple(axis_number(name, x, d) for d in dims)
    if len(set(axes)) < len(axes):
        raise ValueError(f"{name}: each axis may stand once in dim, got {dim}")
    return axes if axes and x.ndim else None


def check_elements(name: str, x: Tensor, axes: tuple[int, ...] | None) -> None:
    """Refuse to choose from no elements."""
    if 0 in (x.shape if axes is None or not x.ndim else [x.shape[axis] for axis in axes]):
        over = "all axes" if axes is None else f"axes {axes}"
        raise ShapeError(f"{name}: expected at least one element over {over}, got shape {x.shape}")


def check_not_bool(name: str, x: Tensor) -> None:
    if x.dtype.kind == "b":
        raise DTypeError(f"{name}: expected numbers, got bools; use .to(int) first")
