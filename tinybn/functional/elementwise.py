"""Elementwise functions of one tensor or two. Shapes broadcast, dtypes promote as in PyTorch."""

import math
from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_float, as_tensor, promoted
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError
from tinybn.functional.arguments import check_dtypes, check_floating

__all__ = [
    "abs",
    "absolute",
    "add",
    "addcdiv",
    "addcmul",
    "ceil",
    "clamp",
    "clip",
    "cos",
    "div",
    "divide",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "floor_divide",
    "fmod",
    "frac",
    "lerp",
    "log",
    "log1p",
    "log2",
    "log10",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "nan_to_num",
    "neg",
    "negative",
    "pow",
    "reciprocal",
    "remainder",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sqrt",
    "square",
    "sub",
    "subtract",
    "tan",
    "tanh",
    "true_divide",
    "trunc",
]

Number = bool | int | float | np.generic


def operands(name: str, input: Any, other: Any) -> tuple[Any, Any]:
    """Two operands in the dtype that they promote to. A number beside a tensor stays a number.

    Raises:
        TypeError: one of them is neither a tensor nor numbers.
        ShapeError: their shapes do not broadcast.
    """
    if isinstance(input, Number) and not isinstance(other, Number):
        y, x = promoted(_operand(name, other), input, name)
        return x, y
    x, y = promoted(_operand(name, input), other if isinstance(other, Number) else _operand(name, other), name)
    if isinstance(y, Tensor) and x.shape != y.shape:
        check_broadcasting(name, x.shape, y.shape)
    return x, y


def _operand(name: str, value: Any) -> Tensor:
    try:
        return as_tensor(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a tensor, an array or numbers, got {type(value).__name__}") from None


def check_broadcasting(name: str, *shapes: tuple[int, ...]) -> None:
    """Refuse shapes that do not go together."""
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"{name}: shapes {' and '.join(map(str, shapes))} do not broadcast") from None


def arrays(*values: Any) -> tuple[Any, ...]:
    """The arrays of tensors, and numbers as they are."""
    return tuple(v.data if isinstance(v, Tensor) else v for v in values)


# --- arithmetic -------------------------------------------------------------------------------------------------------


def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha·other."""
    return _add_scaled("add", input, other, alpha)


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input − alpha·other; bools are refused."""
    for operand in (input, other):
        _without_bools("sub", operand)
    return _add_scaled("sub", input, other, alpha, ops.subtract)


def _add_scaled(name: str, input: Any, other: Any, alpha: Any, op: Any = ops.add) -> Tensor:
    x, y = operands(name, input, other)
    alpha = alpha.item() if isinstance(alpha, Tensor | np.generic) else alpha
    dtype = np.result_type(*arrays(x, y))
    allowed = {"b": (bool, int), "f": (int, float)}.get(dtype.kind, (int,))
    if not isinstance(alpha, allowed) or (isinstance(alpha, bool) and dtype.kind != "b"):
        raise DTypeError(f"{name}: a result of dtype {dtype} does not take the factor {alpha!r}")
    if alpha != 1:
        alpha = bool(alpha) if dtype.kind == "b" else alpha
        y = apply(ops.multiply, y, alpha) if isinstance(y, Tensor) else y * alpha
    return apply(op, x, y)


def mul(input: Any, other: Any) -> Tensor:
    """input · other."""
    return apply(ops.multiply, *operands("mul", input, other))


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; integers give float32, unless the quotient is rounded.

    Args:
        rounding_mode: "trunc" rounds towards 0, "floor" down, both with gradient 0; None does not round.

    >>> import tinybn as tb
    >>> tb.div(tb.tensor([-3, 3]), 2), tb.div(tb.tensor([-3, 3]), 2, rounding_mode="trunc")
    (tensor([-1.5,  1.5]), tensor([-1,  1]))
    """
    if rounding_mode not in (None, "trunc", "floor"):
        raise ValueError(f"div: rounding_mode is {rounding_mode!r}; expected None, 'trunc' or 'floor'")
    x, y = operands("div", input, other)
    if rounding_mode is not None:
        return _rounded_quotient("div", x, y, rounding_mode)
    return apply(ops.divide, *(as_float(v) if isinstance(v, Tensor) else v for v in (x, y)))


def floor_divide(input: Any, other: Any) -> Tensor:
    """⌊input / other⌋, with gradient 0."""
    return _rounded_quotient("floor_divide", *operands("floor_divide", input, other), "floor")


def _rounded_quotient(name: str, x: Any, y: Any, rounding_mode: str) -> Tensor:
    quotient = _whole_quotient(name, x, y, rounding_mode)
    if quotient.dtype.kind != "f":
        return Tensor(quotient)
    return apply(ops.piecewise_constant, apply(ops.add, x, y), lambda _: quotient)  # the sum: of both, with gradient 0


def _whole_quotient(name: str, x: Any, y: Any, rounding_mode: str) -> Array:
    a, b = arrays(x, y)
    dtype = np.result_type(a, b)
    if dtype.kind == "b":
        raise DTypeError(f"{name}: expected numbers, got two bools")
    if dtype.kind != "f" and not np.all(b):
        raise ValueError(f"{name}: an integer is divided by zero")
    with np.errstate(all="ignore"):
        if rounding_mode == "floor":
            return np.asarray(np.floor_divide(a, b))
        return np.asarray(np.trunc(a / b) if dtype.kind == "f" else np.floor_divide(a - np.fmod(a, b), b))


def remainder(input: Any, other: Any) -> Tensor:
    """x − y·⌊x/y⌋, with the sign of y, as Python's %.

    >>> import tinybn as tb
    >>> tb.remainder(tb.tensor([-3.0, 3.0]), 2)
    tensor([1., 1.])
    """
    return _rest("remainder", input, other, np.remainder, "floor")


def fmod(input: Any, other: Any) -> Tensor:
    """x − y·trunc(x/y), with the sign of x, as C's fmod.

    >>> import tinybn as tb
    >>> tb.fmod(tb.tensor([-3.0, 3.0]), 2)
    tensor([-1.,  1.])
    """
    return _rest("fmod", input, other, np.fmod, "trunc")


def _rest(name: str, input: Any, other: Any, ufunc: np.ufunc, rounding_mode: str) -> Tensor:
    """The ufunc's values, which are exact, with the derivatives of x − y·quotient, which rounds."""
    x, y = operands(name, input, other)
    quotient = _whole_quotient(name, x, y, rounding_mode)
    with np.errstate(all="ignore"):
        exact = np.asarray(ufunc(*arrays(x, y)))
    if exact.dtype.kind != "f":
        return Tensor(exact)
    product = apply(ops.where, quotient == 0, 0.0, apply(ops.multiply, y, quotient))  # 0·inf is 0 here
    rest = apply(ops.subtract, x, product)
    with np.errstate(all="ignore"):
        rounding = np.where(rest.data == exact, 0, exact - rest.data)
    return apply(ops.add, rest, rounding)


def pow(input: Any, exponent: Any) -> Tensor:
    """input to the power of the exponent. Integers refuse a negative number, and round with a tensor of exponents.

    >>> import tinybn as tb
    >>> tb.pow(tb.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """
    x, y = operands("pow", input, exponent)
    base, power = arrays(x, y)
    kind = np.result_type(base, power).kind
    if kind == "f":
        return apply(ops.power, x, y)
    if kind == "b":
        raise DTypeError("pow: expected numbers, got two bools")
    if isinstance(y, Tensor):
        to_negative = np.where(np.abs(base) == 1, np.power(base, power % 2), 0)  # 1 and −1 are their own inverses
        return Tensor(np.where(power < 0, to_negative, np.power(base, np.abs(power))))
    if y < 0:
        raise ValueError(f"pow: an integer to the power of {y} is no integer; use .float() first")
    return Tensor(np.asarray(np.power(base, y)))


def neg(input: Any) -> Tensor:
    """−x."""
    return apply(ops.negative, _without_bools("neg", input))


def abs(input: Any) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    return apply(ops.absolute, _without_bools("abs", input))


def _without_bools(name: str, input: Any) -> Tensor:
    x = _operand(name, input)
    if x.dtype == np.bool_:
        raise DTypeError(f"{name}: expected numbers, got bools")
    return x


def square(input: Any) -> Tensor:
    """x²."""
    x = as_tensor(input)
    x = x.to(np.int64) if x.dtype == np.bool_ else x
    return x * x


def reciprocal(input: Any) -> Tensor:
    """1/x."""
    return 1 / as_tensor(input)


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value · tensor1 · tensor2."""
    return _add_scaled("addcmul", input, apply(ops.multiply, *operands("addcmul", tensor1, tensor2)), value)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value · tensor1 / tensor2, where not both are integers."""
    x, y = operands("addcdiv", tensor1, tensor2)
    dtype = np.result_type(*arrays(x, y))
    if dtype.kind != "f":
        raise DTypeError(f"addcdiv: expected tensor1 or tensor2 to be floating, got {dtype}; use .float() on one")
    return _add_scaled("addcdiv", input, apply(ops.divide, x, y), value)


def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """input + weight·(end − input): input where the weight is 0, end where it is 1.

    >>> import tinybn as tb
    >>> tb.lerp(tb.tensor([0.0, 10.0]), tb.tensor([4.0, 20.0]), 0.25)
    tensor([ 1. , 12.5])
    """
    x, y = as_tensor(input), _operand("lerp", end)
    check_floating("lerp", x)
    w = as_tensor(weight, x.dtype) if isinstance(weight, Number) else _operand("lerp", weight)
    w = w if w.ndim else w.to(x.dtype)
    check_dtypes("lerp", input=x, end=y, weight=w)
    check_broadcasting("lerp", x.shape, y.shape, w.shape)
    # From the nearer end, so that a weight of 1 gives it exactly.
    return apply(ops.where, np.abs(w.data) < 0.5, x + w * (y - x), y - (1 - w) * (y - x))


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
    x = _without_bools(name, input)
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
    if min is not None:
        x = _limited(x, min, np.less)
    return x if max is None else _limited(x, max, np.greater)


def _limited(x: Tensor, limit: Any, beyond: np.ufunc) -> Tensor:
    x, limit = operands("clamp", x, limit)
    values, bound = arrays(x, limit)
    limited = apply(ops.where, beyond(values, bound), limit, x)
    nan = np.isnan(values) | np.isnan(bound)
    return apply(ops.where, nan, np.nan, limited) if nan.any() else limited


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


def _floats(input: Any) -> Tensor:
    return as_float(as_tensor(input))


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


absolute = abs
clip = clamp
divide = true_divide = div
multiply = mul
negative = neg
subtract = sub
