"""Softmax and cross-entropy, over the last axis."""

from __future__ import annotations  # those of nested functions would be computed at each call

from typing import Any

import numpy as np

from tinybn._typing import Array, Op
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


def softmax_cross_entropy(x: Array, labels: Array) -> Op:
    """−log softmax(x)[label] for logits x (N, classes) and integer labels (N,) → (N,).

    Softmax and loss in one op: the gradient softmax(x) − onehot needs neither the log nor its derivative.
    """
    rows = np.arange(len(x))
    out = -log_softmax(x)[0][rows, labels]

    def backward(dy: Any, x: Any) -> tuple[Any, ...]:
        onehot = np.zeros(x.shape, x.dtype)
        onehot[rows, labels] = 1
        return ((call(softmax, x) - onehot) * dy.reshape((-1, 1)),)

    return out, backward, (x,)


def _largest(x: Array) -> Array:
    """The largest value of each row, which keeps exp from overflowing. An infinite one makes the whole row NaN."""
    return x.max(axis=-1, keepdims=True, initial=-np.inf)
