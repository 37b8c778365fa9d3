"""The engine: run an op and record it, then walk the record backwards. ``docs/design.md`` has the contract of an op.

A graph is made of vertices: a `Node` for each recorded op, and a leaf `Variable` for each tensor that a user made with
``requires_grad=True``. A node points at the vertices that its gradients flow to. It never points at an intermediate
tensor, so an activation lives only as long as somebody holds it or a backward needs it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinybn._typing import Array, Backward, Op, Shape
from tinybn.errors import GraphError, ShapeError
from tinybn.grad_mode import set_grad_enabled, state
from tinybn.ops import call, cast

ndarray = np.ndarray


class Variable:
    """What the engine knows of a tensor: its array, its gradient, and the node that made it (None for a leaf)."""

    __slots__ = ("__weakref__", "data", "grad", "node", "requires_grad")

    data: Array
    grad: Any
    node: "Node | None"
    requires_grad: bool

    inputs: ClassVar[tuple[()]] = ()  # a leaf has none: it can be walked like a node
    result: ClassVar[type["Variable"]]  # the class of what ops return: Tensor

    def __init__(self, data: Array, requires_grad: bool = False, node: "Node | None" = None) -> None:
        self.data = data
        self.grad = None
        self.requires_grad = requires_grad
        self.node = node

    @property
    def shape(self) -> Shape:
        return self.data.shape

    def _apply(self, op: Callable[..., Op], *args: Any, **options: Any) -> Any:
        """What `ops.call` finds on a Tensor."""
        y = apply(op, *args, **options)
        return y[0] if type(y) is tuple else y


class Node:
    """A recorded op."""

    __slots__ = ("backward", "inputs", "op", "out_id", "saved", "shape")

    def __init__(
        self, op: Callable[..., Op], inputs: list["Vertex | None"], backward: Backward, saved: Any, out: Any
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.backward: Backward | None = backward
        self.saved = saved
        self.shape: Shape = out.shape
        # A saved output is known by its id. Ids are reused after an object's death, but an array that a later op saved
        # was alive together with this one, so that two ids that agree mean one array.
        self.out_id = id(out)

    def __repr__(self) -> str:
        return f"<{self.op.__name__} {self.shape}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise GraphError(
            "copy, pickle: only leaves can be copied, a copied graph would lead to other leaves; detach() first"
        )


Vertex = Node | Variable


def apply(op: Callable[..., Op], *args: Any, **options: Any) -> Any:
    """Run ``op`` on the arrays of ``args`` and record it if one of them requires grad.

    Returns a Tensor, or a tuple of a Tensor and the op's by-products (arrays).
    """
    arrays: list[Any] = []
    inputs: list[Vertex | None] = []
    record = False
    for arg in args:
        if isinstance(arg, Variable):
            arrays.append(arg.data)
            if arg.requires_grad:
                record = True
                inputs.append(arg.node or arg)
                continue
        else:
            arrays.append(arg)
        inputs.append(None)
    try:
        # Without options, not to unpack none of them saves 50 of the 1,900 ns that a small recorded op takes.
        out, backward, saved = op(*arrays, **options) if options else op(*arrays)
    except ShapeError:
        raise
    except ValueError as error:
        shapes = ", ".join(str(a.shape) for a in arrays if isinstance(a, ndarray))
        raise ShapeError(f"{op.__name__}: shapes {shapes}: {error}") from None
    by_products: tuple[Any, ...] = ()
    if type(out) is tuple:
        out, by_products = out[0], out[1:]
    if type(out) is not ndarray:  # NumPy makes scalars of 0-d results
        scalar, out = out, np.asarray(out)
        saved = tuple(out if value is scalar else value for value in saved)
    if record and state.grad:
        y = Variable.result(out, True, Node(op, inputs, backward, saved, out))
    else:
        y = Variable.result(out)
    return (y, *by_products) if by_products else y


def backward(output: Variable, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
    """Add d output / d leaf to the ``grad`` of every leaf that ``output`` was computed from.

    They are written at the end, all together: if something raises on the way, none has changed.
    """
    gradients = _walk([output], [gradient], None, retain_graph or create_graph, create_graph)
    for leaf, g in gradients.items():
        if leaf.grad is None:
            leaf.grad = g
        elif create_graph or leaf.grad.requires_grad:  # an earlier backward's graph may hold that buffer
            leaf.grad = leaf.grad + g
        else:
            np.add(leaf.grad.data, g.data, out=leaf.grad.data)


def grad(
    outputs: Variable | Sequence[Variable],
    inputs: Variable | Sequence[Variable],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """d outputs / d inputs, summed over the outputs; no ``.grad`` is touched.

    Args:
        outputs, inputs: a tensor or a sequence of them; inputs may be leaves or intermediate results.
        grad_outputs: what the outputs' gradients start from; None stands for 1 and needs an output of one element.
        retain_graph: keep the graph for another backward; default: the value of ``create_graph``.
        create_graph: record the computation of the gradients, so that they can be differentiated in turn.
        allow_unused: return None for an input that the outputs do not depend on, instead of raising.

    Returns:
        One gradient per input.

    Raises:
        GraphError: an input does not require grad or was not used; there is no graph, or it was freed.

    >>> import tinybn as tb
    >>> x = tb.tensor(3.0, requires_grad=True)
    >>> (dy,) = tb.grad(x * x * x, x, create_graph=True)
    >>> (d2y,) = tb.grad(dy, x)
    >>> dy.item(), d2y.item()
    (27.0, 18.0)
    """
    outputs = [outputs] if isinstance(outputs, Variable) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Variable) else list(inputs)
    starts = list(grad_outputs) if isinstance(grad_outputs, list | tuple) else [grad_outputs] * len(outputs)
    if len(starts) != len(outputs):
        raise GraphError(f"grad: {len(outputs)} outputs but {len(starts)} grad_outputs; give one for each output")
    for i, x in enumerate(inputs):
        if not x.requires_grad:
            raise GraphError(f"grad: input {i} does not require grad; make it with requires_grad=True")
    vertices: list[Vertex] = [x.node or x for x in inputs]
    gradients = _walk(
        outputs, starts, set(vertices), create_graph if retain_graph is None else retain_graph, create_graph
    )
    for i, vertex in enumerate(vertices):
        if vertex not in gradients and not allow_unused:
            raise GraphError(f"grad: the outputs do not depend on input {i}; allow_unused=True returns None for it")
    return tuple(gradients.get(vertex) for vertex in vertices)


def _walk(
    outputs: Sequence[Variable],
    starts: Sequence[Any],
    wanted: set[Vertex] | None,
    retain_graph: bool,
    create_graph: bool,
) -> dict[Any, Variable]:
    """The gradients of the wanted vertices (None: of all leaves), each a Tensor with a buffer of its own."""
    pending: dict[Vertex, Any] = {}  # vertex → the sum of the gradients that have reached it
    for output, start in zip(outputs, starts, strict=True):
        dy = _starting_gradient(output, start, create_graph)
        vertex = output.node or output
        pending[vertex] = pending[vertex] + dy if vertex in pending else dy
    order = _inputs_first(pending)
    needed = None if wanted is None else _leading_to(wanted, order)
    gradients: dict[Any, Variable] = {}

    def kept(vertex: Vertex) -> bool:
        return isinstance(vertex, Variable) if wanted is None else vertex in wanted

    with set_grad_enabled(create_graph), np.errstate(all="ignore"):
        while order:
            vertex = order.pop()
            dy = pending.pop(vertex, None)
            if dy is None:
                continue
            if kept(vertex):
                gradients[vertex] = dy if isinstance(dy, Variable) else outputs[0].result(np.asarray(dy))
            if type(vertex) is Node:
                _flow(vertex, dy, pending, needed, kept, create_graph)
                if not retain_graph:
                    vertex.backward, vertex.saved, vertex.inputs = None, (), []
    return gradients


def _flow(
    node: Node,
    dy: Any,
    pending: dict[Vertex, Any],
    needed: set[Vertex] | None,
    kept: Callable[[Vertex], bool],
    create_graph: bool,
) -> None:
    """Add the gradients of a node's inputs to what has reached them so far."""
    saved = _saved_as_tensors(node) if create_graph else node.saved
    parts = node.backward(dy, *saved)  # type: ignore[misc]  # not None: _inputs_first saw to it
    for source, g in zip(node.inputs, parts, strict=False):
        if source is None or g is None or (needed is not None and source not in needed):
            continue
        if callable(g):
            g = g()
        if g.shape != source.shape:
            g = _sum_to(g, source.shape)
        if source in pending:
            pending[source] = pending[source] + g
        else:
            pending[source] = _own(g, dy, saved, parts) if kept(source) else g


def _starting_gradient(output: Variable, start: Any, create_graph: bool) -> Any:
    if not output.requires_grad:
        raise GraphError(
            "backward: this tensor does not require grad: it was made without requires_grad=True on anything that it "
            "was computed from, or under no_grad()"
        )
    data = output.data
    if start is None:
        if data.size != 1:
            raise GraphError(
                f"backward: a gradient can start by itself only from one element; this output has shape {data.shape}; "
                "reduce it (.sum(), .mean()) or pass gradient="
            )
        start = np.ones_like(data)
    elif not isinstance(start, Variable):
        start = np.array(start, data.dtype)
    if start.shape != data.shape:
        raise ShapeError(f"backward: the gradient has shape {start.shape}; the output has {data.shape}")
    if isinstance(start, Variable):
        return call(cast, start if create_graph else start.data, data.dtype)
    return output.result(start) if create_graph else start


def _inputs_first(starts: Iterable[Vertex]) -> list[Vertex]:
    """Every vertex behind `starts`, each after its inputs. Iterative: depth is no matter."""
    order: list[Vertex] = []
    seen: set[Vertex] = set()
    stack: list[tuple[Vertex, bool]] = [(vertex, False) for vertex in starts]
    while stack:
        vertex, inputs_done = stack.pop()
        if inputs_done:
            order.append(vertex)
        elif vertex not in seen:
            seen.add(vertex)
            if type(vertex) is Node and vertex.backward is None:
                raise GraphError(
                    f"backward: the graph behind {vertex!r} was freed by an earlier backward; pass retain_graph=True "
                    "to that one, or compute the output again"
                )
            stack.append((vertex, True))
            for source in vertex.inputs:
                if source is not None and source not in seen:
                    stack.append((source, False))
    return order


def _leading_to(wanted: set[Vertex], order: list[Vertex]) -> set[Vertex]:
    """The vertices whose gradients reach a wanted one."""
    needed: set[Vertex] = set()
    for vertex in order:
        if vertex in wanted or any(source in needed for source in vertex.inputs):
            needed.add(vertex)
    return needed


def _saved_as_tensors(node: Node) -> tuple[Any, ...]:
    """What the node saved, inputs and output as Tensors that stand where they stood in the graph."""

    def find(saved: Any) -> Any:
        if not isinstance(saved, ndarray):
            return saved
        if id(saved) == node.out_id:
            return result(saved, True, node)
        for source in node.inputs:
            if isinstance(source, Variable):
                if source.data is saved:
                    return source
            elif source is not None and source.out_id == id(saved):
                return result(saved, True, source)
        return saved

    result = Variable.result
    return tuple(find(saved) for saved in node.saved)


def _sum_to(g: Any, shape: Shape) -> Any:
    """Undo broadcasting: sum over the axes in front and over those that were 1."""
    front = len(g.shape) - len(shape)
    axes = (*range(front), *(i + front for i, n in enumerate(shape) if n == 1 and g.shape[i + front] != 1))
    return g.sum(axis=axes).reshape(shape)


def _own(g: Any, dy: Any, saved: tuple[Any, ...], parts: tuple[Any, ...]) -> Any:
    """A gradient whose buffer nobody else has: a copy, unless the op has just made it for this one input."""
    if isinstance(g, Variable):
        return call(cast, g, g.data.dtype)
    others = (dy, *saved)
    shared = getattr(g, "base", None) is not None or any(g is o for o in others) or sum(g is p for p in parts) > 1
    return g.copy() if shared else g
