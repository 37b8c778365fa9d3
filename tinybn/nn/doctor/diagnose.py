"""diagnose: trace, measure, examine, report."""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tinybn import random
from tinybn.functional import cross_entropy
from tinybn.nn.doctor.bias import redundant_biases
from tinybn.nn.doctor.case import Case
from tinybn.nn.doctor.data import finite, length, pairs
from tinybn.nn.doctor.examine import examine, figures
from tinybn.nn.doctor.measure import measure
from tinybn.nn.doctor.report import Report
from tinybn.nn.doctor.trace import trace
from tinybn.nn.module import Module


def diagnose(
    model: Module, loader: Iterable[Any], optimizer: Any = None, loss: Callable[[Any, Any], Any] = cross_entropy
) -> Report:
    """What is wrong with the normalization layers of a model, with evidence, reason and a line of code that repairs it.

    Looked at are all layers that normalize: BatchNorm in all its variants, LayerNorm, GroupNorm, InstanceNorm, RMSNorm.
    The structure is found by running the model and following the graph, so that functions in a user's ``forward`` are
    seen like modules. A finding is something measured or found in the structure; what follows from it, such as a lower
    accuracy in evaluation, stands under it as a consequence. Normalization behind an activation is no finding: neither
    order is the better one in general.

    Faults: dropout_before_norm, redundant_bias, too_few_values, shared_statistics; small_batch, single_value_batch,
    unrepresentative_batches, nan_batches, non_finite_parameters; poisoned_statistics, statistics_never_moved,
    momentum_of_last_batch, statistics_unsettled, stale_statistics; flat_channels, eps_above_variance, dead_relu;
    weight_decay_on_norm, not_optimized; frozen_affine_moving_statistics, moving_statistics_in_frozen_part,
    eval_undone_by_train, training_mode_in_eval.

    The model, the optimizer and the default random generator are what they were afterwards, and so is the loader's
    generator: copies of the model do the work. Hooks of the model run with it. With L layers that have running
    statistics it takes L + 1 passes through the data: one with L + 2 forwards of each batch, and one for each layer up
    to that layer (`population_statistics`); and of one batch a forward that is recorded, and one for each bias in front
    of a normalization.

    Args:
        model: in the mode in which it is used: training mode while it is trained.
        loader: the training data in the batches of training: an iterable of ``(inputs, targets)`` that can be gone
            through again, such as a `DataLoader`, shuffling or not.
        optimizer: that trains the model. Without it, what requires grad counts as trained, and weight decay is unknown.
        loss: from outputs and targets to the mean loss of a batch.

    Returns:
        A `Report`: ``print`` it, or use its ``findings``, ``layers``, ``to_dict()`` and ``to_html()``.

    Raises:
        TypeError: an iterator, which can be gone through only once; batches that are not ``(inputs, targets)``.
        ValueError: no batches, none with finite inputs; an optimizer of another model.

    >>> import numpy as np, tinybn as tb
    >>> model = tb.nn.Sequential(tb.nn.Linear(2, 3), tb.nn.BatchNorm1d(3), tb.nn.ReLU(), tb.nn.Linear(3, 2))
    >>> draw = np.random.default_rng(0)
    >>> batches = [(draw.normal(5, 2, (32, 2)).astype("float32"), draw.integers(0, 2, 32)) for _ in range(4)]
    >>> for finding in tb.nn.diagnose(model, batches).findings:
    ...     print(finding.fault, "|", finding.repair)
    statistics_never_moved | tb.nn.update_bn(model, loader, exact=True)
    redundant_bias | model[0].bias = None; tb.nn.update_bn(model, loader, exact=True)  # in a new model: \
tb.nn.Linear(in_features=2, out_features=3, bias=False)
    """
    _check(model, loader, optimizer)
    generators = [random.default_generator()]
    if isinstance(own := getattr(loader, "generator", None), np.random.Generator):
        generators.append(own)
    states = [generator.bit_generator.state for generator in generators]
    try:
        return _report(model, loader, optimizer, loss)
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.bit_generator.state = state


def _check(model: Any, loader: Any, optimizer: Any) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"diagnose: expected a Module and then a loader, got a {type(model).__name__} first")
    if isinstance(loader, Iterator):
        raise TypeError(
            f"diagnose: a {type(loader).__name__} can be gone through only once; pass a DataLoader or a list of batches"
        )
    if not isinstance(loader, Iterable):
        raise TypeError(f"diagnose: expected an iterable of (inputs, targets), got a {type(loader).__name__}")
    if optimizer is not None:
        own = {id(parameter) for parameter in model.parameters()}
        if not any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
            raise ValueError("diagnose: the optimizer has none of the model's parameters; pass the one that trains it")


def _report(model: Module, loader: Iterable[Any], optimizer: Any, loss: Callable[[Any, Any], Any]) -> Report:
    inputs, several = _usual_inputs(loader)
    places = trace(copy.deepcopy(model), inputs)
    layers: dict[str, Any] = dict(model.named_modules())
    for place in places:
        place.layer = layers[place.name]  # not that of the copy
    measures = measure(model, loader, loss, places)
    movable = several and not measures.seen_batch.not_finite
    redundant = redundant_biases(model, inputs, places) if movable else {}
    case = Case(model, loader, optimizer, places, measures, redundant)
    return Report(
        type(model).__name__,
        len(measures.sizes),
        sum(measures.sizes),
        measures.running,
        measures.batch,
        examine(case),
        [figures(case, place) for place in places],
    )


def _usual_inputs(loader: Iterable[Any]) -> tuple[Any, bool]:
    """The inputs of the first batch that is finite and of several examples, or of one if none is; whether it is not."""
    kept = None
    for inputs, targets in pairs(loader):
        if finite(inputs):
            kept = inputs if kept is None else kept
            if length(targets) > 1:
                return inputs, True
    if kept is None:
        raise ValueError(
            "diagnose: the loader has no batch with finite inputs; with drop_last it has none at all, when the data "
            "are fewer than a batch"
        )
    return kept, False
