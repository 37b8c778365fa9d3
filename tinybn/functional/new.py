"""Tensors of the dtype of another: ``x.new_zeros(2, 3)``. Methods in the first place."""

from typing import Any

import numpy as np

from tinybn._tensor import Tensor, as_tensor, tensor
from tinybn._typing import DTypeLike
from tinybn.functional.arguments import number_in, sizes_of
from tinybn.functional.creation import plain_number
from tinybn.functional.drawing import made

__all__ = ["new_empty", "new_full", "new_ones", "new_tensor", "new_zeros"]


def new_zeros(input: Any, *size: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the dtype of another tensor.

    >>> import tinybn as tb
    >>> tb.tensor([1, 2]).new_zeros(3)
    tensor([0, 0, 0])
    """
    return made("new_zeros", np.zeros(sizes_of("new_zeros", size), _dtype(input, dtype)), requires_grad)


def new_ones(input: Any, *size: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Ones in the dtype of another tensor."""
    return made("new_ones", np.ones(sizes_of("new_ones", size), _dtype(input, dtype)), requires_grad)


def new_empty(input: Any, *size: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Whatever stands in the memory, in the dtype of another tensor."""
    return made("new_empty", np.empty(sizes_of("new_empty", size), _dtype(input, dtype)), requires_grad)


def new_full(input: Any, size: Any, fill_value: Any, *, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """One value everywhere, in the dtype of another tensor."""
    value = number_in("new_full", plain_number("new_full", fill_value), _dtype(input, dtype))
    return made("new_full", np.full(sizes_of("new_full", (size,)), value), requires_grad)


def new_tensor(input: Any, data: Any, *, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """`tensor`, in the dtype of another tensor."""
    return tensor(data, _dtype(input, dtype), requires_grad)


def _dtype(input: Any, dtype: DTypeLike) -> np.dtype[Any]:
    return as_tensor(input).dtype if dtype is None else np.dtype(dtype)
