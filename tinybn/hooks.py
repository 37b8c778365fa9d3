"""Functions that are called when something happens."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from tinybn.errors import ShapeError


class Handle:
    """What registering a hook returns: ``remove`` takes the hook away. Also a context that does so at its end."""

    def __init__(self, hooks: dict[object, Callable[..., Any]], hook: Callable[..., Any]) -> None:
        if not callable(hook):
            raise TypeError(f"hook: expected a function, got {hook!r}")
        self.hooks, self.key = hooks, object()  # not the handle itself: that would be a reference cycle
        hooks[self.key] = hook

    def remove(self) -> None:
        """Call the hook no more. Removing it twice is no error."""
        self.hooks.pop(self.key, None)

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Watch:
    """What is to be done with the gradient that reaches a place of the graph.

    Attributes:
        hooks: functions of the gradient, in the order in which they were registered; one that returns something
            replaces the gradient by it.
        tensor: the intermediate tensor that keeps the gradient as its ``grad``, or None.
    """

    __slots__ = ("hooks", "tensor")

    def __init__(self) -> None:
        self.hooks: dict[object, Callable[[Any], Any]] = {}
        self.tensor: weakref.ref[Any] | None = None

    def run_hooks(self, dy: Any, tensor: Any, create_graph: bool) -> Any:
        """The gradient, an array or a Tensor, after the hooks. They get and return Tensors."""
        for hook in list(self.hooks.values()):
            given = dy if isinstance(dy, tensor) else tensor(np.array(dy))
            answer = hook(given)
            if answer is None:
                continue
            if not isinstance(answer, tensor) or answer.shape != given.shape:
                raise ShapeError(f"hook: expected None or a tensor of shape {given.shape}, got {answer!r}")
            answer = answer.to(given.dtype).clone()  # the hook may keep its own
            dy = answer if create_graph else answer.data
        return dy
