"""What the functions here are given, checked."""

from collections.abc import Iterable
from typing import Any

from tinybn._tensor import Tensor


def listed_tensors(name: str, parameters: Any) -> list[Tensor]:
    """Tensors, or one, as a list."""
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    if not isinstance(parameters, Iterable):
        raise TypeError(f"{name}: expected tensors such as model.parameters(), got {type(parameters).__name__}")
    listed = list(parameters)
    for p in listed:
        if not isinstance(p, Tensor):
            raise TypeError(f"{name}: expected tensors such as model.parameters(), got a {type(p).__name__} among them")
    return listed
