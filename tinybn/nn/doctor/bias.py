"""Which biases do nothing: they are moved, and nothing behind them moves."""

import copy
from functools import partial
from typing import Any

import numpy as np

from tinybn._tensor import Tensor
from tinybn._typing import Array
from tinybn.modes import no_grad
from tinybn.nn.doctor.modes import Switch
from tinybn.nn.doctor.runs import tell_runs
from tinybn.nn.doctor.trace import Place, tensors
from tinybn.nn.module import Module
from tinybn.storage import mark_changed

# What may change in an output, relative to its largest value. Where a bias counts, a shift by one standard deviation
# changes outputs by about as much; where it does not, rounding of 6e-8 is amplified by a gain of 1/√1e-5 at most.
UNCHANGED = 1e-3


def redundant_biases(model: Module, inputs: Any, places: list[Place]) -> dict[str, float]:
    """How much the outputs of a model change, relatively, when a bias in front of a normalization does: what does not.

    Each bias is shifted by random amounts of the size of the normalization's input, another one in each channel, with
    the batch's statistics in use. Neither the output of the model nor that of any normalization may change. Two
    forwards of one batch and one for each bias; the model stays as it is.

    Returns:
        The change, by the names of the biases that are redundant.
    """
    if not any(place.biases for place in places):
        return {}
    model = copy.deepcopy(model)
    switch = Switch(model)
    probe = _Probe(model, inputs, switch, places)
    parameters = dict(model.named_parameters())
    found = {}
    with no_grad():
        before = probe.outputs()
        for place in places:
            for name in place.biases:
                change = probe.change(before, parameters[name].data, probe.scales[place.name])
                if change < UNCHANGED:
                    found[name] = change
    return found


class _Probe:
    """A copy that is run on one batch again and again."""

    def __init__(self, model: Module, inputs: Any, switch: Switch, places: list[Place]) -> None:
        self.model, self.inputs, self.switch = model, inputs, switch
        self.scales: dict[str, float] = {}  # the standard deviation of what each layer gets
        self.seen: list[Array] = []
        layers = dict(model.named_modules())
        for place in places:
            tell_runs(layers[place.name], partial(self._note, place.name))

    def _note(self, name: str, input: Any, output: Tensor, relu: bool) -> None:
        self.scales[name] = float(np.std(np.asarray(input))) or 1.0
        self.seen.append(output.data.copy())

    def outputs(self) -> list[Array]:
        """What the layers and the model put out."""
        self.switch.use_batch(self.switch.layers)
        self.seen = []
        made = self.model(self.inputs)
        return [*self.seen, *(tensor.data for tensor in tensors(made))]

    def change(self, before: list[Array], bias: Array, scale: float) -> float:
        """The largest change of an output, relative to the largest value of that output."""
        original = bias.copy()
        bias += (scale * np.random.default_rng(0).standard_normal(bias.shape)).astype(bias.dtype)
        mark_changed(bias, "diagnose")
        after = self.outputs()
        bias[...] = original
        mark_changed(bias, "diagnose")
        return max(_relative(a, b) for a, b in zip(after, before, strict=True))


def _relative(after: Array, before: Array) -> float:
    largest = float(np.abs(before).max(initial=0)) or 1.0
    change = float(np.abs(after - before).max(initial=0)) / largest
    return change if np.isfinite(change) else np.inf
