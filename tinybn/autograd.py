"""The engine: run an op and record it, then walk the record backwards. ``docs/autograd.md`` explains it.

A graph is made of vertices: a `Node` for each recorded op, and a leaf `Variable` for each tensor that a user made with
``requires_grad=True``. A node points at the vertices that its gradients flow to. It never points at an intermediate
tensor, so an activation lives only as long as somebody holds it or a backward needs it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinybn import anomaly
from tinybn._typing import Array, Backward, Op, Shape
from tinybn.errors import GraphError, misfit
from tinybn.hooks import Watch
from tinybn.modes import CHECK, RECORD, set_grad_enabled, state
from tinybn.ops import call, clone, sum_to
from tinybn.saved import as_tensors, check_runnable, freed, needed
from tinybn.silence import SILENT, restore, set_state
from tinybn.starts import check_gradients, check_inputs, listed, starting_gradients
from tinybn.storage import clock, mark_changed, note_view

ndarray = np.ndarray


class Variable:
    """What the engine knows of a tensor: its array, its gradient, and the node that made it (None for a leaf)."""

    __slots__ = ("__dict__", "__weakref__", "array", "grad", "node", "tracked")

    array: Array  # Tensor.data, which checks what it is set to
    grad: Any
    node: "Node | None"
    tracked: bool  # what is computed with it is recorded: Tensor.requires_grad
    watch: Watch | None = None  # hooks; few tensors have some, which then are in its __dict__

    inputs: ClassVar[tuple[()]] = ()  # a leaf has none: it can be walked like a node
    result: ClassVar[type["Variable"]]  # the class of what ops return: Tensor

    def __init__(self, array: Array, tracked: bool = False, node: "Node | None" = None) -> None:
        if node is None and type(array) is not ndarray:
            raise TypeError(f"Tensor: expected an array, got {type(array).__name__}; tb.tensor makes one of anything")
        self.array = array
        self.grad = None
        self.tracked = tracked
        self.node = node

    @property
    def shape(self) -> Shape:
        return self.array.shape

    def _apply(self, op: Callable[..., Op], *args: Any, **options: Any) -> Any:
        """What `ops.call` finds on a Tensor."""
        y = apply(op, *args, **options)
        return y[0] if type(y) is tuple else y


class Node:
    """A recorded op."""

    __slots__ = ("__dict__", "backward", "inputs", "op", "out_id", "saved", "shape", "time")

    site: anomaly.Site | None = None  # like watch, in the __dict__ of the few nodes that have one
    watch: Watch | None = None

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
        self.time = clock.now

    def __repr__(self) -> str:
        return f"<{self.op.__name__} {self.shape}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise GraphError("copy, pickle: a node leads to other leaves when it is copied; detach() the tensor first")


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
            arrays.append(arg.array)
            if arg.tracked:
                record = True
                inputs.append(arg.node or arg)
                continue
        else:
            arrays.append(arg)
        inputs.append(None)
    before = set_state(SILENT)
    try:
        made = op(*arrays, **options)
    except ValueError as error:
        raise misfit(op.__name__, arrays, error) from None
    finally:
        restore(before)
    y = recorded(op, made, arrays, inputs, record)
    result = y[0] if type(y) is tuple else y
    if result.array.base is not None:
        note_view(result, args, bool(state.mode & RECORD))
    return y


def recorded(op: Callable[..., Op], made: Op, arrays: Sequence[Any], inputs: Any, record: bool) -> Any:
    """What an op has made of arrays, as a Tensor; with a node, if there are vertices among ``inputs`` to lead it to."""
    out, backward, saved = made
    by_products: Any = None
    if type(out) is not ndarray:
        if type(out) is tuple:
            out, *by_products = out
        if type(out) is not ndarray:  # NumPy makes scalars of 0-d results
            scalar, out = out, np.asarray(out)
            saved = tuple(out if value is scalar else value for value in saved)
    mode = state.mode
    if record and mode & RECORD:
        y = Variable.result(out, True, Node(op, inputs, backward, needed(op, inputs, saved) if saved else saved, out))
    else:
        y = Variable.result(out)
    if mode > RECORD:
        anomaly.watch(mode, op.__name__, arrays, y)
    return y if by_products is None else (y, *by_products)


def backward(
    outputs: Variable | Sequence[Variable],
    gradients: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Variable | Sequence[Variable] | None = None,
) -> None:
    """Add d outputs / d leaf to the ``grad`` of every leaf that the outputs were computed from, or of ``inputs`` only.

    They are written at the end, all together: if something raises on the way, none has changed.
    """
    outputs, inputs = listed(outputs), None if inputs is None else listed(inputs)
    holders = {x.node or x: x for x in inputs or ()}
    made, targets = _walk("backward", outputs, gradients, inputs, retain_graph, create_graph), []
    for vertex, g in made.items():
        tensor: Any = holders.get(vertex, vertex)
        if type(tensor) is Node:
            tensor = tensor.watch.tensor()  # type: ignore[union-attr, misc]  # it has retain_grad, or it had, and is gone
            if tensor is None:
                continue
        targets.append((tensor, g))
    check_gradients(tensor for tensor, _ in targets)
    for tensor, g in targets:
        if tensor.grad is None:
            tensor.grad = g
        elif create_graph or tensor.grad.tracked:  # an earlier backward's graph may hold that buffer
            with set_grad_enabled(create_graph):
                tensor.grad = tensor.grad + g
        else:
            with np.errstate(all="ignore"):
                np.add(tensor.grad.array, g.array, out=tensor.grad.array)
            mark_changed(tensor.grad.array, "backward")


def grad(
    outputs: Variable | Sequence[Variable],
    inputs: Variable | Sequence[Variable],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """d outputs / d inputs, summed over the outputs; no ``.grad`` is touched.

    Args:
        outputs, inputs: a tensor or a sequence of them; inputs may be leaves or intermediate results.
        grad_outputs: what the outputs' gradients start from; None stands for 1 and needs an output of one element.
        retain_graph: keep the graph for another backward; default: the value of ``create_graph``.
        create_graph: record the computation of the gradients, so that they can be differentiated in turn.
        only_inputs: of no effect, as in PyTorch; programs pass it.
        allow_unused: return None for an input that the outputs do not depend on, instead of raising.
        materialize_grads: return zeros for such an input.

    Returns:
        One gradient per input.

    Raises:
        GraphError: an input does not require grad or was not used; there is no graph, it was freed, or something that
            it saved has been changed in place.

    >>> import tinybn as tb
    >>> x = tb.tensor(3.0, requires_grad=True)
    >>> (dy,) = tb.grad(x * x * x, x, create_graph=True)
    >>> (d2y,) = tb.grad(dy, x)
    >>> dy.item(), d2y.item()
    (27.0, 18.0)
    """
    outputs, inputs = listed(outputs), listed(inputs)
    made = _walk("grad", outputs, grad_outputs, inputs, retain_graph, create_graph)
    gradients = [made.get(x.node or x) for x in inputs]
    for i, g in enumerate(gradients):
        if g is None and materialize_grads:
            gradients[i] = Variable.result(np.zeros_like(inputs[i].array))
        elif g is None and not allow_unused:
            raise GraphError(f"grad: the outputs do not depend on input {i}; allow_unused=True returns None for it")
    return tuple(gradients)


def _walk(
    name: str, outputs: list[Any], given: Any, inputs: list[Any] | None, retain_graph: bool | None, create_graph: bool
) -> dict[Any, Variable]:
    """The gradients of the inputs (None: of all leaves), by vertex, each a Tensor with a buffer of its own.

    ``backward`` gets those of intermediate tensors that retain theirs, too.
    """
    check_inputs(name, inputs or ())
    mode, before = state.mode, set_state(SILENT)
    state.mode = mode & ~(CHECK | RECORD) | (RECORD if create_graph else 0)  # CHECK: in _flow, not in each op behind it
    try:
        # vertex → the sum of the gradients that have reached it
        pending: dict[Vertex, Any] = starting_gradients(name, outputs, given, create_graph)
        order, leaves = _inputs_first(pending)
        wanted = None if inputs is None else {x.node or x for x in inputs}
        towards, idle = (None, set()) if wanted is None else _leading_to(wanted, order)
        check_runnable(name, order, idle if towards is None or towards.issuperset(wanted or ()) else set())
        gradients: dict[Any, Variable] = {}
        kept = {leaf for leaf in leaves if leaf.tracked} if wanted is None else wanted
        watched = [v for v in order if v.watch is not None]
        if name == "backward":
            kept |= {v for v in watched if v.watch.tensor is not None}  # type: ignore[union-attr, operator]
        for vertex in kept & pending.keys():
            pending[vertex] = _copied(pending[vertex])  # it may be the caller's
        retain = create_graph if retain_graph is None else retain_graph
        while order:
            vertex = order.pop()
            dy = pending.pop(vertex, None)
            if dy is None:
                continue
            if type(dy) is not ndarray and isinstance(dy, np.generic):  # of a 0-d array, by NumPy's arithmetic
                dy = np.asarray(dy)
            if watched and vertex.watch is not None:
                dy = vertex.watch.run_hooks(dy, Variable.result, create_graph)
            if vertex in kept:
                gradients[vertex] = dy if isinstance(dy, Variable) else Variable.result(dy)
            if type(vertex) is Node and vertex not in idle:
                _flow(vertex, dy, pending, towards, kept, create_graph, bool(mode & CHECK))
                if not retain:
                    vertex.backward, vertex.saved = None, ()
    finally:
        state.mode = mode
        restore(before)
    return gradients


def _flow(
    node: Node, dy: Any, pending: dict[Vertex, Any], towards: Any, kept: Any, create_graph: bool, check: bool
) -> None:
    """Add the gradients of a node's inputs to what has reached them so far."""
    if node.backward is None:
        raise freed("backward", node)
    saved = as_tensors(node, Variable.result) if create_graph else node.saved
    parts = node.backward(dy, *saved)
    others: list[int] = []
    for i, source in enumerate(node.inputs):
        if source is None or (towards is not None and source not in towards):
            continue
        part = parts[i]
        if part is None:
            continue
        g = part() if callable(part) else part
        if g.shape != source.shape:
            g = sum_to(g, source.shape, node.op.__name__)
        if check:
            anomaly.check(f"the backward of {node.op.__name__}", g, (dy, *saved), node.site)
        if source in pending:
            g = pending[source] + g
        elif source in kept:  # it needs a buffer that nobody else has
            others = others or [id(dy), *map(id, saved), *map(id, parts)]
            if create_graph or g.base is not None or others.count(id(g)) != (g is part):
                g = _copied(g)
        pending[source] = g


def _inputs_first(starts: Iterable[Vertex]) -> tuple[list[Vertex], list[Variable]]:
    """Every vertex behind `starts`, each after its inputs, and the leaves among them. Iterative: depth is no matter."""
    order: list[Vertex] = []
    leaves: list[Any] = []
    seen: set[Vertex] = set()
    stack: list[Any] = [*starts]
    while stack:
        vertex = stack.pop()
        if vertex is None:  # the inputs of the vertex below it are done
            order.append(stack.pop())
        elif vertex not in seen:
            seen.add(vertex)
            if not vertex.inputs:
                order.append(vertex)
                leaves.append(vertex)
                continue
            stack += (vertex, None)
            for source in vertex.inputs:
                if source is not None and source not in seen:
                    stack.append(source)
    return order, leaves


def _leading_to(wanted: set[Vertex], order: list[Vertex]) -> tuple[set[Vertex], set[Vertex]]:
    """The vertices whose gradients reach a wanted one, and those that need not run: nothing wanted is behind them."""
    towards: set[Vertex] = set()
    idle: set[Vertex] = set()
    for vertex in order:
        if towards.isdisjoint(vertex.inputs):
            idle.add(vertex)
        if vertex in wanted or vertex not in idle:
            towards.add(vertex)
    return towards, idle


def _copied(g: Any) -> Any:
    return call(clone, g) if isinstance(g, Variable) else g.copy()
