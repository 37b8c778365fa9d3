"""Random numbers. ``generator`` is a NumPy generator; default: that of `tinybn.manual_seed`."""

from typing import Any

import numpy as np

from tinybn import ops, random
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array, DTypeLike, Generator, Shape
from tinybn.autograd import apply
from tinybn.errors import DTypeError
from tinybn.functional.arguments import broadcast_shape, check_floating, sizes_of, whole

__all__ = ["bernoulli", "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm"]


def rand(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: DTypeLike = np.float32,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers from [0, 1)."""
    return made("rand", _uniform("rand", sizes_of("rand", sizes, size), dtype, generator), requires_grad)


def rand_like(
    input: Any, *, generator: Generator | None = None, dtype: DTypeLike = None, requires_grad: bool = False
) -> Tensor:
    """Uniform numbers from [0, 1), in the shape and dtype of another tensor."""
    x = as_tensor(input).data
    return made("rand_like", _uniform("rand_like", x.shape, dtype or x.dtype, generator), requires_grad)


def _uniform(name: str, shape: Shape, dtype: DTypeLike, generator: Generator | None) -> Array:
    return np.asarray(random.resolve(generator).random(shape, _float_type(name, dtype)))


def randn(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: DTypeLike = np.float32,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from the normal distribution with mean 0 and variance 1."""
    return made("randn", _standard_normal("randn", sizes_of("randn", sizes, size), dtype, generator), requires_grad)


def randn_like(
    input: Any, *, generator: Generator | None = None, dtype: DTypeLike = None, requires_grad: bool = False
) -> Tensor:
    """Numbers from the normal distribution with mean 0 and variance 1, in the shape and dtype of another tensor."""
    x = as_tensor(input).data
    return made("randn_like", _standard_normal("randn_like", x.shape, dtype or x.dtype, generator), requires_grad)


def _standard_normal(name: str, shape: Shape, dtype: DTypeLike, generator: Generator | None) -> Array:
    return np.asarray(random.resolve(generator).standard_normal(shape, _float_type(name, dtype)))


def _float_type(name: str, dtype: DTypeLike) -> Any:
    """The name of float32 or float64, which is what NumPy's generators draw."""
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise DTypeError(f"{name}: dtype is {np.dtype(dtype)}; expected float32 or float64")
    return np.dtype(dtype).name


def normal(mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Numbers from normal distributions, each with its own mean and standard deviation.

    Args:
        mean, std: floating tensors, which broadcast, or numbers.
        size: the shape, where both are numbers.

    >>> import tinybn as tb
    >>> tb.normal(tb.tensor([1.0, 2.0]), 0.0)
    tensor([1., 2.])
    """
    tensors = [as_tensor(v) for v in (mean, std) if not isinstance(v, int | float)]
    if bool(tensors) == (size is not None):
        raise TypeError(f"normal: expected a size beside two numbers and only there, got size={size!r}")
    for x in tensors:
        check_floating("normal", x)
    shape = sizes_of("normal", (size,)) if not tensors else broadcast_shape("normal", *(x.shape for x in tensors))
    dtype = np.result_type(*(x.dtype for x in tensors)) if tensors else np.dtype(np.float32)
    center, width = (np.asarray(as_tensor(v).data, dtype) for v in (mean, std))
    if (width < 0).any():
        raise ValueError(f"normal: std is {width.min()}; expected numbers from 0 on")
    return Tensor(np.asarray(_standard_normal("normal", shape, dtype, generator) * width + center))


def bernoulli(input: Any, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that stands in the input, else 0; with ``p``, that one everywhere. The gradient is 0.

    >>> import tinybn as tb
    >>> tb.bernoulli(tb.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    x = as_tensor(input)
    if p is None:
        check_floating("bernoulli", x)
    probability = x.data if p is None else np.asarray(p)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("bernoulli: expected probabilities from 0 to 1, got others")
    drawn = (random.resolve(generator).random(x.shape) < probability).astype(x.dtype)
    return apply(ops.piecewise_constant, x, lambda _: drawn) if x.dtype.kind == "f" else Tensor(np.asarray(drawn))


def randint(
    low: Any = 0,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike = np.int64,
    requires_grad: bool = False,
) -> Tensor:
    """Whole numbers from low to high − 1: ``randint(low, high, size)``, or from 0: ``randint(high, size)``.

    >>> import tinybn as tb
    >>> sorted(set(tb.randint(2, 5, (1000,)).tolist()))
    [2, 3, 4]
    """
    if size is None:
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    shape = sizes_of("randint", (size,))
    return made("randint", _integers("randint", low, high, shape, dtype, generator), requires_grad)


def randint_like(
    input: Any,
    low: Any,
    high: Any = None,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike = None,
    requires_grad: bool = False,
) -> Tensor:
    """Whole numbers from low (or 0) to high − 1, in the shape and dtype of another tensor."""
    x = as_tensor(input).data
    low, high = (0, low) if high is None else (low, high)
    drawn = _integers("randint_like", low, high, x.shape, dtype or x.dtype, generator)
    return made("randint_like", drawn, requires_grad)


def _integers(name: str, low: Any, high: Any, shape: Shape, dtype: DTypeLike, generator: Generator | None) -> Array:
    first, end = whole(f"{name}: low", low), whole(f"{name}: high", high)
    if first >= end:
        raise ValueError(f"{name}: expected low below high, got {first} and {end}")
    _check_fit(name, first, end - 1, np.dtype(dtype))
    return np.asarray(random.resolve(generator).integers(first, end, shape)).astype(dtype)


def _check_fit(name: str, least: int, most: int, dtype: np.dtype[Any]) -> None:
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    smallest, largest = (limits.min, limits.max) if limits else (0, 1)
    if dtype.kind != "f" and not smallest <= least <= most <= largest:
        raise ValueError(f"{name}: numbers from {least} to {most} do not fit {dtype}")


def randperm(
    n: Any, *, generator: Generator | None = None, dtype: DTypeLike = np.int64, requires_grad: bool = False
) -> Tensor:
    """The numbers from 0 to n − 1 in random order.

    >>> import tinybn as tb
    >>> sorted(tb.randperm(3).tolist())
    [0, 1, 2]
    """
    (count,) = sizes_of("randperm", (n,))
    if np.dtype(dtype) == np.bool_:
        raise DTypeError("randperm: dtype is bool; expected a numeric one")
    _check_fit("randperm", 0, count, np.dtype(dtype))
    return made("randperm", random.resolve(generator).permutation(count).astype(dtype), requires_grad)


def made(name: str, array: Array, requires_grad: bool) -> Tensor:
    """A leaf, for the function of that name."""
    if requires_grad and array.dtype.kind != "f":
        raise DTypeError(f"{name}: only floating tensors can require grad, this one would be {array.dtype}")
    return Tensor(array, requires_grad)
