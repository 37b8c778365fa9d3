"""Convolution: argument handling around `tinybn.ops.conv`."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import check_dtypes
from tinybn.functional.padding import pad
from tinybn.functional.shape import reshape, squeeze, unsqueeze

__all__ = ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"]

_INTEGERS = (int, np.integer)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    relu: bool = False,
    pool: bool = False,
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
        relu: max(y, 0) instead of y, in the same pass: the same bits as `relu` behind.
        pool: then the largest values of 2×2 windows, in the same pass: the same bits as `max_pool2d` behind. No
            gradient flows through it, and it does not go together with "same".

    Returns:
        (N, K, P, Q) with P = (H + 2·padding − dilation·(R − 1) − 1)//stride + 1, and Q likewise.

    Raises:
        ShapeError, DTypeError, ValueError: arguments that do not go together.

    >>> import tinybn as tb
    >>> tb.functional.conv2d(tb.ones(1, 1, 5, 5), tb.ones(2, 1, 3, 3), padding=1).shape
    (1, 2, 5, 5)
    """
    steps, holes = pair("conv2d: stride", stride), pair("conv2d: dilation", dilation)
    return _conv("conv2d", 2, input, weight, bias, steps, conv_padding("conv2d", padding), holes, groups, relu, pool)


def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    """1-D convolution: `conv2d` of height 1, with numbers in place of pairs.

    Args:
        input: (N, C, L) or (C, L).
        weight: (K, C/groups, S).
        bias: (K,) or None.

    >>> import tinybn as tb
    >>> tb.functional.conv1d(tb.arange(4.0).reshape(1, 1, 4), tb.tensor([[[-1.0, 1.0]]]))
    tensor([[[1., 1., 1.]]])
    """
    steps, holes = (1, single("conv1d: stride", stride)), (1, single("conv1d: dilation", dilation))
    margin = conv_padding("conv1d", padding) if isinstance(padding, str) else (0, single("conv1d: padding", padding, 0))
    return _conv("conv1d", 1, input, weight, bias, steps, margin, holes, groups)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed 2-D convolution: what `conv2d` does to the gradient of its input, with the same weight.

    y[n, k, p·stride + r·dilation − padding, …] = bias[k] + Σ x[n, c, p, q] · weight[c, k, r, s]

    Args:
        input: (N, C, H, W) or (C, H, W).
        weight: (C, K/groups, R, S).
        bias: (K,) or None.
        stride, padding, dilation: an int or a pair (height, width).
        output_padding: so many more rows and columns behind, fewer than the stride or the dilation.
        groups: the channels are split into so many groups that do not see each other.

    Returns:
        (N, K, P, Q) with P = (H − 1)·stride − 2·padding + dilation·(R − 1) + output_padding + 1, and Q likewise.

    >>> import tinybn as tb
    >>> tb.functional.conv_transpose2d(tb.ones(1, 1, 2, 2), tb.ones(1, 3, 2, 2), stride=2).shape
    (1, 3, 4, 4)
    """
    name = "conv_transpose2d"
    geometry = ops.Geometry(
        pair(f"{name}: stride", stride),
        pair(f"{name}: padding", padding, least=0),
        pair(f"{name}: dilation", dilation),
        groups,
    )
    return _conv_transpose(name, 2, input, weight, bias, geometry, pair(f"{name}: output_padding", output_padding, 0))


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed 1-D convolution: `conv_transpose2d` of height 1, with numbers in place of pairs.

    Args:
        input: (N, C, L) or (C, L).
        weight: (C, K/groups, S).
        bias: (K,) or None.

    >>> import tinybn as tb
    >>> tb.functional.conv_transpose1d(tb.ones(1, 1, 2), tb.ones(1, 1, 2))
    tensor([[[1., 2., 1.]]])
    """
    name = "conv_transpose1d"
    geometry = ops.Geometry(
        (1, single(f"{name}: stride", stride)),
        (0, single(f"{name}: padding", padding, least=0)),
        (1, single(f"{name}: dilation", dilation)),
        groups,
    )
    extra = (0, single(f"{name}: output_padding", output_padding, least=0))
    return _conv_transpose(name, 1, input, weight, bias, geometry, extra)


# --- what the four share: `axes` is 1 or 2, and what is 1-D gets a height of 1 ----------------------------------------


def _conv(
    name: str,
    axes: int,
    input: Any,
    weight: Any,
    bias: Any,
    steps: tuple[int, int],
    padding: Any,
    holes: tuple[int, int],
    groups: int,
    relu: bool = False,
    pool: bool = False,
) -> Tensor:
    """Convolution with a padding that is a pair or a word."""
    x, weight, bias, added = _planes(name, axes, as_tensor(input), as_tensor(weight), bias, groups)
    if padding == "same" and pool:
        raise ValueError(f"{name}: pool does not go together with padding='same'; call max_pool2d behind it")
    if padding == "same":
        y = _conv_same(name, x, weight, bias, steps, holes, groups, relu)
    else:
        geometry = ops.Geometry(steps, (0, 0) if padding == "valid" else padding, holes, groups)
        check_output_size(name, x, weight.shape[2:], geometry)
        if pool and min(geometry.output_size(x.shape[2:], weight.shape[2:])) < 2:
            raise ShapeError(f"{name}: an input of shape {x.shape} leaves no 2×2 places to pool")
        y = apply(ops.conv2d, x, weight, bias, geometry, relu, pool)
    return squeeze(y, added) if added else y


def _conv_same(
    name: str, x: Tensor, weight: Tensor, bias: Any, steps: Any, holes: tuple[int, int], groups: int, relu: bool
) -> Tensor:
    """Padding that keeps the size. An odd total puts one more behind than in front: pad both, then cut in front."""
    if steps != (1, 1):
        raise ValueError(f"{name}: padding='same' needs stride 1, got {steps}")
    total = [d * (k - 1) for d, k in zip(holes, weight.shape[2:], strict=True)]
    cut = [t % 2 for t in total]
    geometry = ops.Geometry(steps, ((total[0] + 1) // 2, (total[1] + 1) // 2), holes, groups)
    y = apply(ops.conv2d, x, weight, bias, geometry, relu)
    return y[:, :, cut[0] :, cut[1] :] if any(cut) else y


def _conv_transpose(
    name: str, axes: int, input: Any, weight: Any, bias: Any, geometry: ops.Geometry, extra: tuple[int, int]
) -> Tensor:
    """Transposed convolution without padding, of which then the padding is cut off and the extra is added behind."""
    x, weight, bias, added = _planes(
        name, axes, as_tensor(input), as_tensor(weight), bias, geometry.groups, transposed=True
    )
    steps, (ph, pw), holes = geometry.stride, geometry.padding, geometry.dilation
    if any(e >= max(s, d) for e, s, d in zip(extra, steps, holes, strict=True)):
        raise ValueError(f"{name}: expected output_padding below stride {steps} or dilation {holes}, got {extra}")
    if 0 in x.shape[2:]:
        raise ShapeError(f"{name}: an input of {x.shape[2:]} has no places")
    h, w = (
        (n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(x.shape[2:], steps, holes, weight.shape[2:], strict=True)
    )
    if min(h - 2 * ph + extra[0], w - 2 * pw + extra[1]) < 1:
        raise ShapeError(f"{name}: padding {(ph, pw)} leaves nothing of an output of {(h, w)}")
    shape = (len(x.data), weight.shape[1] * geometry.groups, h, w)
    y: Tensor = apply(ops.conv2d_input_grad, x, weight, geometry._replace(padding=(0, 0)), shape)
    if any((ph, pw, *extra)):
        y = pad(y, (-pw, extra[1] - pw, -ph, extra[0] - ph))
    if bias is not None:
        y = y + reshape(bias, -1, 1, 1)
    return squeeze(y, added) if added else y


def _planes(
    name: str, axes: int, x: Tensor, weight: Tensor, bias: Any, groups: int, transposed: bool = False
) -> tuple[Tensor, Tensor, Tensor | None, tuple[int, ...]]:
    """Checked, the input as (N, C, H, W), the weight with axes to match, the bias, and which axes were added."""
    bias = None if bias is None else as_tensor(bias)
    if groups < 1:
        raise ValueError(f"{name}: expected groups from 1 on, got {groups}")
    c, k = (0, 0) if weight.ndim < 2 else (weight.shape[1] * groups, len(weight.data))
    c, k = (k, c) if transposed else (c, k)
    if weight.ndim != axes + 2 or x.ndim not in (axes + 1, axes + 2) or x.shape[-axes - 1] != c:
        raise ShapeError(
            f"{name}: a weight of shape {weight.shape} with groups={groups} needs an input of shape "
            f"(N, {c or 'C'}, {'H, W' if axes == 2 else 'L'}), got {x.shape}"
        )
    if len(weight.data) % groups:
        raise ShapeError(f"{name}: {len(weight.data)} channels cannot be split into {groups} groups")
    if bias is not None and bias.shape != (k,):
        raise ShapeError(f"{name}: a weight of shape {weight.shape} needs a bias of {(k,)}, got {bias.shape}")
    check_dtypes(name, input=x, weight=weight, bias=bias)
    batch, height = (0,) * (x.ndim == axes + 1), (2,) * (axes == 1)
    for axis in batch + height:
        x = unsqueeze(x, axis)
    return x, unsqueeze(weight, 2) if height else weight, bias, batch + height


def conv_padding(name: str, padding: Any) -> Any:
    """Checked: a pair, or one of the two words."""
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"{name}: padding is {padding!r}; expected numbers, 'same' or 'valid'")
        return padding
    return pair(f"{name}: padding", padding, least=0)


def pair(name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """An int or a pair of ints as a pair, checked. ``name`` says whose and which, for the error."""
    numbers = (
        (value, value) if isinstance(value, _INTEGERS) else tuple(value) if isinstance(value, list | tuple) else ()
    )
    if len(numbers) != 2 or not all(isinstance(n, _INTEGERS) and n >= least for n in numbers):
        raise ValueError(f"{name} is {value!r}; expected a whole number from {least} on, or a pair of them")
    return int(numbers[0]), int(numbers[1])


def single(name: str, value: Any, least: int = 1) -> int:
    """An int or a tuple of one as an int, checked."""
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(numbers) != 1 or not isinstance(numbers[0], _INTEGERS) or numbers[0] < least:
        raise ValueError(f"{name} is {value!r}; expected a whole number from {least} on")
    return int(numbers[0])


def check_output_size(name: str, x: Tensor, kernel: tuple[int, ...], geometry: ops.Geometry) -> None:
    if min(geometry.output_size(x.shape[2:], kernel)) < 1:
        raise ShapeError(
            f"{name}: an input of {x.shape[2:]} with padding {geometry.padding} is smaller than the kernel {kernel} "
            f"with dilation {geometry.dilation}"
        )
