"""Dropout as modules."""

from typing import Any

from tinybn import functional as F
from tinybn import random
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Generator, Shape
from tinybn.errors import ShapeError
from tinybn.nn.activation import InplaceModule


class Dropout(InplaceModule):
    """In training, each element is 0 with probability p and divided by 1 − p otherwise; in evaluation, x.

    Args:
        p: the probability to drop, 0 to 1.
        inplace: write the result into the input, if that is a Tensor.
        generator: draws the masks; default: that of `tinybn.manual_seed`.

    Source: Srivastava et al. 2014, "Dropout".

    >>> import tinybn as tb
    >>> tb.nn.Dropout(0.5).eval()([1.0, 2.0])
    tensor([1., 2.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, generator: Generator | None = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p is {p!r}; expected a probability from 0 to 1")
        random.resolve(generator)  # refuses what is not a generator
        super().__init__(inplace)
        self.p, self.generator = p, generator

    def compute(self, input: Any) -> Tensor:
        return F.dropout(input, self.p, self.training, self.generator)

    def forward(self, input: Any) -> Tensor:
        return super().forward(input) if self.training else self.compute(input)  # evaluation writes nothing

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """`Dropout` that drops or keeps whole channels (rows of L).

    Shapes: (N, C, L) or (C, L) → the same.

    Source: Tompson et al. 2015, "Efficient Object Localization Using Convolutional Networks", §3.2.

    >>> import tinybn as tb
    >>> len(set(tb.nn.Dropout1d(0.5)(tb.ones(1, 1, 8)).flatten().tolist()))
    1
    """

    def compute(self, input: Any) -> Tensor:
        x = as_tensor(input)
        if x.ndim not in (2, 3):
            raise ShapeError(f"expected an input of shape (N, C, L) or (C, L), got {x.shape}")
        return _drop_parts(self, x, (*x.shape[:-1], 1))


class Dropout2d(Dropout):
    """`Dropout` that drops or keeps whole channels (planes of H and W), which are axis 1.

    Shapes: (N, C, H, W) or (N, C, ...) → the same.

    Source: Tompson et al. 2015, "Efficient Object Localization Using Convolutional Networks", §3.2.

    >>> import tinybn as tb
    >>> len(set(tb.nn.Dropout2d(0.5)(tb.ones(1, 1, 4, 4)).flatten().tolist()))
    1
    """

    def compute(self, input: Any) -> Tensor:
        x = as_tensor(input)
        if x.ndim < 2:
            raise ShapeError(f"expected an input of shape (N, C, H, W), got {x.shape}")
        return _drop_parts(self, x, (*x.shape[:2], *(1,) * (x.ndim - 2)))


def _drop_parts(layer: Dropout, x: Tensor, shape: Shape) -> Tensor:
    """Dropout with one decision for each element of a shape that broadcasts to x's."""
    if not layer.training or layer.p == 0:
        return x
    return x * F.dropout(F.ones(shape, dtype=x.dtype), layer.p, generator=layer.generator)
