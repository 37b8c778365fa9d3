"""What optimizers share: parameter groups, state, and checks."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinybn._tensor import Tensor
from tinybn._typing import Array
from tinybn.errors import GraphError, ShapeError
from tinybn.modes import enable_grad
from tinybn.silence import SILENT, restore, set_state
from tinybn.storage import mark_changed


class Optimizer:
    """Base of the optimizers. A subclass has `_update`, which moves one parameter's array in place, and `state_names`.

    Or it has `_update_group`, which moves all parameters of a group.

    Attributes:
        param_groups: dicts with ``params`` and the options that hold for them, such as ``lr``; free to change.
        state: what the optimizer remembers of each parameter, by its position.
    """

    state_names: tuple[str, ...] = ()  # what `_update` keeps in its ``state``, all at once or nothing

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(
                f"{type(self).__name__}: expected parameters such as model.parameters(), got a {type(params).__name__}"
            )
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: got no parameters; pass model.parameters()")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[int, dict[str, Any]] = {}
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with options of their own; what is not given comes from the optimizer's defaults.

        Raises:
            TypeError, ValueError: something else than a leaf tensor, an unknown option, or a parameter given twice.
        """
        options = {**self.defaults, **group}
        self._check_names(options)
        params = options["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            if not isinstance(p, Tensor) or not p.is_leaf:
                raise TypeError(f"{type(self).__name__}: expected leaf tensors such as model.parameters(), got {p!r}")
            if id(p) in known:
                raise ValueError(f"{type(self).__name__}: a parameter of shape {p.shape} was given twice")
            known.add(id(p))
        self._check(options)
        # A NumPy scalar among the options would make float64 of float32 arrays.
        numbers = {name: value.item() for name, value in options.items() if isinstance(value, np.generic)}
        self.param_groups.append({**options, **numbers, "params": params})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients, or set them to zero."""
        for group in self.param_groups:
            for p in group["params"]:
                p.zero_grad(set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients first; what it returns is returned.

        Raises:
            TypeError, ShapeError: a ``grad`` that is no Tensor of its parameter's shape.
            GraphError: a parameter that has a ``grad`` and was expanded, or is read-only. Nothing has moved then.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        moving, position = [], 0
        for group in self.param_groups:
            numbered = list(enumerate(group["params"], position))
            position += len(numbered)
            moved = [(i, p.array, p.grad) for i, p in numbered if p.grad is not None]
            for i, array, grad in moved:
                self._check_can_move(array, grad, i)
            if moved:
                moving.append(
                    (group, [a for _, a, _ in moved], [g.array for _, _, g in moved], [i for i, _, _ in moved])
                )
        author = f"{type(self).__name__}.step"
        before = set_state(SILENT)  # infinity is a value, as it is in the ops
        try:
            for group, parameters, gradients, positions in moving:
                states = [self.state.setdefault(i, {}) for i in positions]
                self._update_group(parameters, gradients, states, group)
                mark_changed(parameters, author)
        finally:
            restore(before)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """State and options, with parameters as numbers, in PyTorch's form. Arrays are copies."""
        state = {position: _copied(entry) for position, entry in self.state.items()}
        groups, start = [], 0
        for group in self.param_groups:
            stop = start + len(group["params"])
            groups.append({**group, "params": list(range(start, stop))})
            start = stop
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned. Nothing changes unless all of it fits.

        Raises:
            ValueError, ShapeError: other groups, options or state than this optimizer has.
        """
        groups = state_dict["param_groups"]
        sizes, own_sizes = ([len(g["params"]) for g in gs] for gs in (groups, self.param_groups))
        if sizes != own_sizes:
            raise ValueError(f"load_state_dict: expected groups of {own_sizes} parameters, got {sizes}")
        for group in groups:
            self._check_names(group)
            self._check(group)
        params = [p for group in self.param_groups for p in group["params"]]
        state = {}
        for position, entry in state_dict["state"].items():
            if not 0 <= int(position) < len(params):
                raise ValueError(f"load_state_dict: got a state of parameter {position}; there are {len(params)}")
            if entry and set(entry) != set(self.state_names):
                raise ValueError(
                    f"load_state_dict: state of parameter {position}: {type(self).__name__} expected "
                    f"{sorted(self.state_names)}, got {sorted(entry)}"
                )
            state[int(position)] = _copied(entry)
            for name, value in entry.items():
                shape = params[int(position)].shape
                if isinstance(value, np.ndarray) and value.shape != shape:
                    raise ShapeError(
                        f"load_state_dict: {name} of parameter {position}: expected {shape}, got {value.shape}"
                    )
        self.state = state
        for own, group in zip(self.param_groups, groups, strict=True):
            own.update({name: value for name, value in group.items() if name != "params"})

    def _check_can_move(self, array: Array, grad: Any, position: int) -> None:
        if not isinstance(grad, Tensor):
            raise TypeError(f"{type(self).__name__}: a grad is a {type(grad).__name__}; expected a Tensor")
        if grad.array.shape != array.shape:
            raise ShapeError(f"{type(self).__name__}: a grad has shape {grad.shape}; its parameter has {array.shape}")
        if not array.flags.writeable:
            raise GraphError(
                f"{type(self).__name__}: parameter {position}, of shape {array.shape}, was expanded, or shares "
                "read-only memory; make it of a clone()"
            )

    def _check_names(self, group: dict[str, Any]) -> None:
        expected = {*self.defaults, "params"}
        unknown = sorted(set(group) - expected - {"initial_lr"})  # which is a schedule's
        missing = sorted(expected - set(group))
        if unknown or missing:
            what = f"unknown options {unknown}" if unknown else f"missing options {missing}"
            raise ValueError(f"{type(self).__name__}: {what}; expected {sorted(expected)}")

    def _check(self, options: dict[str, Any]) -> None:
        for name in ("lr", "momentum", "weight_decay", "eps"):
            if name in options and not options[name] >= 0:
                raise ValueError(f"{type(self).__name__}: {name} is {options[name]!r}; expected a number from 0 on")
        betas = options.get("betas", (0, 0))
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{type(self).__name__}: betas are {betas!r}; expected two numbers in [0, 1)")

    def _update_group(
        self, parameters: list[Array], gradients: list[Array], states: list[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        """Move all parameters of a group. Those of tinybn do so in one call of a kernel."""
        for parameter, gradient, state in zip(parameters, gradients, states, strict=True):
            self._update(parameter, gradient, state, group)

    def _update(self, parameter: Array, gradient: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        groups = [{**g, "params": f"{len(g['params'])} tensors"} for g in self.param_groups]
        return f"{type(self).__name__}({', '.join(map(str, groups))})"


def _copied(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in entry.items()}
