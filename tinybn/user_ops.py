"""Ops that users write, in the form of the library's own."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinybn._tensor import Tensor, as_tensor, tensor
from tinybn._typing import Op, Shape
from tinybn.autograd import apply
from tinybn.checks import described, gradcheck, gradgradcheck
from tinybn.errors import ContractError


def custom_op(op: Callable[..., Op]) -> Callable[..., Tensor]:
    """Make a function of Tensors of a function of arrays that knows its own backward.

    ``op`` gets arrays (and, behind them, options) and returns ``(output, backward, saved)``. ``backward(dy, *saved)``
    returns a tuple with one gradient for each array argument: an array, None, or a function that computes it. ``saved``
    has inputs and outputs as they are; what the backward does with them and with ``dy`` it does with operators, with
    methods that arrays and Tensors share, and with ``tb.ops.call(op, ...)``: so it can be differentiated again.

    Returns:
        A function that takes Tensors, arrays or numbers in the place of the arrays and returns a Tensor.

    Raises:
        ContractError: where it runs, if ``op`` or its backward returns something else.

    >>> import tinybn as tb
    >>> @tb.custom_op
    ... def cube(x):
    ...     out = x**3
    ...
    ...     def backward(dy, x):
    ...         return (dy * 3 * x * x,)
    ...
    ...     return out, backward, (x,)
    >>> x = tb.tensor([1.0, 2.0], requires_grad=True)
    >>> cube(x).sum().backward()
    >>> x.grad
    tensor([ 3., 12.])

    `check_op` tells whether an op keeps to all this.
    """
    checked = _checked(op)

    @functools.wraps(op)
    def function(*arguments: Any, **options: Any) -> Tensor:
        return apply(checked, *(as_tensor(a) if isinstance(a, np.ndarray | list) else a for a in arguments), **options)

    return function


def _checked(op: Callable[..., Op]) -> Callable[..., Op]:
    """The op; it raises if it or its backward returns something else than it should."""

    @functools.wraps(op)
    def checked(*arguments: Any, **options: Any) -> Op:
        out, backward, saved = _returned(op, op(*arguments, **options), arguments)
        is_array = [isinstance(a, np.ndarray) for a in arguments]  # not the arrays: they would stay alive
        count = max((i + 1 for i, array in enumerate(is_array) if array), default=0)

        @functools.wraps(backward)
        def checked_backward(dy: Any, *saved: Any) -> tuple[Any, ...]:
            gradients = backward(dy, *saved)
            if not isinstance(gradients, tuple) or len(gradients) < count:
                raise ContractError(
                    f"{op.__name__}: its backward returned {described(gradients)}; expected a tuple of {count} "
                    "gradients, one for each argument up to the last array, in order"
                )
            for i, (g, array) in enumerate(zip(gradients, is_array, strict=False)):
                if array and not callable(g):
                    _check_kind(op, i, g)
            return gradients

        return out, checked_backward, saved

    return checked


def check_op(op: Callable[..., Op], *arguments: Any, **options: Any) -> bool:
    """Run an op, plain or decorated by `custom_op`, on sample arrays and check it against all that is asked of one.

    It returns a triple, and not an argument itself; it saves inputs and outputs as they are, or options; it changes
    nothing that it is given; its gradients have shapes that the inputs broadcast to, and the inputs' dtype, in float32
    as well; and they equal central differences, as do second derivatives.

    Args:
        arguments: what the op is called with; float64 arrays are differentiated.

    Returns:
        True.

    Raises:
        ContractError: naming the op and the rule.
        GradcheckError: a derivative is wrong.
        ValueError: there is no float64 array among the arguments.

    >>> import numpy as np, tinybn as tb
    >>> tb.check_op(tb.ops.multiply, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    True
    """
    op = inspect.unwrap(op)
    floats = [i for i, a in enumerate(arguments) if isinstance(a, np.ndarray) and a.dtype == np.float64]
    if not floats:
        raise ValueError(
            f"check_op: no float64 array was given for {op.__name__} to be differentiated; pass one, such as "
            "np.array([0.5, 2.0])"
        )
    single = [_single(a) for a in arguments], {name: _single(a) for name, a in options.items()}
    with np.errstate(all="ignore"):  # as in the engine
        _check_contract(_checked(op), np.dtype(np.float64), arguments, options)
        _check_contract(_checked(op), np.dtype(np.float32), *single)
    function = functools.wraps(op)(functools.partial(custom_op(op), **options))
    for varied in (floats, *([i] for i in floats if len(floats) > 1)):  # alone too, with only what @needs says
        tensors = [tensor(a, requires_grad=i in varied) if i in floats else a for i, a in enumerate(arguments)]
        gradcheck(function, tensors)
        gradgradcheck(function, tensors)
    return True


def _check_contract(
    op: Callable[..., Op], dtype: np.dtype[Any], arguments: Sequence[Any], options: dict[str, Any]
) -> None:
    """All but the values of the gradients, for an output of that dtype."""
    arrays, kept = [_copied(a) for a in arguments], [_copied(a) for a in arguments]
    out, backward, saved = op(*arrays, **options)
    out = out[0] if isinstance(out, tuple) else out
    if np.asarray(out).dtype != dtype:
        raise ContractError(f"{op.__name__}: its output is {np.asarray(out).dtype} for {dtype} arguments")
    _check_saved(op, saved, (*arrays, *options.values(), out))
    dy = np.random.default_rng(0).standard_normal(np.shape(out)).astype(dtype)
    before = [np.array(dy), np.array(out)]
    gradients, again = ([g() if callable(g) else g for g in backward(dy, *saved)] for _ in range(2))
    _check_unchanged(op, kept, arrays, "its arguments")
    _check_unchanged(op, before, [dy, out], "dy or its output")
    _check_gradients(op, gradients, again, arrays, (dy, out, *saved))


def _check_saved(op: Callable[..., Op], saved: tuple[Any, ...], known: tuple[Any, ...]) -> None:
    for k, value in enumerate(saved):
        if isinstance(value, np.ndarray) and not any(value is a for a in known):
            raise ContractError(
                f"{op.__name__}: saved[{k}] is an array of shape {value.shape} that is neither an argument nor the "
                "output itself; second derivatives would take it for a constant. Compute it in the backward"
            )


def _check_gradients(op: Callable[..., Op], first: list[Any], second: list[Any], arrays: Any, known: Any) -> None:
    """Gradients fit their arguments, and what two backwards return is not one array that the op has kept."""
    for i, (g, again, a) in enumerate(zip(first, second, arrays, strict=False)):
        if g is None or not isinstance(a, np.ndarray):
            continue
        _check_kind(op, i, g)
        if not _broadcasts(a.shape, g.shape):
            raise ContractError(f"{op.__name__}: gradient {i} has shape {g.shape}; the argument has {a.shape}")
        if g.dtype not in (a.dtype, known[0].dtype):  # dy's, where arguments are mixed
            raise ContractError(f"{op.__name__}: gradient {i} is {g.dtype}; the argument is {a.dtype}")
        given = any(isinstance(k, np.ndarray) and np.shares_memory(g, k) for k in known)
        if np.shares_memory(g, again) and not given:
            raise ContractError(
                f"{op.__name__}: gradient {i} is an array that the op keeps; return a new one, dy, or something saved"
            )


def _check_kind(op: Callable[..., Op], i: int, gradient: Any) -> None:
    if gradient is not None and not isinstance(gradient, np.ndarray | np.generic | Tensor):
        raise ContractError(
            f"{op.__name__}: gradient {i} is {described(gradient)}; expected an array, None, or a function that "
            "computes it"
        )


def _broadcasts(shape: Shape, to: Shape) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def _returned(op: Callable[..., Op], result: Any, arguments: Sequence[Any]) -> Op:
    """What an op returned, if it is the triple."""
    if not isinstance(result, tuple) or len(result) != 3 or not callable(result[1]) or not isinstance(result[2], tuple):
        raise ContractError(
            f"{op.__name__}: returned {described(result)}, not (output, backward, saved), an array, a function, a tuple"
        )
    out = result[0][0] if isinstance(result[0], tuple) else result[0]
    if isinstance(out, np.ndarray) and any(out is a for a in arguments):
        raise ContractError(f"{op.__name__}: returned its argument itself; return a copy or a view")
    return result


def _check_unchanged(op: Callable[..., Op], before: Sequence[Any], after: Sequence[Any], what: str) -> None:
    for a, b in zip(before, after, strict=True):
        if isinstance(a, np.ndarray) and not np.array_equal(a, b, equal_nan=True):
            raise ContractError(f"{op.__name__}: changed {what} in place")


def _copied(a: Any) -> Any:
    return np.array(a) if isinstance(a, np.ndarray) else a


def _single(a: Any) -> Any:
    """Floats in float32."""
    return a.astype(np.float32) if isinstance(a, np.ndarray | np.generic) and a.dtype.kind == "f" else a
