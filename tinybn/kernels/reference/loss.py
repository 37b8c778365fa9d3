"""The twins of /kernels/loss.pyx."""

import numpy as np

from tinybn._typing import Array


def cross_entropy(losses: Array, probabilities: Array, x: Array, labels: Array, ignored: int) -> tuple[int, int]:
    """The rows' losses and softmax, 0 where the label is ignored; how many count; where a label is wrong, or −1."""
    counted = labels != ignored
    wrong = counted & ((labels < 0) | (labels >= x.shape[1]))
    if wrong.any():
        return 0, int(wrong.argmax())
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis=1, keepdims=True, initial=-np.inf)
        exponentials = np.exp(shifted)
        totals = exponentials.sum(axis=1, dtype=np.float64)
        probabilities[...] = np.where(counted[:, None], exponentials / totals[:, None], 0)
        own = shifted[np.arange(len(x)), np.where(counted, labels, 0)] if x.size else totals
        losses[...] = np.where(counted, np.log(totals) - own, 0)
    return int(counted.sum()), -1


def cross_entropy_backward(dx: Array, dy: Array, probabilities: Array, labels: Array, ignored: int) -> None:
    """(probabilities − onehot)·dy, 0 where the label is ignored."""
    rows = np.flatnonzero(labels != ignored)
    difference = probabilities.copy()
    difference[rows, labels[rows]] -= 1
    dx[...] = np.where((labels != ignored)[:, None], difference * dy.reshape(-1, 1), 0)
