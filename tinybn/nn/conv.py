"""Convolutions as modules; `tinybn.functional` has the formulas."""

from collections.abc import Sequence
from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import DTypeLike, Generator, Shape
from tinybn.errors import ShapeError
from tinybn.functional.conv import conv_padding, pair, single
from tinybn.nn import init
from tinybn.nn.fusing import with_relu, with_relu_and_pool
from tinybn.nn.module import Module
from tinybn.nn.parameter import Parameter

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    axes: int  # of space: 1 or 2
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        output_padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        dtype: DTypeLike,
        generator: Generator | None,
    ) -> None:
        name = type(self).__name__
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: {in_channels} input and {out_channels} output channels cannot be split into {groups} groups"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = self._numbers("kernel_size", kernel_size)
        self.stride, self.dilation = self._numbers("stride", stride), self._numbers("dilation", dilation)
        self.padding: Any = self._numbers("padding", padding, least=0)
        self.output_padding = self._numbers("output_padding", output_padding, least=0)
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"{name}: padding_mode is {padding_mode!r}; expected one of {PADDING_MODES}")
        if self.padding == "same" and set(self.stride) != {1}:
            raise ValueError(f"{name}: padding='same' needs stride 1, got {self.stride}")
        self.padding_mode = padding_mode
        channels = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = Parameter(F.zeros(channels[0], channels[1] // groups, *self.kernel_size, dtype=dtype))
        self.bias = Parameter(F.zeros(out_channels, dtype=dtype)) if bias else None
        self.reset_parameters(generator)

    def _numbers(self, argument: str, value: Any, least: int = 1) -> Any:
        """A number for each axis of space, checked; or one of the words that stand for a padding."""
        name = type(self).__name__
        if argument == "padding" and isinstance(value, str) and not self.transposed:
            return conv_padding(name, value)
        if self.axes == 2:
            return pair(f"{name}: {argument}", value, least)
        return (single(f"{name}: {argument}", value, least),)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw new initial weights."""
        init.linear_defaults_(self.weight, self.bias, generator)

    def _padded(self, input: Any) -> tuple[Any, Any]:
        """The input, padded where that is not the convolution's own affair, and the padding that is left to do."""
        if self.padding_mode == "zeros":
            return input, self.padding
        sides: list[int] = []  # from the last axis on
        for axis in reversed(range(self.axes)):
            if self.padding == "same":
                total = self.dilation[axis] * (self.kernel_size[axis] - 1)
                sides += (total // 2, total - total // 2)
            else:
                sides += (0, 0) if self.padding == "valid" else (self.padding[axis],) * 2
        return F.pad(input, sides, self.padding_mode), 0

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        none = (0,) * self.axes
        defaults = {"padding": none, "dilation": (1,) * self.axes, "output_padding": none, "groups": 1}
        text += "".join(f", {name}={getattr(self, name)}" for name, d in defaults.items() if getattr(self, name) != d)
        text += "" if self.bias is not None else ", bias=False"
        return text + ("" if self.padding_mode == "zeros" else f", padding_mode={self.padding_mode}")


# --- convolution ------------------------------------------------------------------------------------------------------


class _ForwardConv(_Conv):
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
        padding_mode: str = "zeros",
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            0,
            dilation,
            groups,
            bias,
            padding_mode,
            dtype,
            generator,
        )


class Conv1d(_ForwardConv):
    """1-D convolution; `Conv2d` has the arguments, which are numbers in place of pairs.

    Shapes: (N, C, L) or (C, L) → (..., K, Q); weight (K, C/groups, S), bias (K,).

    >>> import tinybn as tb
    >>> tb.nn.Conv1d(2, 8, 3, padding=1)(tb.zeros(4, 2, 16)).shape
    (4, 8, 16)
    """

    axes = 1

    def forward(self, input: Any) -> Tensor:
        x, padding = self._padded(input)
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(_ForwardConv):
    """2-D convolution; `tinybn.functional.conv2d` has the formula.

    Args:
        in_channels, out_channels: C and K; both must be divisible by ``groups``.
        kernel_size, stride, dilation: an int or a pair (height, width).
        padding: an int, a pair, "valid" or "same".
        groups: the channels are split into so many groups that do not see each other.
        bias: add a bias.
        padding_mode: "zeros", or "reflect", "replicate" or "circular", which `tinybn.functional.pad` explains.
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

    axes = 2

    def forward(self, input: Any, relu: bool = False, pool: bool = False) -> Tensor:
        """``relu``: the output of a ReLU behind, ``pool``: of max-pooling 2×2 behind that, made in the same pass."""
        x, padding = self._padded(input)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups, relu, pool)

    fuses = True

    def fusing(self, following: Sequence[Module]) -> tuple[int, dict[str, bool]]:
        fused = with_relu if self.padding == "same" else with_relu_and_pool  # "same" may cut a row or a column off
        return fused(self, Conv2d.forward, following)


# --- transposed convolution -------------------------------------------------------------------------------------------


class _ConvTranspose(_Conv):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f"{type(self).__name__}: padding_mode is {padding_mode!r}; expected 'zeros'")
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            dilation,
            groups,
            bias,
            padding_mode,
            dtype,
            generator,
        )

    def _output_padding(self, input: Any, output_size: Sequence[int] | None) -> Shape:
        """What must be added behind to get an output of a size, whose last numbers are those of space."""
        if output_size is None:
            return self.output_padding
        shape, wanted = as_tensor(input).shape, tuple(output_size)[-self.axes :]
        if len(shape) not in (self.axes + 1, self.axes + 2) or len(output_size) not in (self.axes, len(shape)):
            raise ShapeError(f"an output_size of {tuple(output_size)} does not fit an input of shape {shape}")
        geometry = zip(shape[-self.axes :], self.stride, self.padding, self.dilation, self.kernel_size, strict=True)
        least = tuple((n - 1) * step - 2 * pad + hole * (k - 1) + 1 for n, step, pad, hole, k in geometry)
        extra = tuple(size - low for size, low in zip(wanted, least, strict=True))
        if not all(0 <= more < step for more, step in zip(extra, self.stride, strict=True)):
            most = tuple(low + step - 1 for low, step in zip(least, self.stride, strict=True))
            raise ValueError(
                f"{type(self).__name__}: output_size is {wanted}; an input of shape {shape} can give {least} to {most}"
            )
        return extra


class ConvTranspose1d(_ConvTranspose):
    """Transposed 1-D convolution; `ConvTranspose2d` has the arguments, which are numbers in place of pairs.

    Shapes: (N, C, L) or (C, L) → (..., K, Q); weight (C, K/groups, S), bias (K,).

    >>> import tinybn as tb
    >>> tb.nn.ConvTranspose1d(2, 8, 3, stride=2)(tb.zeros(4, 2, 7)).shape
    (4, 8, 15)
    """

    axes = 1

    def forward(self, input: Any, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self._output_padding(input, output_size)
        return F.conv_transpose1d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


class ConvTranspose2d(_ConvTranspose):
    """Transposed 2-D convolution, which does what a `Conv2d` does to the gradient of its input.

    Args:
        in_channels, out_channels: C and K; both must be divisible by ``groups``.
        kernel_size, stride, padding, dilation: an int or a pair (height, width), those of that `Conv2d`.
        output_padding: so many more rows and columns behind, fewer than the stride or the dilation.
        groups, bias: as for `Conv2d`.
        padding_mode: only "zeros".
        dtype: of the parameters, default float32.
        generator: draws the initial weights; default: that of `tinybn.manual_seed`.

    A call takes ``output_size`` too, which stands for the output_padding that gives an output of this size.

    Shapes: (N, C, H, W) → (N, K, P, Q) with P = (H − 1)·stride − 2·padding + dilation·(R − 1) + output_padding + 1;
    weight (C, K/groups, R, S), bias (K,). Both start uniform on ±1/√(K/groups·R·S).

    >>> import tinybn as tb
    >>> up = tb.nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1)
    >>> up(tb.zeros(2, 8, 7, 7)).shape, up(tb.zeros(2, 8, 7, 7), output_size=(14, 14)).shape
    ((2, 4, 13, 13), (2, 4, 14, 14))
    """

    axes = 2

    def forward(self, input: Any, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self._output_padding(input, output_size)
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )
