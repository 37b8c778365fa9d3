"""Pooling: argument handling around `tinybn.ops.pool`."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import check_floating
from tinybn.functional.conv import check_output_size, pair

__all__ = ["avg_pool2d", "max_pool2d"]


def max_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1) -> Tensor:
    """The largest value of each window; padding counts as −inf, and NaN comes through.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size, stride, padding, dilation: an int or a pair (height, width); stride None is the kernel size.

    >>> import tinybn as tb
    >>> tb.functional.max_pool2d(tb.arange(16.0).reshape(1, 1, 4, 4), 2).flatten()
    tensor([ 5.,  7., 13., 15.])
    """
    kernel, geometry = window("max_pool2d", kernel_size, stride, padding, dilation)
    x = _batched("max_pool2d", input, kernel, geometry)
    y = apply(ops.max_pool2d, x, kernel, geometry)[0]
    return y if as_tensor(input).ndim == 4 else y[0]


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window. Without PyTorch's ``ceil_mode``, so that what stands behind it goes by name only.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size, stride, padding: an int or a pair (height, width); stride None is the kernel size.
        count_include_pad: divide by the size of the whole window, padding included; else by what lies on the input.
        divisor_override: divide by this instead.

    >>> import tinybn as tb
    >>> tb.functional.avg_pool2d(tb.arange(16.0).reshape(1, 1, 4, 4), 2).flatten()
    tensor([ 2.5,  4.5, 10.5, 12.5])
    """
    if divisor_override == 0:
        raise ValueError("avg_pool2d: divisor_override is 0; expected another number, or None")
    kernel, geometry = window("avg_pool2d", kernel_size, stride, padding)
    x = _batched("avg_pool2d", input, kernel, geometry)
    y = apply(ops.sum_windows, x, kernel, geometry)
    if divisor_override is not None:
        y = y / divisor_override
    elif count_include_pad or geometry.padding == (0, 0):
        y = y / (kernel[0] * kernel[1])
    else:
        y = y / ops.call(ops.sum_windows, np.ones((1, 1, *x.shape[2:]), x.dtype), kernel, geometry)
    return y if as_tensor(input).ndim == 4 else y[0]


def window(
    name: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1
) -> tuple[tuple[int, int], ops.Geometry]:
    """The kernel and where it goes, checked."""
    kernel, margin = pair(f"{name}: kernel_size", kernel_size), pair(f"{name}: padding", padding, least=0)
    if any(2 * m > k for m, k in zip(margin, kernel, strict=True)):
        raise ValueError(f"{name}: padding {margin} is more than half of the kernel {kernel}")
    steps = kernel if stride is None else pair(f"{name}: stride", stride)
    return kernel, ops.Geometry(steps, margin, pair(f"{name}: dilation", dilation))


def _batched(name: str, input: Any, kernel: tuple[int, int], geometry: ops.Geometry) -> Tensor:
    """The input as (N, C, H, W), checked."""
    x = as_tensor(input)
    check_floating(name, x)
    if x.ndim not in (3, 4):
        raise ShapeError(f"{name}: expected an input of shape (N, C, H, W) or (C, H, W), got {x.shape}")
    x = x if x.ndim == 4 else x.reshape(1, *x.shape)
    check_output_size(name, x, kernel, geometry)
    return x
