"""Whether ops are recorded: a mode that each thread has for itself."""

import functools
import threading
from collections.abc import Callable
from typing import Any


class _State(threading.local):
    """``grad``: record."""

    grad = True


state = _State()


class no_grad:
    """Record nothing: ``with no_grad():``, or ``@no_grad()`` over a function. Each thread has its own mode.

    >>> import tinybn as tb
    >>> x = tb.ones(2, requires_grad=True)
    >>> with tb.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    mode = False

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        instance = super().__new__(cls)
        return instance if function is None else instance(function)  # @no_grad without parentheses

    def __enter__(self) -> None:
        self.before = state.grad
        state.grad = self.mode

    def __exit__(self, *exception: object) -> None:
        state.grad = self.before

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **options: Any) -> Any:
            with set_grad_enabled(self.mode):
                return function(*args, **options)

        return wrapped


class enable_grad(no_grad):
    """Record again inside a ``no_grad`` block; used like it."""

    mode = True


class set_grad_enabled(no_grad):
    """Record, or not, from here on; as ``with set_grad_enabled(mode):`` until the block ends.

    >>> import tinybn as tb
    >>> with tb.set_grad_enabled(False):
    ...     tb.is_grad_enabled()
    False
    """

    def __new__(cls, mode: bool) -> Any:
        return object.__new__(cls)

    def __init__(self, mode: bool) -> None:
        self.mode, self.before = mode, state.grad
        state.grad = mode

    def __enter__(self) -> None:
        pass  # done when it was made

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        state.grad = self.before  # it was made to decorate
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Whether ops are being recorded in this thread."""
    return state.grad
