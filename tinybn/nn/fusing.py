"""Layers that make what is behind them in their own pass: a ReLU, max-pooling."""

from collections.abc import Callable, Sequence
from typing import Any

from tinybn.functional.pooling import window
from tinybn.modes import RECORD, state
from tinybn.nn.activation import ReLU
from tinybn.nn.module import Module
from tinybn.nn.pooling import MaxPool2d
from tinybn.ops import Geometry

_HALVES = ((2, 2), Geometry(stride=(2, 2)))  # windows of 2×2 that do not overlap


def with_relu(module: Module, forward: Callable[..., Any], following: Sequence[Module]) -> tuple[int, dict[str, bool]]:
    """`Module.fusing` of a layer whose class defines ``forward``, with the option ``relu``: a ReLU that comes next."""
    if following and type(following[0]) is ReLU and _plain(module, forward) and _plain(following[0], ReLU.forward):
        return 1, {"relu": True}
    return 0, {}


def with_relu_and_pool(
    module: Module, forward: Callable[..., Any], following: Sequence[Module]
) -> tuple[int, dict[str, bool]]:
    """The same with the option ``pool``: of max-pooling 2×2 behind that, or alone, where nothing of it is recorded."""
    done, options = with_relu(module, forward, following)
    if done < len(following) and _halves(following[done]) and not state.mode & RECORD and _plain(module, forward):
        return done + 1, {**options, "pool": True}
    return done, options


def _plain(module: Module, forward: Callable[..., Any]) -> bool:
    """Whether it runs as its class says, and nobody watches it."""
    return type(module).forward is forward and "forward" not in vars(module) and module._hooks is None


def _halves(module: Module) -> bool:
    """Whether it is max-pooling over windows of 2×2 that do not overlap."""
    if type(module) is not MaxPool2d or not _plain(module, MaxPool2d.forward):
        return False
    where = window("MaxPool2d", module.kernel_size, module.stride, module.padding, module.dilation)
    return where == _HALVES and not module.ceil_mode and not module.return_indices
