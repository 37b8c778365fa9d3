"""Faults of the data as they come: small batches, single examples, NaN."""

import math

import numpy as np

from tinybn.nn.doctor.case import Case, count, some
from tinybn.nn.doctor.report import Finding
from tinybn.nn.doctor.structure import examples, values
from tinybn.nn.doctor.trace import Place
from tinybn.nn.normalization import BatchRenorm1d, BatchRenorm2d

# Error of ResNet-50 at batches of 32/16/8/4/2: 23.6/23.7/24.8/27.3/34.7 (Wu & He 2018, table 2): nothing is lost down
# to 16, more than a point at 8. Examples count, not values: with up to 112² positions of an image to a channel, these
# are the figures of BatchNorm2d.
FEWEST = 16
BREAKS = 8  # below it, training itself suffers
USUAL = 32
FEWEST_RENORM = 4  # Ioffe 2017, Batch Renormalization, §4.2 trains with 4 as with 32


def small_batch(case: Case, place: Place) -> Finding | None:
    """Fewer examples for each mean than the usual minimum."""
    number = examples(case, place)
    renorm = isinstance(place.layer, BatchRenorm1d | BatchRenorm2d)
    least = FEWEST_RENORM if renorm else FEWEST
    if not place.mixes_examples or place.frozen or number >= least:
        return None
    if hasattr(place.layer, "ghost_size") and case.batch >= FEWEST:
        repair = f"{case.path(place.name)}.ghost_size = {min(USUAL, case.batch)}"
    elif hasattr(case.loader, "dataset") and sum(case.measures.sizes) >= USUAL:
        repair = case.reloaded(USUAL)
    else:
        repair = f"{case.path(place.name)} = {_for_any_batch(place)}"
    return Finding(
        "small_batch",
        place.name,
        "error" if number < BREAKS or renorm else "warning",
        f"{count(number, 'example')} ({count(values(case, place) or 0, 'value')}) for each mean and variance; "
        f"the usual minimum is {least}",
        "the noise of the statistics grows as 1/√batch, and evaluation is without it",
        "Ioffe 2017, Batch Renormalization, §1 and §4.2; Wu & He 2018, Group Normalization, §4.1, table 2: error "
        "23.6 % at 32, 24.8 % at 8, 34.7 % at 2",
        repair,
    )


def _for_any_batch(place: Place) -> str:
    """A normalization that does not mind the size of the batch."""
    channels = place.layer.num_features
    if len(place.shapes[0]) == 2:
        return f"tb.nn.LayerNorm({channels})"
    groups = next((g for g in (32, 16, 8, 4, 2) if channels % g == 0 and channels // g >= 4), 1)
    return f"tb.nn.GroupNorm({groups}, {channels})"


def single_value(case: Case, place: Place) -> Finding | None:
    """Batches that training refuses, among others that it takes; told of the first layer that does."""
    single = case.measures.single
    if not single or place is not next((p for p in case.places if _refuses(p)), None) or case.batch < 2:
        return None
    repair = "loader = [(x, y) for x, y in loader if len(x) > 1]"
    if hasattr(case.loader, "dataset"):
        repair = case.reloaded(case.batch, drop_last=True)
    return Finding(
        "single_value_batch",
        place.name,
        "error",
        f"one value per channel in batch {some(single)} of {len(case.measures.sizes)} (from 0 on)",
        "the variance of one value is 0 whatever it is, so training raises an error there",
        "documentation of torch.nn.BatchNorm1d: expected more than 1 value per channel when training",
        repair,
    )


def _refuses(place: Place) -> bool:
    return place.mixes_examples and not place.frozen and any(math.prod(shape[2:]) == 1 for shape in place.shapes)


# --- NaN --------------------------------------------------------------------------------------------------------------


def non_finite_parameters(case: Case, place: Place) -> Finding | None:
    """Parameters that are not finite, told of the first layer that is or gets what they make."""
    wrong = not_finite(case)
    if not wrong or case.measures.broken or place is not _first(case, wrong):
        return None
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name in wrong))
    modules = dict(case.model.named_modules())
    repair = "; ".join(
        f"{case.path(name)}.reset_parameters()" for name in owners if hasattr(modules[name], "reset_parameters")
    )
    finding = Finding(
        "non_finite_parameters",
        place.name,
        "error",
        f"not finite: {', '.join(wrong[:4])}{', …' if len(wrong) > 4 else ''}",
        "what is computed with a NaN is NaN, and so are its gradients: training cannot repair it",
        "documentation of tinybn.detect_anomaly",
        repair or "model.load_state_dict(state)  # of a checkpoint from before",
    )
    finding.consequences += _skipped(case)
    return finding


def nan_batches(case: Case, place: Place) -> Finding | None:
    """Batches that were not finite: in training, or in the loader now."""
    broken, wrong = case.measures.broken, not_finite(case)
    seen = [other for other in case.places if _history(other)]
    if (wrong and not broken) or place is not next(iter(seen or case.places), None) or not (seen or broken):
        return None
    evidence, forget = [], "; ".join(f"{case.path(other.name)}.skipped_batches = 0" for other in seen)
    if seen:
        evidence.append(f"{count(_history(place), 'batch')} moved no statistics in training: they were not finite")
    repair = (
        f"with tb.detect_anomaly(): tb.train.fit(model, loader, optimizer); {forget}  # raises at the op that did it"
    )
    if broken:
        evidence.append(f"the inputs of batch {some(broken)} of {len(case.measures.sizes)} are not finite (from 0 on)")
        repair = "loader = [(x, y) for x, y in loader if tb.isfinite(x).all()]" + (f"; {forget}" if forget else "")
    finding = Finding(
        "nan_batches",
        place.name,
        "error",
        "; ".join(evidence),
        "a NaN spreads over a whole channel with the batch's mean, and into all weights with the next step",
        "Ioffe & Szegedy 2015, Batch Normalization, algorithm 1; documentation of tinybn.nn.BatchNorm1d",
        repair,
    )
    finding.consequences += [text for text in _skipped(case) if not text.startswith(f"{place.name}:")]
    finding.consequences += [f"{name} is not finite" for name in wrong]
    return finding


def not_finite(case: Case) -> list[str]:
    """The names of parameters that are not finite."""
    return [name for name, parameter in case.parameters.items() if not np.isfinite(parameter.data).all()]


def _first(case: Case, wrong: list[str]) -> Place | None:
    names = set(wrong)
    return next((p for p in case.places if names & (p.above | set(case.own(p)))), next(iter(case.places), None))


def _history(place: Place) -> int:
    return int(getattr(place.layer, "skipped_batches", 0))


def _skipped(case: Case) -> list[str]:
    return [
        f"{p.name}: {count(_history(p), 'batch')} moved no statistics in training" for p in case.places if _history(p)
    ]
