"""The result of races: rows, ratios, files, text."""

import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinybn.bench.train.race import Entry, Race

_FORMAT = 1
_COMPARED = 20  # losses of the first steps, before rounding has grown


@dataclass(frozen=True)
class Row:
    """One framework in one variant in one race, in seconds and bytes. What was not measured is None.

    `ratio` is its time over tinybn's in the same rounds.
    """

    model: str
    title: str
    batch: int
    width: int
    depth: int
    optimizer: str
    cores: int
    framework: str
    variant: str
    version: str
    median: float | None
    quartiles: tuple[float, float] | None
    ratio: float | None
    first_step: float
    faults: float
    peak: int
    loss: float | None  # the mean of the last round
    loss_difference: float | None  # from tinybn's, the largest of the first steps
    failed: str = ""

    @property
    def name(self) -> str:
        return self.framework if self.variant == "plain" else f"{self.framework} {self.variant}"


@dataclass
class Accuracy:
    """What one framework's trainings have ended with."""

    model: str
    batch: int
    width: int
    depth: int
    optimizer: str
    cores: int
    epochs: int
    framework: str
    version: str
    percent: list[float] = field(default_factory=list)  # right test images, for each seed
    failed: str = ""


def rows(race: Race, entries: list[Entry]) -> list[Row]:
    """The rows of a race, whose first entry is tinybn."""
    own, made = entries[0], []
    for entry in entries:
        done = bool(entry.seconds) and not entry.failed
        ratios = [theirs / ours for theirs, ours in zip(entry.seconds, own.seconds, strict=False)]
        made.append(
            Row(
                model=race.model.name,
                title=race.model.title,
                batch=race.model.batch,
                width=race.model.width,
                depth=race.model.depth,
                optimizer=race.optimizer,
                cores=len(race.cores),
                framework=entry.framework,
                variant=entry.variant,
                version=entry.version,
                median=statistics.median(entry.seconds) if done else None,
                quartiles=_quartiles(entry.seconds) if done else None,
                ratio=statistics.median(ratios) if done and ratios else None,
                first_step=entry.first_step,
                faults=entry.faults,
                peak=entry.peak,
                loss=statistics.fmean(entry.losses[-race.steps :]) if done else None,
                loss_difference=_difference(entry.losses, own.losses),
                failed=entry.failed,
            )
        )
    return made


def _difference(losses: list[float], own: list[float]) -> float | None:
    """NaN if a loss is NaN, which max would not tell."""
    n = min(len(losses), len(own), _COMPARED)
    return float(np.abs(np.subtract(losses[:n], own[:n])).max()) if n else None


def _quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def heading(race: Race) -> str:
    """What is raced, in a line."""
    model = race.model
    scale = "".join(f", {name} ×{n}" for name, n in (("width", model.width), ("depth", model.depth)) if n > 1)
    return f"{model.name}: {model.title}; batch {model.batch}{scale}; {race.optimizer}; {_cores(len(race.cores))}"


def table(made: Iterable[Row]) -> str:
    """The rows of one race."""
    lines = [
        f"  {'':<26}{'ms/step':>9}{'quartiles':>17}{'ratio':>8}{'first step':>12}{'faults/step':>13}{'peak MB':>9}"
        f"{'loss':>8}{'loss diff.':>12}",
    ]
    for row in made:
        if row.median is None or row.quartiles is None:
            lines.append(f"  {row.name:<26}failed: {row.failed}")
            continue
        low, high = (f"{1e3 * value:.3g}" for value in row.quartiles)
        lines.append(
            f"  {row.name:<26}{1e3 * row.median:>9.3g}{f'{low} to {high}':>17}{_figure(row.ratio, '.2f'):>8}"
            f"{1e3 * row.first_step:>9.0f} ms{row.faults:>13.1f}{row.peak / 1e6:>9.0f}{_figure(row.loss, '.3f'):>8}"
            f"{_figure(row.loss_difference, '.1e'):>12}"
        )
    return "\n".join(lines)


def accuracies(race: Race, epochs: int, entries: Iterable[Entry]) -> list[Accuracy]:
    """One row for each framework, of its entries with several seeds."""
    made: dict[str, Accuracy] = {}
    for entry in entries:
        if entry.framework not in made:
            model, cores = race.model, len(race.cores)
            size = model.name, model.batch, model.width, model.depth
            made[entry.framework] = Accuracy(*size, race.optimizer, cores, epochs, entry.framework, entry.version)
        row = made[entry.framework]
        row.failed = row.failed or entry.failed
        if entry.accuracy is not None:
            row.percent.append(100 * entry.accuracy)
    return list(made.values())


def accuracy_table(made: Iterable[Accuracy]) -> str:
    """The accuracies of one race: their mean, the least and the largest."""
    lines = []
    for row in made:
        parts = []
        if row.percent:
            spread = f"{min(row.percent):.2f} to {max(row.percent):.2f}; seeds: {len(row.percent)}"
            parts.append(f"{statistics.fmean(row.percent):.2f} % on test images ({spread})")
        if row.failed:
            parts.append(f"failed: {row.failed}")
        lines.append(f"  {row.framework:<26}{'; '.join(parts)}")
    return "\n".join(lines)


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _cores(n: int) -> str:
    return f"{n} core{'s' * (n > 1)}"


_PEERS: dict[str, Callable[[Row], bool]] = {
    "the best peer": lambda row: row.framework != "tinybn",
    "PyTorch, default optimizer, better layout": lambda row: row.framework == "torch" and "fused" not in row.variant,
    "PyTorch, fused optimizer, better layout": lambda row: row.framework == "torch" and "fused" in row.variant,
    "JAX": lambda row: row.framework == "jax",
}


def summary(made: Iterable[Row]) -> str:
    """For each number of cores and each optimizer: how many times as long the others take."""
    made = [row for row in made if row.median is not None]
    lines = []
    for optimizer, cores in dict.fromkeys((row.optimizer, row.cores) for row in made):
        chosen = [row for row in made if (row.optimizer, row.cores) == (optimizer, cores)]
        races: dict[tuple[str, int, int, int], list[Row]] = {}
        for row in chosen:
            races.setdefault((row.model, row.batch, row.width, row.depth), []).append(row)
        title = f"{optimizer}, {_cores(cores)}"
        for what, wanted in _PEERS.items():
            best = {key: _fastest(filter(wanted, race)) for key, race in races.items()}
            ratios = {key: row.ratio for key, row in best.items() if row is not None and row.ratio}
            if ratios:
                each = ", ".join(f"{_short(key)} {ratio:.2f}" for key, ratio in ratios.items())
                mean = statistics.geometric_mean(ratios.values())
                lines.append(f"{title}: {what} takes {mean:.2f} times as long (geometric mean; {each})")
        peaks = {name: max((r.peak for r in chosen if r.framework == name), default=0) for name in ("tinybn", "torch")}
        if peaks["tinybn"] and peaks["torch"]:
            lines.append(f"{title}: peak memory {peaks['tinybn'] / 1e6:.0f} MB, PyTorch's {peaks['torch'] / 1e6:.0f}")
    return "\n".join(lines)


def _fastest(rows: Iterable[Row]) -> Row | None:
    return min(rows, key=lambda row: row.median or 0.0, default=None)


def _short(key: tuple[str, int, int, int]) -> str:
    name, batch, width, depth = key
    return f"{name}/{batch}" + f"w{width}" * (width > 1) + f"d{depth}" * (depth > 1)


@dataclass
class TrainReport:
    """Everything that a run has measured, and on what."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    accuracy: list[Accuracy] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether anyone has."""
        return any(row.failed for row in self.rows) or any(row.failed for row in self.accuracy)

    def save(self, path: Path) -> None:
        content = {"format": _FORMAT, "kind": "train", **asdict(self)}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
