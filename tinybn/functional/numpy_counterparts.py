"""What stands in for NumPy's functions when they are given Tensors: the tables that `numpy_protocol` looks into.

Each entry takes NumPy's arguments, in NumPy's order; those that it does not have cannot be recorded. Values are
NumPy's, dtypes are tinybn's: a scalar promotes nothing, and where integers become floats, they become float32. Only
the values of ``np.reciprocal`` of integers are not NumPy's, which rounds them to 0.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_float, as_tensor
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.functional import (
    arithmetic,
    comparison,
    creation,
    elementwise,
    extremes,
    joining,
    linalg,
    reduction,
    sorting,
    triangle,
)
from tinybn.functional import shape as shapes
from tinybn.functional.arguments import arrays, operands, reduced_axes

__all__: list[str] = []  # nothing for users

Table = dict[Any, Callable[..., Any]]

# --- ufuncs -----------------------------------------------------------------------------------------------------------

# Missing here is what has no float for a result, such as np.isnan: it runs on the arrays, as nothing gets lost.
UFUNCS: Table = {
    np.absolute: operator.abs,
    np.add: operator.add,
    np.bitwise_and: operator.and_,
    np.bitwise_or: operator.or_,
    np.bitwise_xor: operator.xor,
    np.ceil: elementwise.ceil,
    np.conjugate: operator.pos,
    np.cos: elementwise.cos,
    np.deg2rad: lambda x: x * (math.pi / 180),
    np.degrees: lambda x: x * (180 / math.pi),
    np.divide: operator.truediv,
    np.divmod: lambda x, y: (x // y, x % y),
    np.equal: comparison.eq,
    np.exp: elementwise.exp,
    np.exp2: elementwise.exp2,
    np.expm1: elementwise.expm1,
    np.fabs: lambda x: abs(as_float(x)),
    np.floor: elementwise.floor,
    np.floor_divide: operator.floordiv,
    np.fmod: arithmetic.fmod,
    np.greater: comparison.gt,
    np.greater_equal: comparison.ge,
    np.invert: operator.invert,
    np.less: comparison.lt,
    np.less_equal: comparison.le,
    np.log: elementwise.log,
    np.log10: elementwise.log10,
    np.log1p: elementwise.log1p,
    np.log2: elementwise.log2,
    np.logaddexp: lambda x, y: apply(ops.logaddexp, *operands("logaddexp", x, y)),
    np.matmul: operator.matmul,
    np.maximum: elementwise.maximum,
    np.minimum: elementwise.minimum,
    np.multiply: operator.mul,
    np.negative: operator.neg,
    np.not_equal: comparison.ne,
    np.positive: operator.pos,
    np.power: operator.pow,
    np.rad2deg: lambda x: x * (180 / math.pi),
    np.radians: lambda x: x * (math.pi / 180),
    np.reciprocal: arithmetic.reciprocal,
    np.remainder: operator.mod,
    np.rint: lambda x: elementwise.round(as_float(x)),
    np.sign: lambda x: apply(ops.piecewise_constant, x, np.sign),  # elementwise.sign is 0 for NaN, NumPy's is NaN
    np.sin: elementwise.sin,
    np.sqrt: elementwise.sqrt,
    np.square: arithmetic.square,
    np.subtract: operator.sub,
    np.tan: elementwise.tan,
    np.tanh: elementwise.tanh,
    np.trunc: elementwise.trunc,
}


def _sum(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Tensor:
    return reduction.sum(a, axis, keepdims, dtype=dtype)


def _prod(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Tensor:
    """Over several axes, which `reduction.prod` does not take."""
    x = as_tensor(a)
    axes = reduced_axes("prod", x, axis) or tuple(range(x.ndim))
    sizes = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes)
    for i in axes or (0,):
        x = reduction.prod(x, i, True, dtype=dtype)
    return shapes.reshape(x, sizes)


def _max(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    return extremes.amax(a, axis, keepdims)


def _min(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    return extremes.amin(a, axis, keepdims)


REDUCTIONS: Table = {np.add: _sum, np.maximum: _max, np.minimum: _min, np.multiply: _prod}  # ufunc.reduce
ACCUMULATIONS: Table = {np.add: lambda array, axis=0, dtype=None: reduction.cumsum(array, axis, dtype=dtype)}


# --- other functions --------------------------------------------------------------------------------------------------


def _mean(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Tensor:
    return reduction.mean(a, axis, keepdims, dtype=dtype)


def _var(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Tensor:
    return reduction.var(a, axis, correction=ddof, keepdim=keepdims)


def _std(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Tensor:
    return reduction.std(a, axis, correction=ddof, keepdim=keepdims)


def _ptp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    return _max(a, axis, keepdims=keepdims) - _min(a, axis, keepdims=keepdims)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Of all elements without ``ord``, else of vectors, or the root of a matrix' squares."""
    of_vectors = isinstance(axis, int) or (axis is None and x.ndim == 1)
    if ord is not None and not of_vectors and ord != "fro":
        raise ValueError(f"np.linalg.norm: ord={ord!r} of matrices is not supported; give one axis, or ord='fro'")
    return reduction.norm(x, 2 if ord is None else ord, axis, keepdims)


def _cumsum(a: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    x = shapes.flatten(a) if axis is None else a
    return reduction.cumsum(x, axis or 0, dtype=dtype)


def _diff(a: Any, n: int = 1, axis: int = -1) -> Tensor:
    x = shapes.movedim(a, axis, -1)
    for _ in range(n):
        x = x[..., 1:] - x[..., :-1]
    return shapes.movedim(x, -1, axis)


def _sort(a: Any, axis: int | None = -1, kind: Any = None) -> Tensor:
    return sorting.sort(shapes.flatten(a), 0).values if axis is None else sorting.sort(a, axis).values


def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Tensor:
    return elementwise.clamp(a, min if a_min is None else a_min, max if a_max is None else a_max)


def _where(condition: Any, *values: Any) -> Any:
    return comparison.where(as_tensor(condition).data.astype(bool), *values)


def _dot(a: Any, b: Any) -> Tensor:
    x, y = as_tensor(a), as_tensor(b)
    if not x.ndim or not y.ndim:
        return x * y
    return linalg.matmul(x, y) if y.ndim <= 2 else linalg.tensordot(x, y, ([-1], [-2]))


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    if isinstance(axes, tuple | list):
        axes = [[axis] if isinstance(axis, int) else [*axis] for axis in axes]
    return linalg.tensordot(a, b, axes)


def _transpose(a: Any, axes: Any = None) -> Tensor:
    return shapes.permute(a, range(a.ndim)[::-1] if axes is None else axes)


def _concatenate(arrays: Any, axis: int | None = 0) -> Tensor:
    return joining.cat([shapes.flatten(a) for a in arrays] if axis is None else [*arrays], axis or 0)


def _column_stack(tup: Any) -> Tensor:
    columns = map(as_tensor, tup)
    return joining.cat([shapes.reshape(x, -1, 1) if x.ndim < 2 else x for x in columns], 1)


def _dstack(tup: Any) -> Tensor:
    return joining.cat([_in_shape_of(np.atleast_3d(x.data), x) for x in map(as_tensor, tup)], 2)


def _in_shape_of(example: Array, x: Tensor) -> Tensor:
    return shapes.reshape(x, example.shape)


def _pad(array: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Tensor:
    if mode != "constant":
        if mode not in ("edge", "reflect", "symmetric", "wrap"):
            raise ValueError(f"np.pad: mode {mode!r} cannot be recorded; expected one that repeats elements")
        return _moved(np.pad)(array, pad_width, mode)
    padded = Tensor(np.pad(np.zeros_like(array.data), pad_width, constant_values=constant_values))
    padded[np.pad(np.ones(array.shape, bool), pad_width)] = shapes.flatten(array)
    return padded


def _moved(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that only moves elements: it is done to their numbers, which then pick them."""

    def moved(a: Any, *args: Any, **options: Any) -> Any:
        x = as_tensor(a)
        options = dict(zip(options, arrays(*options.values()), strict=True))
        places = function(np.arange(x.numel()).reshape(x.shape), *arrays(*args), **options)
        row = shapes.flatten(x)
        return [row[part] for part in places] if isinstance(places, list) else row[places]

    return moved


FUNCTIONS: Table = {
    np.append: lambda arr, values, axis=None: _concatenate([arr, values], axis),
    np.around: lambda a, decimals=0: elementwise.round(a, decimals=decimals),
    np.atleast_1d: lambda a: _in_shape_of(np.atleast_1d(a.data), a),
    np.atleast_2d: lambda a: _in_shape_of(np.atleast_2d(a.data), a),
    np.atleast_3d: lambda a: _in_shape_of(np.atleast_3d(a.data), a),
    np.broadcast_arrays: shapes.broadcast_tensors,
    np.broadcast_to: lambda array, shape: shapes.broadcast_to(array, shape),
    np.clip: _clip,
    np.column_stack: _column_stack,
    np.concatenate: _concatenate,
    np.copy: lambda a: shapes.clone(a),
    np.cumsum: _cumsum,
    np.diag: lambda v, k=0: triangle.diag(v, k),
    np.diff: _diff,
    np.dot: _dot,
    np.dstack: _dstack,
    np.einsum: lambda subscripts, *operands, optimize=False: linalg.einsum(subscripts, *operands),
    np.expand_dims: lambda a, axis: _in_shape_of(np.expand_dims(a.data, axis), a),
    np.full_like: lambda a, fill_value, dtype=None: creation.full_like(a, fill_value, dtype),
    np.hstack: lambda tup: joining.hstack([*tup]),
    np.inner: lambda a, b: linalg.inner(a, b),
    np.linalg.norm: _norm,
    np.matrix_transpose: lambda x: x.mT,
    np.max: _max,
    np.amax: _max,
    np.mean: _mean,
    np.meshgrid: lambda *xi, indexing="xy": shapes.meshgrid(*xi, indexing=indexing),
    np.min: _min,
    np.amin: _min,
    np.moveaxis: lambda a, source, destination: shapes.movedim(a, source, destination),
    np.nan_to_num: lambda x, *, nan=0.0, posinf=None, neginf=None: elementwise.nan_to_num(x, nan, posinf, neginf),
    np.outer: lambda a, b: linalg.outer(shapes.flatten(a), shapes.flatten(b)),
    np.pad: _pad,
    np.prod: _prod,
    np.ptp: _ptp,
    np.ravel: lambda a: shapes.flatten(a),
    np.reshape: lambda a, shape: shapes.reshape(a, shape),
    np.round: lambda a, decimals=0: elementwise.round(a, decimals=decimals),
    np.sort: _sort,
    np.squeeze: lambda a, axis=None: _in_shape_of(np.squeeze(a.data, axis), a),
    np.stack: lambda arrays, axis=0: joining.stack([*arrays], axis),
    np.std: _std,
    np.sum: _sum,
    np.swapaxes: lambda a, axis1, axis2: shapes.transpose(a, axis1, axis2),
    np.tensordot: _tensordot,
    np.trace: lambda a, offset=0, axis1=0, axis2=1: triangle.diagonal(a, offset, axis1, axis2).sum(-1),
    np.transpose: _transpose,
    np.tril: lambda m, k=0: triangle.tril(m, k),
    np.triu: lambda m, k=0: triangle.triu(m, k),
    np.var: _var,
    np.vdot: lambda a, b: linalg.dot(shapes.flatten(a), shapes.flatten(b)),
    np.vstack: lambda tup: joining.vstack([*tup]),
    np.where: _where,
}

_MOVES: tuple[Callable[..., Any], ...] = (
    *(np.array_split, np.delete, np.diagonal, np.dsplit, np.flip, np.fliplr, np.flipud, np.hsplit, np.repeat, np.roll),
    *(np.rollaxis, np.rot90, np.split, np.take, np.take_along_axis, np.tile, np.vsplit),
)
FUNCTIONS |= {function: _moved(function) for function in _MOVES}

# Answers about an array that have no gradient, or a zero one.
WITHOUT_GRADIENT: frozenset[Any] = frozenset(
    (
        *(np.all, np.allclose, np.any, np.argmax, np.argmin, np.argpartition, np.argsort, np.argwhere),
        *(np.array2string, np.array_equal, np.array_equiv, np.array_repr, np.array_str, np.can_cast, np.common_type),
        *(np.count_nonzero, np.digitize, np.empty_like, np.flatnonzero, np.isclose, np.iscomplexobj, np.isin),
        *(np.isneginf, np.isposinf, np.isreal, np.isrealobj, np.lexsort, np.may_share_memory, np.min_scalar_type),
        *(np.nanargmax, np.nanargmin, np.ndim, np.nonzero, np.ones_like, np.result_type, np.searchsorted, np.shape),
        *(np.shares_memory, np.size, np.zeros_like),
    )
)

# They change their first argument.
CHANGING: frozenset[Any] = frozenset(
    (np.copyto, np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask),
)
