"""Elementwise primitives. Shapes broadcast; the engine sums gradients back over the broadcast axes."""

from __future__ import annotations  # those of nested functions would be computed at each call

import math
from typing import Any

import numpy as np

from tinybn import kernels
from tinybn._typing import Array, Op
from tinybn.kernels import pointwise
from tinybn.ops._call import call
from tinybn.saved import needs


def add(x: Array, y: Array) -> Op:
    out = x + y

    def backward(dy: Any) -> tuple[Any, ...]:
        return dy, dy

    return out, backward, ()


def subtract(x: Array, y: Array) -> Op:
    out = x - y

    def backward(dy: Any) -> tuple[Any, ...]:
        return dy, lambda: -dy

    return out, backward, ()


@needs((1,), (0,))
def multiply(x: Array, y: Array) -> Op:
    out = x * y

    def backward(dy: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return lambda: dy * y, lambda: dy * x

    return out, backward, (x, y)


@needs((1,), (0, 1))
def divide(x: Array, y: Array) -> Op:
    out = x / y

    def backward(dy: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return lambda: dy / y, lambda: -dy * x / (y * y)

    return out, backward, (x, y)


def negative(x: Array) -> Op:
    out = -x

    def backward(dy: Any) -> tuple[Any, ...]:
        return (-dy,)

    return out, backward, ()


@needs((0, 1), (0, 1, 2))
def power(x: Array, y: Array) -> Op:
    try:
        out = x**y
    except ValueError:  # integers to negative ones, which NumPy refuses
        out = _integer_power(x, y)

    def backward(dy: Any, x: Any, y: Any, out: Any) -> tuple[Any, ...]:
        # d(x**0)/dx is 0 even at x = 0, and so is d(0**y)/dy, where the plain formulas give 0·inf.
        def dx() -> Any:
            if isinstance(y, int | float):
                return dy * (y * x ** (y - 1)) if y != 0 else dy * 0
            return call(where, y == 0, 0.0, dy * (y * x ** (y - 1)))

        def dexponent() -> Any:
            log_x = float(np.log(x)) if isinstance(x, int | float) else call(log, x)
            return call(where, (y >= 0) & (x == 0), 0.0, dy * (out * log_x))

        return dx, dexponent

    return out, backward, (x, y, out)


def _integer_power(x: Array, y: Array) -> Array:
    """1 and −1 are their own inverses, all other integers to a negative one are 0, as in PyTorch."""
    if not isinstance(y, np.ndarray):
        raise ValueError(f"an integer to the power of {y} is no integer; use .float() first")
    return np.where(y < 0, np.where(np.abs(x) == 1, x ** (y % 2), 0), x ** np.abs(y))


def exp(x: Array) -> Op:
    out = np.exp(x)

    def backward(dy: Any, out: Any) -> tuple[Any, ...]:
        return (dy * out,)

    return out, backward, (out,)


def log(x: Array) -> Op:
    out = np.log(x)

    def backward(dy: Any, x: Any) -> tuple[Any, ...]:
        return (dy / x,)

    return out, backward, (x,)


def expm1(x: Array) -> Op:
    """eˣ − 1, exact near 0."""
    out = np.expm1(x)

    def backward(dy: Any, out: Any) -> tuple[Any, ...]:
        return (dy * (out + 1),)

    return out, backward, (out,)


def log1p(x: Array) -> Op:
    """log(1 + x), exact near 0."""
    out = np.log1p(x)

    def backward(dy: Any, x: Any) -> tuple[Any, ...]:
        return (dy / (x + 1),)

    return out, backward, (x,)


def sqrt(x: Array) -> Op:
    out = np.sqrt(x)

    def backward(dy: Any, out: Any) -> tuple[Any, ...]:
        return (dy / (2 * out),)

    return out, backward, (out,)


def sin(x: Array) -> Op:
    out = np.sin(x)

    def backward(dy: Any, x: Any) -> tuple[Any, ...]:
        return (dy * call(cos, x),)

    return out, backward, (x,)


def cos(x: Array) -> Op:
    out = np.cos(x)

    def backward(dy: Any, x: Any) -> tuple[Any, ...]:
        return (-dy * call(sin, x),)

    return out, backward, (x,)


def absolute(x: Array) -> Op:
    out = np.absolute(x)
    sign = (x > 0).astype(x.dtype) - (x < 0)  # 0 at 0 and at NaN, as in PyTorch

    def backward(dy: Any) -> tuple[Any, ...]:
        return (dy * sign,)

    return out, backward, ()


def tanh(x: Array) -> Op:
    out = np.tanh(x)

    def backward(dy: Any, out: Any) -> tuple[Any, ...]:
        if type(dy) is np.ndarray:
            return (pointwise.tanh_backward(dy, out),)
        return (dy * (1 - out * out),)

    return out, backward, (out,)


def sigmoid(x: Array) -> Op:
    """1 / (1 + exp(−x))."""
    out = pointwise.sigmoid(x)

    def backward(dy: Any, out: Any) -> tuple[Any, ...]:
        if type(dy) is np.ndarray:
            return (pointwise.sigmoid_backward(dy, out),)
        return (dy * (out * (1 - out)),)

    return out, backward, (out,)


def relu(x: Array) -> Op:
    """max(x, 0), with gradient 0 at 0 and dy at NaN."""
    out = pointwise.relu(x)

    def backward(dy: Any, out: Any) -> tuple[Any, ...]:
        return (relu_gradient(dy, out),)

    return out, backward, (out,)


def relu_gradient(dy: Any, out: Any) -> Any:
    """dy where the output of a ReLU is not 0; the op may have been another with a ReLU behind."""
    if type(dy) is np.ndarray:
        return pointwise.relu_backward(dy, out)
    return dy * ~(out <= 0)


def piecewise_constant(x: Array, ufunc: np.ufunc) -> Op:
    """A function whose derivative is 0 wherever it exists: np.floor, np.sign and their like."""
    out = ufunc(x)

    def backward(dy: Any) -> tuple[Any, ...]:
        return (dy * 0,)

    return out, backward, ()


def logaddexp(x: Array, y: Array) -> Op:
    """log(eˣ + eʸ), without overflow."""
    out = np.logaddexp(x, y)

    def backward(dy: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return lambda: dy * call(sigmoid, x - y), lambda: dy * call(sigmoid, y - x)

    return out, backward, (x, y)


def erf(x: Array) -> Op:
    """The error function, 2/√π·∫ exp(−t²) dt from 0 to x."""
    out = kernels.erf(x)

    def backward(dy: Any, x: Any) -> tuple[Any, ...]:
        return (dy * (2 / math.sqrt(math.pi) * call(exp, -x * x)),)

    return out, backward, (x,)


def maximum(x: Array, y: Array) -> Op:
    """The larger of two; NaN comes through. The gradient is halved at a tie and goes to both at NaN, as in PyTorch."""
    return _extreme(x, y, np.maximum(x, y))


def minimum(x: Array, y: Array) -> Op:
    """The smaller of the two, by the rules of `maximum`."""
    return _extreme(x, y, np.minimum(x, y))


def _extreme(x: Array, y: Array, out: Array) -> Op:
    nan = np.isnan(out) if out.dtype.kind == "f" else False
    share = np.where(x == y, 0.5, (x == out) | nan).astype(np.result_type(out))  # of the gradient, for x

    def backward(dy: Any) -> tuple[Any, ...]:
        return lambda: dy * share, lambda: dy * np.where(nan, share, 1 - share)

    return out, backward, ()


def where(condition: Array, x: Array, y: Array) -> Op:
    """x where the condition holds, y elsewhere."""
    out = np.where(condition, x, y)

    def backward(dy: Any, condition: Any) -> tuple[Any, ...]:
        return None, lambda: call(where, condition, dy, 0.0), lambda: call(where, condition, 0.0, dy)

    return out, backward, (condition,)


def cast(x: Array, dtype: Any) -> Op:
    """x in another dtype. The gradient comes back in x's."""
    out = x.astype(dtype)
    source = x.dtype

    def backward(dy: Any) -> tuple[Any, ...]:
        return (call(cast, dy, source),)

    return out, backward, ()
