"""Being told of each run of a layer."""

from collections.abc import Callable
from typing import Any

from tinybn.nn.module import Module

Told = Callable[[Any, Any, bool], None]


def tell_runs(layer: Module, told: Told) -> None:
    """Call ``told(input, output, relu)`` after each run of a layer, where relu says that it did the one behind as well.

    Not by a hook, which does not see an input that was passed by its name. `Sequential` does not fuse such a layer with
    a ReLU.
    """
    forward = layer.forward

    def run(input: Any, **options: Any) -> Any:
        output = forward(input, **options)
        told(input, output, bool(options.get("relu")))
        return output

    vars(layer)["forward"] = run
