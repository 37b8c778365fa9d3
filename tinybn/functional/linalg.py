"""Products of vectors and matrices."""

from typing import Any

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError

__all__ = ["matmul"]


def matmul(input: Any, other: Any) -> Tensor:
    """The matrix product, with PyTorch's rules for vectors and for axes in front.

    >>> import tinybn as tb
    >>> tb.matmul(tb.ones(2, 3), tb.ones(3)).shape
    (2,)
    """
    x, y = as_tensor(input), as_tensor(other)
    if x.dtype != y.dtype:
        raise DTypeError(f"matmul: expected two tensors of one dtype, got {x.dtype} and {y.dtype}; cast one with .to()")
    if not x.ndim or not y.ndim:
        raise ShapeError(
            f"matmul: expected at least one axis each, got shapes {x.shape} and {y.shape}; use * for scalars"
        )
    left = x.reshape(1, -1) if x.ndim == 1 else x
    right = y.reshape(-1, 1) if y.ndim == 1 else y
    if left.shape[-1] != right.shape[-2]:
        raise ShapeError(f"matmul: the inner sizes of {x.shape} and {y.shape} differ")
    product: Tensor = apply(ops.matmul, left, right)
    shape = product.shape[:-2] + left.shape[-2:-1] * (x.ndim > 1) + right.shape[-1:] * (y.ndim > 1)
    return product if shape == product.shape else product.reshape(shape)
