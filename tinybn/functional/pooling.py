"""Pooling: argument handling around `tinybn.ops.pool`. What is 1-D gets a height of 1."""

import math
from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import check_floating, check_not_bool
from tinybn.functional.conv import check_output_size, pair, single
from tinybn.functional.joining import stack
from tinybn.functional.padding import pad
from tinybn.functional.reduction import mean
from tinybn.functional.shape import reshape

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "max_pool1d",
    "max_pool2d",
]

Pair = tuple[int, int]


# --- the largest value of each window ---------------------------------------------------------------------------------


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window; padding counts as −inf, and NaN comes through.

    Args:
        input: (N, C, H, W) or (C, H, W), floats or integers (of up to 53 bits).
        kernel_size, stride, padding, dilation: an int or a pair (height, width); stride None is the kernel size.
        ceil_mode: also take a last window that sticks out behind, if it starts before the padding behind.
        return_indices: return also where each value stood, h·W + w, int64.

    >>> import tinybn as tb
    >>> tb.functional.max_pool2d(tb.arange(16.0).reshape(1, 1, 4, 4), 2).flatten()
    tensor([ 5.,  7., 13., 15.])
    """
    kernel, geometry = window("max_pool2d", kernel_size, stride, padding, dilation)
    return _max_pool("max_pool2d", 2, input, kernel, geometry, ceil_mode, return_indices)


def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool2d` for (N, C, L) or (C, L), with numbers in place of pairs.

    >>> import tinybn as tb
    >>> tb.functional.max_pool1d(tb.tensor([[1.0, 3.0, 2.0]]), 2, ceil_mode=True)
    tensor([[3., 2.]])
    """
    kernel, geometry = _window_1d("max_pool1d", kernel_size, stride, padding, dilation)
    return _max_pool("max_pool1d", 1, input, kernel, geometry, ceil_mode, return_indices)


def _max_pool(
    name: str, axes: int, input: Any, kernel: Pair, geometry: ops.Geometry, ceil_mode: bool, return_indices: bool
) -> Any:
    x, planes = _planes(name, axes, input, integers=axes == 2 or return_indices)  # as in PyTorch
    w = planes.shape[3]
    extra = _sticking_out(planes, kernel, geometry) if ceil_mode else (0, 0)
    planes = planes if x.dtype.kind == "f" else planes.double()
    if any(extra):
        planes = pad(planes, (0, extra[1], 0, extra[0]), value=-math.inf)
    check_output_size(name, planes, kernel, geometry)
    y, index = apply(ops.max_pool2d, planes, kernel, geometry)
    y = _in_form_of(x, axes, y).to(x.dtype)
    if not return_indices:
        return y
    wide = w + extra[1]  # the rows that the kernel has counted in
    return y, _in_form_of(x, axes, Tensor(index.astype(np.int64) // wide * w + index % wide))


# --- the mean of each window ------------------------------------------------------------------------------------------


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window; padding counts as 0.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size, stride, padding: an int or a pair (height, width); stride None is the kernel size.
        ceil_mode: also take a last window that sticks out behind, if it starts before the padding behind.
        count_include_pad: divide by what lies on the input and its padding; else by what lies on the input.
        divisor_override: divide by this instead.

    >>> import tinybn as tb
    >>> tb.functional.avg_pool2d(tb.arange(16.0).reshape(1, 1, 4, 4), 2).flatten()
    tensor([ 2.5,  4.5, 10.5, 12.5])
    """
    if divisor_override == 0:
        raise ValueError("avg_pool2d: divisor_override is 0; expected another number, or None")
    kernel, geometry = window("avg_pool2d", kernel_size, stride, padding)
    return _avg_pool("avg_pool2d", 2, input, kernel, geometry, ceil_mode, count_include_pad, divisor_override)


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """`avg_pool2d` for (N, C, L) or (C, L), with numbers in place of pairs.

    >>> import tinybn as tb
    >>> tb.functional.avg_pool1d(tb.tensor([[1.0, 3.0, 2.0, 4.0]]), 2)
    tensor([[2., 3.]])
    """
    kernel, geometry = _window_1d("avg_pool1d", kernel_size, stride, padding)
    return _avg_pool("avg_pool1d", 1, input, kernel, geometry, ceil_mode, count_include_pad, None)


def _avg_pool(
    name: str,
    axes: int,
    input: Any,
    kernel: Pair,
    geometry: ops.Geometry,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    x, planes = _planes(name, axes, input)
    size = planes.shape[2:]
    extra = _sticking_out(planes, kernel, geometry) if ceil_mode else (0, 0)
    if any(extra):
        planes = pad(planes, (0, extra[1], 0, extra[0]))
    check_output_size(name, planes, kernel, geometry)
    y = apply(ops.sum_windows, planes, kernel, geometry)
    if divisor is not None:
        y = y / divisor
    elif not any(extra) and (count_include_pad or geometry.padding == (0, 0)):
        y = y / (kernel[0] * kernel[1])
    else:
        rows, columns = (
            _window_lengths(*numbers, count_include_pad)
            for numbers in zip(size, y.shape[2:], kernel, geometry.stride, geometry.padding, strict=True)
        )
        y = y / np.outer(rows, columns).astype(y.dtype)
    return _in_form_of(x, axes, y)


def _window_lengths(n: int, count: int, kernel: int, stride: int, padding: int, with_padding: bool) -> Array:
    """How much of each window along an axis of size n lies on it, or on it and its padding."""
    first, last = (-padding, n + padding) if with_padding else (0, n)
    starts = np.arange(count) * stride - padding
    return np.minimum(starts + kernel, last) - np.maximum(starts, first)


# --- an output of a given size ----------------------------------------------------------------------------------------


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """The means of as many windows as the output has places: window i reaches from ⌊i·H/P⌋ to ⌈(i + 1)·H/P⌉.

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: P and Q, an int or a pair; None stands for the input's size.

    >>> import tinybn as tb
    >>> tb.functional.adaptive_avg_pool2d(tb.arange(6.0).reshape(1, 2, 3), (1, 2))
    tensor([[[2., 3.]]])
    """
    return _adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Tensor:
    """`adaptive_avg_pool2d` for (N, C, L) or (C, L).

    >>> import tinybn as tb
    >>> tb.functional.adaptive_avg_pool1d(tb.tensor([[1.0, 3.0, 5.0]]), 2)
    tensor([[2., 4.]])
    """
    return _adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


def _adaptive_avg_pool(name: str, axes: int, input: Any, output_size: Any) -> Tensor:
    x, planes = _planes(name, axes, input)
    size = _output_size(name, axes, planes, output_size)
    kernel = _common_window(planes, size)
    if size == (1, 1):
        y = mean(planes, (2, 3), keepdim=True)
    elif kernel:
        y = apply(ops.sum_windows, planes, kernel, ops.Geometry(stride=kernel)) / (kernel[0] * kernel[1])
    elif 0 in size:
        y = planes[:, :, :1, :1].expand(*planes.shape[:2], *size)
    else:  # of rows first, then of columns: what is infinite stays in its windows
        h, w = planes.shape[2:]
        y = stack([mean(planes[:, :, a:b], 2) for a, b in zip(*_adaptive_windows(h, size[0]), strict=True)], 2)
        y = stack([mean(y[..., a:b], 3) for a, b in zip(*_adaptive_windows(w, size[1]), strict=True)], 3)
    return _in_form_of(x, axes, y)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest value of each window of `adaptive_avg_pool2d`.

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: P and Q, an int or a pair; None stands for the input's size.
        return_indices: return also where each value stood, h·W + w, int64.

    >>> import tinybn as tb
    >>> tb.functional.adaptive_max_pool2d(tb.arange(6.0).reshape(1, 2, 3), (1, 2))
    tensor([[[4., 5.]]])
    """
    return _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d` for (N, C, L) or (C, L).

    >>> import tinybn as tb
    >>> tb.functional.adaptive_max_pool1d(tb.tensor([[1.0, 5.0, 3.0]]), 2)
    tensor([[5., 5.]])
    """
    return _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


def _adaptive_max_pool(name: str, axes: int, input: Any, output_size: Any, return_indices: bool) -> Any:
    x, planes = _planes(name, axes, input)
    size = _output_size(name, axes, planes, output_size)
    kernel = _common_window(planes, size)
    if kernel:
        y, index = apply(ops.max_pool2d, planes, kernel, ops.Geometry(stride=kernel))
    else:
        index = _largest_places(planes.data, size)
        y = apply(ops.gather_plane, planes, index)
    y = _in_form_of(x, axes, y)
    return (y, _in_form_of(x, axes, Tensor(index.astype(np.int64)))) if return_indices else y


def _largest_places(x: Array, size: Pair) -> Array:
    """Where the largest value of each adaptive window of x (N, C, H, W) stands, h·W + w."""
    if 0 in size:
        return np.zeros((*x.shape[:2], *size), np.int32)
    rows, columns = (_places(n, count) for n, count in zip(x.shape[2:], size, strict=True))
    kernel = rows.shape[1], columns.shape[1]
    side_by_side = x[:, :, rows.reshape(-1, 1), columns.reshape(1, -1)]
    _, index = ops.max_pool2d(side_by_side, kernel, ops.Geometry(stride=kernel))[0]
    row, column = np.divmod(index, columns.size)
    return (rows.ravel()[row] * x.shape[3] + columns.ravel()[column]).astype(np.int32)


def _places(n: int, count: int) -> Array:
    """The places in each window (count, longest window); shorter ones have their last place more than once."""
    starts, stops = _adaptive_windows(n, count)
    longest = (stops - starts).max()
    return np.minimum(starts[:, None] + np.arange(longest), stops[:, None] - 1)


def _adaptive_windows(n: int, count: int) -> tuple[Array, Array]:
    """Where each window begins, and where it ends."""
    i = np.arange(count)
    return i * n // max(1, count), -(-(i + 1) * n // max(1, count))


def _common_window(planes: Tensor, size: Pair) -> Pair | None:
    """The size of all windows, if they are of one size and do not overlap."""
    if 0 in size or any(n % count for n, count in zip(planes.shape[2:], size, strict=True)):
        return None
    return planes.shape[2] // size[0], planes.shape[3] // size[1]


def _output_size(name: str, axes: int, planes: Tensor, value: Any) -> Pair:
    """P and Q."""
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,) * axes
    if len(numbers) == axes:
        own = planes.shape[-axes:]
        numbers = tuple(n if number is None else number for n, number in zip(own, numbers, strict=True))
        if all(isinstance(number, int | np.integer) and number >= 0 for number in numbers):
            return (1, int(numbers[0])) if axes == 1 else (int(numbers[0]), int(numbers[1]))
    raise ValueError(f"{name}: output_size is {value!r}; expected a whole number from 0 on for each of {axes} axes")


# --- what all share ---------------------------------------------------------------------------------------------------


def window(name: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1) -> tuple[Pair, ops.Geometry]:
    """The kernel and where it goes, checked."""
    kernel, margin = pair(f"{name}: kernel_size", kernel_size), pair(f"{name}: padding", padding, least=0)
    if any(2 * m > k for m, k in zip(margin, kernel, strict=True)):
        raise ValueError(f"{name}: padding {margin} is more than half of the kernel {kernel}")
    steps = kernel if stride is None else pair(f"{name}: stride", stride)
    return kernel, ops.Geometry(steps, margin, pair(f"{name}: dilation", dilation))


def _window_1d(name: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1) -> tuple[Pair, ops.Geometry]:
    """`window` for a height of 1."""
    kernel = single(f"{name}: kernel_size", kernel_size)
    steps = kernel if stride is None else single(f"{name}: stride", stride)
    margin, holes = single(f"{name}: padding", padding, least=0), single(f"{name}: dilation", dilation)
    return window(name, (1, kernel), (1, steps), (0, margin), (1, holes))


def _planes(name: str, axes: int, input: Any, integers: bool = False) -> tuple[Tensor, Tensor]:
    """The input as a Tensor, checked, and as (N, C, H, W)."""
    x = as_tensor(input)
    if integers:
        check_not_bool(name, x)
    else:
        check_floating(name, x)
    if x.ndim not in (axes + 1, axes + 2):
        expected = "(N, C, H, W) or (C, H, W)" if axes == 2 else "(N, C, L) or (C, L)"
        raise ShapeError(f"{name}: expected an input of shape {expected}, got {x.shape}")
    if 0 in x.shape[-axes:]:
        raise ShapeError(f"{name}: expected an input with places to pool, got shape {x.shape}")
    if x.ndim == 4:
        return x, x
    batch, height = (1,) * (x.ndim == axes + 1), (1,) * (axes == 1)
    return x, reshape(x, *batch, *x.shape[:-axes], *height, *x.shape[-axes:])


def _in_form_of(x: Tensor, axes: int, y: Tensor) -> Tensor:
    """y (N, C, P, Q) with the axes that the input x has."""
    return y if x.ndim == 4 else reshape(y, *x.shape[:-axes], *y.shape[4 - axes :])


def _sticking_out(planes: Tensor, kernel: Pair, geometry: ops.Geometry) -> Pair:
    """How far the last windows of ceil_mode reach behind the padding (height, width).

    There is one where something is left, unless it would start in the padding behind.
    """

    def along(n: int, k: int, stride: int, padding: int, dilation: int) -> int:
        reach = dilation * (k - 1) + 1
        last = -(-(n + 2 * padding - reach) // stride) * stride  # where the last window starts
        if last >= n + padding:
            last -= stride
        return max(0, last + reach - n - 2 * padding)

    sizes = zip(planes.shape[2:], kernel, geometry.stride, geometry.padding, geometry.dilation, strict=True)
    height, width = (along(*numbers) for numbers in sizes)
    return height, width
