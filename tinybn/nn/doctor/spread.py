"""Faults of what is normalized together: batches that are not like the data, and one layer in several places."""

import numpy as np

from tinybn.nn.doctor.case import Case, count, rms
from tinybn.nn.doctor.report import Finding
from tinybn.nn.doctor.running import FAR_MEAN, FAR_VAR
from tinybn.nn.doctor.trace import Place

# The share of variance that lies between batches. Of batches of N drawn at random it is 1/N at most, whatever varies:
# 0.03 for 32, measured in hidden layers and in the classes of the digits as in theory. In the order in which they were
# written it is 0.05, sorted by class 0.5 and 0.9.
BETWEEN = 0.2
CHANCE = 3  # times 1/N


def unrepresentative_batches(case: Case, place: Place) -> Finding | None:
    """Batches that differ from each other more than chance explains, told of the first layer that minds."""
    minding = [other for other in case.places if other.shapes and other.mixes_examples and not other.frozen]
    most = max(BETWEEN, CHANCE / case.batch)
    classes, inputs = case.measures.classes.between, {other.name: _between(case, other) for other in minding}
    first = next((other for other in minding if classes > most or inputs[other.name] > most), None)
    if place is not first:
        return None
    return Finding(
        "unrepresentative_batches",
        place.name,
        "error",
        f"{classes:.0%} of the variance of the classes lies between batches, and {inputs[place.name]:.0%} of that of "
        f"the layer's input; of batches drawn at random {1 / case.batch:.1%} do at most",
        "mean and variance of a batch stand for those of the data only if its examples are drawn at random: of sorted "
        "data each class is normalized by itself, in training alone",
        "Ioffe 2017, Batch Renormalization, §1 and §4.3",
        case.reloaded(case.batch),
    )


def _between(case: Case, place: Place) -> float:
    pools = case.measures.seen_running.inputs.get(place.name)
    return pools[0].between if pools else 0.0


def shared_statistics(case: Case, place: Place) -> Finding | None:
    """A layer that runs several times in one forward, on inputs that differ as far as running statistics may not."""
    pools = case.measures.seen_running.inputs.get(place.name, [])
    if len(pools) < 2 or not place.tracks or place.frozen:
        return None
    first, eps = pools[0], place.layer.eps
    shifts = [rms((pool.mean - first.mean) / np.sqrt(first.var + eps)) for pool in pools[1:]]
    ratios = [rms(np.log((pool.var + eps) / (first.var + eps))) for pool in pools[1:]]
    if max(shifts) <= FAR_MEAN and max(ratios) <= FAR_VAR:
        return None
    return Finding(
        "shared_statistics",
        place.name,
        "warning",
        f"{count(len(pools), 'run')} in one forward, on inputs whose means are up to {max(shifts):.2g} standard "
        f"deviations apart and whose variances differ by up to a factor of {np.exp(max(ratios)):.3g}",
        "in training each run is normalized with its own mean and variance, in evaluation all with a mixture of them",
        "Cooijmans et al. 2016, Recurrent Batch Normalization, §3: statistics for each time step; Wu & Johnson 2021, "
        "Rethinking 'Batch' in BatchNorm, §5",
        f"norms = tb.nn.ModuleList(copy.deepcopy({case.path(place.name)}) for _ in range({len(pools)}))  # one for "
        "each run in forward",
    )
