"""Tensors from a shape. Sizes may be given one by one or as a tuple; the default dtype is float32.

Random numbers stand in a room of their own.
"""

import math
from typing import Any

import numpy as np

from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array, DTypeLike
from tinybn.errors import DTypeError, ShapeError
from tinybn.functional.arguments import Number, number_in, sizes_of, whole
from tinybn.functional.drawing import made

__all__ = [
    "arange",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]

FLOAT = np.float32


# --- one value everywhere ---------------------------------------------------------------------------------------------


def zeros(*sizes: Any, size: Any = None, dtype: DTypeLike = FLOAT, requires_grad: bool = False) -> Tensor:
    """Zeros.

    >>> import tinybn as tb
    >>> tb.zeros(2)
    tensor([0., 0.])
    """
    return made("zeros", np.zeros(sizes_of("zeros", sizes, size), dtype), requires_grad)


def ones(*sizes: Any, size: Any = None, dtype: DTypeLike = FLOAT, requires_grad: bool = False) -> Tensor:
    """Ones."""
    return made("ones", np.ones(sizes_of("ones", sizes, size), dtype), requires_grad)


def empty(*sizes: Any, size: Any = None, dtype: DTypeLike = FLOAT, requires_grad: bool = False) -> Tensor:
    """Whatever stands in the memory."""
    return made("empty", np.empty(sizes_of("empty", sizes, size), dtype), requires_grad)


def full(size: Any, fill_value: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """One value everywhere, a number or a 0-d tensor; the default dtype is the one that `tensor` would give it.

    >>> import tinybn as tb
    >>> tb.full((2,), 7)
    tensor([7, 7])
    """
    value = plain_number("full", fill_value)
    dtype = np.dtype(dtype or (bool if isinstance(value, bool) else np.int64 if isinstance(value, int) else FLOAT))
    array = np.full(sizes_of("full", (size,)), number_in("full", value, dtype))
    return made("full", array, requires_grad)


def zeros_like(input: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape, dtype and memory layout of another tensor."""
    return made("zeros_like", np.zeros_like(as_tensor(input).data, dtype), requires_grad)


def ones_like(input: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape, dtype and memory layout of another tensor."""
    return made("ones_like", np.ones_like(as_tensor(input).data, dtype), requires_grad)


def empty_like(input: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Whatever stands in the memory, in the shape, dtype and memory layout of another tensor."""
    return made("empty_like", np.empty_like(as_tensor(input).data, dtype), requires_grad)


def full_like(input: Any, fill_value: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """One value everywhere, in the shape, dtype and memory layout of another tensor."""
    x = as_tensor(input).data
    value = number_in("full_like", plain_number("full_like", fill_value), np.dtype(dtype or x.dtype))
    return made("full_like", np.full_like(x, value, dtype), requires_grad)


def plain_number(name: str, value: Any) -> Any:
    """A number, or a 0-d tensor or array that holds one, as a Python number."""
    if isinstance(value, Tensor | np.ndarray) and not value.ndim:
        return value.item()
    if not isinstance(value, Number):
        raise TypeError(f"{name}: expected a number or a 0-d tensor, got {value!r}")
    return value.item() if isinstance(value, np.generic) else value


# --- sequences --------------------------------------------------------------------------------------------------------


def arange(
    start: Any = None, end: Any = None, step: Any = 1, dtype: DTypeLike = None, requires_grad: bool = False
) -> Tensor:
    """start, start + step, … up to but without end; ``arange(n)`` counts from 0. int64 from integers, else float32.

    >>> import tinybn as tb
    >>> tb.arange(1, 7, 2)
    tensor([1, 3, 5])
    """
    if end is None:
        start, end = None, start
    first, last, by = (plain_number("arange", v) for v in (0 if start is None else start, end, step))
    if not all(map(math.isfinite, (first, last, by))) or by == 0:
        raise ValueError(f"arange: expected finite numbers and a step other than 0, got {(first, last, by)}")
    if (last - first) * by < 0:
        raise ValueError(f"arange: a step of {by} does not lead from {first} to {last}")
    floating = any(isinstance(v, float) for v in (first, last, by))
    dtype = np.dtype(dtype or (FLOAT if floating else np.int64))
    if dtype == np.bool_:
        raise DTypeError("arange: dtype is bool; expected a numeric one")
    count = math.ceil((last - first) / by) if floating else -((first - last) // by)
    return made("arange", (first + by * np.arange(count)).astype(dtype), requires_grad)


def linspace(start: Any, end: Any, steps: Any, dtype: DTypeLike = FLOAT, requires_grad: bool = False) -> Tensor:
    """``steps`` numbers at even distances from start to end, both included.

    >>> import tinybn as tb
    >>> tb.linspace(0, 1, 5)
    tensor([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    return made("linspace", _even("linspace", start, end, steps, dtype).astype(dtype), requires_grad)


def logspace(
    start: Any, end: Any, steps: Any, base: float = 10.0, dtype: DTypeLike = FLOAT, requires_grad: bool = False
) -> Tensor:
    """The powers of the base whose exponents `linspace` would give.

    >>> import tinybn as tb
    >>> tb.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    with np.errstate(all="ignore"):
        powers = float(base) ** _even("logspace", start, end, steps, dtype)
    return made("logspace", powers.astype(dtype), requires_grad)


def _even(name: str, start: Any, end: Any, steps: Any, dtype: DTypeLike) -> Array:
    """In float64, from which a cast to integers cuts the fraction off."""
    count = whole(f"{name}: steps", steps)
    if count < 0:
        raise ShapeError(f"{name}: steps is {count}; expected a whole number from 0 on")
    if np.dtype(dtype) == np.bool_:
        raise DTypeError(f"{name}: dtype is bool; expected a numeric one")
    return np.linspace(plain_number(name, start), plain_number(name, end), count)


def eye(n: Any, m: Any = None, dtype: DTypeLike = FLOAT, requires_grad: bool = False) -> Tensor:
    """The identity matrix, n×m; m defaults to n."""
    shape = sizes_of("eye", (n, n if m is None else m))
    return made("eye", np.eye(*shape, dtype=np.dtype(dtype)), requires_grad)
