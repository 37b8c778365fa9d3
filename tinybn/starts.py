"""What `backward` and `grad` are given, checked: outputs with the gradients to start from, and inputs."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinybn.errors import GraphError, ShapeError
from tinybn.ops import call, cast


def listed(tensors: Any) -> list[Any]:
    """One tensor or a sequence of them as a list."""
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def starting_gradients(name: str, outputs: Sequence[Any], given: Any, create_graph: bool) -> dict[Any, Any]:
    """The gradients that outputs start from, by their vertices: arrays, or Tensors if they are to be differentiated."""
    many = listed(given) if given is not None else [None] * len(outputs)
    if len(outputs) == 1 and not (len(many) == 1 and hasattr(many[0], "shape")):
        many = [given]  # nested lists: the gradient itself
    if len(many) != len(outputs):
        raise GraphError(
            f"{name}: {len(outputs)} outputs but {len(many)} gradient{'s' * (len(many) != 1)} to start from"
        )
    starts: dict[Any, Any] = {}
    for y, dy in zip(outputs, many, strict=True):
        vertex, start = y.node or y, _starting_gradient(name, y, dy, create_graph)
        starts[vertex] = starts[vertex] + start if vertex in starts else start
    return starts


def _starting_gradient(name: str, output: Any, start: Any, create_graph: bool) -> Any:
    if not output.tracked:
        raise GraphError(
            f"{name}: this tensor does not require grad: it was made without requires_grad=True on anything that it "
            "was computed from, or under no_grad()"
        )
    data = output.data
    if start is None:
        if data.size != 1:
            raise GraphError(
                f"{name}: a gradient can start by itself only from one element; this output has shape {data.shape}; "
                "reduce it (.sum(), .mean()) or pass the gradient to start from"
            )
        start = np.ones_like(data)
    is_tensor = isinstance(start, output.result)
    if not is_tensor:
        start = np.array(start, data.dtype)
    if start.shape != data.shape:
        raise ShapeError(f"{name}: the gradient has shape {start.shape}; the output has {data.shape}")
    if is_tensor:
        start = start if create_graph else start.array
        return start if start.dtype == data.dtype else call(cast, start, data.dtype)
    return output.result(start) if create_graph else start


def check_inputs(name: str, inputs: Sequence[Any]) -> None:
    """Refuse inputs that nothing can flow to."""
    for i, x in enumerate(inputs):
        if not x.tracked:
            raise GraphError(f"{name}: input {i} does not require grad; make it with requires_grad=True")


def check_gradients(tensors: Iterable[Any]) -> None:
    """Refuse a ``grad`` that nothing can be added to, before any has changed."""
    for tensor in tensors:
        grad = tensor.grad
        if grad is None:
            continue
        if not isinstance(grad, tensor.result):
            raise TypeError(f"backward: a grad is a {type(grad).__name__}; expected a Tensor or None")
        if grad.shape != tensor.shape:
            raise ShapeError(f"backward: a grad has shape {grad.shape}; its tensor has {tensor.shape}")
        if not grad.data.flags.writeable:
            raise GraphError("backward: a grad was expanded, or shares read-only memory; set it to a clone()")
