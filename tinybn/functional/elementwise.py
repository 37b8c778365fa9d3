"""Functions of each element: rounding, limits, exponentials, waves. Arithmetic stands in a room of its own."""

import math
from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_float, as_tensor
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import DTypeError
from tinybn.functional.arguments import arrays, broadcast_shape, check_floating, check_not_bool, operand, operands

__all__ = [
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "cos",
    "cosh",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "frac",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logit",
    "maximum",
    "minimum",
    "nan_to_num",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
]


# --- rounding and limits ----------------------------------------------------------------------------------------------


def floor(input: Any) -> Tensor:
    """The largest whole number up to x, with gradient 0."""
    return _rounded("floor", input, np.floor)


def ceil(input: Any) -> Tensor:
    """The smallest whole number from x on, with gradient 0."""
    return _rounded("ceil", input, np.ceil)


def trunc(input: Any) -> Tensor:
    """x without its fraction, with gradient 0."""
    return _rounded("trunc", input, np.trunc)


def frac(input: Any) -> Tensor:
    """The fraction of x, with its sign: x − trunc(x)."""
    x = as_tensor(input)
    check_floating("frac", x)
    return x - trunc(x)


def round(input: Any, *, decimals: int = 0) -> Tensor:
    """The nearest number with so many decimals, the even one of two, with gradient 0.

    >>> import tinybn as tb
    >>> tb.round(tb.tensor([0.5, 1.5, 2.75])), tb.round(tb.tensor(1234.0), decimals=-2)
    (tensor([0., 2., 3.]), tensor(1200.))
    """
    x = as_tensor(input)
    if decimals == 0:
        return _rounded("round", x, np.rint)
    check_floating("round", x)
    scale = 10.0 ** max(decimals, -decimals)

    def to_decimals(x: Array) -> Any:
        return np.rint(x * scale) / scale if decimals > 0 else np.rint(x / scale) * scale

    return apply(ops.piecewise_constant, x, to_decimals)


def _rounded(name: str, input: Any, ufunc: np.ufunc) -> Tensor:
    x = operand(name, input)
    check_not_bool(name, x)
    return apply(ops.piecewise_constant, x, ufunc) if x.dtype.kind == "f" else Tensor(x.data.copy())


def sign(input: Any) -> Tensor:
    """−1, 0 or 1, with gradient 0; 0 for NaN. A bool is its own sign."""
    x = as_tensor(input)
    if x.dtype == np.bool_:
        return Tensor(x.data.copy())
    return apply(ops.piecewise_constant, x, lambda x: np.sign(np.where(np.isnan(x), x.dtype.type(0), x)))


def clamp(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """x limited to min..max; the maximum where they cross. NaN among the three gives NaN.

    The gradient goes to x inside and at the limits, else to the limit.

    Args:
        min, max: numbers or tensors; one may be left out.

    >>> import tinybn as tb
    >>> tb.tensor([-2.0, 0.5, 3.0]).clamp(-1, 1)
    tensor([-1. ,  0.5,  1. ])
    """
    if min is None and max is None:
        raise ValueError("clamp: expected min, max or both, got neither")
    x = as_tensor(input)
    if isinstance(min, Tensor) and isinstance(max, Tensor):  # where they are equal, the lower one gets no gradient
        broadcast_shape("clamp", x.shape, min.shape, max.shape)
        if (equal := min.data == max.data).any():
            x, min = operands("clamp", x, min)
            min = apply(ops.where, equal, min.detach(), min)
    if min is not None:
        x = _limited(x, min, np.less)
    return x if max is None else _limited(x, max, np.greater)


def _limited(x: Tensor, limit: Any, beyond: np.ufunc) -> Tensor:
    x, limit = operands("clamp", x, limit)
    values, bound = arrays(x, limit)
    limited = apply(ops.where, beyond(values, bound), limit, x)
    nan = np.isnan(values) | np.isnan(bound)
    return apply(ops.where, nan, np.nan, limited) if nan.any() else limited


clip = clamp


def clamp_min(input: Any, min: Any) -> Tensor:
    """x, or the limit where x is below it: `clamp` from below."""
    return _limited_on_one_side("clamp_min", input, min, np.less)


def clamp_max(input: Any, max: Any) -> Tensor:
    """x, or the limit where x is above it: `clamp` from above."""
    return _limited_on_one_side("clamp_max", input, max, np.greater)


def _limited_on_one_side(name: str, input: Any, limit: Any, beyond: np.ufunc) -> Tensor:
    x, limit = operands(name, input, limit)
    if np.result_type(*arrays(x, limit)) == np.bool_:
        raise DTypeError(f"{name}: expected numbers, got two bools")
    return _limited(x, limit, beyond)


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of the two; equal ones share the gradient, NaN comes through."""
    return apply(ops.maximum, *operands("maximum", input, other))


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of the two; equal ones share the gradient, NaN comes through."""
    return apply(ops.minimum, *operands("minimum", input, other))


def nan_to_num(
    input: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """x with numbers in place of NaN (default 0) and of ∞ and −∞ (default: the dtype's largest and smallest)."""
    x = as_tensor(input)
    if x.dtype.kind != "f":
        return Tensor(x.data.copy())
    values, limits = x.data, np.finfo(x.dtype)
    for found, number, default in (
        (np.isnan(values), nan, 0),
        (np.isposinf(values), posinf, limits.max),
        (np.isneginf(values), neginf, limits.min),
    ):
        with np.errstate(over="ignore"):
            replacement = x.dtype.type(default if number is None else number)
        x = apply(ops.where, found, replacement, x)
    return x


# --- exponentials, logarithms, roots ----------------------------------------------------------------------------------


def exp(input: Any) -> Tensor:
    """eˣ."""
    return apply(ops.exp, _floats(input))


def exp2(input: Any) -> Tensor:
    """2ˣ."""
    return apply(ops.power, 2.0, _floats(input))


def expm1(input: Any) -> Tensor:
    """eˣ − 1, exact near 0."""
    return apply(ops.expm1, _floats(input))


def log(input: Any) -> Tensor:
    """The natural logarithm."""
    return apply(ops.log, _floats(input))


def log1p(input: Any) -> Tensor:
    """log(1 + x), exact near 0."""
    return apply(ops.log1p, _floats(input))


def log2(input: Any) -> Tensor:
    """The logarithm to base 2."""
    return log(input) / math.log(2)


def log10(input: Any) -> Tensor:
    """The logarithm to base 10."""
    return log(input) / math.log(10)


def logaddexp(input: Any, other: Any) -> Tensor:
    """log(eˣ + eʸ), without overflow."""
    x, y = operands("logaddexp", input, other)
    if np.result_type(*arrays(x, y)).kind != "f":
        raise DTypeError(f"logaddexp: expected a floating tensor, got {x.dtype}; use .float() first")
    return apply(ops.logaddexp, x, y)


def logit(input: Any, eps: float | None = None) -> Tensor:
    """log(x/(1 − x)), what `sigmoid` is undone by; NaN outside 0..1.

    Args:
        eps: limit x to eps..1 − eps first.

    >>> import tinybn as tb
    >>> tb.logit(tb.tensor([0.0, 0.5, 1.0]))
    tensor([-inf,   0.,  inf])
    """
    x = _floats(input)
    if eps is not None:
        x = clamp(x, eps, 1 - eps)
    odds = log(x) - log1p(-x)
    outside = (x.data < 0) | (x.data > 1)
    return odds * np.where(outside, x.dtype.type(np.nan), x.dtype.type(1)) if outside.any() else odds


def sqrt(input: Any) -> Tensor:
    """√x."""
    return apply(ops.sqrt, _floats(input))


def rsqrt(input: Any) -> Tensor:
    """1/√x."""
    return 1 / sqrt(input)


# --- waves and sigmoids -----------------------------------------------------------------------------------------------


def sin(input: Any) -> Tensor:
    """The sine."""
    return apply(ops.sin, _floats(input))


def cos(input: Any) -> Tensor:
    """The cosine."""
    return apply(ops.cos, _floats(input))


def tan(input: Any) -> Tensor:
    """The tangent."""
    return sin(input) / cos(input)


def sinh(input: Any) -> Tensor:
    """The hyperbolic sine, (eˣ − e⁻ˣ)/2, exact near 0."""
    up, down = _half_way(input)
    return (up - down) / 2 * (up + down + 2)


def cosh(input: Any) -> Tensor:
    """The hyperbolic cosine, (eˣ + e⁻ˣ)/2."""
    up, down = _half_way(input)
    return (up - down) / 2 * (up - down) + 1


def _half_way(input: Any) -> tuple[Tensor, Tensor]:
    """eʰ − 1 and e⁻ʰ − 1 for h = x/2. sinh x = 2·sinh h·cosh h and cosh x = 1 + 2·sinh² h are exact near 0."""
    half = _floats(input) / 2
    return expm1(half), expm1(-half)


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return apply(ops.tanh, _floats(input))


def sigmoid(input: Any) -> Tensor:
    """1/(1 + exp(−x))."""
    return apply(ops.sigmoid, _floats(input))


def erf(input: Any) -> Tensor:
    """The error function, 2/√π·∫ exp(−t²) dt from 0 to x.

    >>> import tinybn as tb
    >>> tb.erf(tb.tensor([0.0, 10.0]))
    tensor([0., 1.])
    """
    return apply(ops.erf, _floats(input))


def _floats(input: Any) -> Tensor:
    return as_float(as_tensor(input))
