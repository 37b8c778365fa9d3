"""Batch normalization on tensors."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
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

    Raises:
        ShapeError: shapes that do not go together, or one value per channel in training, whose variance says nothing.

    Source: Ioffe & Szegedy 2015, "Batch Normalization", algorithms 1 and 2.

    >>> import tinybn as tb
    >>> x = tb.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> tb.functional.batch_norm(x, None, None, training=True, eps=0.0)
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """
    x = as_tensor(input)
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: expected an input of shape (N, C, ...), got {x.shape}")
    if x.data.dtype.kind != "f":
        raise DTypeError(f"batch_norm: expected a floating input, got {x.data.dtype}; use .float() first")
    channels = x.shape[1]
    arrays = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, array in arrays.items():
        if array is not None and array.shape != (channels,):
            raise ShapeError(
                f"batch_norm: an input of shape {x.shape} needs a {name} of ({channels},), got {tuple(array.shape)}"
            )
    weight = None if weight is None else as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    running = [a.data if isinstance(a, Tensor) else a for a in (running_mean, running_var)]
    if not training:
        if running[0] is None or running[1] is None:
            raise ValueError("batch_norm: running_mean and running_var are needed when training=False")
        return apply(ops.normalize, x, weight, bias, running[0], running[1], eps)
    count = x.numel() // max(1, channels)  # M, values per channel
    if count == 1:
        raise ShapeError(
            f"batch_norm: one value per channel in training (input of shape {x.shape}): its variance is 0 and every "
            "output would be the bias. Use a larger batch; a loader's drop_last=True leaves out a last batch of one"
        )
    y, mean, var = apply(ops.batch_norm, x, weight, bias, eps)
    if running[0] is not None and count:
        update_running(running[0], mean, momentum)
    if running[1] is not None and count:
        update_running(running[1], var * (count / (count - 1)), momentum)
    return y


def update_running(running: np.ndarray[Any, Any], new: np.ndarray[Any, Any], momentum: float) -> None:
    """running = (1 − momentum)·running + momentum·new, in place, unless ``new`` is not finite."""
    if np.isfinite(new).all():
        running *= 1 - momentum
        running += momentum * new
