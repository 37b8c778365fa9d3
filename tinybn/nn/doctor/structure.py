"""Faults of what stands where: dropout in front, a bias that does nothing, too few values to normalize."""

import math
from typing import Any

from tinybn.nn.container import Sequential
from tinybn.nn.conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from tinybn.nn.doctor.case import UPDATE, Case
from tinybn.nn.doctor.report import Finding
from tinybn.nn.doctor.trace import PER_EXAMPLE, Drop, Place
from tinybn.nn.linear import Linear
from tinybn.nn.module import Module
from tinybn.nn.normalization import NORMALIZATIONS, BatchNorm, GroupNorm, RMSNorm

_WEIGHTED = (Linear, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d)


# --- dropout ----------------------------------------------------------------------------------------------------------


def dropout_before_norm(case: Case, place: Place) -> Finding | None:
    """Dropout between a layer with running statistics and the normalization before it."""
    if not place.dropouts or not place.tracks or place.frozen or not place.mixes_examples:
        return None
    drop = place.dropouts[0]
    return Finding(
        "dropout_before_norm",
        place.name,
        "warning",
        f"{' and '.join(map(tell, place.dropouts))} in front: the variance of what it drops from is at least "
        f"{_raised(drop)} times as large in training",
        "dropout at rate p raises the variance in training alone, by 1/(1 − p) where the mean is 0 and by more where "
        "it is not: the running statistics are of inputs that evaluation never sees",
        "Li et al. 2018, Understanding the Disharmony between Dropout and Batch Normalization by Variance Shift, §3; "
        "§5: dropout behind the last normalization does no harm",
        _without(case, place, drop),
    )


def tell(drop: Drop) -> str:
    return f"{'F.dropout' if drop.name is None else repr(drop.name)} (p={drop.p:g})"


def _raised(drop: Drop) -> str:
    return "∞" if drop.p == 1 else f"{1 / (1 - drop.p):.3g}"


def _without(case: Case, place: Place, drop: Drop) -> str:
    """Code that moves a dropout behind the last normalization if one Sequential holds both, else takes it out."""
    if drop.name is None:
        return f"x = F.dropout(x, {drop.p:g}, self.training)  # behind the last normalization of forward, not in front"
    holder, _, own = drop.name.rpartition(".")
    row = dict(case.model.named_modules())[holder]
    last = [other for other in case.places if other.shapes][-1]
    if isinstance(row, Sequential) and last.name.rpartition(".")[0] == holder:
        names = [name for name, _ in row._parts()]
        behind = [i for i, part in enumerate(row) if isinstance(part, _WEIGHTED) and i > _last_norm(row)]
        if behind:
            code = case.path(holder)
            return f"{code}.insert({behind[0] - 1}, {code}.pop({names.index(own)})); {UPDATE}"
    return f"{case.path(drop.name)} = tb.nn.Identity(); {UPDATE}"


def _last_norm(row: Sequential) -> int:
    return max(i for i, part in enumerate(row) if isinstance(part, NORMALIZATIONS))


# --- bias -------------------------------------------------------------------------------------------------------------


def redundant_bias(case: Case, place: Place) -> Finding | None:
    """A bias whose effect the normalization takes out again."""
    names = [name for name in place.biases if name in case.redundant]
    first = next((other for other in case.places if set(names) & set(other.biases)), place)
    if not names or first is not place:
        return None
    change = max(case.redundant[name] for name in names)
    return Finding(
        "redundant_bias",
        place.name,
        "warning",
        f"{' and '.join(map(repr, names))} in front: shifted by a standard deviation of what it is added to, it "
        f"changes the outputs by {change:.0e} of their size",
        "the mean that is subtracted contains the bias, so it costs memory and time and its gradient is rounding "
        "error; the normalization's own bias does its work",
        "Ioffe & Szegedy 2015, Batch Normalization, §3.2",
        "; ".join([*(f"{case.path(name)} = None" for name in names), *([UPDATE] if place.tracks else [])])
        + _as_built(case, names),
    )


def _as_built(case: Case, names: list[str]) -> str:
    """The same for a model that is yet to be built, as a comment."""
    modules = dict(case.model.named_modules())
    holders = [modules[name.rpartition(".")[0]] for name in names]
    if not all(isinstance(holder, _WEIGHTED) for holder in holders):
        return "  # and leave it out of forward"
    return f"  # in a new model: {', '.join(f'tb.nn.{_unbiased(holder)}' for holder in holders)}"


def _unbiased(layer: Module) -> str:
    text = repr(layer)
    return text.replace("bias=True", "bias=False") if "bias=True" in text else f"{text[:-1]}, bias=False)"


# --- values -----------------------------------------------------------------------------------------------------------


def values(case: Case, place: Place) -> int | None:
    """How many values share a mean in a usual batch; the fewest, if the layer runs with several shapes."""
    return min((_values(case, place.layer, shape) for shape in place.shapes), default=None)


def examples(case: Case, place: Place) -> int:
    """How many examples share a mean in a usual batch."""
    return min(case.batch, getattr(place.layer, "ghost_size", case.batch)) if place.mixes_examples else 1


def _values(case: Case, layer: Any, shape: tuple[int, ...]) -> int:
    if isinstance(layer, GroupNorm):
        return layer.num_channels // layer.num_groups * math.prod(shape[2:])
    if isinstance(layer, PER_EXAMPLE) and isinstance(layer, BatchNorm):  # InstanceNorm
        return math.prod(shape[len(shape) - layer.input_ndims[0] + 2 :])
    if isinstance(layer, BatchNorm):
        return min(case.batch, getattr(layer, "ghost_size", case.batch)) * math.prod(shape[2:])
    return math.prod(layer.normalized_shape)


def too_few_values(case: Case, place: Place) -> Finding | None:
    """A normalization within each example that has one or two values for each mean."""
    number, layer = values(case, place), place.layer
    # Two numbers divided by their root mean square are still a direction.
    least = 2 if isinstance(layer, RMSNorm) else 3
    if number is None or place.mixes_examples or place.tracks or number >= least:
        return None
    whole = isinstance(layer, GroupNorm) and layer.num_groups > 1 and _values_of_all(place) >= 3
    repair = f"tb.nn.GroupNorm(1, {layer.num_channels})" if whole else "tb.nn.Identity()"
    return Finding(
        "too_few_values",
        place.name,
        "error",
        f"{number} value{'s' * (number > 1)} for each mean",
        "of M values none gets further than √(M − 1) from the mean in standard deviations: one value always becomes 0, "
        "and of two only the sign of their difference is left",
        "Wu & He 2018, Group Normalization, §3",
        f"{case.path(place.name)} = {repair}",
    )


def _values_of_all(place: Place) -> int:
    return min(math.prod(shape[1:]) for shape in place.shapes)
