"""What the doctor says: findings, the layers' figures, and the report that has both as text, dict and HTML."""

import math
from dataclasses import asdict, dataclass, field
from textwrap import wrap
from typing import Any, NamedTuple

from tinybn.nn.doctor.page import html_page


class Score(NamedTuple):
    """Mean loss per example, and accuracy as a fraction; None where the targets are no classes."""

    loss: float
    accuracy: float | None

    def __str__(self) -> str:
        text = f"loss {self.loss:.3g}"
        return text if self.accuracy is None else f"{text} and accuracy {self.accuracy:.1%}"


@dataclass
class Finding:
    """A fault of one layer.

    Fields:
        fault: what kind it is, such as "dropout_before_norm".
        layer: the layer's name in ``model.named_modules()``.
        severity: "error" where training or evaluation goes wrong by it, else "warning".
        evidence: what was measured, or found in the structure.
        reason: why that is a fault.
        source: where it says so.
        repair: a line of code; the names in it are those of `diagnose`'s arguments.
        consequences: what was measured and is explained by it.
    """

    fault: str
    layer: str
    severity: str
    evidence: str
    reason: str
    source: str
    repair: str
    consequences: list[str] = field(default_factory=list)


@dataclass
class LayerReport:
    """The figures of one normalization layer; None for what it does not have or what could not be measured.

    Fields:
        name, kind: its name in the model, and its class.
        runs: how often it runs in one forward.
        examples, values: how many examples, and how many values for each mean, a usual batch has.
        loss, accuracy: with the running statistics of all layers.
        loss_batch, accuracy_batch: with the batch's statistics in this layer alone.
        batches_seen: ``num_batches_tracked``.
        share: the weight of the newest batch in the running statistics.
        mean_shift: |running mean − exact mean|/std, the root mean square over the channels, and its largest value.
        var_ratio: ln(running variance/exact variance), likewise.
        flat_channels: those with next to no variance, with their gain |weight|/√(var + eps).
        dead_channels: those that a ReLU behind sets to 0 for all of the data.
        dropouts: those in front, each with its rate.
        redundant_biases: those in front.
        weight_decay: of its parameters, where the optimizer has some.
        frozen: what of it is frozen.
        skipped_batches: those that were not finite in training.
    """

    name: str
    kind: str
    runs: int = 0
    examples: int | None = None
    values: int | None = None
    loss: float | None = None
    accuracy: float | None = None
    loss_batch: float | None = None
    accuracy_batch: float | None = None
    batches_seen: int | None = None
    share: float | None = None
    mean_shift: tuple[float, float] | None = None
    var_ratio: tuple[float, float] | None = None
    flat_channels: dict[int, float] = field(default_factory=dict)
    dead_channels: list[int] = field(default_factory=list)
    dropouts: list[str] = field(default_factory=list)
    redundant_biases: list[str] = field(default_factory=list)
    weight_decay: float | None = None
    frozen: list[str] = field(default_factory=list)
    skipped_batches: int = 0


@dataclass
class Report:
    """What `diagnose` found: ``print(report)`` shows it, `to_dict` and `to_html` have it for programs and browsers.

    Fields:
        model: the class of the model.
        batches, examples: the size of the data.
        running: loss and accuracy in evaluation, with the running statistics; None if no batch could be used.
        batch: on the same data with the batches' own statistics; None without layers that have both.
        findings: the faults, those of the first layers first. Empty if the model is healthy.
        layers: the figures of each normalization layer, in the order in which they run.
    """

    model: str
    batches: int
    examples: int
    running: Score | None
    batch: Score | None
    findings: list[Finding]
    layers: list[LayerReport]

    @property
    def healthy(self) -> bool:
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Everything as dicts, lists, strings and numbers, that JSON can hold: None for what is not finite."""
        scores = {name: score and score._asdict() for name, score in (("running", self.running), ("batch", self.batch))}
        plain: dict[str, Any] = _plain({"healthy": self.healthy, **asdict(self), **scores})
        return plain

    def to_html(self) -> str:
        """A page that needs no other file."""
        return html_page(self.to_dict())

    def _alike(self) -> list[list[Finding]]:
        """The findings of each fault together."""
        groups: dict[str, list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault(finding.fault, []).append(finding)
        return list(groups.values())

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        lines = [
            f"{self.model}: {len(self.layers)} layers normalize; {self.batches} batches, {self.examples} examples",
            f"running statistics: {self.running or 'not measured'}",
        ]
        if self.batch is not None:
            lines.append(f"batch statistics:   {self.batch}")
        if not self.findings:
            lines += ["", "Nothing found."]
        for number, alike in enumerate(self._alike(), 1):
            first = alike[0]
            lines += ["", f"{number}. {first.severity.upper()} {first.fault}"]
            for finding in alike:
                lines += _wrapped(f"{finding.layer or 'model'}: ", finding.evidence)
                for consequence in finding.consequences:
                    lines += _wrapped("  → ", consequence)
            lines += _wrapped("why: ", f"{first.reason} ({first.source})")
            lines += [f"   repair: {code}" for code in dict.fromkeys(finding.repair for finding in alike)]
        return "\n".join([*lines, "", *_table(self.layers)])


def _wrapped(label: str, text: str) -> list[str]:
    indent = " " * 3
    return wrap(text, 100, initial_indent=indent + label, subsequent_indent=indent + " " * len(label))


def _table(layers: list[LayerReport]) -> list[str]:
    """The layers' figures in columns."""
    if not layers:
        return ["There are no normalization layers."]
    rows = [["layer", "kind", "values", "seen", "|Δmean|/std", "ln var ratio", "loss own batch", "dead"]]
    for layer in layers:
        rows.append(
            [
                layer.name or "model",
                layer.kind,
                _short(layer.values) if layer.runs else "never ran",
                _short(layer.batches_seen),
                _short(layer.mean_shift and layer.mean_shift[0]),
                _short(layer.var_ratio and layer.var_ratio[0]),
                _short(layer.loss_batch),
                str(len(layer.dead_channels)),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
