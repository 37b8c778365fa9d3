"""Ops that users write, in the form of the library's own."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinybn._tensor import Tensor, as_tensor, tensor
from tinybn._typing import Op, Shape
from tinybn.autograd import apply
from tinybn.checks import gradcheck, gradgradcheck
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

    @functools.wraps(op)
    def checked(*arguments: Any, **options: Any) -> Op:
        out, backward, saved = _returned(op, op(*arguments, **options))
        count = max((i + 1 for i, a in enumerate(arguments) if isinstance(a, np.ndarray)), default=0)

        @functools.wraps(backward)
        def checked_backward(dy: Any, *saved: Any) -> tuple[Any, ...]:
            gradients = backward(dy, *saved)
            if not isinstance(gradients, tuple) or len(gradients) < count:
                raise ContractError(
                    f"{op.__name__}: its backward returned {_kind(gradients)}; expected a tuple of {count} gradients, "
                    "one for each argument up to the last array, in order"
                )
            return gradients

        return out, checked_backward, saved

    @functools.wraps(op)
    def function(*arguments: Any, **options: Any) -> Tensor:
        return apply(checked, *(as_tensor(a) if isinstance(a, np.ndarray | list) else a for a in arguments), **options)

    return function


def check_op(op: Callable[..., Op], *arguments: Any, **options: Any) -> bool:
    """Run an op, plain or decorated by `custom_op`, on sample arrays and check it against all that is asked of one.

    It returns a triple; it saves inputs and outputs as they are, or options; it changes nothing that it is given; its
    gradients have shapes that the inputs broadcast to; and they equal central differences, as do second derivatives.

    Args:
        arguments: what the op is called with; float64 arrays are differentiated.

    Returns:
        True.

    Raises:
        ContractError: naming the op and the rule.
        GradcheckError: a derivative is wrong.

    >>> import numpy as np, tinybn as tb
    >>> tb.check_op(tb.ops.multiply, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    True
    """
    op = inspect.unwrap(op)
    arrays, kept = [_copied(a) for a in arguments], [_copied(a) for a in arguments]
    with np.errstate(all="ignore"):  # as in the engine
        out, backward, saved = _returned(op, op(*arrays, **options))
        out = out[0] if isinstance(out, tuple) else out
        _check_saved(op, saved, (*arrays, *options.values(), out))
        dy = np.random.default_rng(0).standard_normal(np.shape(out))
        before = [np.array(dy), np.array(out)]
        gradients, again = ([g() if callable(g) else g for g in backward(dy, *saved)] for _ in range(2))
    _check_unchanged(op, kept, arrays, "its arguments")
    _check_unchanged(op, before, [dy, out], "dy or its output")
    _check_gradients(op, gradients, again, arrays, (dy, out, *saved))
    function = functools.wraps(op)(functools.partial(custom_op(op), **options))
    floats = [i for i, a in enumerate(arguments) if isinstance(a, np.ndarray) and a.dtype == np.float64]
    for varied in (floats, *([i] for i in floats if len(floats) > 1)):  # alone too, with only what @needs says
        tensors = [tensor(a, requires_grad=i in varied) if i in floats else a for i, a in enumerate(arguments)]
        gradcheck(function, tensors)
        gradgradcheck(function, tensors)
    return True


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
        if not _broadcasts(a.shape, np.shape(g)):
            raise ContractError(f"{op.__name__}: gradient {i} has shape {np.shape(g)}; the argument has {a.shape}")
        given = any(isinstance(k, np.ndarray) and np.shares_memory(g, k) for k in known)
        if np.shares_memory(g, again) and not given:
            raise ContractError(
                f"{op.__name__}: gradient {i} is an array that the op keeps; return a new one, dy, or something saved"
            )


def _broadcasts(shape: Shape, to: Shape) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def _returned(op: Callable[..., Op], result: Any) -> Op:
    """What an op returned, if it is the triple."""
    if not isinstance(result, tuple) or len(result) != 3 or not callable(result[1]) or not isinstance(result[2], tuple):
        raise ContractError(
            f"{op.__name__}: returned {_kind(result)}, not (output, backward, saved), an array, a function, a tuple"
        )
    return result


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        return f"a tuple ({', '.join(type(part).__name__ for part in value)})"
    return f"a {type(value).__name__}"


def _check_unchanged(op: Callable[..., Op], before: Sequence[Any], after: Sequence[Any], what: str) -> None:
    for a, b in zip(before, after, strict=True):
        if isinstance(a, np.ndarray) and not np.array_equal(a, b, equal_nan=True):
            raise ContractError(f"{op.__name__}: changed {what} in place")


def _copied(a: Any) -> Any:
    return np.array(a) if isinstance(a, np.ndarray) else a
