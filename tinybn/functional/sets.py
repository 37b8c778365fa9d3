"""What occurs, and how often."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError
from tinybn.functional.arguments import Number, axis_to_cut, check_not_bool, whole

__all__ = ["bincount", "isin", "unique"]


def unique(
    input: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different values in ascending order, outside the graph. Every NaN is a value of its own.

    Args:
        sorted: they are in order in any case.
        return_inverse: also tell for each element which of the values it is, in the shape of the input.
        return_counts: also tell how often each occurs.
        dim: the different parts along an axis instead, ordered by their elements from the first on.

    Returns:
        The values, or a tuple: values, inverse, counts, as far as they are asked for.

    >>> import tinybn as tb
    >>> values, counts = tb.functional.unique([3, 1, 3, 2], return_counts=True)
    >>> values.tolist(), counts.tolist()
    ([1, 2, 3], [1, 1, 2])
    """
    x = as_tensor(input)
    axis = None if dim is None else axis_to_cut("unique", x, dim)
    values, inverse, counts = np.unique(x.data, return_inverse=True, return_counts=True, axis=axis, equal_nan=False)
    results = [Tensor(values)]
    if return_inverse:
        results.append(Tensor(inverse.reshape(x.shape if axis is None else -1)))
    if return_counts:
        results.append(Tensor(counts))
    return tuple(results) if len(results) > 1 else results[0]


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Which elements are among the others, as bools; NaN never is.

    Args:
        assume_unique: that nothing occurs twice, which makes no difference here.
        invert: which ones are not.

    >>> import tinybn as tb
    >>> tb.functional.isin([1, 2, 3], [3, 1])
    tensor([ True, False,  True])
    """
    if isinstance(elements, Number) and isinstance(test_elements, Number):
        raise TypeError("isin: expected at least one tensor, got two numbers")
    x, others = as_tensor(elements), as_tensor(test_elements)
    check_not_bool("isin", x)
    check_not_bool("isin", others)
    return Tensor(np.asarray(np.isin(x.data, others.data, invert=invert)))


def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, …, max(input) occurs; with weights, what they add up to.

    Args:
        input: whole numbers from 0 on, in one row.
        weights: as many numbers, which gradients flow to. The sums are float64 unless these are float32.
        minlength: the least number of counts, with 0 for what does not occur.

    >>> import tinybn as tb
    >>> tb.functional.bincount([1, 3, 1], minlength=5)
    tensor([0, 2, 0, 1, 0])
    """
    x, least = as_tensor(input).data, whole("bincount: minlength", minlength)
    if isinstance(input, list | tuple) and not x.size:
        x = x.astype(np.int64)
    if x.dtype.kind not in "iu":
        raise DTypeError(f"bincount: expected whole numbers, got {x.dtype}")
    if x.ndim != 1 or (x < 0).any():
        raise ShapeError(
            f"bincount: expected numbers from 0 on in one row, got shape {x.shape}, least {x.min(initial=0)}"
        )
    if least < 0:
        raise ValueError(f"bincount: minlength is {least}; expected a number from 0 on")
    if weights is None:
        return Tensor(np.bincount(x, minlength=least).astype(np.int64))
    w = as_tensor(weights)
    if w.shape != x.shape:
        raise ShapeError(f"bincount: expected as many weights as numbers, got shapes {w.shape} and {x.shape}")
    if not x.size:
        return Tensor(np.zeros(least, np.int64))
    w = w if w.dtype == np.float32 else w.to(np.float64)
    return apply(ops.scatter, w, (x,), (max(least, int(x.max()) + 1),))
