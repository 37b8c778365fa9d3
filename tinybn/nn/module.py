"""Module: parameters, buffers and children under names, and the modes train and eval."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array, DTypeLike
from tinybn.errors import DTypeError, GraphError, ShapeError, StateError
from tinybn.hooks import Handle
from tinybn.nn.hooks import ModuleHooks
from tinybn.nn.parameter import Parameter
from tinybn.storage import mark_changed


class LoadResult(NamedTuple):
    """What `load_state_dict` did not find in the state, and what it found there and does not know."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A part of a model. Subclasses set attributes and define `forward`.

    A module is its attributes: the Parameters among them are its parameters, the Modules its children. Tensors that
    belong to its state but are not trained are registered with `register_buffer`.

    >>> import tinybn as tb
    >>> class Scale(tb.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = tb.nn.Parameter(tb.ones(1))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(tb.ones(2)).tolist()
    [1.0, 1.0]
    """

    training: bool = True
    _buffer_names: tuple[str, ...] = ()
    _hooks: ModuleHooks | None = None

    def forward(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, ...)")

    def __call__(self, *args: Any, **options: Any) -> Any:
        try:
            if self._hooks is None:
                return self.forward(*args, **options)
            return self._hooks.run(self, self.forward, args, options)
        except (ShapeError, DTypeError) as error:
            if not getattr(error, "located", False):  # the innermost layer is the one to name
                name = type(self).__name__ if any(self.children()) else repr(self)
                error.args = (f"{name}: {error}",)
                error.located = True  # type: ignore[union-attr]
            raise

    fuses = False  # whether `fusing` is worth asking

    def fusing(self, following: Sequence["Module"]) -> tuple[int, dict[str, bool]]:
        """How many of the modules behind it this one makes in its own pass, and the options of `forward` for that.

        `Sequential` then runs them so: the result is the same, bit by bit.
        """
        return 0, {}

    # --- hooks ------------------------------------------------------------------------------------------------------

    def register_forward_pre_hook(self, hook: Callable[["Module", tuple[Any, ...]], Any]) -> Handle:
        """Call ``hook(module, args)`` before each forward. What it returns, unless None, takes the arguments' place."""
        return Handle(self._own_hooks().before, hook)

    def register_forward_hook(self, hook: Callable[["Module", tuple[Any, ...], Any], Any]) -> Handle:
        """Call ``hook(module, args, output)`` after each forward. What it returns, unless None, is the output then.

        >>> import tinybn as tb
        >>> layer = tb.nn.Linear(3, 2)
        >>> shapes = []
        >>> handle = layer.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
        >>> _ = layer(tb.zeros(4, 3)); handle.remove(); _ = layer(tb.zeros(5, 3))
        >>> shapes
        [(4, 2)]
        """
        return Handle(self._own_hooks().after, hook)

    def register_full_backward_hook(self, hook: Callable[["Module", Any, Any], Any]) -> Handle:
        """Call ``hook(module, grad_input, grad_output)`` once the gradients of all inputs have been computed.

        Both are tuples, with None for what requires no grad. If the module has a single input, a gradient that the
        hook returns takes the place of its own. The module returns a tensor or a tuple of them.

        An input that the output does not depend on never gets a gradient, and the hook is not called then; PyTorch
        passes zeros. Nor is it called where a gradient comes past the outputs, as in second derivatives.
        """
        return Handle(self._own_hooks().backward, hook)

    def _own_hooks(self) -> ModuleHooks:
        if self._hooks is None:
            self._hooks = ModuleHooks()
        return self._hooks

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(vars(self).get(name), Parameter) and not isinstance(value, Parameter | None):
            raise TypeError(
                f"{type(self).__name__}: {name} is a Parameter and cannot become a {type(value).__name__}, which would "
                "not be trained; assign a Parameter, or copy values into it under no_grad()"
            )
        super().__setattr__(name, value)

    # --- parts ------------------------------------------------------------------------------------------------------

    def register_buffer(self, name: str, value: Tensor | None) -> None:
        """Keep a tensor that belongs to the state without being trained, such as a running mean."""
        if name not in self._buffer_names:
            self._buffer_names = (*self._buffer_names, name)
        setattr(self, name, value)

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """Each child once, under the first of its names."""
        seen: set[int] = set()
        for name, child in self._parts():
            if id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator["Module"]:
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """This module, under the name ``""``, and all below it."""
        seen: set[int] = set()
        for name, module in self._walk(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator["Module"]:
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Each parameter once, under the first of its names."""
        return ((name, value) for name, value in self._named_once() if isinstance(value, Parameter))

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Each buffer once, under the first of its names."""
        return ((name, value) for name, value in self._named_once() if not isinstance(value, Parameter))

    def buffers(self) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers())

    def apply(self, function: Callable[["Module"], Any]) -> Self:
        """Call a function with every module below this one and with itself, children first."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def _parts(self) -> Iterator[tuple[str, "Module"]]:
        """The children under every name that they have."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def _walk(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        yield prefix, self
        for name, child in self._parts():
            yield from child._walk(f"{prefix}.{name}" if prefix else name)

    def _named_once(self) -> Iterator[tuple[str, Tensor]]:
        seen: set[int] = set()
        for name, value in self._named_state():
            if id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def _named_state(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers under every name that they have, in the order of PyTorch's state_dict."""
        for prefix, module in self._walk():
            own = [(name, value) for name, value in vars(module).items() if isinstance(value, Parameter)]
            own += [(name, getattr(module, name)) for name in module._buffer_names]
            for name, value in own:
                if value is not None:
                    yield (f"{prefix}.{name}" if prefix else name), value

    # --- modes ------------------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set training mode (or, with False, evaluation mode) in this module and all below it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode: BatchNorm uses its running statistics, dropout drops nothing."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient, or set it to zero."""
        for parameter in self.parameters():
            parameter.zero_grad(set_to_none)

    def to(self, dtype: DTypeLike) -> Self:
        """Cast every floating parameter and buffer, in place. What has the dtype already keeps its array."""
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            raise DTypeError(f"{type(self).__name__}.to: expected a floating dtype, got {dtype}")
        for _, value in self._named_state():
            array = value.data
            if array.dtype.kind == "f" and array.dtype != dtype:
                value.data = array.astype(dtype)
                value.grad = None if value.grad is None else value.grad.to(dtype)
                mark_changed(array, "Module.to")  # graphs that have saved it are of another value
        return self

    def float(self) -> Self:
        return self.to(np.float32)

    def double(self) -> Self:
        return self.to(np.float64)

    # --- state ------------------------------------------------------------------------------------------------------

    def get_extra_state(self) -> Array | None:
        """What else `state_dict` is to keep of this module, under ``_extra_state``; None for nothing."""
        return None

    def set_extra_state(self, value: Array | None) -> None:
        """Take over what `get_extra_state` returned, None included; refuse what is wrong before anything changes."""
        raise StateError(f"{type(self).__name__} has no extra state to set")

    def state_dict(self) -> dict[str, Array]:
        """Parameters and buffers as arrays under PyTorch's names. They share the module's memory, as in PyTorch."""
        state = {name: value.data for name, value in self._named_state()}
        extra = {name: module.get_extra_state() for name, module in self._extra_names()}
        return {**state, **{name: value for name, value in extra.items() if value is not None}}

    def _extra_names(self) -> Iterator[tuple[str, "Module"]]:
        """Extra state under every name that it has, with the module that keeps it."""
        for prefix, module in self._walk():
            if type(module).get_extra_state is not Module.get_extra_state:
                yield (f"{prefix}._extra_state" if prefix else "_extra_state"), module

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy a state into the parameters and buffers. Nothing is written unless all of it fits.

        Args:
            state: arrays or tensors under the names of `state_dict`, PyTorch's own included.
            strict: raise if names are missing or unknown, instead of returning them.

        Raises:
            StateError: names that are missing or unknown, with ``strict``.
            ShapeError: shapes that differ.
            DTypeError: values that the dtype cannot hold, such as floats for a counter.
            GraphError: a parameter or buffer in read-only memory.
        """
        own = dict(self._named_state())
        extra = {name: module for name, module in self._extra_names() if name in state}
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own and name not in extra]
        if strict and (missing or unexpected):
            raise StateError(
                f"load_state_dict: the state does not fit {type(self).__name__}: missing {missing}, "
                f"unexpected {unexpected}; strict=False loads what fits by name"
            )
        arrays = {name: as_tensor(_to_array(state[name])).data for name in own if name in state}
        wrong = [
            f"{name}: expected {own[name].shape}, got {a.shape}"
            for name, a in arrays.items()
            if own[name].shape != a.shape
        ]
        if wrong:
            raise ShapeError("load_state_dict: shapes differ: " + "; ".join(wrong))
        wrong = [
            f"{name}: expected {own[name].dtype}, got {a.dtype}"
            for name, a in arrays.items()
            if not np.can_cast(a.dtype, own[name].dtype, "same_kind")
        ]
        if wrong:
            raise DTypeError("load_state_dict: dtypes do not fit: " + "; ".join(wrong))
        wrong = [name for name in arrays if not own[name].data.flags.writeable]
        if wrong:
            raise GraphError(f"load_state_dict: {', '.join(wrong)}: in read-only memory; make it of a clone()")
        arrays = {name: array.astype(own[name].dtype, copy=False) for name, array in arrays.items()}
        _set_all([(module, np.asarray(_to_array(state[name]))) for name, module in extra.items()])
        for name, array in arrays.items():
            own[name].data[...] = array
            mark_changed(own[name].data, "load_state_dict")
        return LoadResult(missing, unexpected)

    # --- text -------------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The arguments to show in the repr."""
        return ""

    def __repr__(self) -> str:
        arguments = self.extra_repr()
        children = [f"({name}): {child!r}" for name, child in self._parts()]
        if not children and "\n" not in arguments:
            return f"{type(self).__name__}({arguments})"
        lines = "\n".join([arguments, *children] if arguments else children)
        return f"{type(self).__name__}(\n  " + lines.replace("\n", "\n  ") + "\n)"


def _set_all(states: list[tuple[Module, Array]]) -> None:
    """Set the extra state of all modules, or of none if one refuses its own."""
    done: list[tuple[Module, Array | None]] = []
    try:
        for module, value in states:
            before = module.get_extra_state()
            module.set_extra_state(value)
            done.append((module, before))
    except Exception:
        for module, before in reversed(done):
            module.set_extra_state(before)
        raise


def _to_array(value: Any) -> Any:
    """A PyTorch tensor as an array, anything else as it is."""
    if isinstance(value, Tensor | np.ndarray) or not hasattr(value, "detach"):
        return value
    return value.detach().cpu().numpy()
