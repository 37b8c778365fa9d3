"""Arithmetic of one tensor or two. Shapes broadcast, dtypes promote as in PyTorch."""

from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_float, as_tensor, common_dtype
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import DTypeError
from tinybn.functional.arguments import (
    Number,
    arrays,
    broadcast_shape,
    check_dtypes,
    check_floating,
    check_not_bool,
    operand,
    operands,
)

__all__ = [
    "abs",
    "absolute",
    "add",
    "addcdiv",
    "addcmul",
    "div",
    "divide",
    "floor_divide",
    "fmod",
    "lerp",
    "mul",
    "multiply",
    "neg",
    "negative",
    "pow",
    "reciprocal",
    "remainder",
    "square",
    "sub",
    "subtract",
    "true_divide",
]


def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha·other."""
    return _add_scaled("add", input, other, alpha)


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input − alpha·other; bools are refused."""
    for value in (input, other):
        check_not_bool("sub", operand("sub", value))
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
    if rounding_mode is not None:
        return _rounded_quotient("div", *operands("div", input, other), rounding_mode)
    if isinstance(other, Number):
        input = as_float(operand("div", input))
    elif isinstance(input, Number):
        other = as_float(operand("div", other))
    return apply(ops.divide, *(as_float(v) if isinstance(v, Tensor) else v for v in operands("div", input, other)))


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
    if dtype.kind != "f" and np.size(a) and not np.all(b):
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
    kind = np.result_type(*arrays(x, y)).kind
    if kind == "b":
        raise DTypeError("pow: expected numbers, got two bools")
    if kind != "f" and not isinstance(y, Tensor):
        if exponent < 0:
            raise ValueError(f"pow: an integer to the power of {exponent} is no integer; use .float() first")
        x = x.to(np.result_type(x.data, y))  # NumPy's square of bools would be an int8
    return apply(ops.power, x, y)


def neg(input: Any) -> Tensor:
    """−x."""
    x = operand("neg", input)
    check_not_bool("neg", x)
    return apply(ops.negative, x)


def abs(input: Any) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    x = operand("abs", input)
    check_not_bool("abs", x)
    return apply(ops.absolute, x)


def square(input: Any) -> Tensor:
    """x²."""
    x = as_tensor(input)
    x = x.to(np.int64) if x.dtype == np.bool_ else x
    return x * x


def reciprocal(input: Any) -> Tensor:
    """1/x."""
    return 1 / as_tensor(input)


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value · tensor1 · tensor2, where a fraction of a value is cut off for integers."""
    x, y, z = _of_one_dtype("addcmul", input, tensor1, tensor2)
    check_not_bool("addcmul", x)
    return x + y * z * x.dtype.type(value).item()


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value · tensor1 / tensor2, where not both are integers."""
    if all(operand("addcdiv", t).dtype.kind != "f" for t in (tensor1, tensor2)):
        raise DTypeError("addcdiv: expected tensor1 or tensor2 to be floating, got integers; use .float() on one")
    x, y, z = _of_one_dtype("addcdiv", input, tensor1, tensor2)
    return x + y / z * x.dtype.type(value).item()


def _of_one_dtype(name: str, *values: Any) -> list[Tensor]:
    """All in the dtype that they promote to, checked to broadcast."""
    tensors = [operand(name, value) for value in values]
    broadcast_shape(name, *(x.shape for x in tensors))
    wide, *others = sorted(tensors, key=lambda x: x.ndim == 0)  # one with axes first, which promotes as such
    for x in others:
        wide = wide.to(common_dtype(wide, x, name))
    return [x.to(wide.dtype) for x in tensors]


def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """input + weight·(end − input): input where the weight is 0, end where it is 1.

    >>> import tinybn as tb
    >>> tb.lerp(tb.tensor([0.0, 10.0]), tb.tensor([4.0, 20.0]), 0.25)
    tensor([ 1. , 12.5])
    """
    x, y = as_tensor(input), operand("lerp", end)
    check_floating("lerp", x)
    w = as_tensor(weight, x.dtype) if isinstance(weight, Number) else operand("lerp", weight)
    w = w if w.ndim else w.to(x.dtype)
    check_dtypes("lerp", input=x, end=y, weight=w)
    broadcast_shape("lerp", x.shape, y.shape, w.shape)
    near = np.abs(w.data) < 0.5  # from the nearer end, so that a weight of 1 gives it exactly
    return apply(ops.where, near, x, y) + apply(ops.where, near, w, w - 1) * (y - x)


absolute = abs
divide = true_divide = div
multiply = mul
negative = neg
subtract = sub
