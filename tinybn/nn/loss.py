"""Losses as modules."""

from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor, as_tensor
from tinybn.functional.loss import REDUCTIONS
from tinybn.nn.module import Module


class CrossEntropyLoss(Module):
    """−log softmax(x)[target]; `tinybn.functional.cross_entropy` has the arguments and what is raised.

    Shapes: logits (N, classes) and labels (N,) → a scalar, or (N,) with reduction="none".

    >>> import tinybn as tb
    >>> round(tb.nn.CrossEntropyLoss()(tb.zeros(2, 10), [3, 7]).item(), 4)
    2.3026
    """

    weight: Tensor | None

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(f"CrossEntropyLoss: reduction is {reduction!r}; expected one of {REDUCTIONS}")
        self.register_buffer("weight", None if weight is None else as_tensor(weight))
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}, label_smoothing={self.label_smoothing}"
