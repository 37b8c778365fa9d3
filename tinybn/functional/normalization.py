"""Batch normalization on tensors."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError
from tinybn.storage import mark_changed

__all__ = ["batch_norm"]


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    relu: bool = False,
) -> Tensor:
    """y = (x − mean)/√(var + eps) · weight + bias, per channel.

    With ``training`` the mean and the biased variance are the batch's own, and the running arrays, if given, move
    towards them: running = (1 − momentum)·running + momentum·new, where the new variance is the unbiased one. They are
    left alone when the batch is not finite. Without ``training`` the running arrays are used.

    Args:
        input: (N, C) or (N, C, ...).
        running_mean, running_var: (C,), changed in place in training; None when training only.
        weight, bias: (C,) or None for 1 and 0.
        training: use the batch's statistics.
        momentum: the weight of the new statistics.
        eps: added to the variance, inside the root.
        relu: max(y, 0) instead of y, in the same pass: the same bits as `relu` behind, forward and backward.

    Raises:
        ShapeError: shapes that do not go together, or one value per channel in training, whose variance says nothing.
        DTypeError: an input that is not floating, or dtypes that are not all the same.

    Source: Ioffe & Szegedy 2015, "Batch Normalization", algorithms 1 and 2.

    >>> import tinybn as tb
    >>> x = tb.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> tb.functional.batch_norm(x, None, None, training=True, eps=0.0)
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """
    if training:
        return batch_norm_training(input, running_mean, running_var, weight, bias, momentum, eps, relu)[0]
    if running_mean is None or running_var is None:
        raise ValueError("batch_norm: running_mean and running_var are needed when training=False")
    x, mean, var, weight, bias = _checked(input, running_mean, running_var, weight, bias)
    return apply(ops.normalize, x, weight, bias, mean, var, eps, relu)


def batch_norm_training(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    momentum: float = 0.1,
    eps: float = 1e-5,
    relu: bool = False,
    unbiased: bool = True,
) -> tuple[Tensor, bool]:
    """`batch_norm` with the batch's statistics, and whether the running ones moved, to the unbiased variance or not.

    A batch that is empty or not finite, and one of numbers so large that the running arrays' dtype cannot hold their
    statistics, moves nothing.
    """
    x, mean, var, weight, bias = _checked(input, running_mean, running_var, weight, bias)
    data = x.array
    if data.size == data.shape[1] and data.size:
        raise ShapeError(
            f"batch_norm: one value per channel in training (input of shape {x.shape}): its variance is 0 and every "
            "output would be the bias. Use a larger batch; a loader's drop_last=True leaves out a last batch of one"
        )
    y, _, moved = apply(ops.batch_norm, x, weight, bias, eps, mean, var, momentum, relu, unbiased)
    if moved:
        mark_changed([array for array in (mean, var) if array is not None], "batch_norm in training")
    return y, moved


def _checked(
    input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any
) -> tuple[Tensor, Array | None, Array | None, Any, Any]:
    """The arguments, if all go together: the input as a Tensor, running statistics as arrays."""
    x = input if type(input) is Tensor else as_tensor(input)
    shape, dtype = x.array.shape, x.array.dtype
    wanted, values, fits = shape[1:2], [], dtype.kind == "f" and len(shape) >= 2
    for value in (running_mean, running_var, weight, bias):
        if isinstance(value, Tensor):
            value = value.array
        elif value is not None and not isinstance(value, np.ndarray):
            value = as_tensor(value).array
        values.append(value)
        if value is not None and (value.shape != wanted or value.dtype != dtype):
            fits = False
    if not fits:
        raise _misfit(x, values)
    # Tensors stay Tensors: gradients flow to them.
    return (
        x,
        values[0],
        values[1],
        weight if isinstance(weight, Tensor) else values[2],
        bias if isinstance(bias, Tensor) else values[3],
    )


def _misfit(x: Tensor, values: list[Any]) -> Exception:
    """What does not go together."""
    if x.ndim < 2:
        return ShapeError(f"batch_norm: expected an input of shape (N, C, ...), got {x.shape}")
    if x.dtype.kind != "f":
        return DTypeError(f"batch_norm: expected a floating tensor, got {x.dtype}; use .float() first")
    dtypes = [f"input {x.dtype}"]
    for name, value in zip(("running_mean", "running_var", "weight", "bias"), values, strict=True):
        if value is not None:
            if value.shape != x.shape[1:2]:
                wanted = x.shape[1:2]
                return ShapeError(
                    f"batch_norm: an input of shape {x.shape} needs a {name} of {wanted}, got {value.shape}"
                )
            dtypes.append(f"{name} {value.dtype}")
    given = ", ".join(dtypes)
    return DTypeError(
        f"batch_norm: expected one dtype, got {given}; cast the input with .to() or the module with .to()"
    )
