"""NumPy's functions on Tensors: ``np.exp(t)``, ``np.add(t, 1, out=u)``, ``np.sum(t, axis=0)``, ``np.stack([t, u])``.

Those that have a counterpart in `numpy_counterparts` run it, and the result is a Tensor in the graph. The others run on
the arrays and give Tensors too, as long as nothing would have to be recorded, and raise otherwise: a graph is never
dropped in silence.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinybn import inplace
from tinybn._tensor import Tensor, as_tensor
from tinybn.errors import GraphError
from tinybn.functional.numpy_counterparts import (
    ACCUMULATIONS,
    CHANGING,
    FUNCTIONS,
    REDUCTIONS,
    UFUNCS,
    WITHOUT_GRADIENT,
)
from tinybn.functional.shape import reshape
from tinybn.modes import RECORD, STRICT, state

_NO_COUNTERPART = "tinybn has nothing in its place that could be recorded"
_ARGUMENTS = "it cannot be recorded with these arguments"
_INTO_ARRAY = "an array cannot hold the graph of what is written into it"

_OPERANDS = (Tensor, np.ndarray, np.generic, bool, int, float, list, tuple)

Function = Callable[..., Any]


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
    """What NumPy calls for a ufunc that was given a Tensor."""
    name = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
    on_arrays = getattr(ufunc, method)
    if method == "at":
        return _changing(name, on_arrays, inputs, options)
    if not all(isinstance(x, _OPERANDS) for x in inputs):
        return NotImplemented  # it is for the other class to say what comes of the two; NumPy raises if it has no say
    if method == "outer":
        counterpart = _outer(UFUNCS[ufunc]) if ufunc in UFUNCS else None
    else:
        tables = {"__call__": UFUNCS, "reduce": REDUCTIONS, "accumulate": ACCUMULATIONS}
        counterpart = tables.get(method, {}).get(ufunc)
    if method == "reduce":
        options.setdefault("axis", 0)

    def run(*inputs: Any) -> Any:
        if counterpart is not None and _takes(counterpart, inputs, options):
            return counterpart(*inputs, **options)
        result = _run_on_arrays(on_arrays, inputs, options)
        if any(x.dtype.kind == "f" for x in _tensors(result)):
            _check_nothing_to_record(name, _ARGUMENTS if counterpart else _NO_COUNTERPART, (inputs, options))
        return result

    operands = _operands(inputs)
    return run(*operands) if out is None else _into(name, out, on_arrays, counterpart, run, operands, options)


def _operands(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Tensors, and beside them Python numbers for NumPy's scalars, which then promote nothing."""
    numbers = [x.item() if isinstance(x, np.generic) else x for x in inputs]
    alone = not any(isinstance(x, Tensor) for x in inputs)  # only out= is a Tensor
    return tuple(x if isinstance(x, bool | int | float) and not alone else as_tensor(x) for x in numbers)


@functools.cache  # as `_signature` keeps what it has seen
def _outer(function: Function) -> Function:
    def outer(x: Any, y: Any) -> Any:
        x, y = as_tensor(x), as_tensor(y)
        return function(reshape(x, *x.shape, *(1,) * y.ndim), y)

    return outer


def array_function(self: Tensor, function: Any, types: Any, args: Any, options: Any) -> Any:
    """What NumPy calls for one of its other functions that was given a Tensor."""
    if not all(issubclass(kind, Tensor | np.ndarray) for kind in types):
        return NotImplemented
    name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
    if function in CHANGING:
        return _changing(name, function, args, options)
    counterpart = FUNCTIONS.get(function)
    options = {key: value for key, value in options.items() if value is not np._NoValue}
    out = options.pop("out", None)

    def run(*args: Any) -> Any:
        if counterpart is not None and _takes(counterpart, args, options):
            try:
                return counterpart(*args, **options)
            except (TypeError, ValueError, IndexError) as refusal:
                if state.mode & STRICT or _recording((args, options)):
                    raise
                try:  # what NumPy takes and PyTorch refuses, such as the mean of integers
                    return _run_on_arrays(function, args, options)
                except Exception:
                    raise refusal from None
        if function not in WITHOUT_GRADIENT:
            _check_nothing_to_record(name, _ARGUMENTS if counterpart else _NO_COUNTERPART, (args, options))
        return _run_on_arrays(function, args, options)

    return run(*args) if out is None else _into(name, out, function, counterpart, run, args, options)


@functools.cache
def _signature(function: Function) -> inspect.Signature:
    return inspect.signature(function)


def _takes(counterpart: Function, args: Any, options: Any) -> bool:
    """Whether the counterpart has all these parameters. ``axis=()`` means no axes for NumPy, and all for PyTorch."""
    try:
        given = _signature(counterpart).bind(*args, **options).arguments
    except TypeError:
        return False
    axis = given.get("axis")
    return not (isinstance(axis, tuple) and not axis)


# --- memory that is given ---------------------------------------------------------------------------------------------


def _into(
    name: str, out: Any, on_arrays: Function, counterpart: Function | None, run: Function, args: Any, options: Any
) -> Any:
    """A function with ``out=``: an in-place change of a Tensor, or plain NumPy for an array."""
    if isinstance(out, tuple) and len(out) == 1:
        out = out[0]
    if next(_tensors(out), None) is None:
        _check_nothing_to_record(name, _INTO_ARRAY, (args, options))
        with np.errstate(all="ignore"):
            return on_arrays(*_arrays(args), out=out, **_arrays(options))
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}: expected one tensor, or arrays, as out; got several, of which some are tensors")

    def changed(old: Any) -> Any:
        inputs = tuple(old if x is out else x for x in args)
        if counterpart is not None and _takes(counterpart, inputs, options):
            return run(*inputs)
        _check_nothing_to_record(name, _ARGUMENTS, (inputs, options, old))
        with np.errstate(all="ignore"):  # where= leaves some of what out holds
            return Tensor(on_arrays(*_arrays(inputs), out=out.data.copy(), **_arrays(options)))

    return inplace.change(name, out, changed)


def _changing(name: str, function: Function, args: Any, options: Any) -> None:
    """A function that changes its first argument."""
    _check_nothing_to_record(name, _NO_COUNTERPART, (args, options))
    x, *others = args
    if not isinstance(x, Tensor):
        function(x, *_arrays(others), **_arrays(options))
        return
    changed = x.data.copy()
    function(changed, *_arrays(others), **_arrays(options))
    inplace.change(name, x, lambda old: Tensor(changed))


# --- NumPy on the arrays ----------------------------------------------------------------------------------------------


def _run_on_arrays(function: Function, args: Any, options: Any) -> Any:
    with np.errstate(all="ignore"):
        return _wrapped(function(*_arrays(args), **_arrays(options)))


def _wrapped(result: Any) -> Any:
    """Tensors for arrays and for NumPy's scalars, where they hold real numbers."""
    if isinstance(result, np.ndarray | np.generic) and result.dtype.kind in "biuf":
        return Tensor(np.asarray(result))
    if isinstance(result, list):
        return [_wrapped(part) for part in result]
    if isinstance(result, tuple):
        parts = map(_wrapped, result)
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    return result


def _arrays(arguments: Any) -> Any:
    """Nested arguments with arrays where there are Tensors."""
    if isinstance(arguments, Tensor):
        return arguments.data
    if type(arguments) is dict:
        return {key: _arrays(value) for key, value in arguments.items()}
    return type(arguments)(map(_arrays, arguments)) if type(arguments) in (list, tuple) else arguments


def _tensors(arguments: Any) -> Iterator[Tensor]:
    """The Tensors in nested arguments."""
    if isinstance(arguments, Tensor):
        yield arguments
    elif isinstance(arguments, dict):
        yield from _tensors(list(arguments.values()))
    elif isinstance(arguments, list | tuple):
        for part in arguments:
            yield from _tensors(part)


def _recording(arguments: Any) -> bool:
    return bool(state.mode & RECORD) and any(x.tracked for x in _tensors(arguments))


def _check_nothing_to_record(name: str, reason: str, arguments: Any) -> None:
    if _recording(arguments):
        raise GraphError(
            f"{name}: {reason}, and a tensor that requires grad was given; "
            "pass tensor.detach(), or compute it with tinybn's functions and operators"
        )
