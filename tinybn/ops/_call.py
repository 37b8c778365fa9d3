"""What backwards run on arrays and on Tensors alike."""

from collections.abc import Callable
from typing import Any

from tinybn._typing import Op, Shape
from tinybn.errors import ShapeError


def call(op: Callable[..., Op], *args: Any, **options: Any) -> Any:
    """The output of ``op`` alone: an array for arrays, a recorded Tensor as soon as one argument is a Tensor.

    A Tensor brings the engine along (its ``_apply``), so that this module needs to import nothing of it.
    """
    for arg in args:
        apply = getattr(arg, "_apply", None)
        if apply is not None:
            return apply(op, *args, **options)
    return op(*args, **options)[0]


def sum_to(g: Any, shape: Shape, name: str) -> Any:
    """Undo the broadcasting of a gradient of the op of that name: sum over the axes in front and those that were 1."""
    front = len(g.shape) - len(shape)
    if front < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[front:], strict=True)):
        raise ShapeError(f"the backward of {name}: a gradient of shape {g.shape} for an input of shape {shape}")
    axes = (*range(front), *(i + front for i, n in enumerate(shape) if n == 1 and g.shape[i + front] != 1))
    return g.sum(axis=axes).reshape(shape)
