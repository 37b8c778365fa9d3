"""Comparisons, logic, and the choice by a condition. Only `where` and `masked_fill` carry gradients."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError
from tinybn.functional.arguments import (
    Number,
    arrays,
    broadcast_shape,
    check_dtypes,
    number_in,
    operand,
    operands,
)

__all__ = [
    "allclose",
    "eq",
    "equal",
    "ge",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "masked_fill",
    "ne",
    "where",
]


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """``input`` where the condition holds, ``other`` elsewhere.

    With the condition alone: where it holds (or is not 0), as one tensor of indices per axis.

    >>> import tinybn as tb
    >>> tb.where(tb.tensor([True, False]), tb.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    """
    mask = as_tensor(condition).data
    if mask.dtype == np.uint8:  # PyTorch still takes its masks of old
        mask = mask != 0
    if input is None and other is None:
        return tuple(Tensor(index) for index in np.nonzero(np.atleast_1d(mask)))
    if input is None or other is None:
        raise TypeError("where: expected input and other, or neither, got one of them")
    _check_mask("where", mask)
    x, y = operands("where", input, other)
    broadcast_shape("where", mask.shape, *(v.shape for v in (x, y) if isinstance(v, Tensor)))
    return apply(ops.where, mask, x, y)


def masked_fill(input: Any, mask: Any, value: Any) -> Tensor:
    """x with the value, a number or a 0-d tensor, wherever the mask is true. The dtype stays that of x.

    >>> import tinybn as tb
    >>> tb.masked_fill(tb.tensor([1.0, 2.0]), [True, False], -1)
    tensor([-1.,  2.])
    """
    x, condition = as_tensor(input), as_tensor(mask).data
    _check_mask("masked_fill", condition)
    broadcast_shape("masked_fill", x.shape, condition.shape)
    if isinstance(value, Number):
        return apply(ops.where, condition, number_in("masked_fill", value, x.dtype), x)
    filling = as_tensor(value)
    if filling.ndim:
        raise ShapeError(f"masked_fill: expected a number or a 0-d tensor for value, got shape {filling.shape}")
    return apply(ops.where, condition, filling.to(x.dtype), x)


def _check_mask(name: str, mask: Array) -> None:
    if mask.dtype != np.bool_:
        raise DTypeError(f"{name}: expected a mask of bools, got {mask.dtype}")


def eq(input: Any, other: Any) -> Tensor:
    """input == other."""
    return _compared("eq", input, other, np.equal)


def ne(input: Any, other: Any) -> Tensor:
    """input ≠ other."""
    return _compared("ne", input, other, np.not_equal)


def lt(input: Any, other: Any) -> Tensor:
    """input < other."""
    return _compared("lt", input, other, np.less)


def le(input: Any, other: Any) -> Tensor:
    """input ≤ other."""
    return _compared("le", input, other, np.less_equal)


def gt(input: Any, other: Any) -> Tensor:
    """input > other."""
    return _compared("gt", input, other, np.greater)


def ge(input: Any, other: Any) -> Tensor:
    """input ≥ other."""
    return _compared("ge", input, other, np.greater_equal)


def _compared(name: str, input: Any, other: Any, ufunc: np.ufunc) -> Tensor:
    if isinstance(other, int | np.integer):  # as it is, not wrapped around
        return Tensor(np.asarray(ufunc(operand(name, input).data, np.asarray(other).item())))
    return Tensor(np.asarray(ufunc(*arrays(*operands(name, input, other)))))


def logical_and(input: Any, other: Any) -> Tensor:
    """Whether both are true; numbers are where they are not 0."""
    return _logical("logical_and", input, other, np.logical_and)


def logical_or(input: Any, other: Any) -> Tensor:
    """Whether one of the two is true, or both."""
    return _logical("logical_or", input, other, np.logical_or)


def logical_xor(input: Any, other: Any) -> Tensor:
    """Whether exactly one of the two is true."""
    return _logical("logical_xor", input, other, np.logical_xor)


def _logical(name: str, input: Any, other: Any, ufunc: np.ufunc) -> Tensor:
    x, y = as_tensor(input).data, as_tensor(other).data
    broadcast_shape(name, x.shape, y.shape)
    return Tensor(np.asarray(ufunc(x, y)))


def logical_not(input: Any) -> Tensor:
    """Whether x is false; numbers are where they are 0."""
    return Tensor(np.asarray(np.logical_not(as_tensor(input).data)))


def isnan(input: Any) -> Tensor:
    """Whether x is NaN."""
    return Tensor(np.asarray(np.isnan(as_tensor(input).data)))


def isfinite(input: Any) -> Tensor:
    """Whether x is neither infinite nor NaN."""
    return Tensor(np.asarray(np.isfinite(as_tensor(input).data)))


def isinf(input: Any) -> Tensor:
    """Whether x is ∞ or −∞."""
    return Tensor(np.asarray(np.isinf(as_tensor(input).data)))


def isclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """|input − other| ≤ atol + rtol·|other|, elementwise.

    Args:
        equal_nan: NaN is close to NaN.

    >>> import tinybn as tb
    >>> tb.isclose(tb.tensor([1.0, 2.0]), tb.tensor([1.25, 4.0]), atol=0.5)
    tensor([ True, False])
    """
    return _close("isclose", input, other, rtol, atol, equal_nan)


def allclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether `isclose` holds for all elements."""
    return bool(_close("allclose", input, other, rtol, atol, equal_nan).data.all())


def _close(name: str, input: Any, other: Any, rtol: float, atol: float, equal_nan: bool) -> Tensor:
    for option, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance < 0:
            raise ValueError(f"{name}: {option} is {tolerance}; expected a number from 0 on")
    x, y = as_tensor(input), as_tensor(other)
    check_dtypes(name, input=x, other=y)
    broadcast_shape(name, x.shape, y.shape)
    a, b = (v.data if v.dtype.kind == "f" else v.data.astype(np.int64) for v in (x, y))
    with np.errstate(all="ignore"):
        difference = np.abs(a - b)
        close = (a == b) | (np.isfinite(difference) & (difference <= atol + np.abs(rtol * b)))
    return Tensor(np.asarray(close | (np.isnan(a) & np.isnan(b)) if equal_nan else close))


def equal(input: Any, other: Any) -> bool:
    """Whether the two have one shape and the same elements."""
    x, y = as_tensor(input), as_tensor(other)
    return x.shape == y.shape and bool((x.data == y.data).all())
