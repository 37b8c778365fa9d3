"""Functions that are called when a module runs, forward or backward."""

import functools
from collections.abc import Callable
from typing import Any

from tinybn._tensor import Tensor
from tinybn._typing import Array, Op
from tinybn.autograd import apply


class ModuleHooks:
    """The hooks of one module, each kind in the order in which they were registered."""

    def __init__(self) -> None:
        self.before: dict[object, Callable[..., Any]] = {}
        self.after: dict[object, Callable[..., Any]] = {}
        self.backward: dict[object, Callable[..., Any]] = {}

    def run(self, module: Any, forward: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """``forward(*args, **options)`` with the hooks around it."""
        for hook in list(self.before.values()):
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        gradients = _BackwardHooks(module, list(self.backward.values())) if self.backward else None
        if gradients:
            args = gradients.watch_inputs(args)
        output = forward(*args, **options)
        for hook in list(self.after.values()):
            changed = hook(module, args, output)
            output = output if changed is None else changed
        return gradients.watch_outputs(output) if gradients else output


class _BackwardHooks:
    """One run's wait for the gradients of a module's inputs and outputs; the hooks are called when all have come.

    The graph may be walked again, so nothing of a walk is kept: what has come is dropped when the hooks are called, and
    when an output's gradient comes for the second time.
    """

    def __init__(self, module: Any, hooks: list[Callable[..., Any]]) -> None:
        self.module, self.hooks = module, hooks
        self.inputs = self.outputs = 0  # how many there are
        self.watched_inputs: set[int] = set()
        self.watched_outputs: set[int] = set()
        self.grad_input: dict[int, Any] = {}  # what has come in this walk, by position
        self.grad_output: dict[int, Any] = {}

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments; tensors that require grad as others of the same value, whose gradients are the module's."""
        self.inputs = len(args)
        return tuple(_watched(x, i, self.watched_inputs, self._input) for i, x in enumerate(args))

    def watch_outputs(self, output: Any) -> Any:
        """The output, or outputs, likewise."""
        outputs = output if isinstance(output, tuple) else (output,)
        self.outputs = len(outputs)
        watched = tuple(_watched(y, i, self.watched_outputs, self._output) for i, y in enumerate(outputs))
        return watched if isinstance(output, tuple) else watched[0]

    def _output(self, i: int, gradient: Tensor) -> None:
        if i in self.grad_output:  # another walk has begun
            self.grad_input, self.grad_output = {}, {}
        self.grad_output[i] = gradient
        if not self.watched_inputs and self.grad_output.keys() == self.watched_outputs:
            self._call()  # no input requires grad: nothing more will come

    def _input(self, i: int, gradient: Tensor) -> Any:
        self.grad_input[i] = gradient
        return self._call()[i] if self.grad_input.keys() == self.watched_inputs else None

    def _call(self) -> tuple[Any, ...]:
        """Call the hooks, which may replace the gradient of a single input; the inputs' gradients."""
        grad_input = tuple(map(self.grad_input.get, range(self.inputs)))
        grad_output = tuple(map(self.grad_output.get, range(self.outputs)))
        called = self.hooks if self.grad_output else []  # a second derivative may reach the inputs past the outputs
        self.grad_input, self.grad_output = {}, {}
        for hook in called:
            changed = hook(self.module, grad_input, grad_output)
            if changed is None:
                continue
            changed = changed if isinstance(changed, tuple) else (changed,)
            if len(grad_input) != 1 or len(changed) != 1:
                raise ValueError(
                    f"full backward hook of {type(self.module).__name__}: returned {len(changed)} gradients for "
                    f"{len(grad_input)} inputs; only that of a single input can be replaced"
                )
            grad_input = changed
        return grad_input


def _watched(value: Any, i: int, positions: set[int], came: Callable[[int, Tensor], Any]) -> Any:
    """A tensor that requires grad as another of the same value, with ``came(i, gradient)`` for a hook."""
    if isinstance(value, Tensor) and value.requires_grad:
        value = apply(_pass_on, value)
        if value.requires_grad:  # not under no_grad
            value.register_hook(functools.partial(came, i))
            positions.add(i)
    return value


def _pass_on(x: Array) -> Op:
    """x, as another tensor."""
    out = x.view()

    def backward(dy: Any) -> tuple[Any, ...]:
        return (dy,)

    return out, backward, ()
