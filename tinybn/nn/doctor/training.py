"""Faults of how a model is trained: what is decayed, what is frozen, what moves although it should not."""

import inspect
from typing import Any

from tinybn.nn.doctor.case import Case, count
from tinybn.nn.doctor.report import Finding
from tinybn.nn.doctor.trace import Place

_FROZEN = (
    "documentation of keras.layers.BatchNormalization, 'About setting layer.trainable = False'; Wu & Johnson 2021, "
    "Rethinking 'Batch' in BatchNorm, §4"
)


# --- the optimizer ----------------------------------------------------------------------------------------------------


def decay(case: Case, place: Place) -> float | None:
    """The weight decay of a layer's parameters; None where the optimizer has none of them."""
    groups = [case.group_of[id(p)] for p in place.layer.parameters() if id(p) in case.group_of]
    return max((float(group.get("weight_decay", 0)) for group in groups), default=None)


def weight_decay(case: Case, place: Place) -> Finding | None:
    """Decay of the parameters of a normalization."""
    names = [name for name in case.own(place) if case.trains(name)]
    decayed = {name: group for name in names if (group := _group(case, name)) and group.get("weight_decay")}
    if not decayed:
        return None
    group = next(iter(decayed.values()))
    return Finding(
        "weight_decay_on_norm",
        place.name,
        "warning",
        f"weight_decay={group['weight_decay']:g} on {' and '.join(map(repr, decayed))}",
        "decay makes the weights of products small; here it pulls the scale of what the layer puts out to 0, and "
        "its shift",
        "Goyal et al. 2017, Accurate, Large Minibatch SGD, §5.1; He et al. 2019, Bag of Tricks for Image "
        "Classification, §3.1",
        _apart(case.optimizer, group),
    )


def _group(case: Case, name: str) -> dict[str, Any] | None:
    return case.group_of.get(id(case.parameters[name]))


def _apart(optimizer: Any, group: dict[str, Any]) -> str:
    """Code that makes the optimizer anew with two groups."""
    known = inspect.signature(type(optimizer).__init__).parameters
    options = [
        f"{name}={group[name]!r}"
        for name, parameter in known.items()
        if name in group and name not in ("params", "weight_decay") and group[name] != parameter.default
    ]
    groups = f"tb.optim.parameter_groups(model, weight_decay={group['weight_decay']!r})"
    return f"optimizer = tb.optim.{type(optimizer).__name__}({', '.join([groups, *options])})"


def not_optimized(case: Case, place: Place) -> Finding | None:
    """Parameters that are to be trained and that the optimizer does not have, while it has others in front of them."""
    names = case.own(place)
    forgotten = [name for name in names if case.parameters[name].requires_grad and not case.trains(name)]
    if not forgotten or not any(map(case.trains, place.above)):
        return None
    params = ", ".join(map(case.path, forgotten))
    decay = ', "weight_decay": 0.0' if "weight_decay" in case.optimizer.defaults else ""
    return Finding(
        "not_optimized",
        place.name,
        "warning",
        f"the optimizer does not have {' and '.join(map(repr, forgotten))}, but has parameters in front",
        "scale and shift are learned with the other parameters; left out by mistake they stay 1 and 0",
        "Ioffe & Szegedy 2015, Batch Normalization, §3, algorithm 2",
        f'optimizer.add_param_group({{"params": [{params}]{decay}}})',
    )


# --- freezing ---------------------------------------------------------------------------------------------------------


def frozen_affine(case: Case, place: Place) -> Finding | None:
    """Weight and bias that are frozen, in a part that trains, with statistics that move."""
    names = case.own(place)
    if not _moves(case, place) or not names or any(case.parameters[name].requires_grad for name in names):
        return None
    if place.above and not any(map(case.trains, place.above)):
        return None
    return Finding(
        "frozen_affine_moving_statistics",
        place.name,
        "warning",
        f"{' and '.join(map(repr, names))} require no grad; the running statistics move in training",
        "requires_grad=False keeps weight and bias, but not the mean and variance that they belong to: training "
        "normalizes with the batch's, and evaluation with ones that have moved",
        _FROZEN,
        f"{case.path(place.name)}.freeze()",
    )


def frozen_part(case: Case, place: Place) -> Finding | None:
    """Statistics that move behind parameters none of which is trained."""
    names = case.own(place)
    if not _moves(case, place) or not place.above or any(map(case.trains, [*names, *place.above])):
        return None
    return Finding(
        "moving_statistics_in_frozen_part",
        place.name,
        "warning",
        f"none of the {count(len(place.above), 'parameter')} in front of it is trained, nor is one of its own; its "
        "running statistics move in training",
        "a part that is only to be evaluated changes with each batch, and gives in training what it does not give in "
        "evaluation",
        _FROZEN,
        f"{case.path(place.name)}.freeze()",
    )


def _moves(case: Case, place: Place) -> bool:
    """Whether training moves its statistics, in a model of which something is trained."""
    moves = place.tracks and not place.frozen and place.layer.training >= case.model.training
    return moves and any(map(case.trains, case.parameters))


def eval_undone(case: Case, place: Place) -> Finding | None:
    """A layer in evaluation mode within a model in training mode: the next train() sets it moving."""
    if not place.tracks or place.frozen or place.layer.training or not case.model.training:
        return None
    trained = any(case.parameters[name].requires_grad for name in case.own(place))
    return Finding(
        "eval_undone_by_train",
        place.name,
        "warning",
        "it is in evaluation mode, the model in training mode",
        "model.train() sets the mode of all parts: it undoes eval() on this one, and its statistics move again",
        "documentation of torch.nn.Module.train",
        f"{case.path(place.name)}.freeze({'affine=False' if trained else ''})",
    )


def train_in_eval(case: Case, place: Place) -> Finding | None:
    """A layer in training mode within a model in evaluation mode."""
    if not place.mixes_examples or place.frozen or not place.layer.training or case.model.training or not place.tracks:
        return None
    return Finding(
        "training_mode_in_eval",
        place.name,
        "error",
        "it is in training mode, the model in evaluation mode",
        "each prediction depends on the other examples of its batch, and predicting moves the running statistics",
        "Ioffe & Szegedy 2015, Batch Normalization, §3.1",
        "model.eval()",
    )
