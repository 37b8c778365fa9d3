"""Activations as modules."""

from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor
from tinybn.nn.module import Module


class ReLU(Module):
    """max(x, 0).

    >>> import tinybn as tb
    >>> tb.nn.ReLU()([-1.0, 2.0])
    tensor([0., 2.])
    """

    def forward(self, input: Any) -> Tensor:
        return F.relu(input)


class Sigmoid(Module):
    """1/(1 + exp(−x)).

    >>> import tinybn as tb
    >>> tb.nn.Sigmoid()([0.0])
    tensor([0.5])
    """

    def forward(self, input: Any) -> Tensor:
        return F.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent.

    >>> import tinybn as tb
    >>> tb.nn.Tanh()([0.0])
    tensor([0.])
    """

    def forward(self, input: Any) -> Tensor:
        return F.tanh(input)
