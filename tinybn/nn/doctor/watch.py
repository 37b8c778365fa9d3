"""What goes into the layers of a copy, and what comes out, noted while it runs."""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array
from tinybn.kernels import batch_moments
from tinybn.nn.doctor.data import finite
from tinybn.nn.doctor.runs import tell_runs
from tinybn.nn.doctor.trace import Place
from tinybn.nn.module import Module
from tinybn.nn.normalization import LayerNorm, RMSNorm


class Pooled:
    """The moments of inputs together, per channel: count, mean, M2 = Σ(x − mean)², and the M2 within each input."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = 0.0
        self.m2: Any = 0.0
        self.within: Any = 0.0

    def add(self, x: Array) -> None:
        """Merge another input (N, C, ...): n = nₐ + n_b, M2 = M2ₐ + M2_b + δ²·nₐ·n_b/n."""
        mean, var = batch_moments(x)
        new = x.size // x.shape[1]
        count, delta = self.count + new, mean - self.mean
        self.within = self.within + new * var
        self.m2 = self.m2 + new * var + delta**2 * (self.count * new / count)
        self.mean = self.mean + delta * (new / count)
        self.count = count

    @property
    def var(self) -> Array:
        variance: Array = self.m2 / self.count
        return variance

    @property
    def between(self) -> float:
        """The share of the variance that lies between the inputs, a mean over the channels that have some."""
        varying = np.asarray(self.m2 > 0)
        return float(np.mean(1 - self.within[varying] / self.m2[varying])) if varying.any() else 0.0


@dataclass
class Notes:
    """What was seen at the layers with one choice of statistics.

    Fields:
        ran: the names of those that ran.
        not_finite: the numbers of the batches in which a layer's input is not finite.
        top: the largest output of each channel, of layers with a ReLU behind.
        inputs: the moments of what a batch normalization gets, for each of its runs in one forward.
    """

    ran: set[str] = field(default_factory=set)
    not_finite: dict[str, list[int]] = field(default_factory=dict)
    top: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, list[Pooled]] = field(default_factory=dict)


class Watch:
    """Takes notes of the layers of a copy."""

    def __init__(self, places: list[Place], model: Module) -> None:
        self.notes: Notes | None = None
        layers = dict(model.named_modules())
        for place in places:
            tell_runs(layers[place.name], partial(self._note, place))

    def start(self, number: int, notes: Notes) -> None:
        """Note what comes as of the batch of this number."""
        self.number, self.notes = number, notes
        self.runs: dict[str, int] = {}

    def rest(self) -> None:
        """Note nothing."""
        self.notes = None

    def _note(self, place: Place, input: Any, output: Tensor, relu: bool) -> None:
        notes, name = self.notes, place.name
        if notes is None:
            return
        notes.ran.add(name)
        run = self.runs[name] = self.runs.get(name, -1) + 1
        x = as_tensor(input).data
        if not finite(x):
            numbers = notes.not_finite.setdefault(name, [])
            if self.number not in numbers:
                numbers.append(self.number)
        elif x.size:
            if place.relu:
                top = _channels(place.layer, output.data).max(axis=0)
                notes.top[name] = np.maximum(notes.top[name], top) if name in notes.top else top
            if place.mixes_examples:
                pools = notes.inputs.setdefault(name, [])
                if run == len(pools):
                    pools.append(Pooled())
                pools[run].add(x)


def _channels(layer: Module, y: Array) -> Array:
    """A layer's output as rows of values with a column for each channel, or each feature."""
    if isinstance(layer, LayerNorm | RMSNorm):
        return y.reshape(-1, math.prod(layer.normalized_shape))
    return np.moveaxis(y, 1, -1).reshape(-1, y.shape[1])
