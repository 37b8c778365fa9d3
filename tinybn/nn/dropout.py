"""Dropout as a module."""

from typing import Any

from tinybn import functional as F
from tinybn import random
from tinybn._tensor import Tensor
from tinybn._typing import Generator
from tinybn.nn.module import Module


class Dropout(Module):
    """In training, each element is 0 with probability p and divided by 1 − p otherwise; in evaluation, x.

    Args:
        p: the probability to drop, 0 to 1.
        generator: draws the masks; default: that of `tinybn.manual_seed`.

    Source: Srivastava et al. 2014, "Dropout".

    >>> import tinybn as tb
    >>> tb.nn.Dropout(0.5).eval()([1.0, 2.0])
    tensor([1., 2.])
    """

    def __init__(self, p: float = 0.5, generator: Generator | None = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p is {p!r}; expected a probability from 0 to 1")
        random.resolve(generator)  # refuses what is not a generator
        self.p, self.generator = p, generator

    def forward(self, input: Any) -> Tensor:
        return F.dropout(input, self.p, self.training, self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"
