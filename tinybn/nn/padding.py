"""Padding as modules; `tinybn.functional.pad` says what each mode puts where, and what it refuses."""

from typing import Any

import numpy as np

from tinybn import functional as F
from tinybn._tensor import Tensor
from tinybn.nn.module import Module


class _Pad(Module):
    axes: int
    mode: str
    value: float | None = None

    def __init__(self, padding: Any) -> None:
        self.padding = self._sides(padding)

    def _sides(self, padding: Any) -> tuple[int, ...]:
        """One number for all sides, or (front, behind) of the last axis, then of the last but one."""
        count = 2 * self.axes
        sides = tuple(padding) if isinstance(padding, list | tuple) else (padding,) * count
        if len(sides) != count or not all(isinstance(n, int | np.integer) for n in sides):
            raise ValueError(
                f"{type(self).__name__}: padding is {padding!r}; expected a whole number or {count} of them"
            )
        return sides

    def forward(self, input: Any) -> Tensor:
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


# --- a constant -------------------------------------------------------------------------------------------------------


class _ConstantPad(_Pad):
    mode = "constant"
    value: float

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """A constant in front of and behind the last axis.

    Args:
        padding: an int, or (front, behind); negative numbers take away.
        value: the constant.

    Shapes: (..., L) → (..., L + front + behind).

    >>> import tinybn as tb
    >>> tb.nn.ConstantPad1d((1, 2), 9.0)([[1.0, 2.0]])
    tensor([[9., 1., 2., 9., 9.]])
    """

    axes = 1


class ConstantPad2d(_ConstantPad):
    """A constant around planes.

    Args:
        padding: an int, or (left, right, top, bottom); negative numbers take away.
        value: the constant.

    Shapes: (..., H, W) → (..., H + top + bottom, W + left + right).

    >>> import tinybn as tb
    >>> tb.nn.ConstantPad2d((1, 0, 0, 1), 9.0)([[1.0, 2.0]])
    tensor([[9., 1., 2.],
            [9., 9., 9.]])
    """

    axes = 2


class _ZeroPad(_Pad):
    mode = "constant"
    value = 0.0


class ZeroPad1d(_ZeroPad):
    """`ConstantPad1d` with 0.

    >>> import tinybn as tb
    >>> tb.nn.ZeroPad1d(1)([[1.0, 2.0]])
    tensor([[0., 1., 2., 0.]])
    """

    axes = 1


class ZeroPad2d(_ZeroPad):
    """`ConstantPad2d` with 0.

    >>> import tinybn as tb
    >>> tb.nn.ZeroPad2d(2)(tb.ones(3, 4, 5)).shape
    (3, 8, 9)
    """

    axes = 2


# --- of the input's own values ----------------------------------------------------------------------------------------


class ReflectionPad1d(_Pad):
    """The last axis mirrored at its first and its last value, which are not repeated.

    Shapes: (N, C, L) or (C, L) → (..., L + front + behind); the padding is smaller than L.

    >>> import tinybn as tb
    >>> tb.nn.ReflectionPad1d((1, 2))([[1.0, 2.0, 3.0]])
    tensor([[2., 1., 2., 3., 2., 1.]])
    """

    axes, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Planes mirrored at their outermost values; padding (left, right, top, bottom).

    Shapes: (N, C, H, W) or (C, H, W) → (..., H + top + bottom, W + left + right).

    >>> import tinybn as tb
    >>> tb.nn.ReflectionPad2d((1, 0, 0, 0))([[[1.0, 2.0]]])
    tensor([[[2., 1., 2.]]])
    """

    axes, mode = 2, "reflect"


class ReplicationPad1d(_Pad):
    """The first and the last value of the last axis, repeated.

    Shapes: (N, C, L) or (C, L) → (..., L + front + behind).

    >>> import tinybn as tb
    >>> tb.nn.ReplicationPad1d((1, 2))([[1.0, 2.0, 3.0]])
    tensor([[1., 1., 2., 3., 3., 3.]])
    """

    axes, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The outermost values of planes, repeated; padding (left, right, top, bottom).

    Shapes: (N, C, H, W) or (C, H, W) → (..., H + top + bottom, W + left + right).

    >>> import tinybn as tb
    >>> tb.nn.ReplicationPad2d((1, 0, 0, 1))([[[1.0, 2.0]]])
    tensor([[[1., 1., 2.],
             [1., 1., 2.]]])
    """

    axes, mode = 2, "replicate"


class CircularPad1d(_Pad):
    """The values from the other end of the last axis.

    Shapes: (N, C, L) or (C, L) → (..., L + front + behind); the padding is L at most.

    >>> import tinybn as tb
    >>> tb.nn.CircularPad1d((1, 2))([[1.0, 2.0, 3.0]])
    tensor([[3., 1., 2., 3., 1., 2.]])
    """

    axes, mode = 1, "circular"


class CircularPad2d(_Pad):
    """The values from the other ends of planes; padding (left, right, top, bottom).

    Shapes: (N, C, H, W) or (C, H, W) → (..., H + top + bottom, W + left + right).

    >>> import tinybn as tb
    >>> tb.nn.CircularPad2d((1, 0, 0, 0))([[[1.0, 2.0]]])
    tensor([[[2., 1., 2.]]])
    """

    axes, mode = 2, "circular"
