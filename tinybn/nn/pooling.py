"""Pooling as modules."""

from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor
from tinybn.functional.pooling import window
from tinybn.nn.module import Module


class MaxPool2d(Module):
    """The largest value of each window; `tinybn.functional.max_pool2d` has the arguments.

    Shapes: (N, C, H, W) → (N, C, P, Q) with P = (H + 2·padding − dilation·(kernel − 1) − 1)//stride + 1.

    >>> import tinybn as tb
    >>> tb.nn.MaxPool2d(2)(tb.zeros(1, 3, 28, 28)).shape
    (1, 3, 14, 14)
    """

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1) -> None:
        window("MaxPool2d", kernel_size, stride, padding, dilation)  # refuses what cannot be
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation

    def forward(self, input: Any) -> Tensor:
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}"


class AvgPool2d(Module):
    """The mean of each window; `tinybn.functional.avg_pool2d` has the arguments.

    Shapes: (N, C, H, W) → (N, C, P, Q) with P = (H + 2·padding − kernel)//stride + 1.

    >>> import tinybn as tb
    >>> tb.nn.AvgPool2d(2)(tb.ones(1, 3, 28, 28)).shape
    (1, 3, 14, 14)
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        *,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        window("AvgPool2d", kernel_size, stride, padding)  # refuses what cannot be
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Any) -> Tensor:
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            count_include_pad=self.count_include_pad,
            divisor_override=self.divisor_override,
        )

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        defaults = {"count_include_pad": True, "divisor_override": None}
        return text + "".join(
            f", {name}={getattr(self, name)}" for name, d in defaults.items() if getattr(self, name) != d
        )
