"""The modes that each thread has for itself, the bits of one number: ops read it once.

`no_grad` and its kin switch the recording, `detect_anomaly` the search for NaN and infinity, `strict_float32` the
refusal of silent casts to float64.
"""

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, ClassVar

RECORD = 1  # ops are recorded
SITES = 2  # with the line of the caller's code
CHECK = 4  # what ops make is searched for NaN and infinity
STRICT = 8  # float32 is not cast to float64 unless it is asked for


class _State(threading.local):
    mode = RECORD


state = _State()


class _Mode:
    """Some bits set or cleared: in a ``with`` block, or in a function that this decorates."""

    bits: ClassVar[int]
    on: ClassVar[bool] = True

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        instance = super().__new__(cls)
        return instance if function is None else instance(function)  # @no_grad without parentheses

    def __enter__(self) -> None:
        self.before = state.mode
        state.mode = self.before | self.bits if self.on else self.before & ~self.bits

    def __exit__(self, *exception: object) -> None:
        state.mode = self.before

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function):
            return self._around_each_step(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **options: Any) -> Any:
            with self._again():
                return function(*args, **options)

        return wrapped

    def _around_each_step(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A generator in this mode, whose caller is in its own whenever the generator waits."""

        @functools.wraps(function)
        def wrapped(*args: Any, **options: Any) -> Any:
            generator = function(*args, **options)
            step = functools.partial(next, generator)
            while True:
                try:
                    with self._again():
                        value = step()
                except StopIteration as stop:
                    return stop.value
                try:
                    sent = yield value
                    step = functools.partial(generator.send, sent)
                except GeneratorExit:
                    generator.close()
                    raise
                except BaseException as error:
                    step = functools.partial(generator.throw, error)

        return wrapped

    def _again(self) -> "_Mode":
        """A context of its own for each call, which may be recursive or in another thread."""
        return type(self)()


class no_grad(_Mode):
    """Record nothing: ``with no_grad():``, or ``@no_grad()`` over a function. Each thread has its own mode.

    >>> import tinybn as tb
    >>> x = tb.ones(2, requires_grad=True)
    >>> with tb.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    bits, on = RECORD, False


class enable_grad(_Mode):
    """Record again inside a ``no_grad`` block; used like it."""

    bits = RECORD


class set_grad_enabled(_Mode):
    """Record, or not, from here on; as ``with set_grad_enabled(mode):`` until the block ends.

    >>> import tinybn as tb
    >>> with tb.set_grad_enabled(False):
    ...     tb.is_grad_enabled()
    False
    """

    def __new__(cls, mode: bool) -> Any:
        return object.__new__(cls)

    def __init__(self, mode: bool) -> None:
        self.mode, self.before = mode, state.mode
        state.mode = self.before | RECORD if mode else self.before & ~RECORD

    def __enter__(self) -> None:  # done already when it was made, but it may serve again
        state.mode = state.mode | RECORD if self.mode else state.mode & ~RECORD

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        state.mode = self.before  # it was made to decorate
        return super().__call__(function)

    def _again(self) -> _Mode:
        return set_grad_enabled(self.mode)


class detect_anomaly(_Mode):
    """Stop at the op that first makes a NaN or an infinity of finite numbers, forward or backward, and name it.

    Every op that is recorded inside keeps the line of your code that called it, which other errors of the graph show
    too. Ops become several times slower.

    Args:
        check_nan: search for NaN and infinity; False only keeps the lines.

    Raises:
        AnomalyError: at that op, with its name and the line that called it.

    >>> import tinybn as tb
    >>> with tb.detect_anomaly():
    ...     tb.log(tb.tensor([1.0, 0.0]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tinybn.errors.AnomalyError: log made -inf at (1,) of its output of shape (2,), from finite inputs, called at ...
    """

    def __new__(cls, check_nan: bool = True) -> Any:
        return object.__new__(cls)

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self.bits = SITES | CHECK if check_nan else SITES  # type: ignore[misc]

    def _again(self) -> _Mode:
        return detect_anomaly(self.check_nan)


class strict_float32(_Mode):
    """Raise where an op would cast a float32 tensor to float64 by itself, as it does beside a float64 tensor.

    >>> import tinybn as tb
    >>> with tb.strict_float32():
    ...     tb.ones(2) * tb.ones(2, dtype="float64")
    Traceback (most recent call last):
    tinybn.errors.DTypeError: strict_float32: multiply would cast float32 to float64; cast one of the two with .to()
    """

    bits = STRICT


def is_grad_enabled() -> bool:
    """Whether ops are being recorded in this thread."""
    return bool(state.mode & RECORD)
