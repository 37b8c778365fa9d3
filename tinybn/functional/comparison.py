"""Comparisons, and the choice by a condition."""

from typing import Any

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor, promoted
from tinybn.autograd import apply

__all__ = ["where"]


def where(condition: Any, input: Any, other: Any) -> Tensor:
    """``input`` where the condition holds, ``other`` elsewhere."""
    mask = as_tensor(condition).data
    if isinstance(input, Tensor):
        input, other = promoted(input, other)
    else:
        other, input = promoted(as_tensor(other), input)
    return apply(ops.where, mask, input, other)
