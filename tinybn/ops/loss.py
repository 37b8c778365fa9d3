"""Softmax and cross-entropy, over the last axis."""

from __future__ import annotations  # those of nested functions would be computed at each call

from typing import Any

import numpy as np

from tinybn._typing import Array, Op
from tinybn.kernels import losses as kernels
from tinybn.ops._call import call
from tinybn.ops.elementwise import exp


def softmax(x: Array) -> Op:
    out = np.exp(x - _largest(x))
    out /= out.sum(axis=-1, keepdims=True)

    def backward(dy: Any, out: Any) -> tuple[Any, ...]:
        return (out * (dy - (dy * out).sum(axis=-1, keepdims=True)),)

    return out, backward, (out,)


def log_softmax(x: Array) -> Op:
    shifted = x - _largest(x)
    out = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))

    def backward(dy: Any, out: Any) -> tuple[Any, ...]:
        return (dy - call(exp, out) * dy.sum(axis=-1, keepdims=True),)

    return out, backward, (out,)


def cross_entropy(x: Array, labels: Array, ignored: int, reduction: str) -> Op:
    """−log softmax(x)[label] for logits x (N, classes) and labels (N,), int64: the mean, the sum, or all of them, (N,).

    Rows whose label is ``ignored`` are 0 and do not count. Softmax and loss are one kernel, and so is the gradient,
    softmax(x) − onehot.
    """
    losses, probabilities, count = kernels.cross_entropy(x, labels, ignored)
    weight = 1 / count if reduction == "mean" and count else 1.0
    out = losses
    if reduction != "none":
        out = losses.sum() * x.dtype.type(weight) if count or reduction == "sum" else x.dtype.type(np.nan)

    def backward(dy: Any, x: Any, labels: Any) -> tuple[Any, ...]:
        if type(dy) is np.ndarray:
            return (kernels.cross_entropy_backward(dy * dy.dtype.type(weight), probabilities, labels, ignored),)
        counted = labels != ignored
        onehot = np.zeros(x.shape, x.dtype)
        onehot[np.flatnonzero(counted), labels[counted]] = 1
        rows = dy * weight if reduction != "none" else dy
        return ((call(softmax, x) - onehot) * counted.reshape(-1, 1) * rows.reshape(-1, 1),)

    return out, backward, (x, labels)


def _largest(x: Array) -> Array:
    """The largest value of each row, which keeps exp from overflowing. An infinite one makes the whole row NaN."""
    return x.max(axis=-1, keepdims=True, initial=-np.inf)
