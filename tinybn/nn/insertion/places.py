"""The places of a Sequential, nested ones included, and their names."""

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

from tinybn.nn.activation import (
    CELU,
    ELU,
    GELU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    Mish,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
)
from tinybn.nn.container import Sequential
from tinybn.nn.conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from tinybn.nn.linear import Linear
from tinybn.nn.module import Module

WEIGHTED = (Linear, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d)

ACTIVATIONS = (
    *(CELU, ELU, GELU, SELU, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU, LogSigmoid, Mish, PReLU, ReLU, Sigmoid, SiLU),
    *(Softplus, Softsign, Tanh),
)


class Part(NamedTuple):
    """A module in a Sequential: a leaf, or a Sequential again.

    Fields:
        path: its name in the model.
        container, name: what it stands in, and its name there.
        start, end: it is the leaves from start to end, counted through the whole model.
    """

    path: str
    container: Sequential
    name: str
    module: Module
    start: int
    end: int


class Spot(NamedTuple):
    """A place for a module: in a container, in front of the part of this name or behind it, ``gap`` leaves in front."""

    container: Sequential
    name: str
    behind: bool
    gap: int


def is_plain(module: Module) -> TypeGuard[Sequential]:
    """Whether a module is a Sequential that does what a Sequential does."""
    return isinstance(module, Sequential) and type(module).forward is Sequential.forward


def parts_of(model: Sequential) -> list[Part]:
    """All parts of a Sequential and of those inside, each container behind what it holds."""
    found: list[Part] = []

    def walk(container: Sequential, prefix: str, start: int) -> int:
        for name, module in [(n, m) for n, m in vars(container).items() if isinstance(m, Module)]:
            end = walk(module, f"{prefix}{name}.", start) if is_plain(module) else start + 1
            found.append(Part(prefix + name, container, name, module, start, end))
            start = end
        return start

    walk(model, "", 0)
    return found


def leaves_of(parts: Sequence[Part]) -> list[Part]:
    """The parts that are not Sequentials, in the order in which they run."""
    return [part for part in parts if not is_plain(part.module)]


def parse_places(places: str | Sequence[str]) -> list[str]:
    """The names in a string, joined by +, or in a list; none for "none"."""
    names = places.split("+") if isinstance(places, str) else list(places)
    names = [" ".join(name.split()) for name in names]
    if names in (["none"], [""]):
        return []
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(f"insert_normalization: places are {places!r}; expected names with '+' between, each once")
    return names


def find_spots(place: str, parts: Sequence[Part]) -> list[Spot]:
    """Where a place is."""
    leaves = leaves_of(parts)
    weighted = [leaf for leaf in leaves if _has_weight(leaf.module)]
    side, _, target = place.partition(" ")
    if place == "input":
        named, side = weighted[:1], "before"
    elif place == "logits":
        named, side = weighted[-1:], "after"
    elif place == "output":
        named, side = leaves[-1:], "after"
    elif side not in ("before", "after"):
        raise ValueError(f"insert_normalization: unknown place {place!r}; {_expected(parts)}")
    else:
        named = _named(target or "activation", parts, leaves, weighted)
    if not named:
        raise ValueError(f"insert_normalization: there is no place {place!r} in this model; {_expected(parts)}")
    behind = side == "after"
    return [Spot(part.container, part.name, behind, part.end if behind else part.start) for part in named]


def _named(target: str, parts: Sequence[Part], leaves: list[Part], weighted: list[Part]) -> list[Part]:
    """The parts that stand behind "before" and "after": one by its path, or all of a kind."""
    exact = [part for part in parts if part.path == target]
    if exact:
        return exact
    if target == "weight":
        return weighted
    if target == "activation":
        last = weighted[-1].start if weighted else -1
        return [leaf for leaf in leaves if isinstance(leaf.module, ACTIVATIONS) and leaf.start < last]
    return [leaf for leaf in leaves if target in _class_names(leaf.module)]


def _has_weight(module: Module) -> bool:
    return any(isinstance(part, WEIGHTED) for part in module.modules())


def _class_names(module: Module) -> list[str]:
    classes = type(module).__mro__
    return [own.__name__ for own in classes[: classes.index(Module)]]


def _expected(parts: Sequence[Part]) -> str:
    kinds = dict.fromkeys(_class_names(leaf.module)[0] for leaf in leaves_of(parts))
    return (
        "expected 'input', 'logits', 'output', or 'before' or 'after' with nothing or 'activation' (the hidden ones), "
        f"'weight', a class ({', '.join(kinds)}) or a module's name ({', '.join(part.path for part in parts)})"
    )
