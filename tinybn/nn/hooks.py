"""Functions that are called when a module runs, forward or backward."""

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
    """One run's wait for the gradients of a module's inputs and outputs; the hooks are called when all have come."""

    def __init__(self, module: Any, hooks: list[Callable[..., Any]]) -> None:
        self.module, self.hooks = module, hooks
        self.grad_input: list[Any] = []
        self.grad_output: list[Any] = []
        self.inputs_missing = 0
        self.outputs_missing = 0

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments; tensors that require grad as others of the same value, whose gradients are the module's."""
        watched = []
        for i, x in enumerate(args):
            if isinstance(x, Tensor) and x.requires_grad:
                x = apply(_pass_on, x)
                self.inputs_missing += 1
                x.register_hook(lambda gradient, i=i: self._input(i, gradient))
            watched.append(x)
        self.grad_input = [None] * len(watched)
        return tuple(watched)

    def watch_outputs(self, output: Any) -> Any:
        """The output, or outputs, likewise."""
        outputs = output if isinstance(output, tuple) else (output,)
        watched = []
        for i, y in enumerate(outputs):
            if isinstance(y, Tensor) and y.requires_grad:
                y = apply(_pass_on, y)
                self.outputs_missing += 1
                y.register_hook(lambda gradient, i=i: self._output(i, gradient))
            watched.append(y)
        self.grad_output = [None] * len(watched)
        return tuple(watched) if isinstance(output, tuple) else watched[0]

    def _output(self, i: int, gradient: Tensor) -> None:
        self.grad_output[i] = gradient
        self.outputs_missing -= 1
        if not self.outputs_missing and not self.inputs_missing:
            self._call()  # no input requires grad: nothing more will come

    def _input(self, i: int, gradient: Tensor) -> Any:
        self.grad_input[i] = gradient
        self.inputs_missing -= 1
        if self.inputs_missing:
            return None
        self._call()
        return self.grad_input[i]

    def _call(self) -> None:
        for hook in self.hooks:
            changed = hook(self.module, tuple(self.grad_input), tuple(self.grad_output))
            if changed is None:
                continue
            changed = changed if isinstance(changed, tuple) else (changed,)
            if len(self.grad_input) != 1 or len(changed) != 1:
                raise ValueError(
                    f"full backward hook of {type(self.module).__name__}: returned {len(changed)} gradients for "
                    f"{len(self.grad_input)} inputs; only that of a single input can be replaced"
                )
            self.grad_input = list(changed)


def _pass_on(x: Array) -> Op:
    """x, as another tensor."""
    out = x.view()

    def backward(dy: Any) -> tuple[Any, ...]:
        return (dy,)

    return out, backward, ()
