"""Layers that make the ReLU behind them in their own pass."""

from collections.abc import Callable
from typing import Any

from tinybn.nn.activation import ReLU
from tinybn.nn.module import Module


def relu_follows(module: Module, forward: Callable[..., Any], following: Module) -> bool:
    """Whether a ReLU is what follows and nothing would see what is between the two.

    Neither is a subclass with a ``forward`` of its own (``forward`` is the module's, as its class defines it) or has hooks.
    """
    return (
        type(following) is ReLU
        and type(module).forward is forward
        and "forward" not in vars(module)
        and "forward" not in vars(following)
        and module._hooks is None
        and following._hooks is None
    )
