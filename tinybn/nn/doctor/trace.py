"""What stands where: which normalization layers run, and what the graph has in front of them and behind them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor
from tinybn._typing import Array, Shape
from tinybn.autograd import Node
from tinybn.modes import enable_grad
from tinybn.nn.doctor.modes import use_running
from tinybn.nn.doctor.runs import tell_runs
from tinybn.nn.dropout import Dropout
from tinybn.nn.module import Module
from tinybn.nn.normalization import NORMALIZATIONS, GroupNorm, InstanceNorm1d, InstanceNorm2d, LayerNorm, RMSNorm

PER_EXAMPLE = (InstanceNorm1d, InstanceNorm2d, LayerNorm, GroupNorm, RMSNorm)  # statistics of each example's own

# Ops that move values, so that a ReLU on the other side of them meets each value of a channel that is not lost.
_MOVES = {ops.reshape, ops.transpose, ops.max_pool2d, ops.clone}


class Drop(NamedTuple):
    """A dropout: its module's name, None for a call of a function, and its rate."""

    name: str | None
    p: float


@dataclass
class Place:
    """A normalization layer and what is around it.

    Fields:
        name, layer: as in `named_modules`.
        shapes: of its inputs, one for each run in one forward; none if it never ran.
        dropouts: those in front of it, behind the normalization layers before it.
        relu: a ReLU reads its output.
        biases: the names of biases between it and the normalization layers before it.
        above: the names of all parameters that its input depends on.
    """

    name: str
    layer: Any
    shapes: list[Shape] = field(default_factory=list)
    dropouts: list[Drop] = field(default_factory=list)
    relu: bool = False
    biases: list[str] = field(default_factory=list)
    above: set[str] = field(default_factory=set)

    @property
    def kind(self) -> str:
        return type(self.layer).__name__

    @property
    def mixes_examples(self) -> bool:
        """Whether it is a batch normalization, whose statistics are over several examples."""
        return not isinstance(self.layer, PER_EXAMPLE)

    @property
    def tracks(self) -> bool:
        """Whether it has running statistics, which evaluation uses."""
        return getattr(self.layer, "num_batches_tracked", None) is not None

    @property
    def frozen(self) -> bool:
        return bool(getattr(self.layer, "frozen_statistics", False))


class _Run(NamedTuple):
    """One run of a layer: the vertices of its input and output."""

    place: Place
    input: Any
    output: Any


def trace(model: Module, inputs: Any) -> list[Place]:
    """Where the normalization layers of a model stand, in the order in which they run; those that never run come last.

    One forward of ``inputs``, recorded, in which dropout drops and normalization uses the running statistics. It
    changes the model (what requires grad, modes): pass a copy.
    """
    places = {
        id(layer): Place(name, layer) for name, layer in model.named_modules() if isinstance(layer, NORMALIZATIONS)
    }
    drops: dict[Any, Drop] = {}
    runs: list[_Run] = []

    def note_run(place: Place, input: Any, output: Any, relu: bool) -> None:
        place.shapes.append(tuple(np.shape(input)))
        place.relu = place.relu or relu
        runs.append(_Run(place, _vertex(input), _vertex(output)))

    def note_dropout(name: str, layer: Module, args: tuple[Any, ...], output: Any) -> None:
        drops[_vertex(output)] = Drop(name, layer.p)  # type: ignore[attr-defined]

    use_running(model.train())
    model.requires_grad_(True)
    for name, module in model.named_modules():
        if id(module) in places:
            tell_runs(module, partial(note_run, places[id(module)]))
        elif isinstance(module, Dropout) and module.p > 0:
            module.register_forward_hook(partial(note_dropout, name))
    with enable_grad():
        outputs = model(recorded(inputs))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    _look_around(runs, drops, names, [_vertex(y) for y in tensors(outputs)])
    first = {id(run.place): position for position, run in reversed(list(enumerate(runs)))}
    return sorted(places.values(), key=lambda place: first.get(id(place), len(runs)))


def recorded(inputs: Any) -> Any:
    """Inputs whose way through the model is recorded, if they are floats."""
    array = inputs.data if isinstance(inputs, Tensor) else inputs
    if isinstance(array, np.ndarray) and array.dtype.kind == "f":
        return Tensor(array).requires_grad_().clone()  # no leaf, which may not be changed in place
    return inputs


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of what a model returns."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)


def _vertex(value: Any) -> Any:
    return (value.node or value) if isinstance(value, Tensor) else None


# --- the graph --------------------------------------------------------------------------------------------------------


def _look_around(runs: list[_Run], drops: dict[Any, Drop], names: dict[int, str], outputs: list[Any]) -> None:
    """Note at each place what stands in front of it and behind it."""
    boundaries = {run.output for run in runs}
    readers: dict[Any, list[Node]] = {}
    for node in _behind([*outputs, *boundaries], set()):
        if type(node) is Node:
            for source in node.inputs:
                readers.setdefault(source, []).append(node)
    written = {source for vertex in drops if vertex is not None for source in vertex.inputs}  # by one in place
    for place in {id(run.place): run.place for run in runs}.values():
        starts = [run.input for run in runs if run.place is place]
        segment = list(_behind(starts, boundaries))
        found = [drops.get(vertex) or _drop_of(vertex) for vertex in segment if vertex not in written]
        place.dropouts = [drop for drop in dict.fromkeys(found) if drop is not None]
        place.biases = list(dict.fromkeys(_biases(segment, names)))
        place.above = {names[id(vertex)] for vertex in _behind(starts, set()) if id(vertex) in names}
        place.relu = place.relu or any(_meets_relu(run.output, readers) for run in runs if run.place is place)


def _behind(starts: list[Any], boundaries: set[Any]) -> Iterator[Any]:
    """Every vertex that the starts were computed from, with themselves, up to the boundaries and without these."""
    seen: set[Any] = set()
    stack = list(starts)
    while stack:
        vertex = stack.pop()
        if vertex is None or vertex in seen or vertex in boundaries:
            continue
        seen.add(vertex)
        yield vertex
        stack += vertex.inputs


def _biases(segment: list[Any], names: dict[int, str]) -> list[str]:
    """The parameters of a segment that are added: third argument of an affine map, or called a bias."""
    found = []
    for vertex in segment:
        if type(vertex) is not Node:
            continue
        for position, source in enumerate(vertex.inputs):
            name = names.get(id(source))
            affine = position == 2 and vertex.op in (ops.linear, ops.conv2d)
            if name is not None and (affine or "bias" in name.rpartition(".")[2]):
                found.append(name)
    return found


def _meets_relu(output: Any, readers: dict[Any, list[Node]]) -> bool:
    """Whether a ReLU reads a vertex, be it behind ops that only move values."""
    stack, seen = [output], set()
    while stack:
        for node in readers.get(stack.pop(), []):
            if node.op is ops.relu:
                return True
            if node.op in _MOVES and node not in seen:
                seen.add(node)
                stack.append(node)
    return False


def _drop_of(vertex: Any) -> Drop | None:
    """The dropout that a vertex is, if it is one: a product with a constant of zeros and 1/(1 − p) alone.

    The share of zeros has to be p within 5 standard deviations, which chance exceeds once in a million times.
    """
    if type(vertex) is not Node or vertex.op is not ops.multiply or vertex.inputs.count(None) != 1:
        return None
    mask = vertex.saved[vertex.inputs.index(None)]
    if not isinstance(mask, np.ndarray) or not mask.size:
        return None
    factor = float(mask.max())
    if not factor > 1 or not _is_mask(mask, factor):
        return None
    p, zeros = 1 - 1 / factor, float((mask == 0).mean())
    return Drop(None, round(p, 6)) if abs(zeros - p) <= 5 * np.sqrt(p * (1 - p) / mask.size) else None


def _is_mask(mask: Array, factor: float) -> bool:
    return bool(((mask == 0) | (mask == factor)).all()) and not mask.all()
