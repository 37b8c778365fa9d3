"""Cross-entropy on arrays."""

import numpy as np

from tinybn._typing import Array
from tinybn.kernels.table import chosen

_cross_entropy, _cross_entropy_backward = chosen["cross_entropy"], chosen["cross_entropy_backward"]


def cross_entropy(x: Array, labels: Array, ignored: int) -> tuple[Array, Array, int]:
    """−log softmax(x)[label] of each row, the rows' softmax, and how many rows count: those whose label is not ignored.

    Both outputs are 0 in the others.

    Raises:
        IndexError: a label that is none.
    """
    dtype = x.dtype
    if dtype.char not in "fd" or not (dtype.isnative and x.flags.c_contiguous and x.flags.aligned):
        x = np.require(x, np.float64 if dtype.itemsize > 4 else np.float32, ["C", "A"])
    losses, probabilities = np.empty(len(x), x.dtype), np.empty(x.shape, x.dtype)
    count, position = _cross_entropy(losses, probabilities, x, labels, ignored)
    if position >= 0:
        raise IndexError(
            f"cross_entropy: label {labels[position]} at position {position} is out of range; "
            f"{x.shape[1]} classes have labels 0 to {x.shape[1] - 1}"
        )
    return losses.astype(dtype, copy=False), probabilities.astype(dtype, copy=False), count


def cross_entropy_backward(dy: Array, probabilities: Array, labels: Array, ignored: int) -> Array:
    """(softmax − onehot)·dy for a dy of each row, (N,), or one for all, ()."""
    dtype = probabilities.dtype
    wide = dtype if dtype.char in "fd" else np.dtype(np.float32)
    dx = np.empty(probabilities.shape, wide)
    dy = np.require(dy, wide, ["C", "A"])
    _cross_entropy_backward(dx, dy, probabilities.astype(wide, copy=False), labels, ignored)
    return dx.astype(dtype, copy=False)
