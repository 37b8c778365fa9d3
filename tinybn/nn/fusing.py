"""Layers that make the ReLU behind them in their own pass."""

from collections.abc import Callable
from typing import Any

from tinybn.nn.activation import ReLU
from tinybn.nn.module import Module


def relu_follows(module: Module, forward: Callable[..., Any], following: Module) -> bool:
    """Whether a ReLU is what follows and nothing would see what is between the two.

    Neither may have hooks, or a ``forward`` of its own: ``forward`` is the one that the module's class defines.
    """
    return (
        type(following) is ReLU
        and type(module).forward is forward
        and "forward" not in vars(module)
        and "forward" not in vars(following)
        and module._hooks is None
        and following._hooks is None
    )
