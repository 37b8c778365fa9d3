"""Convolution: argument handling around `tinybn.ops.conv`."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import check_dtypes

__all__ = ["conv2d"]

_INTEGERS = (int, np.integer)


def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    """2-D convolution (cross-correlation).

    y[n, k, p, q] = bias[k] + Σ x[n, c, p·stride + r·dilation − padding, …] · weight[k, c, r, s]

    Args:
        input: (N, C, H, W) or (C, H, W).
        weight: (K, C/groups, R, S).
        bias: (K,) or None.
        stride, dilation: an int or a pair (height, width).
        padding: an int, a pair, ``"valid"`` (none) or ``"same"`` (output as large as the input; stride 1).
        groups: the channels are split into so many groups that do not see each other.

    Returns:
        (N, K, P, Q) with P = (H + 2·padding − dilation·(R − 1) − 1)//stride + 1, and Q likewise.

    Raises:
        ShapeError, DTypeError, ValueError: arguments that do not go together.

    >>> import tinybn as tb
    >>> tb.functional.conv2d(tb.ones(1, 1, 5, 5), tb.ones(2, 1, 3, 3), padding=1).shape
    (1, 2, 5, 5)
    """
    x, weight = as_tensor(input), as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    if x.ndim == 3 and weight.ndim == 4:
        return conv2d(x.reshape(1, *x.shape), weight, bias, stride, padding, dilation, groups)[0]
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1] * groups:
        raise ShapeError(
            f"conv2d: a weight of shape {weight.shape} with groups={groups} needs an input of shape "
            f"(N, {weight.shape[1] * groups if weight.ndim == 4 else 'C'}, H, W), got {x.shape}"
        )
    if len(weight) % groups:
        raise ShapeError(f"conv2d: {len(weight)} output channels cannot be split into {groups} groups")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(
            f"conv2d: a weight of shape {weight.shape} needs a bias of {weight.shape[:1]}, got {bias.shape}"
        )
    check_dtypes("conv2d", input=x, weight=weight, bias=bias)
    steps, holes = pair("conv2d: stride", stride), pair("conv2d: dilation", dilation)
    if padding == "same":
        return _conv2d_same(x, weight, bias, steps, holes, groups)
    margin = (0, 0) if padding == "valid" else conv_padding("conv2d", padding)
    geometry = ops.Geometry(steps, margin, holes, groups)
    check_output_size("conv2d", x, weight.shape[2:], geometry)
    return apply(ops.conv2d, x, weight, bias, geometry)


def conv_padding(name: str, padding: Any) -> Any:
    """Checked: a pair, or one of the two words."""
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"{name}: padding is {padding!r}; expected numbers, 'same' or 'valid'")
        return padding
    return pair(f"{name}: padding", padding, least=0)


def _conv2d_same(x: Tensor, weight: Tensor, bias: Any, steps: Any, holes: tuple[int, int], groups: int) -> Tensor:
    """Padding that keeps the size. An odd total puts one more behind than in front: pad both, then cut in front."""
    if steps != (1, 1):
        raise ValueError(f"conv2d: padding='same' needs stride 1, got {steps}")
    total = [d * (k - 1) for d, k in zip(holes, weight.shape[2:], strict=True)]
    cut = [t % 2 for t in total]
    y = apply(
        ops.conv2d, x, weight, bias, ops.Geometry(steps, ((total[0] + 1) // 2, (total[1] + 1) // 2), holes, groups)
    )
    return y[:, :, cut[0] :, cut[1] :] if any(cut) else y


def pair(name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """An int or a pair of ints as a pair, checked. ``name`` says whose and which, for the error."""
    numbers = (
        (value, value) if isinstance(value, _INTEGERS) else tuple(value) if isinstance(value, list | tuple) else ()
    )
    if len(numbers) != 2 or not all(isinstance(n, _INTEGERS) and n >= least for n in numbers):
        raise ValueError(f"{name} is {value!r}; expected a whole number from {least} on, or a pair of them")
    return int(numbers[0]), int(numbers[1])


def check_output_size(name: str, x: Tensor, kernel: tuple[int, ...], geometry: ops.Geometry) -> None:
    if min(geometry.output_size(x.shape[2:], kernel)) < 1:
        raise ShapeError(
            f"{name}: an input of {x.shape[2:]} with padding {geometry.padding} is smaller than the kernel {kernel} "
            f"with dilation {geometry.dilation}"
        )
