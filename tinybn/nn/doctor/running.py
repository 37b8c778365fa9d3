"""Faults of running statistics: poisoned, never moved, of the last batch alone, unsettled, stale."""

from typing import NamedTuple

import numpy as np

from tinybn._typing import Array
from tinybn.nn.doctor.case import UPDATE, Case, count, rms
from tinybn.nn.doctor.report import Finding
from tinybn.nn.doctor.trace import Place

# Running statistics are far from the exact ones when their means are off by half a standard deviation, or their
# variances by a factor of two: then outputs are shifted by half their width, or scaled by 1.4. In 144 nets on the
# digits without a fault of structure (two kinds, batches of 32, 64 and 128, 36 to 360 of them, SGD and Adam at rates up
# to 0.2 with momentum 0.9) the root mean square over a layer's channels was 0.22 and 0.54 at most; 0.2 in ln of the
# variance where the beginning's share was below 1 %.
FAR_MEAN = 0.5
FAR_VAR = float(np.log(2))

# The beginning (mean 0, variance 1) may weigh this much. A variance of 0.05, as behind a freshly drawn linear layer of
# 64 inputs in 0 … 1, is doubled by it.
SETTLED = 0.05

# With 9/10 of the weight on the newest batch the statistics are an average of (2 − 0.9)/0.9 = 1.2 batches. Keras, Flax
# and ONNX write 0.99 and 0.9 for the weight of the old ones; as the weight of the new ones nobody has a use for it.
LAST_BATCH = 0.9

_POPULATION = (
    "Ioffe & Szegedy 2015, Batch Normalization, §3.1 and algorithm 2; Wu & Johnson 2021, Rethinking 'Batch' in "
    "BatchNorm, §3"
)


class Distance(NamedTuple):
    """Of running statistics from the exact ones, per channel; None for a statistic that the layer does without.

    Fields:
        mean: |running mean − mean|/√(var + eps).
        var: ln((running var + eps)/(var + eps)), with eps, as it is in what the layer divides by.
    """

    mean: Array | None
    var: Array | None

    def beyond(self, mean: float, var: float) -> bool:
        """Whether one of the two is further off than that, as root mean square over the channels."""
        parts = (self.mean, mean), (self.var, var)
        return any(values is not None and rms(values) > most for values, most in parts)

    @property
    def far(self) -> bool:
        return self.beyond(FAR_MEAN, FAR_VAR)

    def __str__(self) -> str:
        parts = []
        if self.mean is not None:
            parts.append(f"the running mean is {rms(self.mean):.2g} standard deviations from the exact one")
        if self.var is not None:
            parts.append(f"the running variance is off by a factor of {np.exp(rms(self.var)):.3g}")
        return " and ".join(parts) + " (root mean square over the channels)"


def distance(case: Case, place: Place) -> Distance | None:
    """None where there is nothing to compare, or nothing finite."""
    population = case.measures.population.get(place.name)
    layer = place.layer
    if population is None or not place.tracks or poisoned_statistics(case, place):
        return None
    var = population.var + layer.eps
    mean = None if layer.running_mean is None else np.abs(layer.running_mean.data - population.mean) / np.sqrt(var)
    ratio = None if layer.running_var is None else np.log((layer.running_var.data + layer.eps) / var)
    return Distance(mean, ratio)


def share(place: Place) -> float | None:
    """The weight of the newest batch in the running statistics; None where all weigh alike."""
    layer = place.layer
    if layer.momentum is None:
        return None
    return float(layer.momentum if layer._weighs_new else 1 - layer.momentum)


def _seen(place: Place) -> int:
    return int(place.layer.num_batches_tracked.data)


def _far(case: Case, place: Place) -> Distance | None:
    found = distance(case, place)
    return found if found is not None and found.far else None


# --- checks -----------------------------------------------------------------------------------------------------------


def poisoned_statistics(case: Case, place: Place) -> Finding | None:
    """Running statistics that no data can have."""
    if not place.tracks:
        return None
    layer, wrong = place.layer, []
    for name in ("running_mean", "running_var"):
        buffer = getattr(layer, name)
        if buffer is not None:
            least = -layer.eps if name == "running_var" else -np.inf  # rounding may take a variance of 0 below it
            bad = ~(np.isfinite(buffer.data) & (buffer.data >= least))
            if bad.any():
                wrong.append(f"{name} is not finite or negative in {bad.sum()} of {count(bad.size, 'channel')}")
    if not wrong:
        return None
    path = case.path(place.name)
    repair = f"{path}.reset_running_stats(); {UPDATE}"
    if place.frozen:
        repair = f"{path}.unfreeze(affine=False); {repair}; {path}.freeze(affine=False)"
    return Finding(
        "poisoned_statistics",
        place.name,
        "error",
        "; ".join(wrong),
        "a moving average never gets rid of a NaN, and evaluation gives NaN from then on",
        "Ioffe & Szegedy 2015, Batch Normalization, algorithm 2",
        repair,
    )


def never_moved(case: Case, place: Place) -> Finding | None:
    """Statistics that are still the 0 and 1 of the beginning, far from the data's."""
    layer = place.layer
    if not place.tracks or not (found := _far(case, place)):
        return None
    mean, var = layer.running_mean, layer.running_var
    if (mean is not None and mean.data.any()) or (var is not None and (var.data != 1).any()):
        return None
    path, repair = case.path(place.name), UPDATE
    if place.frozen:
        repair = f"{path}.unfreeze(affine=False); {repair}; {path}.freeze(affine=False)"
    elif share(place) == 0:
        repair = f"{path}.momentum = {0.1 if layer._weighs_new else 0.9}; {repair}"
    why = ", with a momentum that moves nothing" if share(place) == 0 else ""
    return Finding(
        "statistics_never_moved",
        place.name,
        "error",
        f"mean 0 and variance 1 as at first, after {count(_seen(place), 'batch')}{why}: {found}",
        "evaluation normalizes with the running statistics, which only training moves",
        _POPULATION,
        repair,
    )


def last_batch(case: Case, place: Place) -> Finding | None:
    """A momentum with which the statistics are those of the last batch."""
    if not place.tracks or place.frozen or not _seen(place) or len(case.measures.sizes) < 2:
        return None
    weight, layer = share(place), place.layer
    if weight is None or layer.debias or weight < LAST_BATCH:
        return None
    meant = "of the new statistics" if layer._weighs_new else "of the old statistics"
    return Finding(
        "momentum_of_last_batch",
        place.name,
        "error",
        f"momentum={layer.momentum} is the weight {meant} (convention {layer.convention!r}): the running statistics "
        f"are an average of {(2 - weight) / weight:.3g} batches",
        "Keras, Flax and ONNX write 0.99 or 0.9 for the weight of the old statistics where PyTorch writes 0.1 for that "
        "of the new ones; evaluation then has the noise of one batch",
        "documentation of torch.nn.BatchNorm1d (note on momentum) and of keras.layers.BatchNormalization",
        f"{case.path(place.name)}.momentum = {0.1 if layer._weighs_new else 0.9}; {UPDATE}",
    )


def unsettled(case: Case, place: Place) -> Finding | None:
    """A momentum with which too few batches have been seen."""
    if not place.tracks or place.frozen or not (found := _far(case, place)):
        return None
    weight, seen, layer = share(place), _seen(place), place.layer
    if weight is None or not 0 < weight < 1 or layer.debias or not seen:
        return None
    left = (1 - weight) ** (seen * ghosts(case, place))
    if never_moved(case, place) or left <= SETTLED * min(1.0, _usual_variance(case, place)):
        return None
    return Finding(
        "statistics_unsettled",
        place.name,
        "error",
        f"after {count(seen, 'batch')} with a weight of {weight:.2g} the 0 and 1 of the beginning still weigh "
        f"{left:.1%}: {found}",
        "running = (1 − weight)·running + weight·new forgets its beginning as (1 − weight)ᵗ only",
        _POPULATION + "; Kingma & Ba 2015, Adam, §3",
        UPDATE,
    )


def _usual_variance(case: Case, place: Place) -> float:
    """Of the layer's channels: where it is small, a small share of the 1 is much."""
    population = case.measures.population.get(place.name)
    return 1.0 if population is None else float(np.median(population.var))


def ghosts(case: Case, place: Place) -> int:
    """How often a batch moves the statistics: once, or for each of its ghosts."""
    size = getattr(place.layer, "ghost_size", case.batch)
    return max(1, case.batch // size)


def stale(case: Case, place: Place) -> Finding | None:
    """Statistics of something else than this model makes of these data, when no other fault explains it."""
    if not place.tracks or place.frozen or not (found := _far(case, place)):
        return None
    return Finding(
        "stale_statistics",
        place.name,
        "error",
        f"{found}, after {count(_seen(place), 'batch')}",
        "the statistics are of other weights or of other data: weights were loaded, averaged or changed since, or the "
        "data are prepared differently",
        _POPULATION + "; Izmailov et al. 2018, Averaging Weights Leads to Wider Optima, §3.2",
        UPDATE,
    )
