"""Tensors from a shape. Sizes may be given one by one or as a tuple; the default dtype is float32."""

from typing import Any

import numpy as np

from tinybn import random
from tinybn._tensor import Tensor, as_tensor, tensor
from tinybn._typing import DTypeLike, Generator
from tinybn.functional.arguments import flat_sizes

__all__ = [
    "arange",
    "eye",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "rand",
    "randint",
    "randn",
    "zeros",
    "zeros_like",
]

FLOAT = np.float32


def zeros(*size: Any, dtype: DTypeLike = FLOAT, requires_grad: bool = False) -> Tensor:
    """Zeros.

    >>> import tinybn as tb
    >>> tb.zeros(2)
    tensor([0., 0.])
    """
    return _made(np.zeros(flat_sizes(size), dtype), requires_grad)


def ones(*size: Any, dtype: DTypeLike = FLOAT, requires_grad: bool = False) -> Tensor:
    """Ones."""
    return _made(np.ones(flat_sizes(size), dtype), requires_grad)


def full(size: Any, fill_value: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """One value everywhere; its dtype is the one that `tensor` would give it."""
    value = tensor(fill_value, dtype).data
    return _made(np.full(flat_sizes((size,)), value), requires_grad)


def arange(start: Any, end: Any = None, step: Any = 1, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """start, start + step, … up to but without end; ``arange(n)`` counts from 0. int64 from integers, else float32."""
    start, end = (0, start) if end is None else (start, end)
    floating = any(isinstance(value, float) for value in (start, end, step))
    return _made(np.arange(start, end, step, dtype=dtype or (FLOAT if floating else np.int64)), requires_grad)


def linspace(start: float, end: float, steps: int, dtype: DTypeLike = FLOAT, requires_grad: bool = False) -> Tensor:
    """``steps`` numbers at even distances from start to end, both included."""
    return _made(np.linspace(start, end, steps, dtype=dtype), requires_grad)


def eye(n: int, m: int | None = None, dtype: DTypeLike = FLOAT, requires_grad: bool = False) -> Tensor:
    """The identity matrix, n×m."""
    return _made(np.eye(n, m, dtype=dtype), requires_grad)


def rand(
    *size: Any, generator: Generator | None = None, dtype: DTypeLike = FLOAT, requires_grad: bool = False
) -> Tensor:
    """Uniform numbers from [0, 1)."""
    return _made(random.resolve(generator).random(flat_sizes(size), _float_type(dtype)), requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, dtype: DTypeLike = FLOAT, requires_grad: bool = False
) -> Tensor:
    """Numbers from the normal distribution with mean 0 and variance 1."""
    return _made(random.resolve(generator).standard_normal(flat_sizes(size), _float_type(dtype)), requires_grad)


def randint(low: int, high: int, size: Any, generator: Generator | None = None) -> Tensor:
    """Whole numbers from low to high − 1."""
    return _made(random.resolve(generator).integers(low, high, flat_sizes((size,))), False)


def zeros_like(input: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape, dtype and memory layout of another tensor."""
    return _made(np.zeros_like(as_tensor(input).data, dtype=dtype), requires_grad)


def ones_like(input: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape, dtype and memory layout of another tensor."""
    return _made(np.ones_like(as_tensor(input).data, dtype=dtype), requires_grad)


def full_like(input: Any, fill_value: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """One value everywhere, in the shape, dtype and memory layout of another tensor."""
    return _made(np.full_like(as_tensor(input).data, fill_value, dtype=dtype), requires_grad)


def _float_type(dtype: DTypeLike) -> Any:
    """NumPy's generators draw float32 and float64, by their names."""
    return np.dtype(dtype).name


def _made(array: np.ndarray[Any, Any], requires_grad: bool) -> Tensor:
    return Tensor(np.asarray(array)).requires_grad_(requires_grad)
