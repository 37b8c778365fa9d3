"""Losses."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError
from tinybn.functional.arguments import check_floating

__all__ = ["cross_entropy"]

REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """−log softmax(input)[target], the negative log-likelihood of the right class.

    Args:
        input: logits (N, classes), (classes,), or (N, classes, d1, ...).
        target: class numbers (N,), (), or (N, d1, ...), integers from 0 to classes − 1: a Tensor, an array or a list.
        weight: (classes,), how much each class counts; the mean is then weighted.
        ignore_index: a label whose examples do not count; default −100.
        reduction: "mean" or "sum" over all of them, or "none".
        label_smoothing: the share of the target that is spread evenly over all classes (Szegedy 2016, §7).

    Raises:
        ShapeError, DTypeError: input, target and weight do not go together.
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
    check_floating("cross_entropy", logits)
    labels, counted = _labels(logits, target, ignore_index)
    shape = labels.shape
    if logits.ndim != 2:
        classes_last = logits if logits.ndim == 1 else logits.permute(0, *range(2, logits.ndim), 1)
        logits = classes_last.reshape(labels.size, classes_last.shape[-1])
    labels, counted = labels.reshape(-1), counted.reshape(-1)
    losses = apply(ops.softmax_cross_entropy, logits, labels)
    even = -apply(ops.log_softmax, logits) if label_smoothing else None
    total: float | None = None  # of the weights, where they are not all 1
    if weight is not None or not counted.all():
        class_weights = _class_weights(logits, weight)
        row_weights = class_weights[labels] * counted
        losses, total = losses * row_weights, float(row_weights.sum())
        even = None if even is None else even * (class_weights * counted[:, None])
    if even is not None:
        losses = (1 - label_smoothing) * losses + label_smoothing * even.mean(-1)
    if reduction == "none":
        return losses if losses.shape == shape else losses.reshape(shape)
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if total is None else losses.sum() / total


def _class_weights(logits: Tensor, weight: Any) -> Array:
    if weight is None:
        return np.ones(logits.shape[1], logits.dtype)
    weights = as_tensor(weight).data
    if weights.shape != logits.shape[1:]:
        raise ShapeError(f"cross_entropy: {logits.shape[1]} classes need as many weights, got shape {weights.shape}")
    return weights.astype(logits.dtype)


def _labels(logits: Tensor, target: Any, ignore_index: int) -> tuple[Array, Array]:
    """The labels, copied, with 0 where they are ignored; and which of them count."""
    labels = np.array(as_tensor(target).data)
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"cross_entropy: expected integer class labels, got {labels.dtype}")
    expected = logits.shape[:1] + logits.shape[2:] if logits.ndim > 1 else ()
    if not logits.ndim or labels.shape != expected:
        raise ShapeError(
            f"cross_entropy: logits of shape {logits.shape} need labels of shape {expected}, got {labels.shape}"
        )
    counted = labels != ignore_index
    labels[~counted] = 0
    classes = logits.shape[1] if logits.ndim > 1 else logits.shape[0]
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        flat = labels.reshape(-1)
        where = np.argmax((flat < 0) | (flat >= classes))
        raise IndexError(
            f"cross_entropy: label {flat[where]} at position {where} is out of range; "
            f"{classes} classes have labels 0 to {classes - 1}"
        )
    return labels, counted
