"""The twins of /kernels/activation.pyx, and of erf, on flat arrays."""

import math

import numpy as np

from tinybn._typing import Array


def sigmoid(out: Array, x: Array, threads: int) -> bool:
    """1 / (1 + exp(−x)). An overflow of exp gives 1/inf = 0, which is right."""
    with np.errstate(over="ignore"):
        np.divide(1, 1 + np.exp(-x), out=out)
    return True


def sigmoid_backward(dx: Array, dy: Array, y: Array, threads: int) -> bool:
    """dy·y·(1 − y)."""
    np.multiply(dy, y * (1 - y), out=dx)
    return True


def tanh_backward(dx: Array, dy: Array, y: Array, threads: int) -> bool:
    """dy·(1 − y²)."""
    np.multiply(dy, 1 - y * y, out=dx)
    return True


def relu(out: Array, x: Array, threads: int) -> bool:
    """max(x, 0), NaN at NaN."""
    np.maximum(x, 0, out=out)
    return True


def relu_backward(dx: Array, dy: Array, y: Array, threads: int) -> bool:
    """dy·(1 where y is not ≤ 0, else 0)."""
    np.multiply(dy, ~(y <= 0), out=dx)
    return True


def erf(out: Array, x: Array, threads: int) -> None:
    """2/√π·∫ exp(−t²) dt from 0 to x."""
    out[...] = [math.erf(value) for value in x.tolist()]
