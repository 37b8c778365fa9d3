"""NumPy's functions on Tensors: ``np.exp(t)``, ``np.add(t, 1, out=u)``, ``np.sum(t, axis=0)``, ``np.stack([t, u])``.

Those that have a counterpart here run it, and the result is a Tensor in the graph. The others run on the arrays, as
long as nothing would have to be recorded, and raise otherwise: a graph is never dropped in silence.
"""

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinybn import inplace
from tinybn._tensor import Tensor, as_tensor
from tinybn.errors import GraphError
from tinybn.functional import comparison, elementwise, index, linalg, reduction, shape, sorting
from tinybn.modes import RECORD, state

UFUNCS: dict[Any, Callable[..., Any]] = {
    np.absolute: operator.abs,
    np.add: operator.add,
    np.bitwise_and: operator.and_,
    np.bitwise_or: operator.or_,
    np.bitwise_xor: operator.xor,
    np.divide: operator.truediv,
    np.equal: operator.eq,
    np.floor_divide: operator.floordiv,
    np.greater: operator.gt,
    np.greater_equal: operator.ge,
    np.invert: operator.invert,
    np.less: operator.lt,
    np.less_equal: operator.le,
    np.matmul: operator.matmul,
    np.multiply: operator.mul,
    np.negative: operator.neg,
    np.not_equal: operator.ne,
    np.positive: operator.pos,
    np.power: operator.pow,
    np.remainder: operator.mod,
    np.rint: elementwise.round,
    np.subtract: operator.sub,
}
for _room, _names in (
    (elementwise, "ceil cos exp expm1 floor fmod log log10 log1p log2 maximum minimum reciprocal sign sin sqrt square"),
    (elementwise, "tan tanh trunc"),
    (comparison, "isfinite isinf isnan logical_and logical_not logical_or logical_xor"),
):
    UFUNCS |= {getattr(np, name): getattr(_room, name) for name in _names.split()}

REDUCTIONS: dict[Any, Callable[..., Any]] = {  # ufunc.reduce
    np.add: reduction.sum,
    np.logical_and: reduction.all,
    np.logical_or: reduction.any,
    np.maximum: reduction.amax,
    np.minimum: reduction.amin,
    np.multiply: reduction.prod,
}


def _var(a: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Tensor:
    return reduction.var(a, axis, correction=ddof, keepdim=keepdims)


def _std(a: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Tensor:
    return reduction.std(a, axis, correction=ddof, keepdim=keepdims)


def _transpose(a: Any, axes: Any = None) -> Tensor:
    return shape.permute(a, range(a.ndim)[::-1] if axes is None else axes)


def _flip(m: Any, axis: Any = None) -> Tensor:
    return shape.flip(m, range(m.ndim) if axis is None else axis)


FUNCTIONS: dict[Any, Callable[..., Any]] = {  # with NumPy's order of arguments
    np.all: reduction.all,
    np.any: reduction.any,
    np.argmax: reduction.argmax,
    np.argmin: reduction.argmin,
    np.broadcast_to: lambda array, shape_: shape.expand(array, shape_),
    np.clip: lambda a, a_min=None, a_max=None: elementwise.clamp(a, a_min, a_max),
    np.concatenate: lambda arrays, axis=0: shape.cat(arrays, axis),
    np.copy: lambda a: shape.clone(a),
    np.cumsum: lambda a, axis=None: reduction.cumsum(a if axis is not None else shape.flatten(a), axis or 0),
    np.diagonal: lambda a, offset=0, axis1=0, axis2=1: index.diagonal(a, offset, axis1, axis2),
    np.einsum: lambda subscripts, *operands: linalg.einsum(subscripts, *operands),
    np.expand_dims: lambda a, axis: shape.unsqueeze(a, axis),
    np.flip: _flip,
    np.max: lambda a, axis=None, keepdims=False: reduction.amax(a, axis, keepdims),
    np.mean: reduction.mean,
    np.min: lambda a, axis=None, keepdims=False: reduction.amin(a, axis, keepdims),
    np.moveaxis: lambda a, source, destination: shape.movedim(a, source, destination),
    np.outer: lambda a, b: linalg.outer(shape.flatten(a), shape.flatten(b)),
    np.prod: reduction.prod,
    np.ravel: lambda a: shape.flatten(a),
    np.repeat: lambda a, repeats, axis=None: shape.repeat_interleave(a, repeats, axis),
    np.reshape: lambda a, shape_: shape.reshape(a, shape_),
    np.roll: lambda a, shift, axis=None: shape.roll(a, shift, axis),
    np.round: lambda a, decimals=0: elementwise.round(a, decimals=decimals),
    np.sort: lambda a, axis=-1: sorting.sort(a, axis).values,
    np.squeeze: lambda a, axis=None: shape.squeeze(a, axis),
    np.stack: lambda arrays, axis=0: shape.stack(arrays, axis),
    np.std: _std,
    np.sum: reduction.sum,
    np.swapaxes: lambda a, axis1, axis2: shape.transpose(a, axis1, axis2),
    np.tensordot: lambda a, b, axes=2: linalg.tensordot(a, b, axes),
    np.tile: lambda a, reps: shape.tile(a, reps),
    np.trace: lambda a: linalg.trace(a),
    np.transpose: _transpose,
    np.tril: lambda m, k=0: index.tril(m, k),
    np.triu: lambda m, k=0: index.triu(m, k),
    np.var: _var,
    np.where: lambda condition, x, y: comparison.where(condition, x, y),
}

# They say something about an array and make no new one: there is no graph to drop.
_QUESTIONS = {
    np.allclose,
    np.array2string,
    np.array_equal,
    np.array_repr,
    np.array_str,
    np.can_cast,
    np.may_share_memory,
    np.ndim,
    np.result_type,
    np.shape,
    np.shares_memory,
    np.size,
}


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
    """What NumPy calls for a ufunc that was given a Tensor."""
    function = {"__call__": UFUNCS, "reduce": REDUCTIONS}.get(method, {}).get(ufunc)
    if method == "accumulate" and ufunc is np.add:
        function = reduction.cumsum
    name = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
    if out is not None:
        return _into(out[0], name, getattr(ufunc, method), function, inputs, options)
    if function is None or (method == "__call__" and options):
        _check_nothing_to_record(name, inputs)
        result = getattr(ufunc, method)(*_arrays(inputs), **options)
        return result if isinstance(result, tuple) else Tensor(np.asarray(result))
    if method == "reduce":
        options.setdefault("axis", 0)
    return function(*map(_operand, inputs), **options)


def _into(out: Any, name: str, ufunc: Any, function: Any, inputs: Any, options: Any) -> Any:
    """A ufunc with ``out=``: an in-place change of a Tensor, or plain NumPy for an array."""
    if isinstance(out, Tensor) and function is not None and not options:
        return inplace.change(
            f"{name} with out=", out, lambda old: function(*(old if x is out else _operand(x) for x in inputs))
        )
    _check_nothing_to_record(f"{name} with out=", (*inputs, out))
    result = ufunc(*_arrays(inputs), out=out.data if isinstance(out, Tensor) else out, **options)
    if not isinstance(out, Tensor):
        return result
    return inplace.change(f"{name} with out=", out, lambda old: Tensor(np.asarray(result)))


def array_function(self: Tensor, function: Any, types: Any, args: Any, options: Any) -> Any:
    """What NumPy calls for one of its other functions that was given a Tensor."""
    counterpart = FUNCTIONS.get(function)
    name = f"np.{function.__name__}"
    if counterpart is not None:
        given = {key: value for key, value in options.items() if value is not None and value is not np._NoValue}
        try:
            return counterpart(*args, **given)
        except TypeError as error:
            if "unexpected keyword" not in str(error) and "positional argument" not in str(error):
                raise
            # an argument that only NumPy's has: on arrays, if that drops no graph
    if function not in _QUESTIONS:
        _check_nothing_to_record(name, (args, options))
    return function(*_arrays(args), **{key: _arrays([value])[0] for key, value in options.items()})


def _check_nothing_to_record(name: str, arguments: Any) -> None:
    if state.mode & RECORD and any(x.tracked for x in _tensors(arguments)):
        raise GraphError(
            f"{name}: has no counterpart that can be recorded, and a tensor that requires grad was given; "
            "pass tensor.detach(), or find a function of tinybn for it"
        )


def _tensors(arguments: Any) -> Iterable[Tensor]:
    """The Tensors in nested arguments."""
    if isinstance(arguments, Tensor):
        yield arguments
    elif isinstance(arguments, dict):
        yield from _tensors(list(arguments.values()))
    elif isinstance(arguments, list | tuple):
        for part in arguments:
            yield from _tensors(part)


def _arrays(arguments: Any) -> list[Any]:
    """The arguments with arrays where there are Tensors."""

    def plain(x: Any) -> Any:
        if isinstance(x, Tensor):
            return x.data
        return type(x)(map(plain, x)) if type(x) in (list, tuple) else x

    return [plain(x) for x in arguments]


def _operand(x: Any) -> Any:
    """A NumPy scalar as a Python number, which promotes nothing; anything else as a Tensor."""
    if isinstance(x, np.generic):  # np.float64 is a float too: it comes first
        return x.item()
    return x if isinstance(x, bool | int | float) else as_tensor(x)
