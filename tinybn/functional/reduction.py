"""Reductions over axes. The largest and the smallest stand in a room of their own.

``dim`` is an axis or a tuple of axes; None, the default, means all. NumPy's names ``axis`` and ``keepdims`` are taken
for ``dim`` and ``keepdim`` where NumPy has the function too, so that ``np.sum(tensor, axis=0)`` works.
"""

import math
from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_float, as_tensor
from tinybn._typing import Axis, DTypeLike
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import (
    axis_number,
    axis_to_cut,
    check_elements,
    check_floating,
    numpy_names,
    reduced_axes,
    whole,
)
from tinybn.functional.arithmetic import abs
from tinybn.functional.comparison import isnan, where
from tinybn.functional.elementwise import exp, log
from tinybn.functional.joining import cat, cut
from tinybn.functional.shape import clone

__all__ = [
    "all",
    "any",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "diff",
    "logsumexp",
    "mean",
    "nanmean",
    "nansum",
    "norm",
    "prod",
    "std",
    "std_mean",
    "sum",
    "var",
    "var_mean",
]


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
def nansum(input: Any, dim: Axis = None, keepdim: bool = False, *, dtype: DTypeLike = None) -> Tensor:
    """`sum`, where NaN counts as 0.

    >>> import tinybn as tb
    >>> tb.nansum([1.0, float("nan"), 2.0]).item()
    3.0
    """
    return _sum_of_numbers("nansum", as_tensor(input), dim, keepdim, dtype)


def _sum_of_numbers(name: str, x: Tensor, dim: Axis, keepdim: bool, dtype: DTypeLike = None) -> Tensor:
    return sum(where(isnan(x), x.dtype.type(0), x), reduced_axes(name, x, dim), keepdim, dtype=dtype)


@numpy_names
def nanmean(input: Any, dim: Axis = None, keepdim: bool = False, *, dtype: DTypeLike = None) -> Tensor:
    """The `mean` of what is not NaN; NaN of nothing."""
    x = as_tensor(input, dtype)
    check_floating("nanmean", x)
    return _sum_of_numbers("nanmean", x, dim, keepdim) / sum(~isnan(x), dim, keepdim)


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
    count = x.numel() // (average.numel() or 1)
    divisor = count - correction if count else 0
    if divisor < 0 and axes is None:
        divisor = 0
    centered = x - (average if divisor > 0 else average.detach())  # there no infinities may cancel in its gradient
    total: Tensor = apply(ops.sum, centered * centered, axes, keepdim)
    variance = total / divisor
    if divisor < 0:  # infinite, or NaN, but with the gradient of the quotient, as in PyTorch
        variance = variance + (total / 0.0 - variance).detach()
    return variance, average.reshape(total.shape)


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
        return apply(ops.sum, apply(ops.piecewise_constant, x, lambda x: (x != 0).astype(x.dtype)), axes, keepdim)
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


@numpy_names
def cumprod(input: Any, dim: int, *, dtype: DTypeLike = None) -> Tensor:
    """The products of the first 1, 2, … elements along an axis; integers and bools multiply in int64.

    Products of 1, 2, 4, … elements are joined, so no gradient divides by a zero.

    >>> import tinybn as tb
    >>> tb.cumprod([1, 2, 3, 4], dim=0)
    tensor([ 1,  2,  6, 24])
    """
    x = _converted(as_tensor(input), dtype)
    axis, products, width = axis_number("cumprod", x, dim), clone(x), 1
    while x.ndim and width < x.shape[axis]:
        before = cut(products, axis, slice(-width))
        products = cat([cut(products, axis, slice(width)), cut(products, axis, slice(width, None)) * before], axis)
        width *= 2
    return products


@numpy_names
def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """x[1:] − x[:−1] along an axis, n times; whether the two differ for bools.

    Args:
        prepend, append: what to put in front of the input and behind it first, of as many axes.

    >>> import tinybn as tb
    >>> tb.diff([1, 4, 9])
    tensor([3, 5])
    """
    x, times = as_tensor(input), whole("diff: n", n)
    axis = axis_to_cut("diff", x, dim)
    if times < 0:
        raise ValueError(f"diff: n is {times}; expected a number from 0 on")
    if times == 0:
        return clone(x)
    parts = [as_tensor(part) for part in (prepend, x, append) if part is not None]
    others = {(part.ndim, part.shape[:axis], part.shape[axis + 1 :]) for part in parts}
    if len(others) > 1:
        raise ShapeError(f"diff: expected shapes that differ in axis {dim} only, got {[part.shape for part in parts]}")
    x = cat(parts, axis)
    for _ in range(min(times, x.shape[axis])):
        left, right = cut(x, axis, slice(-1)), cut(x, axis, slice(1, None))
        x = right != left if x.dtype == np.bool_ else right - left
    return x


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
