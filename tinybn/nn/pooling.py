"""Pooling as modules; `tinybn.functional` has the functions, with what they refuse."""

from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor
from tinybn.functional.conv import single
from tinybn.functional.pooling import window
from tinybn.nn.module import Module

# --- the largest value of each window ---------------------------------------------------------------------------------


class _MaxPool(Module):
    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode
        self._check()

    def _check(self) -> None:
        """Refuse arguments that cannot be."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest value of each window of the last axis; `MaxPool2d` has the arguments.

    Shapes: (N, C, L) or (C, L) → (..., P) with P = (L + 2·padding − dilation·(kernel − 1) − 1)//stride + 1.

    >>> import tinybn as tb
    >>> tb.nn.MaxPool1d(2)([[1.0, 3.0, 2.0, 0.0]])
    tensor([[3., 2.]])
    """

    def _check(self) -> None:
        window(
            "MaxPool1d",
            single("MaxPool1d: kernel_size", self.kernel_size),
            single("MaxPool1d: stride", self.stride),
            single("MaxPool1d: padding", self.padding, least=0),
            single("MaxPool1d: dilation", self.dilation),
        )

    def forward(self, input: Any) -> Any:
        return F.max_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MaxPool2d(_MaxPool):
    """The largest value of each window.

    Args:
        kernel_size, stride, padding, dilation: an int or a pair (height, width); stride None is the kernel size.
        return_indices: return also where each value stood, h·W + w.
        ceil_mode: also take a last window that sticks out behind, if it starts before the padding behind.

    Shapes: (N, C, H, W) or (C, H, W) → (..., P, Q) with P = (H + 2·padding − dilation·(kernel − 1) − 1)//stride + 1.

    >>> import tinybn as tb
    >>> tb.nn.MaxPool2d(2)(tb.zeros(1, 3, 28, 28)).shape
    (1, 3, 14, 14)
    """

    def _check(self) -> None:
        window("MaxPool2d", self.kernel_size, self.stride, self.padding, self.dilation)

    def forward(self, input: Any) -> Any:
        return F.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


# --- the mean of each window ------------------------------------------------------------------------------------------


class AvgPool1d(Module):
    """The mean of each window of the last axis; `AvgPool2d` has the arguments.

    Shapes: (N, C, L) or (C, L) → (..., P) with P = (L + 2·padding − kernel)//stride + 1.

    >>> import tinybn as tb
    >>> tb.nn.AvgPool1d(2)([[1.0, 3.0, 2.0, 0.0]])
    tensor([[2., 1.]])
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        kernel, margin = single("AvgPool1d: kernel_size", kernel_size), single("AvgPool1d: padding", padding, least=0)
        step = kernel if stride is None else single("AvgPool1d: stride", stride)
        window("AvgPool1d", kernel, step, margin)  # refuses what cannot be
        self.kernel_size, self.stride, self.padding = (kernel,), (step,), (margin,)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Any) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """The mean of each window; padding counts as 0.

    Args:
        kernel_size, stride, padding: an int or a pair (height, width); stride None is the kernel size.
        ceil_mode: also take a last window that sticks out behind, if it starts before the padding behind.
        count_include_pad: divide by what lies on the input and its padding; else by what lies on the input.
        divisor_override: divide by this instead.

    Shapes: (N, C, H, W) or (C, H, W) → (..., P, Q) with P = (H + 2·padding − kernel)//stride + 1.

    >>> import tinybn as tb
    >>> tb.nn.AvgPool2d(2)(tb.ones(1, 3, 28, 28)).shape
    (1, 3, 14, 14)
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        window("AvgPool2d", kernel_size, stride, padding)  # refuses what cannot be
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override

    def forward(self, input: Any) -> Tensor:
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


# --- an output of a given size ----------------------------------------------------------------------------------------


class _AdaptivePool(Module):
    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptivePool):
    """The means of as many windows of the last axis as output_size says.

    Shapes: (N, C, L) or (C, L) → (..., output_size).

    >>> import tinybn as tb
    >>> tb.nn.AdaptiveAvgPool1d(2)([[1.0, 3.0, 5.0]])
    tensor([[2., 4.]])
    """

    def forward(self, input: Any) -> Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptivePool):
    """The means of as many windows as output_size says: an int or a pair, where None stands for the input's size.

    Window i of P reaches from ⌊i·H/P⌋ to ⌈(i + 1)·H/P⌉.

    Shapes: (N, C, H, W) or (C, H, W) → (..., P, Q).

    >>> import tinybn as tb
    >>> tb.nn.AdaptiveAvgPool2d((1, None))(tb.ones(2, 3, 8, 7)).shape
    (2, 3, 1, 7)
    """

    def forward(self, input: Any) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class _AdaptiveMaxPool(_AdaptivePool):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest value of each window of `AdaptiveAvgPool1d`; return_indices also tells where it stood.

    Shapes: (N, C, L) or (C, L) → (..., output_size).

    >>> import tinybn as tb
    >>> tb.nn.AdaptiveMaxPool1d(2)([[1.0, 5.0, 3.0]])
    tensor([[5., 5.]])
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest value of each window of `AdaptiveAvgPool2d`; return_indices also tells where, h·W + w.

    Shapes: (N, C, H, W) or (C, H, W) → (..., P, Q).

    >>> import tinybn as tb
    >>> tb.nn.AdaptiveMaxPool2d(1)(tb.ones(2, 3, 8, 7)).shape
    (2, 3, 1, 1)
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)
