"""Losses."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError

REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(input: Any, target: Any, reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """−log softmax(input)[target], the negative log-likelihood of the right class.

    Args:
        input: logits (N, classes), (classes,), or (N, classes, d1, ...).
        target: class numbers (N,), (), or (N, d1, ...), integers from 0 to classes − 1: a Tensor, an array or a list.
        reduction: "mean" or "sum" over all of them, or "none".
        label_smoothing: the share of the target that is spread evenly over all classes (Szegedy 2016, §7).

    Raises:
        ShapeError, DTypeError: input and target do not go together.
        IndexError: a label outside 0 to classes − 1.

    >>> import tinybn as tb
    >>> round(tb.functional.cross_entropy(tb.zeros(2, 10), [3, 7]).item(), 4)
    2.3026
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"cross_entropy: reduction is {reduction!r}; expected one of {REDUCTIONS}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing!r}; expected a number from 0 to 1")
    logits = as_tensor(input)
    labels = _labels(logits, target)
    shape = labels.shape
    if logits.ndim != 2:
        classes_last = logits if logits.ndim == 1 else logits.permute(0, *range(2, logits.ndim), 1)
        logits = classes_last.reshape(labels.size, classes_last.shape[-1])
    losses = apply(ops.softmax_cross_entropy, logits, labels.reshape(-1))
    if label_smoothing:
        uniform = -apply(ops.log_softmax, logits).mean(-1)
        losses = (1 - label_smoothing) * losses + label_smoothing * uniform
    if reduction == "none":
        return losses if losses.shape == shape else losses.reshape(shape)
    return losses.mean() if reduction == "mean" else losses.sum()


def _labels(logits: Tensor, target: Any) -> Array:
    labels = as_tensor(target).data
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"cross_entropy: expected integer class labels, got {labels.dtype}")
    expected = logits.shape[:1] + logits.shape[2:] if logits.ndim > 1 else ()
    if not logits.ndim or labels.shape != expected:
        raise ShapeError(
            f"cross_entropy: logits of shape {logits.shape} need labels of shape {expected}, got {labels.shape}"
        )
    classes = logits.shape[1] if logits.ndim > 1 else logits.shape[0]
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        where = np.argmax((labels.reshape(-1) < 0) | (labels.reshape(-1) >= classes))
        raise IndexError(
            f"cross_entropy: label {labels.reshape(-1)[where]} at position {where} is out of range; "
            f"{classes} classes have labels 0 to {classes - 1}"
        )
    return labels
