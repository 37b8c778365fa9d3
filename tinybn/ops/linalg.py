"""Matrix products. The work is BLAS's."""

from __future__ import annotations  # those of nested functions would be computed at each call

from typing import Any

import numpy as np

from tinybn._typing import Array, Op
from tinybn.kernels.matmul import multiply
from tinybn.ops.elementwise import relu_gradient
from tinybn.saved import needs


@needs((1,), (0,))
def matmul(x: Array, y: Array) -> Op:
    """x @ y for arrays of two or more axes, (..., n, k) @ (..., k, m); the axes in front broadcast."""
    out = x @ y

    def backward(dy: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return lambda: dy @ y.mT, lambda: x.mT @ dy

    return out, backward, (x, y)


@needs((1,), (0,), ())
def linear(x: Array, weight: Array, bias: Array | None, relu: bool = False) -> Op:
    """x·weightᵀ + bias for x (N, in), weight (out, in), bias (out,) or None; with relu max(·, 0), in the same pass.

    One op and not three, which is what the kernel does at once; the weight's gradient comes out in the weight's layout.
    """
    out = multiply(x, weight.T, bias, relu)

    def backward(dy: Any, x: Any, weight: Any, out: Any = None) -> tuple[Any, ...]:
        if relu:
            dy = relu_gradient(dy, out)
        if isinstance(dy, np.ndarray):
            return lambda: multiply(dy, weight), lambda: multiply(dy.T, x), lambda: dy.sum(0)
        return lambda: dy @ weight, lambda: dy.mT @ x, lambda: dy.sum(0)

    return out, backward, (x, weight, out) if relu else (x, weight)
