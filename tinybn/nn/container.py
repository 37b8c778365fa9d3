"""Sequential."""

from collections.abc import Iterator
from typing import Any, overload

from tinybn.nn.module import Module


class Sequential(Module):
    """Modules one after the other. The children's names are "0", "1", …, as in PyTorch, or those of a dict.

    >>> import tinybn as tb
    >>> tb.nn.Sequential(tb.nn.Linear(2, 3, bias=False), tb.nn.ReLU())
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=False)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Module | dict[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], dict):
            named: dict[str, Any] = modules[0]
        else:
            named = {str(i): module for i, module in enumerate(modules)}
        for name, module in named.items():
            self._put(name, module)

    def forward(self, input: Any) -> Any:
        for module in self.children():
            input = module(input)
        return input

    def append(self, module: Module) -> "Sequential":
        """Put a module at the end, under the first free number from the length on (a slice keeps its names)."""
        number = len(self)
        while hasattr(self, str(number)):
            number += 1
        self._put(str(number), module)
        return self

    def _put(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"Sequential: {name!r} is {module!r}; expected a Module")
        if not name or "." in name or hasattr(self, name):
            raise ValueError(
                f"Sequential: {name!r} cannot name a module: it is empty, has a dot, or is an attribute already"
            )
        setattr(self, name, module)

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...

    def __getitem__(self, index: int | slice) -> "Module | Sequential":
        named = list(self.named_children())
        return Sequential(dict(named[index])) if isinstance(index, slice) else named[index][1]
