"""Losses of classification, and what all losses share to reduce."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array, Shape
from tinybn.autograd import apply
from tinybn.errors import DTypeError, GraphError, ShapeError
from tinybn.functional.arguments import broadcast_shape, check_dtypes, check_floating
from tinybn.functional.elementwise import exp, log, log1p
from tinybn.functional.nonlinearity import logsigmoid

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "kl_div", "nll_loss"]

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(name: str, reduction: str, choices: tuple[str, ...] = REDUCTIONS) -> None:
    """Refuse a reduction that is not one of the choices."""
    if reduction not in choices:
        raise ValueError(f"{name}: reduction is {reduction!r}; expected one of {choices}")


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The mean, the sum, or the losses themselves."""
    return losses.mean() if reduction == "mean" else losses.sum() if reduction == "sum" else losses


# --- of classes -------------------------------------------------------------------------------------------------------


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
            Or probabilities of the classes, floats of the shape of input: −Σ target·log softmax(input) over classes.
        weight: (classes,), how much each class counts. With class numbers the mean is then weighted.
        ignore_index: a label whose examples do not count; default −100. Only for class numbers.
        reduction: "mean" or "sum" over all of them, or "none".
        label_smoothing: the share of the target that is spread evenly over all classes (Szegedy 2016, §7).

    Raises:
        ShapeError, DTypeError: input, target and weight do not go together.
        IndexError: a label outside 0 to classes − 1.

    >>> import tinybn as tb
    >>> round(tb.functional.cross_entropy(tb.zeros(2, 10), [3, 7]).item(), 4)
    2.3026
    """
    check_reduction("cross_entropy", reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing!r}; expected a number from 0 to 1")
    logits, goal = as_tensor(input), as_tensor(target)
    check_floating("cross_entropy", logits)
    if goal.dtype.kind == "f" and logits.ndim and goal.shape == logits.shape:
        if ignore_index >= 0:
            raise ValueError(f"cross_entropy: ignore_index is {ignore_index}; class probabilities are never ignored")
        return _of_probabilities(logits, goal, weight, reduction, label_smoothing)
    rows, labels = _rows("cross_entropy", logits, goal)
    if weight is None and not label_smoothing:
        losses: Tensor = apply(ops.cross_entropy, rows, labels, ignore_index, reduction)
        return losses.reshape(goal.shape) if reduction == "none" else losses
    labels, counted = _counted("cross_entropy", labels, rows.shape[1], ignore_index)
    weights = _class_weights("cross_entropy", rows, weight, counted)
    losses = apply(ops.cross_entropy, rows, labels, ignore_index, "none")
    if label_smoothing:
        even = -apply(ops.log_softmax, rows)
        if weights is not None:
            even, losses = even * weights, losses * weights[labels]
        losses = (1 - label_smoothing) * losses + label_smoothing * even.mean(-1)
    elif weights is not None:
        losses = losses * weights[labels]
    return _reduced_rows(losses, labels, counted, weights, reduction, goal.shape)


def _of_probabilities(logits: Tensor, target: Tensor, weight: Any, reduction: str, label_smoothing: float) -> Tensor:
    """−Σ weight·target·log softmax over the classes, which are axis 1, or the only one."""
    axis = min(1, logits.ndim - 1)
    classes_last = logits.transpose(axis, -1), target.transpose(axis, -1)
    logp, probabilities = apply(ops.log_softmax, classes_last[0]), classes_last[1]
    if label_smoothing:
        probabilities = probabilities * (1 - label_smoothing) + label_smoothing / logp.shape[-1]
    if weight is not None:
        weights = as_tensor(weight)
        _check_class_weights("cross_entropy", weights, logp.shape[-1])
        probabilities = probabilities * weights
    losses = -(logp * probabilities).sum(-1, keepdim=True).transpose(axis, -1)
    return reduced(losses.reshape(losses.shape[:axis] + losses.shape[axis + 1 :]), reduction)


def nll_loss(
    input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """−input[target], for log-probabilities: `cross_entropy` without its softmax, and with its arguments.

    >>> import tinybn as tb
    >>> tb.functional.nll_loss(tb.tensor([[-1.0, -2.0], [-3.0, -4.0]]), [1, 0])
    tensor(2.5)
    """
    check_reduction("nll_loss", reduction)
    logp, goal = as_tensor(input), as_tensor(target)
    check_floating("nll_loss", logp)
    rows, labels = _rows("nll_loss", logp, goal)
    labels, counted = _counted("nll_loss", labels, rows.shape[1], ignore_index)
    weights = _class_weights("nll_loss", rows, weight, counted)
    losses = -rows[np.arange(len(labels)), labels]
    if weights is not None:
        losses = losses * weights[labels]
    return _reduced_rows(losses, labels, counted, weights, reduction, goal.shape)


def _rows(name: str, x: Tensor, target: Tensor) -> tuple[Tensor, Array]:
    """x as (M, classes), and the labels (M,), a copy in int64."""
    labels, shape = target.array, x.array.shape
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"{name}: expected integer class labels, got {labels.dtype}")
    expected = shape[:1] + shape[2:] if len(shape) > 1 else ()
    if not shape or labels.shape != expected:
        raise ShapeError(f"{name}: logits of shape {shape} need labels of shape {expected}, got {labels.shape}")
    labels = labels.astype(np.int64).reshape(-1)
    if len(shape) != 2:
        classes_last = x if len(shape) == 1 else x.permute(0, *range(2, x.ndim), 1)
        x = classes_last.reshape(labels.size, shape[1] if len(shape) > 1 else shape[0])
    return x, labels


def _counted(name: str, labels: Array, classes: int, ignore_index: int) -> tuple[Array, Array]:
    """The labels, 0 where they are ignored, and which of them count."""
    counted = labels != ignore_index
    labels = np.where(counted, labels, 0)
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        where = np.argmax((labels < 0) | (labels >= classes))
        raise IndexError(
            f"{name}: label {labels[where]} at position {where} is out of range; "
            f"{classes} classes have labels 0 to {classes - 1}"
        )
    return labels, counted


def _class_weights(name: str, rows: Tensor, weight: Any, counted: Array) -> Array | None:
    """(classes,), in the rows' dtype; None where all rows weigh 1."""
    if weight is None:
        return None if counted.all() else np.ones(rows.shape[1], rows.dtype)
    weights = constant(name, "weight", weight)
    _check_class_weights(name, weights, rows.shape[1])
    return weights.data.astype(rows.dtype)


def _check_class_weights(name: str, weights: Tensor, classes: int) -> None:
    if weights.shape != (classes,):
        raise ShapeError(f"{name}: {classes} classes need as many weights, got shape {weights.shape}")


def constant(name: str, argument: str, value: Any) -> Tensor:
    """A tensor that the function does not differentiate, and that must not ask for it."""
    x = as_tensor(value)
    if x.requires_grad:
        raise GraphError(f"{name}: {argument} requires grad, but has no gradient here; pass {argument}.detach()")
    return x


def _reduced_rows(
    losses: Tensor, labels: Array, counted: Array, weights: Array | None, reduction: str, shape: Shape
) -> Tensor:
    if weights is None:
        return reduced(losses if reduction != "none" else losses.reshape(shape), reduction)
    losses = apply(ops.where, counted, losses, 0.0)  # not a product: what does not count may be infinite
    if reduction == "mean":
        return losses.sum() / float(weights[labels][counted].sum())
    return losses.sum() if reduction == "sum" else losses.reshape(shape)


# --- of two classes ---------------------------------------------------------------------------------------------------


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """−target·log sigmoid(input) − (1 − target)·log sigmoid(−input).

    Args:
        input, target: logits and probabilities, floats of one shape.
        weight: how much each element counts; broadcasts to that shape.
        pos_weight: a factor for the first term, as for classes of unequal size; broadcasts too.
        reduction: "mean", "sum" or "none".

    >>> import tinybn as tb
    >>> round(tb.functional.binary_cross_entropy_with_logits(tb.zeros(4), tb.ones(4)).item(), 4)
    0.6931
    """
    name = "binary_cross_entropy_with_logits"
    check_reduction(name, reduction)
    x, y = as_tensor(input), as_tensor(target)
    check_floating(name, x)
    check_floating(name, y)
    _check_same_shape(name, x, y)
    first_term = logsigmoid(x)
    if pos_weight is not None:
        first_term = (1 + (_element_weights(name, "pos_weight", pos_weight, x) - 1) * y) * first_term
    losses = (1 - y) * x - first_term
    if weight is not None:
        losses = losses * _element_weights(name, "weight", weight, losses)
    return reduced(losses, reduction)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Tensor:
    """−target·log(input) − (1 − target)·log(1 − input), with logarithms of −100 or more.

    Args:
        input, target: probabilities, floats of one shape and dtype.
        weight: how much each element counts; broadcasts to that shape.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: an element of input or target is not from 0 to 1.
    """
    name = "binary_cross_entropy"
    check_reduction(name, reduction)
    p, y = as_tensor(input), as_tensor(target)
    check_dtypes(name, input=p, target=y)
    check_floating(name, p)
    _check_same_shape(name, p, y)
    for argument, values in (("input", p.data), ("target", y.data)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{name}: expected numbers from 0 to 1 for {argument}, got others")
    inside = p.data * (1 - p.data) >= _LEAST_VARIANCE
    losses = _log_loss(apply(ops.where, inside, p, 0.5), y)
    if not inside.all():
        losses = apply(ops.where, inside, losses, _log_loss_at_the_ends(p, y))
    if weight is not None:
        losses = losses * _element_weights(name, "weight", weight, losses)
    return reduced(losses, reduction)


# The derivative for p is (p − y)/(p·(1 − p)); the divisor is not let below this, which PyTorch has in float32.
_LEAST_VARIANCE = float(np.float32(1e-12))


def _log_loss(p: Tensor, y: Tensor) -> Tensor:
    return (y - 1) * log1p(-p) - y * log(p)


def _log_loss_at_the_ends(p: Tensor, y: Tensor) -> Tensor:
    """The limited value at p = 0 and p = 1, and the limited slope."""
    with np.errstate(divide="ignore"):
        log_p, log_q = np.maximum(np.log(p.data), -100), np.maximum(np.log1p(-p.data), -100)
    return (y - 1) * log_q - y * log_p + (p - p.data) * ((p.data - y) / _LEAST_VARIANCE)


def _check_same_shape(name: str, x: Tensor, target: Tensor) -> None:
    if x.shape != target.shape:
        raise ShapeError(f"{name}: expected a target of the shape of input, {x.shape}, got {target.shape}")


def _element_weights(name: str, argument: str, weight: Any, x: Tensor) -> Tensor:
    """A constant that broadcasts to x, in its dtype."""
    weights = constant(name, argument, weight)
    if broadcast_shape(name, x.shape, weights.shape) != x.shape:
        raise ShapeError(f"{name}: {argument} of shape {weights.shape} does not broadcast to {x.shape}")
    return weights.to(x.dtype)


# --- of distributions -------------------------------------------------------------------------------------------------


def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target·(log target − input), the terms of the Kullback-Leibler divergence of input from target.

    Args:
        input: log-probabilities.
        target: probabilities, or log-probabilities if log_target is true.
        reduction: "batchmean" divides the sum by the first axis' size, which makes it the divergence; or "mean" over
            all elements, "sum", "none".
    """
    check_reduction("kl_div", reduction, ("mean", "batchmean", "sum", "none"))
    x, y = as_tensor(input), as_tensor(target)
    check_floating("kl_div", x)
    check_floating("kl_div", y)
    broadcast_shape("kl_div", x.shape, y.shape)
    if log_target:
        losses = exp(y) * (y - x)
    else:
        zero = y.data == 0
        losses = y * log(apply(ops.where, zero, 1.0, y)) - y * x
    if reduction == "batchmean":
        return losses.sum() / (x.shape[0] if x.ndim else 1)
    return reduced(losses, reduction)
