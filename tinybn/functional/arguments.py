"""What the functions share to look at their arguments. ``name`` is the function's, for the error."""

import operator
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from tinybn._tensor import Tensor, as_tensor, promoted
from tinybn._typing import Array, Shape
from tinybn.errors import DTypeError, ShapeError

Number = bool | int | float | np.generic

_Result = TypeVar("_Result")


# --- whole numbers, sizes, axes ---------------------------------------------------------------------------------------


def whole(name: str, value: Any) -> int:
    """A whole number, or a tensor that holds one, as an int. The name says whose and which: "split: a size"."""
    if not isinstance(value, bool | np.bool_):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise TypeError(f"{name} is {value!r}; expected a whole number")


def flat_sizes(name: str, sizes: Sequence[Any], named: Any = None) -> Shape:
    """f(2, 3) and f((2, 3)) alike; and f(size=(2, 3)), under PyTorch's name for them, which is ``named`` here."""
    if named is not None:
        if sizes or not isinstance(named, Sequence):
            raise TypeError(
                f"{name}: expected sizes one by one, as a tuple, or by name as a tuple; got {named!r} by name"
            )
        sizes = named
    elif len(sizes) == 1 and np.ndim(sizes[0]):
        sizes = sizes[0]
    return tuple(whole(f"{name}: a size", n) for n in sizes)


def sizes_of(name: str, sizes: Sequence[Any], named: Any = None) -> Shape:
    """The shape of a tensor to be made, as `flat_sizes`: at least one argument, sizes from 0 on."""
    if not sizes and named is None:
        raise TypeError(f"{name}: expected a size")
    shape = flat_sizes(name, sizes, named)
    if min(shape, default=0) < 0:
        raise ShapeError(f"{name}: expected sizes from 0 on, got {shape}")
    return shape


def axis_number(name: str, x: Tensor, dim: Any) -> int:
    """One axis, counted from the front, where a 0-d tensor counts as having one.

    Raises:
        TypeError: it is no whole number.
        IndexError: there is no such axis.
    """
    axis, count = whole(f"{name}: dim", dim), max(1, x.ndim)
    if not -count <= axis < count:
        raise IndexError(f"{name}: axis {axis} is out of range for a tensor of shape {x.shape}")
    return axis % count


def distinct_axes(name: str, x: Tensor, dims: Sequence[Any]) -> tuple[int, ...]:
    """Axes, counted from the front, each once."""
    axes = tuple(axis_number(name, x, d) for d in dims)
    if len(set(axes)) < len(axes):
        raise ShapeError(f"{name}: an axis is named twice in {tuple(dims)}, of a tensor of shape {x.shape}")
    return axes


def reduced_axes(name: str, x: Tensor, dim: Any) -> tuple[int, ...] | None:
    """The axes to reduce; None for all of them, which is what no axes mean too."""
    if dim is None:
        return None
    axes = distinct_axes(name, x, dim if isinstance(dim, tuple | list) else (dim,))
    return axes if axes and x.ndim else None


def axis_to_cut(name: str, x: Tensor, dim: Any) -> int:
    """An axis counted from the front; a 0-d tensor has none."""
    if not x.ndim:
        raise IndexError(f"{name}: expected at least one axis, got a tensor of shape ()")
    return axis_number(name, x, dim)


def new_axis(name: str, x: Tensor, dim: Any) -> int:
    """Where an axis can be put in, counted from the front."""
    at = whole(f"{name}: dim", dim)
    if not -x.ndim - 1 <= at <= x.ndim:
        raise IndexError(f"{name}: axis {at} is out of range for a tensor of shape {x.shape}")
    return at % (x.ndim + 1)


def numpy_names(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Let a function take ``axis`` for ``dim``, ``keepdims`` for ``keepdim``, and the ``out=None`` that NumPy adds."""
    name = function.__name__

    @wraps(function)
    def named(input: Any, *args: Any, **options: Any) -> _Result:
        _rename(name, options, "axis", "dim")
        _rename(name, options, "keepdims", "keepdim")
        if options.pop("out", None) is not None:
            raise TypeError(f"{name}: out= is not supported")
        return function(input, *args, **options)

    return named


def axis_for_dim(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Let a function that takes a list of tensors take ``axis`` for ``dim``."""

    @wraps(function)
    def named(*args: Any, **options: Any) -> _Result:
        _rename(function.__name__, options, "axis", "dim")
        return function(*args, **options)

    return named


def _rename(name: str, options: dict[str, Any], theirs: str, ours: str) -> None:
    if theirs in options:
        if ours in options:
            raise TypeError(f"{name}: {theirs} is another name of {ours}; give only one of the two")
        options[ours] = options.pop(theirs)


# --- dtypes -----------------------------------------------------------------------------------------------------------


def check_floating(name: str, x: Tensor) -> None:
    """Refuse a tensor that is not floating."""
    if x.data.dtype.kind != "f":
        raise DTypeError(f"{name}: expected a floating tensor, got {x.data.dtype}; use .float() first")


def check_not_bool(name: str, x: Tensor) -> None:
    """Refuse bools."""
    if x.data.dtype.kind == "b":
        raise DTypeError(f"{name}: expected numbers, got bools; use .to(int) first")


def check_dtypes(name: str, **tensors: Tensor | Array | None) -> None:
    """Refuse a mix of dtypes, as PyTorch does for layers."""
    dtypes = {key: t.dtype for key, t in tensors.items() if t is not None}
    if len(set(dtypes.values())) > 1:
        given = ", ".join(f"{key} {dtype}" for key, dtype in dtypes.items())
        raise DTypeError(f"{name}: expected one dtype, got {given}; cast the input with .to() or the module with .to()")


# --- operands ---------------------------------------------------------------------------------------------------------


def operands(name: str, input: Any, other: Any) -> tuple[Any, Any]:
    """Two operands in the dtype that they promote to. A number beside a tensor stays a number.

    Beside integers it wraps around as in PyTorch: to uint8, −1 is 255.

    Raises:
        TypeError: one of them is neither a tensor nor numbers.
        ShapeError: their shapes do not broadcast.
    """
    if isinstance(input, Number) and not isinstance(other, Number):
        y, x = promoted(operand(name, other), input, name)
        return _wrapped(x, y.dtype), y
    x, y = promoted(operand(name, input), other if isinstance(other, Number) else operand(name, other), name)
    if not isinstance(y, Tensor):
        return x, _wrapped(y, x.dtype)
    if x.shape != y.shape:
        broadcast_shape(name, x.shape, y.shape)
    return x, y


def _wrapped(number: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind not in "iu" or not isinstance(number, int):
        return number
    return np.array(number, np.int64).astype(dtype).item()


def number_in(name: str, number: Any, dtype: np.dtype[Any]) -> Any:
    """A number as a scalar of a dtype that can hold it; below 0 it may wrap around, to uint8 from −255 on."""
    if dtype.kind == "u" and -np.iinfo(dtype).max <= number < 0:
        number = int(number) % (np.iinfo(dtype).max + 1)
    try:
        with np.errstate(over="raise"):
            return dtype.type(number)
    except (ArithmeticError, ValueError):
        raise ValueError(f"{name}: the value {number} does not fit {dtype}") from None


def operand(name: str, value: Any) -> Tensor:
    """A Tensor of what may be one."""
    try:
        return as_tensor(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a tensor, an array or numbers, got {type(value).__name__}") from None


def broadcast_shape(name: str, *shapes: Shape) -> Shape:
    """The shape that several broadcast to."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"{name}: shapes {' and '.join(map(str, shapes))} do not broadcast") from None


def arrays(*values: Any) -> tuple[Any, ...]:
    """The arrays of tensors, and numbers as they are."""
    return tuple(v.data if isinstance(v, Tensor) else v for v in values)


def check_elements(name: str, x: Tensor, axes: tuple[int, ...] | None) -> None:
    """Refuse to choose from no elements."""
    if 0 in (x.shape if axes is None or not x.ndim else [x.shape[axis] for axis in axes]):
        over = "all axes" if axes is None else f"axes {axes}"
        raise ShapeError(f"{name}: expected at least one element over {over}, got shape {x.shape}")
