"""How a backward body runs an op without knowing whether it works on arrays or on Tensors."""

from collections.abc import Callable
from typing import Any

from tinybn._typing import Op


def call(op: Callable[..., Op], *args: Any, **options: Any) -> Any:
    """The output of ``op`` alone: an array for arrays, a recorded Tensor as soon as one argument is a Tensor.

    A Tensor brings the engine along (its ``_apply``), so that this module needs to import nothing of it.
    """
    for arg in args:
        apply = getattr(arg, "_apply", None)
        if apply is not None:
            return apply(op, *args, **options)
    return op(*args, **options)[0]
