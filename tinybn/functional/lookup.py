"""Class numbers as vectors."""

from typing import Any

import numpy as np

from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array, Op
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import whole
from tinybn.functional.comparison import where
from tinybn.functional.index import INT32_OR_INT64, INT64, check_range, indices_of

__all__ = [
    "embedding",
    "one_hot",
]


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """A row for each class number, with 1 at its place and 0 elsewhere, int64.

    Args:
        tensor: class numbers from 0 on, int64, of any shape.
        num_classes: the length of the rows; default: the largest number + 1.

    >>> import tinybn as tb
    >>> tb.functional.one_hot([0, 2])
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    numbers = indices_of("one_hot", tensor, INT64)
    classes = whole("one_hot: num_classes", num_classes)
    if classes == -1:
        if not numbers.size:
            raise ValueError("one_hot: expected num_classes, as there are no class numbers to find the largest of")
        classes = int(numbers.max()) + 1
    if classes < 1:
        raise ValueError(f"one_hot: num_classes is {num_classes}; expected a whole number from 1 on, or -1")
    check_range("one_hot", numbers, 0, classes)
    return Tensor((numbers[..., None] == np.arange(classes)).astype(np.int64))


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of a table with these numbers.

    Args:
        input: numbers from 0 on, of any shape.
        weight: the table, (count, features).
        padding_idx: this row gets no gradient; a negative one counts from the end.
        max_norm, norm_type: not supported: they would change the weight.
        scale_grad_by_freq: divide a row's gradient by how often its number stands in the input.
        sparse: means nothing here, gradients are dense.

    Returns:
        The shape of the input, and the features as the last axis.

    >>> import tinybn as tb
    >>> tb.functional.embedding([1, 1, 0], [[1.0, 2.0], [3.0, 4.0]])
    tensor([[3., 4.],
            [3., 4.],
            [1., 2.]])
    """
    table = as_tensor(weight)
    numbers = indices_of("embedding", input, INT32_OR_INT64)
    if max_norm is not None:
        raise ValueError("embedding: max_norm is not supported, as it changes the weight; rescale that before")
    if table.ndim != 2:
        raise ShapeError(f"embedding: expected a weight of shape (count, features), got {table.shape}")
    count = len(table)
    check_range("embedding", numbers, 0, count)
    rows = table[numbers]
    if padding_idx is not None:
        padding = np.asarray(whole("embedding: padding_idx", padding_idx))
        check_range("embedding", padding, -count, count)
        rows = where((numbers == padding % count)[..., None], rows.detach(), rows)
    if scale_grad_by_freq and rows.requires_grad:
        often = np.bincount(numbers.reshape(-1), minlength=count)[numbers][..., None]
        rows = apply(_scale_gradient, rows, 1 / often.astype(table.dtype))
    return rows


def _scale_gradient(x: Array, factor: Array) -> Op:
    """x itself, with a multiple of its gradient."""

    def backward(dy: Any) -> tuple[Any, ...]:
        return (dy * factor,)

    return x.copy(), backward, ()
