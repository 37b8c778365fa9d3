"""`tb.gradcheck` and `tb.gradgradcheck` for the tables: tighter than for users, and from arrays.

    check_gradients("multiply", lambda x, y: x * y, [x, y])

What a function is given besides float arrays (None, labels, scalars) is passed on as it is and not differentiated.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from tolerances import NUMERICAL, NUMERICAL_STEP

import tinybn as tb

TIGHT = {"eps": NUMERICAL_STEP, "atol": NUMERICAL, "rtol": NUMERICAL}


def differentiable(arguments: Sequence[Any]) -> tuple[int, ...]:
    """The positions of the float arrays."""
    return tuple(i for i, a in enumerate(arguments) if isinstance(a, np.ndarray) and a.dtype.kind == "f")


def check_gradients(
    name: str, function: Callable[..., Any], arguments: Sequence[Any], positions: Iterable[int] | None = None
) -> None:
    """Raise GradcheckError if a gradient for one of the positions is wrong."""
    inputs = _tensors(arguments, positions)
    assert tb.gradcheck(_named(name, function), inputs, **TIGHT)


def check_second_gradients(
    name: str, function: Callable[..., Any], arguments: Sequence[Any], positions: Iterable[int] | None = None
) -> None:
    """Raise GradcheckError if a second derivative for one of the positions is wrong."""
    inputs = _tensors(arguments, positions)
    assert tb.gradgradcheck(_named(name, function), inputs, **TIGHT)


def _tensors(arguments: Sequence[Any], positions: Iterable[int] | None) -> list[Any]:
    positions = differentiable(arguments) if positions is None else tuple(positions)
    return [tb.tensor(a, requires_grad=True) if i in positions else a for i, a in enumerate(arguments)]


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def named(*arguments: Any) -> Any:
        return function(*arguments)

    named.__name__ = name
    return named
