"""Containers: modules in a row, in a list, under keys; parameters in a list, under keys."""

import operator
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from itertools import groupby
from typing import Any, Self, SupportsIndex

from tinybn._tensor import Tensor
from tinybn.nn.module import Module
from tinybn.nn.parameter import Parameter

# --- modules in an order ----------------------------------------------------------------------------------------------


class _Row(Module):
    """What Sequential and ModuleList share. The children's names are numbers, and what changes renumbers them."""

    def append(self, module: Module) -> Self:
        """Put a module at the end, under the first free number from the length on (a slice keeps its names)."""
        number = len(self)
        while hasattr(self, str(number)):
            number += 1
        setattr(self, str(number), _checked_module(self, str(number), module))
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Put modules at the end."""
        new = _listed(self, modules)
        for number, module in enumerate(new, len(self)):
            _checked_module(self, str(number), module)
        for module in new:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module in front of the one with this index."""
        modules = list(self)
        if not -len(modules) <= index <= len(modules):
            raise IndexError(f"{type(self).__name__}: index {index} is out of range for {len(modules)} modules")
        modules.insert(index, _checked_module(self, str(index), module))
        self._renumber(modules)
        return self

    def pop(self, key: int | slice) -> Any:
        """Take out the module with this index, or those of a slice, and return what was taken."""
        taken = self[key]
        del self[key]
        return taken

    def _renumber(self, modules: Iterable[Module]) -> None:
        """Have these modules and no others, under the numbers from 0 on."""
        for name in _modules_of(self):
            delattr(self, name)
        for number, module in enumerate(modules):
            setattr(self, str(number), module)

    def __len__(self) -> int:
        return len(_modules_of(self))

    def __iter__(self) -> Iterator[Module]:
        return iter(_modules_of(self).values())

    def __getitem__(self, index: Any) -> Any:
        """The module with this index; for a slice, another container of this class."""
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(_modules_of(self))[_place(self, index)]
        setattr(self, name, _checked_module(self, name, module))

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self)
        del modules[index if isinstance(index, slice) else _place(self, index)]
        self._renumber(modules)


class Sequential(_Row):
    """Modules one after the other. The children's names are "0", "1", …, as in PyTorch, or those of a dict.

    It is a list of modules too, with indices, slices, assignment and deletion: + puts two together, and * repeats the
    same modules. Deleting and inserting give new numbers as names.

    A BatchNorm and the ReLU behind it run as one op, which gives the same bits, unless one of them has hooks.

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
            _check_name(self, name)
            setattr(self, name, _checked_module(self, name, module))

    def forward(self, input: Any) -> Any:
        modules = [module for module in vars(self).values() if isinstance(module, Module)]
        position = 0
        while position < len(modules):
            module = modules[position]
            position += 1
            if module.fuses:
                done, options = module.fusing(modules[position : position + 2])
                input = module(input, **options)
                position += done
            else:
                input = module(input)
        return input

    def __getitem__(self, index: Any) -> Any:
        named = list(_modules_of(self).items())
        return type(self)(dict(named[index])) if isinstance(index, slice) else named[_place(self, index)][1]

    def __add__(self, other: "Sequential") -> "Sequential":
        return Sequential(*self, *other) if isinstance(other, Sequential) else NotImplemented

    def __iadd__(self, other: "Sequential") -> Self:
        return self.extend(other) if isinstance(other, Sequential) else NotImplemented

    def __mul__(self, times: int) -> "Sequential":
        return Sequential(*list(self) * _times(self, times))

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Self:
        return self.extend(list(self) * (_times(self, times) - 1))


def _times(row: Sequential, times: int) -> int:
    if not isinstance(times, int):
        raise TypeError(f"{type(row).__name__}: expected a whole number to multiply with, got {times!r}")
    if times < 1:
        raise ValueError(f"{type(row).__name__}: expected to be repeated once or more, got {times}")
    return times


class ModuleList(_Row):
    """A list of modules, which a module of one's own calls as it likes.

    Args:
        modules: the first of them.

    >>> import tinybn as tb
    >>> layers = tb.nn.ModuleList(tb.nn.Linear(4, 4) for _ in range(3))
    >>> layers.append(tb.nn.Linear(4, 2))
    ModuleList(
      (0-2): 3 x Linear(in_features=4, out_features=4, bias=True)
      (3): Linear(in_features=4, out_features=2, bias=True)
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index: Any) -> Any:
        modules = list(self)
        return type(self)(modules[index]) if isinstance(index, slice) else modules[_place(self, index)]

    def __add__(self, other: Iterable[Module]) -> "ModuleList":
        return ModuleList([*self, *other])

    def __iadd__(self, other: Iterable[Module]) -> Self:
        return self.extend(other)

    def __repr__(self) -> str:
        """Equal neighbours stand on one line."""
        lines, first = [], 0
        for text, equal in groupby(map(repr, self)):
            count = sum(1 for _ in equal)
            label = f"({first})" if count == 1 else f"({first}-{first + count - 1})"
            lines.append(f"{label}: {text}" if count == 1 else f"{label}: {count} x {text}")
            first += count
        return _in_lines(self, lines)


# --- parts under keys -------------------------------------------------------------------------------------------------


class _Keyed(Module, MutableMapping[str, Any]):
    """What ModuleDict and ParameterDict share: a dict whose values are attributes."""

    __eq__ = object.__eq__  # modules are equal only to themselves, where mappings would compare what they hold
    __hash__ = object.__hash__

    def update(self, other: Any = (), /, **parts: Any) -> None:
        """Set what another mapping has, or pairs of key and value."""
        new = {key: self._accepted(key, value) for key, value in dict(other, **parts).items()}
        for key, value in new.items():
            self._set(key, value)

    def _accepted(self, key: str, value: Any) -> Any:
        """The value, as it will stand here; refused if it or its key cannot."""
        raise NotImplementedError

    def _set(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def __setitem__(self, key: str, value: Any) -> None:
        self._set(key, self._accepted(key, value))


class ModuleDict(_Keyed):
    """Modules under keys, with the methods of a dict. The keys are the children's names.

    Args:
        modules: the first of them, a mapping or pairs of key and module.

    >>> import tinybn as tb
    >>> acts = tb.nn.ModuleDict({"relu": tb.nn.ReLU(), "tanh": tb.nn.Tanh()})
    >>> acts["relu"]([-1.0, 1.0])
    tensor([0., 1.])
    >>> list(acts)
    ['relu', 'tanh']
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        if modules is not None:
            self.update(modules)

    def _accepted(self, key: str, value: Any) -> Module:
        if key not in self:
            _check_name(self, key)
        return _checked_module(self, key, value)

    def __getitem__(self, key: str) -> Module:
        module = vars(self).get(key)
        if not isinstance(module, Module):
            raise KeyError(key)
        return module

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        delattr(self, key)

    def __len__(self) -> int:
        return len(_modules_of(self))

    def __iter__(self) -> Iterator[str]:
        return iter(_modules_of(self))


class ParameterDict(_Keyed):
    """Parameters under keys, with the methods of a dict. Tensors become Parameters; other values stay what they are.

    Args:
        parameters: the first of them, a mapping or pairs of key and value. As in PyTorch, those of a plain dict come in
            the order of their keys.

    >>> import tinybn as tb
    >>> tb.nn.ParameterDict({"scale": tb.ones(3), "times": 2})
    ParameterDict(
      (scale): Parameter containing: [float32 of size 3]
      (times): Object of type: int
    )
    """

    def __init__(self, parameters: Any = None) -> None:
        self._keys: dict[str, None] = {}  # those of the attributes that belong to the dict, in order
        if parameters is not None:
            self.update(parameters)

    def update(self, other: Any = (), /, **parts: Any) -> None:
        """Set what another mapping has, or pairs of key and value; those of a plain dict in the order of their keys."""
        super().update(sorted(other.items()) if type(other) is dict else other, **parts)

    def copy(self) -> "ParameterDict":
        """Another ParameterDict with the same parameters."""
        return ParameterDict(list(self.items()))

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> "ParameterDict":
        """A new ParameterDict with these keys and one value for all."""
        return ParameterDict([(key, default) for key in keys])

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of a key, which gets this one if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def popitem(self) -> tuple[str, Any]:
        """Take out the last key and its value."""
        key = next(reversed(self), None)
        if key is None:
            raise KeyError("popitem: this ParameterDict is empty")
        return key, self.pop(key)

    def _accepted(self, key: str, value: Any) -> Any:
        if key not in self:
            _check_name(self, key)
        return _as_parameter(value)

    def _set(self, key: str, value: Any) -> None:
        self._keys[key] = None
        setattr(self, key, value)

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return getattr(self, key)

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._keys)

    def __or__(self, other: Mapping[str, Any]) -> "ParameterDict":
        both = self.copy()
        both.update(other)
        return both

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self}

    def __ior__(self, other: Mapping[str, Any]) -> Self:
        self.update(other)
        return self

    def __repr__(self) -> str:
        return _in_lines(self, [f"({key}): {_described(value)}" for key, value in self.items()])


# --- parameters in an order -------------------------------------------------------------------------------------------


class ParameterList(Module):
    """A list of parameters, named "0", "1", … Tensors become Parameters; other values stay what they are.

    Args:
        values: the first of them.

    >>> import tinybn as tb
    >>> tb.nn.ParameterList([tb.zeros(2, 3), tb.ones(4)])
    ParameterList(
      (0): Parameter containing: [float32 of size 2x3]
      (1): Parameter containing: [float32 of size 4]
    )
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        self._size = 0
        if values is not None:
            self.extend(values)

    def append(self, value: Any) -> Self:
        """Put a value at the end."""
        return self.extend([value])

    def extend(self, values: Iterable[Any]) -> Self:
        """Put values at the end."""
        new = [_as_parameter(value) for value in _listed(self, values)]
        for value in new:
            setattr(self, str(self._size), value)
            self._size += 1
        return self

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, str(number)) for number in range(self._size))

    def __getitem__(self, index: Any) -> Any:
        values = list(self)
        return type(self)(values[index]) if isinstance(index, slice) else values[_place(self, index)]

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(_place(self, index)), _as_parameter(value))

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def __repr__(self) -> str:
        return _in_lines(self, [f"({number}): {_described(value)}" for number, value in enumerate(self)])


# --- what they share --------------------------------------------------------------------------------------------------


def _modules_of(container: Module) -> dict[str, Module]:
    """The children under their names. One that stands here twice is here twice."""
    return {name: value for name, value in vars(container).items() if isinstance(value, Module)}


def _checked_module(container: Module, name: str, module: Any) -> Module:
    if not isinstance(module, Module):
        raise TypeError(f"{type(container).__name__}: {name!r} is {module!r}; expected a Module")
    return module


def _check_name(container: Module, name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{type(container).__name__}: the key is {name!r}; expected a string")
    if not name or "." in name or hasattr(container, name):
        raise ValueError(
            f"{type(container).__name__}: {name!r} cannot name a module or parameter: it is empty, has a dot, or is an "
            f"attribute already"
        )


def _place(container: _Row | ParameterList, index: SupportsIndex) -> int:
    """An index counted from the front."""
    number, count = operator.index(index), len(container)
    if not -count <= number < count:
        raise IndexError(f"{type(container).__name__}: index {number} is out of range for {count} parts")
    return number % count


def _listed(container: Module, parts: Iterable[Any]) -> list[Any]:
    if not isinstance(parts, Iterable) or isinstance(parts, Tensor):  # a Tensor's rows are never meant
        raise TypeError(f"{type(container).__name__}: expected an iterable to extend with, got {type(parts).__name__}")
    return list(parts)


def _as_parameter(value: Any) -> Any:
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def _in_lines(container: Module, lines: list[str]) -> str:
    indented = ["  " + line.replace("\n", "\n  ") for line in lines]
    name = type(container).__name__
    return "\n".join([f"{name}(", *indented, ")"]) if indented else f"{name}()"


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"Object of type: {type(value).__name__}"
    return f"Parameter containing: [{value.dtype} of size {'x'.join(map(str, value.shape))}]"
