"""Faults of single channels: next to no variance, dead behind a ReLU; and an eps above the variance of most."""

from typing import Any

import numpy as np

from tinybn._typing import Array
from tinybn.nn.doctor.case import Case, count, some
from tinybn.nn.doctor.report import Finding
from tinybn.nn.doctor.trace import Place
from tinybn.nn.normalization import GroupNorm, LayerNorm, VarianceOnlyBatchNorm1d, VarianceOnlyBatchNorm2d

# A channel is flat with a ten-thousandth of the median variance (a hundredth of the standard deviation) if its gain is
# ten times the median: a deviation that is nothing among the others' comes out ten times as large as theirs. In the
# healthy nets the smallest variance was a quarter of the median.
FLAT = 1e-4
AMPLIFIED = 10

_OFF_CENTER = (LayerNorm, GroupNorm, VarianceOnlyBatchNorm1d, VarianceOnlyBatchNorm2d)  # no mean 0 in each channel


def gains(case: Case, place: Place) -> tuple[Array, Array] | None:
    """The variance of each channel over all data, and the gain |weight|/√(var + eps); None where they are unknown."""
    population = case.measures.population.get(place.name)
    layer = place.layer
    if population is None or (place.tracks and layer.running_var is None):
        return None
    weight = 1.0 if layer.weight is None else np.abs(layer.weight.data.astype(np.float64))
    return population.var, weight / np.sqrt(population.var + layer.eps)


def flat(case: Case, place: Place) -> Array:
    """The channels with next to no variance that are amplified."""
    found = gains(case, place)
    if found is None:
        return np.zeros(0, int)
    var, gain = found
    return np.flatnonzero((var < FLAT * np.median(var)) & (gain > AMPLIFIED * np.median(gain)))


def flat_channels(case: Case, place: Place) -> Finding | None:
    """Channels whose noise is amplified into a signal."""
    channels = flat(case, place)
    if not channels.size:
        return None
    var, gain = gains(case, place)  # type: ignore[misc]  # there are some
    layer = place.layer
    return Finding(
        "flat_channels",
        place.name,
        "warning",
        f"{len(channels)} of {count(len(var), 'channel')} ({some(channels)}) with a variance of at most "
        f"{var[channels].max():.1e}, where the median is {np.median(var):.1e}; their gain is up to "
        f"{gain[channels].max():.3g}, where the median is {np.median(gain):.3g}",
        "1/√(var + eps) makes as much of a constant channel's smallest deviation as of a signal: an unusual example is "
        "thrown far off",
        "Cooijmans et al. 2016, Recurrent Batch Normalization, §5.1: features that do not vary",
        f"{case.path(place.name)}.eps = {_smallest_eps(var, channels, layer):.0e}",
    )


def _smallest_eps(var: Array, channels: Array, layer: Any) -> float:
    """An eps with which the gain of these channels is within what is amplified."""
    weight = np.ones_like(var) if layer.weight is None else np.abs(layer.weight.data.astype(np.float64))
    eps = 1e-12
    while True:
        gain = weight / np.sqrt(var + eps)
        if gain[channels].max() <= AMPLIFIED * np.median(gain) or eps > var.max():
            return eps
        eps *= 10


def eps_above_variance(case: Case, place: Place) -> Finding | None:
    """Variances so small that eps takes their place in most channels."""
    found = gains(case, place)
    if found is None:
        return None
    var, eps = found[0], place.layer.eps
    median = float(np.median(var))
    if not 0 < median < eps:
        return None
    return Finding(
        "eps_above_variance",
        place.name,
        "warning",
        f"eps={eps:g} is above the variance of most channels (median {median:.1e}): outputs have a standard deviation "
        f"of {np.sqrt(median / (median + eps)):.2g} before the weight, not 1",
        "eps is there for the stability of a division and is meant to be small beside the variance",
        "Ioffe & Szegedy 2015, Batch Normalization, algorithm 1",
        f"{case.path(place.name)}.eps = {median / 1000:.0e}",
    )


# --- ReLU -------------------------------------------------------------------------------------------------------------


def dead(case: Case, place: Place) -> Array:
    """The channels that a ReLU behind sets to 0 for all data, with the batch's statistics as with the running ones."""
    top = case.measures.seen_running.top.get(place.name)
    if top is None:
        return np.zeros(0, int)
    return np.flatnonzero((top <= 0) & (case.measures.seen_batch.top.get(place.name, top) <= 0))


def dead_relu(case: Case, place: Place) -> Finding | None:
    """Channels that give nothing and learn nothing, by the layer's own bias.

    One is enough: of 144 nets on the digits only those with a rate of 0.2 and momentum 0.9 had any, 5 of 16 channels.
    """
    channels, layer = dead(case, place), place.layer
    bias = getattr(layer, "bias", None)
    if not channels.size or bias is None:
        return None
    top, shift = case.measures.seen_running.top[place.name], bias.data.reshape(-1)
    weight = np.ones_like(shift) if getattr(layer, "weight", None) is None else np.abs(layer.weight.data.reshape(-1))
    # Where each channel has mean 0 before the bias, only the bias can be to blame; where it has not, it is if it is
    # three standard deviations.
    least = -3 * weight if isinstance(layer, _OFF_CENTER) else np.full_like(weight, np.inf)
    channels = channels[shift[channels] < least[channels]]
    if not channels.size:
        return None
    path, index = case.path(place.name), channels.tolist()
    repair = f"{path}.bias.data.reshape(-1)[{index}] = 0.0"
    if (weight[channels] < 1e-6).any():
        repair += f"; {path}.weight.data.reshape(-1)[{index}] = 1.0"
    return Finding(
        "dead_relu",
        place.name,
        "warning",
        f"the ReLU behind gives 0 for all data in {len(channels)} of {count(len(top), 'channel')} ({some(channels)}): "
        f"their largest input is {top[channels].max():.3g}, with a bias of at most {shift[channels].max():.3g}",
        "without the bias there would be positive values; no gradient comes back through a ReLU that gives 0, so "
        "nothing will bring them back",
        "Maas et al. 2013, Rectifier Nonlinearities Improve Neural Network Acoustic Models, §2; Lu et al. 2019, Dying "
        "ReLU and Initialization, §1",
        repair,
    )
