"""Affine maps."""

import math
from typing import Any

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import check_dtypes, check_not_bool
from tinybn.functional.shape import reshape

__all__ = ["linear"]


def linear(input: Any, weight: Any, bias: Any = None, relu: bool = False) -> Tensor:
    """y = x·weightᵀ + bias.

    Args:
        input: (..., in).
        weight: (out, in), or (in,) for an output without its last axis.
        bias: (out,), () or None.
        relu: max(y, 0) instead of y, in the same pass: the same bits as `relu` behind.

    Raises:
        ShapeError, DTypeError: the three do not go together.

    >>> import tinybn as tb
    >>> tb.functional.linear(tb.ones(2, 3), tb.ones(4, 3)).shape
    (2, 4)
    """
    x, weight = as_tensor(input), as_tensor(weight)
    if _fit(x.array, weight.array, bias):
        return apply(ops.linear, x, weight, bias, relu)
    check_not_bool("linear", x)
    if weight.ndim == 1:
        y = linear(x, reshape(weight, 1, -1), None if bias is None else reshape(as_tensor(bias), -1), relu)
        return reshape(y, y.shape[:-1])
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear: a weight of shape {weight.shape} needs an input of shape (..., {weight.shape[-1]}), got {x.shape}"
        )
    if bias is not None:
        bias = as_tensor(bias)
        bias = bias if bias.ndim else bias.expand(weight.shape[:1])
        if bias.shape != weight.shape[:1]:
            raise ShapeError(
                f"linear: a weight of shape {weight.shape} needs a bias of {weight.shape[:1]}, got {bias.shape}"
            )
    check_dtypes("linear", input=x, weight=weight, bias=bias)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return apply(ops.linear, rows, weight, bias, relu).reshape(*x.shape[:-1], len(weight))


def _fit(x: Array, weight: Array, bias: Any) -> bool:
    """Whether nothing is to be said or done about them: rows, and floats of one dtype."""
    shape, size = weight.shape, x.shape
    if len(shape) != 2 or len(size) != 2 or size[1] != shape[1] or x.dtype.kind != "f" or x.dtype != weight.dtype:
        return False
    if bias is None:
        return True
    return isinstance(bias, Tensor) and bias.array.shape == shape[:1] and bias.array.dtype == x.dtype
