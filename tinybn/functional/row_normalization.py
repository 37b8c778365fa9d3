"""Normalization with statistics of each example's own, on tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError
from tinybn.functional.normalization import batch_norm
from tinybn.storage import mark_changed

__all__ = ["group_norm", "instance_norm", "layer_norm", "rms_norm"]


def layer_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """y = (x − mean)/√(var + eps) · weight + bias, with mean and biased variance over the last axes.

    Args:
        input: (..., *normalized_shape).
        normalized_shape: the shape of the axes that are normalized together.
        weight, bias: of that shape, or None for 1 and 0.
        eps: added to the variance, inside the root.

    Raises:
        ShapeError: an input that does not end with these axes, or parameters of another shape.
        DTypeError: an input that is not floating, or dtypes that are not all the same.

    Source: Ba, Kiros & Hinton 2016, "Layer Normalization", §3.

    >>> import tinybn as tb
    >>> tb.functional.layer_norm(tb.tensor([[1.0, 3.0], [10.0, 30.0]]), 2, eps=0.0)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    x, weight, bias, axes = _over_last_axes("layer_norm", input, normalized_shape, weight, bias)
    y: Tensor = apply(ops.layer_norm, x, weight, bias, axes, eps)[0]
    return y


def rms_norm(input: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Tensor:
    """y = x/√(mean(x²) + eps) · weight, with the mean over the last axes.

    Args:
        input: (..., *normalized_shape).
        normalized_shape: the shape of the axes that are normalized together.
        weight: of that shape, or None for 1.
        eps: added to the mean, inside the root; None: the dtype's rounding, 1.2e-7 for float32.

    Raises:
        ShapeError, DTypeError: as `layer_norm`.

    Source: Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", §3.

    >>> import tinybn as tb
    >>> tb.functional.rms_norm(tb.tensor([3.0, -3.0]), 2, eps=0.0)
    tensor([ 1., -1.])
    """
    x, weight, _, axes = _over_last_axes("rms_norm", input, normalized_shape, weight, None)
    eps = float(np.finfo(x.array.dtype).eps) if eps is None else eps
    y: Tensor = apply(ops.layer_norm, x, weight, None, axes, eps, False)[0]
    return y


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """y = (x − mean)/√(var + eps) · weight + bias, with mean and biased variance of groups of an example's channels.

    Args:
        input: (N, C, ...).
        num_groups: into so many groups of neighbours the channels are divided; 1 normalizes an example as a whole.
        weight, bias: (C,), or None for 1 and 0.
        eps: added to the variance, inside the root.

    Raises:
        ShapeError: channels that cannot be divided so, parameters of another shape, or a single example with one value
            in each group.
        DTypeError: an input that is not floating, or dtypes that are not all the same.

    Source: Wu & He 2018, "Group Normalization", §3.

    >>> import tinybn as tb
    >>> tb.functional.group_norm(tb.tensor([[1.0, 3.0, 10.0, 30.0]]), 2, eps=0.0)
    tensor([[-1.,  1., -1.,  1.]])
    """
    x, weight, bias = _per_channel("group_norm", input, weight, bias)
    c = x.array.shape[1]
    if num_groups < 1 or c % num_groups:
        raise ShapeError(
            f"group_norm: {c} channels (input of shape {x.shape}) cannot be divided into {num_groups} groups"
        )
    if x.array.size == num_groups and x.array.size:
        raise ShapeError(f"group_norm: one value in each group of one example (input of shape {x.shape})")
    y: Tensor = apply(ops.group_norm, x, weight, bias, num_groups, eps)[0]
    return y


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = (x − mean)/√(var + eps) · weight + bias, per channel of each example.

    Args:
        input: (N, C, ...).
        running_mean, running_var: (C,), or None. With ``use_input_stats`` they move towards the examples' mean of the
            means and of the unbiased variances.
        weight, bias: (C,), or None for 1 and 0.
        use_input_stats: normalize with each example's own statistics; else with the running ones.
        momentum: the weight of the new statistics.
        eps: added to the variance, inside the root.

    Raises:
        ShapeError: shapes that do not go together, or one value per channel of an example.
        DTypeError: an input that is not floating, or dtypes that are not all the same.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, "Instance Normalization", §2.

    >>> import tinybn as tb
    >>> tb.functional.instance_norm(tb.tensor([[[1.0, 3.0], [10.0, 30.0]]]), eps=0.0)
    tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    return instance_norm_training(input, running_mean, running_var, weight, bias, momentum, eps)[0]


def instance_norm_training(
    input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, momentum: float, eps: float
) -> tuple[Tensor, bool]:
    """`instance_norm` with the examples' own statistics, and whether the running ones moved.

    A batch that is empty or not finite, and one of numbers so large that the input's dtype cannot hold their
    statistics, moves nothing.
    """
    x, weight, bias = _per_channel("instance_norm", input, weight, bias)
    n, c = x.array.shape[:2]
    size = int(np.prod(x.array.shape[2:]))
    if size == 1:
        raise ShapeError(
            f"instance_norm: one value per channel of an example (input of shape {x.shape}): its variance is 0 and "
            "every output would be the bias"
        )
    running = [_running(what, value, x) for what, value in (("mean", running_mean), ("var", running_var))]
    y, moments = apply(ops.group_norm, x, weight, bias, c, eps) if c else (x.clone(), np.zeros((2, 0)))
    new = moments.reshape(2, n, c).mean(axis=1) if n and size else moments[:, :0]
    new[1] *= size / (size - 1)
    with np.errstate(over="ignore"):
        moved = bool(new.size) and bool(np.isfinite(new.astype(x.array.dtype)).all())
    if moved:
        for array, values in zip(running, new, strict=True):
            if array is not None:
                array[...] = (1 - momentum) * array + momentum * values
        mark_changed([array for array in running if array is not None], "instance_norm")
    return y, moved


def _running(what: str, value: Any, x: Tensor) -> Array | None:
    """Running statistics as an array that can be written."""
    array: Array | None = value.array if isinstance(value, Tensor) else value
    if array is None:
        return None
    if array.shape != x.shape[1:2]:
        raise ShapeError(
            f"instance_norm: an input of shape {x.shape} needs a running_{what} of {x.shape[1:2]}, got {array.shape}"
        )
    if array.dtype != x.dtype:
        raise DTypeError(f"instance_norm: expected one dtype, got input {x.dtype}, running_{what} {array.dtype}")
    if not array.flags.writeable:
        raise ValueError(f"instance_norm: running_{what} is to be moved, and read-only; pass a copy")
    return array


def _per_channel(name: str, input: Any, weight: Any, bias: Any) -> tuple[Tensor, Any, Any]:
    """The arguments, if they go together."""
    x = input if type(input) is Tensor else as_tensor(input)
    if x.array.ndim < 2:
        raise ShapeError(f"{name}: expected an input of shape (N, C, ...), got {x.shape}")
    return x, *_parameters(name, x, x.array.shape[1:2], weight, bias)


def _over_last_axes(
    name: str, input: Any, normalized_shape: int | Sequence[int], weight: Any, bias: Any
) -> tuple[Tensor, Any, Any, int]:
    """The arguments, if they go together, and the number of axes."""
    x = input if type(input) is Tensor else as_tensor(input)
    shape = normalized_axes(normalized_shape)
    axes = len(shape)
    if not axes or x.array.shape[x.array.ndim - axes :] != shape or x.array.ndim < axes:
        raise ShapeError(f"{name}: normalized_shape {shape} needs an input of shape {('...', *shape)}, got {x.shape}")
    return x, *_parameters(name, x, shape, weight, bias), axes


def normalized_axes(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """The shape of the axes that are normalized together; a number stands for one axis."""
    if type(normalized_shape) is tuple:
        return normalized_shape
    if isinstance(normalized_shape, int | np.integer):
        return (int(normalized_shape),)
    return tuple(normalized_shape)


def _parameters(name: str, x: Tensor, shape: tuple[int, ...], weight: Any, bias: Any) -> tuple[Any, Any]:
    """Weight and bias, Tensors or None, if they have the shape and the dtype of x."""
    dtype = x.array.dtype
    if dtype.char not in "fd":
        raise DTypeError(f"{name}: expected float32 or float64, got {dtype}; use .float() first")
    weight = weight if weight is None or isinstance(weight, Tensor) else as_tensor(weight)
    bias = bias if bias is None or isinstance(bias, Tensor) else as_tensor(bias)
    if weight is not None and (weight.array.shape != shape or weight.array.dtype != dtype):
        raise _misfit(name, x, shape, "weight", weight)
    if bias is not None and (bias.array.shape != shape or bias.array.dtype != dtype):
        raise _misfit(name, x, shape, "bias", bias)
    return weight, bias


def _misfit(name: str, x: Tensor, shape: tuple[int, ...], what: str, value: Tensor) -> Exception:
    """What does not go together."""
    if value.shape != shape:
        return ShapeError(f"{name}: an input of shape {x.shape} needs a {what} of {shape}, got {value.shape}")
    return DTypeError(
        f"{name}: expected one dtype, got input {x.dtype}, {what} {value.dtype}; cast the input with .to() or the "
        "module with .to()"
    )
