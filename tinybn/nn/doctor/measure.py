"""What is measured on the data: scores with either statistics, and what the layers get and give."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinybn import functional as F
from tinybn._tensor import Tensor
from tinybn._typing import Array
from tinybn.errors import ShapeError
from tinybn.modes import no_grad
from tinybn.nn.doctor.data import Finite, finite, length, pairs
from tinybn.nn.doctor.modes import Switch
from tinybn.nn.doctor.report import Score
from tinybn.nn.doctor.trace import Place
from tinybn.nn.doctor.watch import Notes, Pooled, Watch
from tinybn.nn.module import Module
from tinybn.nn.normalization import BatchNorm
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
        seen_running, seen_batch: what was seen at the layers with the running statistics, and with the batch's.
        population: the exact statistics of what a layer gets in evaluation.
        classes: the targets, as 0 and 1 for each class.
    """

    sizes: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    single: list[int] = field(default_factory=list)
    running: Score | None = None
    batch: Score | None = None
    alone: dict[str, Score] = field(default_factory=dict)
    seen_running: Notes = field(default_factory=Notes)
    seen_batch: Notes = field(default_factory=Notes)
    population: dict[str, Population] = field(default_factory=dict)
    classes: Pooled = field(default_factory=Pooled)


def measure(model: Module, loader: Iterable[Any], loss: Loss, places: list[Place]) -> Measures:
    """Two forwards and one for each layer of every batch, then `population_statistics`. The model stays as it is."""
    measures = Measures()
    model = copy.deepcopy(model)
    switch, watch = Switch(model), Watch(places, model)
    names = tuple(switch.layers)
    alone = [(name,) for name in names] if len(names) > 1 else []  # a single layer alone is all of them
    tallies = {setting: _Tally() for setting in [(), names, *alone]}

    def outputs(setting: tuple[str, ...]) -> Any:
        """With the batch's statistics in these layers, the running ones in the others."""
        switch.use_batch(setting)
        return model(inputs)

    with no_grad():
        for number, (inputs, targets) in enumerate(pairs(loader)):
            measures.sizes.append(length(targets))
            if not finite(inputs):
                measures.broken.append(number)
                continue
            made: dict[tuple[str, ...], Any] = {}
            try:
                watch.start(number, measures.seen_running)
                made[()] = outputs(())
                watch.start(number, measures.seen_batch)
                made[names] = outputs(names)
                watch.rest()
                made |= {setting: outputs(setting) for setting in alone}
            except ShapeError:
                if length(targets) > 1 and not made:
                    raise
                measures.single.append(number)
                continue
            if (labels := _labels(made[()], targets)) is not None and labels.ndim == 1:
                measures.classes.add((labels[:, None] == np.arange(made[()].shape[1])).astype(np.float32))
            for setting, output in made.items():
                tallies[setting].add(output, targets, loss)
        switch.use_batch(())
        measures.running = tallies[()].score()
        measures.batch = tallies[names].score() if names else None
        scores = {name: tallies[(name,)].score() for name in names}
        measures.alone = {name: score for name, score in scores.items() if score is not None}
        if measures.running is not None:
            seen = measures.seen_batch
            measures.population = _population(model, loader, seen.ran - seen.not_finite.keys())
    return measures


class _Tally:
    """A score in the making."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.examples = self.right = self.classified = 0

    def add(self, outputs: Any, targets: Any, loss: Loss) -> None:
        n = length(targets)
        self.loss += n * float(loss(outputs, targets))
        self.examples += n
        labels = _labels(outputs, targets)
        if labels is not None:
            self.right += int((outputs.data.argmax(axis=1) == labels).sum())
            self.classified += labels.size

    def score(self) -> Score | None:
        if not self.examples:
            return None
        return Score(self.loss / self.examples, self.right / self.classified if self.classified else None)


def _labels(outputs: Any, targets: Any) -> Array | None:
    """The targets, if they are numbers of classes that the outputs (N, K, ...) have scores for."""
    labels = np.asarray(targets)
    classes = isinstance(outputs, Tensor) and labels.dtype.kind in "iu" and labels.ndim == outputs.ndim - 1
    return labels if classes and labels.size else None


def _population(model: Module, loader: Iterable[Any], names: set[str]) -> dict[str, Population]:
    """The exact statistics of these layers. The others keep no statistics from now on, so that they are left out."""
    for name, layer in model.named_modules():
        if isinstance(layer, BatchNorm):
            if name not in names:
                layer.running_mean = layer.running_var = None
            elif layer.num_batches_tracked is None and layer.weight is not None:  # measured like the others
                layer.running_mean, layer.running_var = F.zeros_like(layer.weight), F.ones_like(layer.weight)
                layer.num_batches_tracked = F.zeros((), dtype="int64")
    return population_statistics(model, Finite(loader), exact=True)
