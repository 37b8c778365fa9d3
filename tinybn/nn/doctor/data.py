"""The batches that the doctor is given."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tinybn._tensor import Tensor


def pairs(loader: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """The batches, checked."""
    for number, batch in enumerate(loader):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(f"diagnose: batch {number} is a {type(batch).__name__}; expected (inputs, targets)")
        yield batch[0], batch[1]


def length(value: Any) -> int:
    """The number of examples in inputs or targets; 1 for what has no length."""
    return len(value) if hasattr(value, "__len__") else 1


def finite(inputs: Any) -> bool:
    """Whether there is no NaN and no infinity among the inputs, as far as they are an array."""
    array = inputs.data if isinstance(inputs, Tensor) else inputs
    return not isinstance(array, np.ndarray) or array.dtype.kind != "f" or bool(np.isfinite(array).all())


class Finite:
    """A loader without the batches that are not finite."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return ((inputs, targets) for inputs, targets in pairs(self.loader) if finite(inputs))
