"""What ops save for their backwards: left out where no gradient will ask for it, and found changed where it was."""

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

import numpy as np

from tinybn import anomaly
from tinybn.errors import GraphError
from tinybn.storage import changed_since, clock


def needs(*positions: tuple[int, ...]) -> Callable[[Any], Any]:
    """Decorates an op: the gradient of its first argument needs what stands at these positions of ``saved``, and so on.

    ``@needs((1,), (0,))`` over multiply: dx = dy·y and dy = dy·x. Where x alone requires grad, x is then not saved.
    """

    count = 1 + max(p for kept in positions for p in kept)
    # For each set of kept positions, as bits, what picks them from (None, *saved), and None for the others.
    pickers = [itemgetter(*(i + 1 if bits >> i & 1 else 0 for i in range(count))) for bits in range(1 << count)]

    def mark(op: Any) -> Any:
        if count > 1:
            op.needs = [sum(1 << p for p in kept) for kept in positions], pickers
        return op

    return mark


def needed(op: Any, inputs: Iterable[Any], saved: tuple[Any, ...]) -> tuple[Any, ...]:
    """What an op saved, None for what only the gradients of constants (inputs that are None) need."""
    needs = getattr(op, "needs", None)
    if needs is None:
        return saved
    kept = 0
    for vertex, bits in zip(inputs, needs[0], strict=False):
        if vertex is not None:
            kept |= bits
    picked = needs[1][kept]((None, *saved))
    return picked + saved[len(picked) :] if len(saved) > len(picked) else picked  # what no gradient names is kept


def as_tensors(node: Any, result: Callable[..., Any]) -> tuple[Any, ...]:
    """What a node saved, inputs and output as Tensors (`result` makes them) that stand where they stood."""
    return tuple([_as_tensor(node, saved, result) for saved in node.saved])


def _as_tensor(node: Any, saved: Any, result: Callable[..., Any]) -> Any:
    if not isinstance(saved, np.ndarray):
        return saved
    if id(saved) == node.out_id:
        return result(saved, True, node)
    for source in node.inputs:
        if getattr(source, "array", None) is saved:
            return source  # a leaf
        if getattr(source, "out_id", None) == id(saved):
            return result(saved, True, source)
    return saved


def check_runnable(name: str, vertices: Iterable[Any], idle: set[Any]) -> None:
    """Raise if a node that will run was freed, or saved something that has been changed in place since."""
    now = clock.now
    for node in vertices:
        if not node.inputs or node in idle:  # a leaf has no inputs
            continue
        if node.backward is None:
            raise freed(name, node)
        time = node.time
        if time == now:
            continue
        for value in node.saved:
            author = changed_since(value, time)
            if author is not None:
                raise GraphError(_stale(name, node, value, author))


def freed(name: str, node: Any) -> GraphError:
    return GraphError(
        f"{name}: the graph behind {node!r} was freed by an earlier backward; pass retain_graph=True to that one, or "
        "compute the output again"
    )


def _stale(name: str, node: Any, value: Any, author: str) -> str:
    op = node.op.__name__
    where = anomaly.described(node.site) or (
        "; run the forward under tb.detect_anomaly(check_nan=False) to see its line here"
    )
    return (
        f"{name}: {op} needs {_role(node, value)} as it was, but {author} has changed it in place. "
        f"Change a clone() instead, or make the change before {op} reads it. This is {node!r}{where}"
    )


def _role(node: Any, value: Any) -> str:
    """What a saved value is to its node."""
    if not isinstance(value, np.ndarray):
        return "an index"
    if id(value) == node.out_id:
        return f"its output, a tensor of shape {value.shape},"
    for i, source in enumerate(node.inputs):
        if getattr(source, "array", source) is value:
            return f"its argument {i}, a leaf of shape {value.shape},"
        if getattr(source, "out_id", None) == id(value):
            return f"its argument {i}, a tensor of shape {value.shape} that {source.op.__name__} made,"
    return f"a constant of shape {value.shape}"
