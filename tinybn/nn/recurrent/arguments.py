"""What users give to recurrent nets, checked."""

from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Shape
from tinybn.errors import ShapeError
from tinybn.functional.arguments import check_dtypes, whole
from tinybn.nn.recurrent.kinds import State


def check_size(name: str, value: Any) -> int:
    """A whole number from 1 on."""
    size = whole(name, value)
    if size < 1:
        raise ValueError(f"{name} is {size}; expected at least 1")
    return size


def given_states(hx: Any, names: tuple[str, ...], shapes: list[Shape], x: Tensor, weight: Tensor) -> State:
    """The initial states, if they go together with the input and the weights; zeros for None."""
    if hx is None:
        states = tuple(F.zeros(shape, dtype=x.dtype) for shape in shapes)
    elif len(names) == 1:
        states = (as_tensor(hx),)
    elif isinstance(hx, tuple | list) and len(hx) == len(names):
        states = tuple(as_tensor(state) for state in hx)
    else:
        raise TypeError(f"hx: expected a tuple ({', '.join(names)}), got {type(hx).__name__}")
    for name, state, shape in zip(names, states, shapes, strict=True):
        if state.shape != shape:
            raise ShapeError(f"an input of shape {x.shape} needs an initial {name} of shape {shape}, got {state.shape}")
    check_dtypes("forward", input=x, **dict(zip(names, states, strict=True)), weights=weight)
    return states
