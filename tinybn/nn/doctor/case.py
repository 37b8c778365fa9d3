"""All that is known of a model, for those who look for faults in it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinybn._typing import Array
from tinybn.nn.container import ModuleDict, ModuleList, Sequential
from tinybn.nn.doctor.measure import Measures
from tinybn.nn.doctor.report import Finding
from tinybn.nn.doctor.trace import Place
from tinybn.nn.module import Module

UPDATE = "tb.nn.update_bn(model, loader, exact=True)"  # what repairs running statistics


@dataclass
class Case:
    """A model with what was traced and measured.

    Fields:
        redundant: the biases that do nothing, with the change of the outputs when they change.
    """

    model: Module
    loader: Iterable[Any]
    optimizer: Any
    places: list[Place]
    measures: Measures
    redundant: dict[str, float]

    def __post_init__(self) -> None:
        self.parameters = dict(self.model.named_parameters())
        groups = [] if self.optimizer is None else self.optimizer.param_groups
        self.group_of = {id(p): group for group in groups for p in group["params"]}

    def trains(self, name: str) -> bool:
        """Whether a parameter is trained: it requires grad, and the optimizer has it, if there is one."""
        parameter = self.parameters[name]
        return parameter.requires_grad and (self.optimizer is None or id(parameter) in self.group_of)

    def own(self, place: Place) -> list[str]:
        """The names of a layer's own parameters."""
        mine = {id(parameter) for parameter in place.layer.parameters()}
        return [name for name, parameter in self.parameters.items() if id(parameter) in mine]

    @property
    def batch(self) -> int:
        """The size of a usual batch."""
        return int(np.median(self.measures.sizes))

    def reloaded(self, batch_size: int, drop_last: bool = False) -> str:
        """Code for a loader of the same data that shuffles them, with other batches."""
        data = "loader.dataset"
        if not hasattr(self.loader, "dataset"):
            data = "tuple(map(np.concatenate, zip(*loader)))"
        last = ", drop_last=True" if drop_last else ""
        return f"loader = tb.data.DataLoader({data}, batch_size={batch_size}, shuffle=True{last})"

    def path(self, name: str) -> str:
        """A part or a parameter of the model as Python code."""
        code, parent = "model", self.model
        for word in name.split(".") if name else ():
            code += _step(parent, word)
            parent = vars(parent)[word]
        return code


Check = Callable[[Case, Place], Finding | None]


def _step(parent: Module, word: str) -> str:
    if isinstance(parent, Sequential | ModuleList):
        return f"[{[name for name, _ in parent._parts()].index(word)}]"
    if isinstance(parent, ModuleDict):
        return f"[{word!r}]"
    return f".{word}"


# --- how evidence is told ---------------------------------------------------------------------------------------------


def some(indices: Iterable[int], most: int = 8) -> str:
    """The first of some numbers."""
    numbers = [int(i) for i in indices]
    return ", ".join(map(str, numbers[:most])) + (", …" if len(numbers) > most else "")


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('ch') else 's'}"


def rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
