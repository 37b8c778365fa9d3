"""The faults of each layer, and what is a consequence of which."""

from collections.abc import Iterator

import numpy as np

from tinybn.nn.doctor import batches, channels, running, spread, structure, training
from tinybn.nn.doctor.case import Case, Check, count, rms
from tinybn.nn.doctor.report import Finding, LayerReport, Score
from tinybn.nn.doctor.trace import Place

CHECKS: list[Check] = [
    batches.non_finite_parameters,
    batches.nan_batches,
    running.poisoned_statistics,
    training.train_in_eval,
    training.eval_undone,
    training.frozen_part,
    training.frozen_affine,
    running.never_moved,
    running.last_batch,
    structure.dropout_before_norm,
    structure.too_few_values,
    spread.shared_statistics,
    spread.unrepresentative_batches,
    batches.small_batch,
    batches.single_value,
    running.unsettled,
    structure.redundant_bias,
    channels.flat_channels,
    channels.eps_above_variance,
    channels.dead_relu,
    training.weight_decay,
    training.not_optimized,
]

# What makes running statistics differ from the exact ones, and evaluation from training: the first of these that a
# layer has is the cause of what is measured there.
EXPLAINS = (
    "non_finite_parameters",
    "nan_batches",
    "poisoned_statistics",
    "training_mode_in_eval",
    "eval_undone_by_train",
    "statistics_never_moved",
    "momentum_of_last_batch",
    "dropout_before_norm",
    "unrepresentative_batches",
    "shared_statistics",
    "small_batch",
    "statistics_unsettled",
    "moving_statistics_in_frozen_part",
    "frozen_affine_moving_statistics",
)
# Those of them by which the layers behind get something else in training than in evaluation.
SPREADS = (
    "non_finite_parameters",
    "nan_batches",
    "momentum_of_last_batch",
    "dropout_before_norm",
    "unrepresentative_batches",
    "shared_statistics",
    "small_batch",
)

# What is no finding of its own beside one of these in the same layer, but their consequence.
FOLLOWS = {
    "dead_relu": ("eps_above_variance", "too_few_values"),  # where outputs are small, a small bias is enough
    "statistics_never_moved": ("eval_undone_by_train",),  # training passed the layer by
    "statistics_unsettled": ("eval_undone_by_train", "momentum_of_last_batch"),
}

# A distance is told from here on, where a fault of the same layer explains it. Healthy nets have up to 0.2.
NOTABLE = 0.1

# From here on a difference of scores is told: a point of accuracy, a tenth of the loss. In the healthy nets the two
# differ by as much where the loss is below 0.1.
ACCURACY_GAP = 0.01
LOSS_GAP = 0.1


def examine(case: Case) -> list[Finding]:
    """All findings, those of the layers that run first in front."""
    found: list[Finding] = []
    for place in case.places:
        if not place.shapes:  # it never ran: nothing is known of it
            continue
        own = _in_order([finding for check in CHECKS if (finding := check(case, place)) is not None])
        cause = _cause(own, found)
        if cause is None and (finding := running.stale(case, place)) is not None:
            own.append(finding)
            cause = finding
        found += own
        if cause is not None:
            cause.consequences += [
                text if cause.layer == place.name else f"{place.name}: {text}" for text in _effects(case, place, cause)
            ]
    return found


def _in_order(findings: list[Finding]) -> list[Finding]:
    """The findings of a layer without those that follow from another one, which stand under it then."""
    by_fault = {finding.fault: finding for finding in findings}
    kept = []
    for finding in findings:
        causes = [by_fault[fault] for fault in FOLLOWS.get(finding.fault, ()) if fault in by_fault]
        if causes:
            causes[0].consequences.append(finding.evidence)
        else:
            kept.append(finding)
    return kept


def _cause(own: list[Finding], earlier: list[Finding]) -> Finding | None:
    """What explains a layer's statistics: a fault of its own, or of a layer before it that spreads."""
    for fault in EXPLAINS:
        for finding in own:
            if finding.fault == fault:
                return finding
    return next((finding for finding in reversed(earlier) if finding.fault in SPREADS), None)


def _effects(case: Case, place: Place, cause: Finding) -> Iterator[str]:
    """What is measured at a layer that its cause explains."""
    distance = running.distance(case, place)
    if distance is not None and not any(str(distance) in text for text in (cause.evidence, *cause.consequences)):
        own = cause.layer == place.name
        if distance.far or (own and distance.beyond(NOTABLE, NOTABLE)):
            yield str(distance)
    score, alone = case.measures.running, case.measures.alone.get(place.name)
    if score is not None and alone is not None and _differ(score, alone):
        yield f"{score} with running statistics, {alone} with the batch's in this layer"
    top = case.measures.seen_running.top.get(place.name)
    if top is not None:
        silent = np.setdiff1d(np.flatnonzero(top <= 0), channels.dead(case, place)).size
        if silent:
            yield f"the ReLU behind gives 0 for all data in {count(silent, 'channel')}, in evaluation alone"


def _differ(a: Score, b: Score) -> bool:
    if a.accuracy is not None and b.accuracy is not None and abs(a.accuracy - b.accuracy) >= ACCURACY_GAP:
        return True
    return not abs(a.loss - b.loss) <= LOSS_GAP * min(abs(a.loss), abs(b.loss))  # also if one is not finite


def figures(case: Case, place: Place) -> LayerReport:
    """What was measured at one layer."""
    layer, measures = place.layer, case.measures
    report = LayerReport(place.name, place.kind, runs=len(place.shapes))
    report.skipped_batches = int(getattr(layer, "skipped_batches", 0))
    report.weight_decay = training.decay(case, place)
    report.frozen = [name for name in ("statistics", "affine") if getattr(layer, f"frozen_{name}", False)]
    if place.tracks:
        report.batches_seen = int(layer.num_batches_tracked.data)
        report.share = running.share(place)
    if not place.shapes:
        return report
    report.examples, report.values = structure.examples(case, place), structure.values(case, place)
    if measures.running is not None:
        report.loss, report.accuracy = measures.running
    if place.name in measures.alone:
        report.loss_batch, report.accuracy_batch = measures.alone[place.name]
    distance = running.distance(case, place)
    if distance is not None:
        report.mean_shift = _summary(distance.mean)
        report.var_ratio = _summary(distance.var)
    flat, gain = channels.flat(case, place), channels.gains(case, place)
    if gain is not None:
        report.flat_channels = {int(i): float(gain[1][i]) for i in flat}
    report.dead_channels = channels.dead(case, place).tolist()
    report.dropouts = [structure.tell(drop) for drop in place.dropouts]
    report.redundant_biases = [name for name in place.biases if name in case.redundant]
    return report


def _summary(values: np.ndarray | None) -> tuple[float, float] | None:
    return None if values is None else (rms(values), float(np.abs(values).max(initial=0)))
