"""Batch normalization on tensors."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import check_dtypes, check_floating
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
        DTypeError: an input that is not floating, or dtypes that are not all the same.

    Source: Ioffe & Szegedy 2015, "Batch Normalization", algorithms 1 and 2.

    >>> import tinybn as tb
    >>> x = tb.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> tb.functional.batch_norm(x, None, None, training=True, eps=0.0)
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """
    x, weight, bias = _checked(input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if training:
        y, mean, var = batch_norm_training(x, weight, bias, eps)
        update_running(running_mean, running_var, mean, var, momentum)
        return y
    if running_mean is None or running_var is None:
        raise ValueError("batch_norm: running_mean and running_var are needed when training=False")
    return apply(ops.normalize, x, weight, bias, _array(running_mean), _array(running_var), eps)


def batch_norm_training(input: Any, weight: Any, bias: Any, eps: float = 1e-5) -> tuple[Tensor, Array, Array]:
    """`batch_norm` with the batch's statistics: the output, the mean, and the unbiased variance (C,), in float64."""
    x, weight, bias = _checked(input, weight=weight, bias=bias)
    count = x.numel() // max(1, x.shape[1])  # M, values per channel
    if count == 1:
        raise ShapeError(
            f"batch_norm: one value per channel in training (input of shape {x.shape}): its variance is 0 and every "
            "output would be the bias. Use a larger batch; a loader's drop_last=True leaves out a last batch of one"
        )
    y, mean, var = apply(ops.batch_norm, x, weight, bias, eps)
    return y, mean, var * (count / (count - 1)) if count else np.full_like(var, np.nan)


def update_running(running_mean: Any, running_var: Any, mean: Array, var: Array, momentum: float) -> bool:
    """running = (1 − momentum)·running + momentum·new, in place, for the arrays that are not None.

    A batch that was empty or not finite has statistics that are not, and one of huge numbers has some that the arrays'
    dtype cannot hold: it changes nothing, and False is returned.
    """
    pairs = [(_array(a), new) for a, new in ((running_mean, mean), (running_var, var)) if a is not None]
    # NaN is not below anything.
    if not all(np.abs(new).max(initial=0.0) <= np.finfo(array.dtype).max for array, new in pairs):
        return False
    for array, new in pairs:
        array *= 1 - momentum
        array += momentum * new
        mark_changed(array, "batch_norm in training")
    return True


def _checked(input: Any, **channel_arrays: Any) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Input, weight and bias as Tensors that go together with each other and with the running arrays."""
    x = as_tensor(input)
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: expected an input of shape (N, C, ...), got {x.shape}")
    check_floating("batch_norm", x)
    for name, array in channel_arrays.items():
        if array is not None and tuple(array.shape) != x.shape[1:2]:
            raise ShapeError(
                f"batch_norm: an input of shape {x.shape} needs a {name} of {x.shape[1:2]}, got {tuple(array.shape)}"
            )
    check_dtypes("batch_norm", input=x, **channel_arrays)
    weight, bias = channel_arrays["weight"], channel_arrays["bias"]
    return x, None if weight is None else as_tensor(weight), None if bias is None else as_tensor(bias)


def _array(value: Any) -> Array:
    return value.data if isinstance(value, Tensor) else value
