"""What is measured on the data: scores with either statistics, and what the layers get and give."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tinybn import functional as F
from tinybn._tensor import Tensor
from tinybn._typing import Array
from tinybn.errors import ShapeError
from tinybn.modes import no_grad
from tinybn.nn.doctor.modes import Switch
from tinybn.nn.doctor.report import Score
from tinybn.nn.doctor.trace import Place
from tinybn.nn.module import Module
from tinybn.nn.normalization import BatchNorm, LayerNorm, RMSNorm
from tinybn.nn.statistics import Population, population_statistics

Loss = Callable[[Any, Any], Any]


@dataclass
class Measures:
    """What has been measured.

    Fields:
        sizes: the examples of each batch.
        broken: the numbers of the batches whose inputs are not finite. They are left out of all else.
        single: those in which a layer gets one value per channel, so that training refuses them.
        running: the score with the running statistics, as in evaluation.
        batch: with those of each batch, as in training but without dropout; None where no layer has both.
        alone: with those of each batch in one layer alone.
        not_finite: the numbers of the batches in which a layer's input is not finite, with the batch's statistics.
        top_running, top_batch: the largest output of each channel of a layer, with either statistics.
        population: the exact statistics of what a layer gets in evaluation.
    """

    sizes: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    single: list[int] = field(default_factory=list)
    running: Score | None = None
    batch: Score | None = None
    alone: dict[str, Score] = field(default_factory=dict)
    not_finite: dict[str, list[int]] = field(default_factory=dict)
    top_running: dict[str, Array] = field(default_factory=dict)
    top_batch: dict[str, Array] = field(default_factory=dict)
    population: dict[str, Population] = field(default_factory=dict)


class _Tally:
    """A score in the making."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.examples = self.right = self.classified = 0

    def add(self, outputs: Any, targets: Any, loss: Loss) -> None:
        n = _length(targets)
        self.loss += n * float(loss(outputs, targets))
        self.examples += n
        labels = np.asarray(targets)
        if isinstance(outputs, Tensor) and labels.dtype.kind in "iu" and labels.ndim == outputs.ndim - 1:
            self.right += int((outputs.data.argmax(axis=1) == labels).sum())
            self.classified += labels.size

    def score(self) -> Score | None:
        if not self.examples:
            return None
        return Score(self.loss / self.examples, self.right / self.classified if self.classified else None)


def measure(model: Module, loader: Iterable[Any], loss: Loss, places: list[Place]) -> Measures:
    """Two forwards and one for each layer of every batch, then `population_statistics`. The model stays as it is."""
    measures = Measures()
    model = copy.deepcopy(model)
    switch = Switch(model)
    names = tuple(switch.layers)
    settings: list[tuple[str, ...]] = [
        names,
        *((name,) for name in names if len(names) > 1),
    ]  # on the batch's statistics
    tallies = {setting: _Tally() for setting in [(), *settings]}
    watch = _Watch(places, model)

    def outputs(inputs: Any, setting: tuple[str, ...]) -> Any:
        switch.use_batch(setting)
        return model(inputs)

    with no_grad():
        for inputs, targets in pairs(loader):
            number = len(measures.sizes)
            measures.sizes.append(_length(inputs))
            if not finite(inputs):
                measures.broken.append(number)
                continue
            made: dict[tuple[str, ...], Any] = {}
            try:
                watch.start(number, measures.top_running)
                made[()] = outputs(inputs, ())
                watch.start(number, measures.top_batch, measures.not_finite)
                made[names] = outputs(inputs, names)
                watch.start(number)
                made |= {setting: outputs(inputs, setting) for setting in settings[1:]}
            except ShapeError:
                if _length(inputs) > 1 and not made:
                    raise
                measures.single.append(number)
                continue
            for setting, output in made.items():
                tallies[setting].add(output, targets, loss)
        switch.use_batch(())
        measures.running = tallies[()].score()
        measures.batch = tallies[names].score() if names else None
        alone = {name: tallies[(name,)].score() for name in names}
        measures.alone = {name: score for name, score in alone.items() if score is not None}
        if measures.running is not None:
            watch.start(0)
            measures.population = _population(model, loader, watch.ran - measures.not_finite.keys())
    return measures


def pairs(loader: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """The batches, checked."""
    for number, batch in enumerate(loader):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(f"diagnose: batch {number} is a {type(batch).__name__}; expected (inputs, targets)")
        yield batch[0], batch[1]


def _length(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 1


def finite(inputs: Any) -> bool:
    """Whether there is no NaN and no infinity among the inputs, as far as they are an array."""
    array = inputs.data if isinstance(inputs, Tensor) else inputs
    return not isinstance(array, np.ndarray) or array.dtype.kind != "f" or bool(np.isfinite(array).all())


class _Watch:
    """Hooks on the layers of a copy, that note what goes in and comes out."""

    def __init__(self, places: list[Place], model: Module) -> None:
        self.ran: set[str] = set()
        layers = dict(model.named_modules())
        for place in places:
            layers[place.name].register_forward_hook(partial(self._note, place))

    def start(
        self, number: int, tops: dict[str, Array] | None = None, not_finite: dict[str, list[int]] | None = None
    ) -> None:
        """From now on note into these, as of the batch of this number."""
        self.number = number
        self.tops: dict[str, Array] = {} if tops is None else tops
        self.not_finite: dict[str, list[int]] = {} if not_finite is None else not_finite

    def _note(self, place: Place, layer: Module, args: tuple[Any, ...], output: Tensor) -> None:
        name = place.name
        self.ran.add(name)
        if not finite(args[0]):
            numbers = self.not_finite.setdefault(name, [])
            if self.number not in numbers:
                numbers.append(self.number)
        elif place.relu and output.data.size:
            top = _channels(layer, output.data).max(axis=0)
            self.tops[name] = np.maximum(self.tops[name], top) if name in self.tops else top


def _channels(layer: Module, y: Array) -> Array:
    """A layer's output as rows of values with a column for each channel, or each feature."""
    if isinstance(layer, LayerNorm | RMSNorm):
        return y.reshape(-1, math.prod(layer.normalized_shape))
    return np.moveaxis(y, 1, -1).reshape(-1, y.shape[1])


class _Finite:
    """A loader without the batches that are not finite."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return ((inputs, targets) for inputs, targets in pairs(self.loader) if finite(inputs))


def _population(model: Module, loader: Iterable[Any], names: set[str]) -> dict[str, Population]:
    """The exact statistics of these layers. The others keep no statistics from now on, so that they are left out."""
    for name, layer in model.named_modules():
        if isinstance(layer, BatchNorm):
            if name not in names:
                layer.running_mean = layer.running_var = None
            elif layer.num_batches_tracked is None and layer.weight is not None:  # measured like the others
                layer.running_mean, layer.running_var = F.zeros_like(layer.weight), F.ones_like(layer.weight)
                layer.num_batches_tracked = F.zeros((), dtype="int64")
    return population_statistics(model, _Finite(loader), exact=True)
