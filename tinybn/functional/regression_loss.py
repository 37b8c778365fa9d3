"""Losses of regression. Input and target broadcast, and gradients flow to both."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError
from tinybn.functional.arguments import arrays, check_not_bool, operand, operands
from tinybn.functional.arithmetic import abs
from tinybn.functional.loss import check_reduction, reduced

__all__ = ["huber_loss", "l1_loss", "mse_loss", "smooth_l1_loss"]


def mse_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Tensor:
    """(input − target)².

    Args:
        reduction: "mean", "sum" or "none".
        weight: of the shape of input: how much each element counts; the mean is divided by their sum.

    >>> import tinybn as tb
    >>> tb.functional.mse_loss(tb.tensor([1.0, 4.0]), tb.tensor([2.0, 2.0]))
    tensor(2.5)
    """
    difference = _difference("mse_loss", input, target, reduction)
    return _weighted("mse_loss", difference * difference, input, weight, reduction)


def l1_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Tensor:
    """|input − target|, with the arguments of `mse_loss`."""
    for value in (input, target):
        check_not_bool("l1_loss", operand("l1_loss", value))
    return _weighted("l1_loss", abs(_difference("l1_loss", input, target, reduction)), input, weight, reduction)


def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d²/(2·beta) where d = |input − target| is below beta, d − beta/2 elsewhere (Girshick 2015)."""
    difference = _difference("smooth_l1_loss", input, target, reduction)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta is {beta}; expected a number from 0 on")
    if beta == 0:
        return reduced(abs(difference), reduction)
    return reduced(_quadratic_near_zero(difference, beta) / beta, reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Tensor:
    """d²/2 where d = |input − target| is up to delta, delta·(d − delta/2) elsewhere (Huber 1964).

    Args:
        reduction: "mean", "sum" or "none".
        weight: of the shape of input: a factor for each element. The mean is divided by their number, as in PyTorch.

    >>> import tinybn as tb
    >>> tb.functional.huber_loss(tb.tensor([0.0, 0.0]), tb.tensor([1.0, 3.0]), reduction="none")
    tensor([0.5, 2.5])
    """
    difference = _difference("huber_loss", input, target, reduction)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta is {delta}; expected a number above 0")
    losses = _quadratic_near_zero(difference, delta)
    return _weighted("huber_loss", losses, input, weight, reduction, weighted_mean=False)


def _quadratic_near_zero(difference: Tensor, width: float) -> Tensor:
    """½d² up to the width, from there on with the slope that it has got to."""
    near = ~(np.abs(difference.data) > width)  # NaN is near, which makes its gradient NaN
    small = apply(ops.where, near, difference, 0.0)  # elsewhere the square may overflow
    return apply(ops.where, near, 0.5 * (small * small), width * (abs(difference) - 0.5 * width))


def _difference(name: str, input: Any, target: Any, reduction: str) -> Tensor:
    check_reduction(name, reduction)
    x, y = operands(name, input, target)
    dtype = np.result_type(*arrays(x, y))
    if dtype.kind != "f":
        raise DTypeError(f"{name}: expected a floating tensor, got {dtype}; use .float() first")
    return apply(ops.subtract, x, y)


def _weighted(name: str, losses: Tensor, input: Any, weight: Any, reduction: str, weighted_mean: bool = True) -> Tensor:
    if weight is None:
        return reduced(losses, reduction)
    weights, shape = as_tensor(weight), as_tensor(input).shape
    if weights.shape != shape:
        raise ShapeError(f"{name}: expected a weight of the shape of input, {shape}, got {weights.shape}")
    losses = losses * weights
    return losses.sum() / weights.sum() if reduction == "mean" and weighted_mean else reduced(losses, reduction)
