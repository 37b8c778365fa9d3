"""Ops that users write, in the form of the library's own."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinybn._tensor import Tensor, as_tensor
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
        count = sum(isinstance(a, np.ndarray) for a in arguments)

        @functools.wraps(backward)
        def checked_backward(dy: Any, *saved: Any) -> tuple[Any, ...]:
            gradients = backward(dy, *saved)
            if not isinstance(gradients, tuple) or len(gradients) < count:
                raise ContractError(
                    f"{op.__name__}: its backward returned {_kind(gradients)}; expected a tuple of {count} gradients, "
                    "one for each array argument, in order"
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
    arrays = [np.array(a) if isinstance(a, np.ndarray) else a for a in arguments]
    kept = [np.array(a) if isinstance(a, np.ndarray) else a for a in arguments]
    out, backward, saved = _returned(op, op(*arrays, **options))
    out = out[0] if isinstance(out, tuple) else out
    for k, value in enumerate(saved):
        if isinstance(value, np.ndarray) and not any(value is a for a in (*arrays, *options.values(), out)):
            raise ContractError(
                f"{op.__name__}: saved[{k}] is an array of shape {value.shape} that is neither an argument nor the "
                "output itself; second derivatives would take it for a constant. Compute it in the backward"
            )
    dy = np.random.default_rng(0).standard_normal(np.shape(out))
    before = [np.array(value) for value in (dy, out)]
    gradients = [g() if callable(g) else g for g in backward(dy, *saved)]
    _unchanged(op, kept, arrays, "its arguments")
    _unchanged(op, before, [dy, out], "dy or its output")
    for i, (g, a) in enumerate(zip(gradients, arrays, strict=False)):
        if g is not None and isinstance(a, np.ndarray) and not _broadcasts(a.shape, np.shape(g)):
            raise ContractError(f"{op.__name__}: gradient {i} has shape {np.shape(g)}; the argument has {a.shape}")
    tensors = [
        Tensor(a, True) if isinstance(a, np.ndarray) and a.dtype == np.float64 else a for a in map(_copied, arguments)
    ]

    @functools.wraps(op)
    def function(*arguments: Any) -> Any:
        return custom_op(op)(*arguments, **options)

    return gradcheck(function, tensors) and gradgradcheck(function, tensors)


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


def _unchanged(op: Callable[..., Op], before: Sequence[Any], after: Sequence[Any], what: str) -> None:
    for a, b in zip(before, after, strict=True):
        if isinstance(a, np.ndarray) and not np.array_equal(a, b, equal_nan=True):
            raise ContractError(f"{op.__name__}: changed {what} in place")


def _copied(a: Any) -> Any:
    return np.array(a) if isinstance(a, np.ndarray) else a
