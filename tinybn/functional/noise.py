"""Dropout."""

from typing import Any

from tinybn import random
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Generator
from tinybn.functional.arguments import check_floating

__all__ = ["dropout"]


def dropout(input: Any, p: float = 0.5, training: bool = True, generator: Generator | None = None) -> Tensor:
    """x·mask/(1 − p) in training, where each element of the mask is 0 with probability p; x itself otherwise.

    Args:
        p: the probability to drop, 0 to 1.
        training: drop at all.
        generator: a NumPy generator; default: that of `tinybn.manual_seed`.

    Source: Srivastava et al. 2014, "Dropout".

    >>> import tinybn as tb
    >>> sorted(set(tb.functional.dropout(tb.ones(1000), 0.5).tolist()))
    [0.0, 2.0]
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is {p!r}; expected a probability from 0 to 1")
    x = as_tensor(input)
    check_floating("dropout", x)
    if not training or p == 0:
        return x
    kept = random.resolve(generator).random(x.shape, "float32") >= p
    mask = kept.astype(x.dtype)
    if p < 1:
        mask *= 1 / (1 - p)
    return x * mask
