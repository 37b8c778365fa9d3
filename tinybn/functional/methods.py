"""Methods of Tensor that are no functions: drawing and filling in place, and `where`."""

from typing import Any

import numpy as np

from tinybn import inplace, ops, random
from tinybn._tensor import Tensor
from tinybn._typing import Array, Generator
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional import comparison
from tinybn.functional.arguments import broadcast_shape, check_floating, number_in
from tinybn.functional.creation import plain_number

__all__ = ["bernoulli_", "fill_diagonal_", "normal_", "uniform_", "where"]


def normal_(input: Tensor, mean: Any = 0.0, std: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Numbers from a normal distribution, in place.

    >>> import tinybn as tb
    >>> tb.zeros(2).normal_(3.0, 0.0)
    tensor([3., 3.])
    """
    check_floating("normal_", input)
    center, width = (float(plain_number("normal_", v)) for v in (mean, std))
    if not width >= 0:
        raise ValueError(f"normal_: std is {std!r}; expected a number from 0 on")
    drawn = random.resolve(generator).standard_normal(input.shape, _drawn_dtype(input))
    return _filled("normal_", input, drawn * width + center)


def uniform_(input: Tensor, from_: Any = 0.0, to: Any = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Uniform numbers from ``from_`` to ``to``, in place."""
    check_floating("uniform_", input)
    low, high = (float(plain_number("uniform_", v)) for v in (from_, to))
    if not (low <= high and np.isfinite(high - low)):
        raise ValueError(f"uniform_: expected two finite numbers, the lower one first, got {low} and {high}")
    drawn = random.resolve(generator).random(input.shape, _drawn_dtype(input))
    return _filled("uniform_", input, drawn * (high - low) + low)


def _drawn_dtype(x: Tensor) -> Any:
    """The dtype that NumPy's generators draw for one of x's."""
    return "float64" if x.dtype == np.float64 else "float32"


def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """1 with probability p, else 0, in place.

    Args:
        p: a number, or a floating tensor that broadcasts.

    >>> import tinybn as tb
    >>> tb.zeros(2, 2).bernoulli_(tb.tensor([0.0, 1.0]))
    tensor([[0., 1.],
            [0., 1.]])
    """
    if isinstance(p, Tensor):
        check_floating("bernoulli_", p)
    probability = p.data if isinstance(p, Tensor) else np.asarray(p)
    if broadcast_shape("bernoulli_", input.shape, probability.shape) != input.shape:
        raise ShapeError(f"bernoulli_: p of shape {probability.shape} does not broadcast to {input.shape}")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("bernoulli_: expected probabilities from 0 to 1, got others")
    return _filled("bernoulli_", input, random.resolve(generator).random(input.shape) < probability)


def _filled(name: str, x: Tensor, values: Array) -> Tensor:
    """x with these values, which have the gradient 0."""
    values = np.asarray(values, x.dtype)
    if x.dtype.kind != "f":
        return inplace.change(name, x, lambda _: Tensor(values))
    return inplace.change(name, x, lambda old: apply(ops.piecewise_constant, old, lambda _: values))


def fill_diagonal_(input: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """One value on the main diagonal, in place.

    Args:
        input: two axes, or more of one size.
        wrap: in a matrix with more rows than columns, begin again behind a row that is left out.

    >>> import tinybn as tb
    >>> tb.zeros(2, 2).fill_diagonal_(5)
    tensor([[5., 0.],
            [0., 5.]])
    """
    if input.ndim < 2 or (input.ndim > 2 and len(set(input.shape)) > 1):
        raise ShapeError(f"fill_diagonal_: expected two axes, or more of one size, got shape {input.shape}")
    value = number_in("fill_diagonal_", plain_number("fill_diagonal_", fill_value), input.dtype)
    diagonal = np.zeros(input.shape, bool)
    np.fill_diagonal(diagonal, True, wrap)
    return inplace.change("fill_diagonal_", input, lambda old: comparison.where(diagonal, value, old))


def where(input: Tensor, condition: Any, other: Any) -> Tensor:
    """x where the condition holds, ``other`` elsewhere: ``tb.where(condition, x, other)``."""
    return comparison.where(condition, input, other)
