"""Conv2d."""

from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor
from tinybn._typing import DTypeLike, Generator
from tinybn.functional.conv import conv_padding, pair
from tinybn.nn import init
from tinybn.nn.module import Module
from tinybn.nn.parameter import Parameter


class Conv2d(Module):
    """2-D convolution; `tinybn.functional.conv2d` has the formula.

    Args:
        in_channels, out_channels: C and K; both must be divisible by ``groups``.
        kernel_size, stride, dilation: an int or a pair (height, width).
        padding: an int, a pair, "valid" or "same"; always zeros.
        groups: the channels are split into so many groups that do not see each other.
        bias: add a bias.
        dtype: of the parameters, default float32.
        generator: draws the initial weights; default: that of `tinybn.manual_seed`.

    Shapes: (N, C, H, W) → (N, K, P, Q); weight (K, C/groups, R, S), bias (K,). Both start uniform on ±1/√fan_in.

    Raises:
        ShapeError, DTypeError: an input that does not fit.
        ValueError: arguments that do not go together.

    >>> import tinybn as tb
    >>> tb.nn.Conv2d(1, 8, 3, padding=1)(tb.zeros(2, 1, 28, 28)).shape
    (2, 8, 28, 28)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
    ) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: {in_channels} input and {out_channels} output channels cannot be split into {groups} groups"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair("Conv2d: kernel_size", kernel_size)
        self.stride, self.dilation = pair("Conv2d: stride", stride), pair("Conv2d: dilation", dilation)
        self.padding = conv_padding("Conv2d", padding)
        self.weight = Parameter(F.zeros(out_channels, in_channels // groups, *self.kernel_size, dtype=dtype))
        self.bias = Parameter(F.zeros(out_channels, dtype=dtype)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw new initial weights."""
        init.linear_defaults_(self.weight, self.bias, generator)

    def forward(self, input: Any) -> Tensor:
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        defaults = {"padding": (0, 0), "dilation": (1, 1), "groups": 1}
        text += "".join(f", {name}={getattr(self, name)!r}" for name, d in defaults.items() if getattr(self, name) != d)
        return text + ("" if self.bias is not None else ", bias=False")
