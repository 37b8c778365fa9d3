"""The result of races: rows, ratios, files, text."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tinybn.bench.train.race import Entry, Race

_FORMAT = 1
_COMPARED = 20  # losses of the first steps, before rounding has grown


@dataclass(frozen=True)
class Row:
    """One framework in one variant in one race. Seconds, bytes; `ratio` is its time over tinybn's in the same rounds."""

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


def rows(race: Race, width: int, depth: int, entries: list[Entry]) -> list[Row]:
    """The rows of a race, whose first entry is tinybn."""
    own, made = entries[0], []
    for entry in entries:
        done = bool(entry.seconds) and not entry.failed
        ratios = [theirs / ours for theirs, ours in zip(entry.seconds, own.seconds, strict=False)]
        pairs = zip(entry.losses[:_COMPARED], own.losses, strict=False)
        made.append(
            Row(
                model=race.model.name,
                title=race.model.title,
                batch=race.model.batch,
                width=width,
                depth=depth,
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
                loss_difference=max((abs(a - b) for a, b in pairs), default=None),
                failed=entry.failed,
            )
        )
    return made


def _quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def table(made: Iterable[Row]) -> str:
    """The rows of one race."""
    made = list(made)
    first = made[0]
    cores = f"{first.cores} core{'s' * (first.cores > 1)}"
    scale = "".join(f", {name} ×{n}" for name, n in (("width", first.width), ("depth", first.depth)) if n > 1)
    lines = [
        f"{first.model}: {first.title}; batch {first.batch}{scale}; {first.optimizer}; {cores}",
        f"  {'':<26}{'ms/step':>9}{'quartiles':>17}{'ratio':>8}{'first step':>12}{'faults/step':>13}{'peak MB':>9}"
        f"{'loss':>8}{'loss diff.':>12}",
    ]
    for row in made:
        if row.failed or row.median is None or row.quartiles is None:
            lines.append(f"  {row.name:<26}failed: {row.failed}")
            continue
        low, high = (f"{1e3 * value:.3g}" for value in row.quartiles)
        lines.append(
            f"  {row.name:<26}{1e3 * row.median:>9.3g}{f'{low} to {high}':>17}{row.ratio or 0:>8.2f}"
            f"{1e3 * row.first_step:>9.0f} ms{row.faults:>13.1f}{row.peak / 1e6:>9.0f}{row.loss or 0:>8.3f}"
            f"{row.loss_difference or 0:>12.1e}"
        )
    return "\n".join(lines)


def summary(made: Iterable[Row]) -> str:
    """For each number of cores and each optimizer: how many times as long the others take."""
    made = [row for row in made if row.median is not None]
    lines = []
    for optimizer, cores in dict.fromkeys((row.optimizer, row.cores) for row in made):
        chosen = [row for row in made if (row.optimizer, row.cores) == (optimizer, cores)]
        races: dict[Any, list[Row]] = {}
        for row in chosen:
            races.setdefault((row.model, row.batch, row.width, row.depth), []).append(row)
        title = f"{optimizer}, {cores} core{'s' * (cores > 1)}"
        for what, wanted in (
            ("the best peer", lambda row: True),
            (
                "PyTorch, default optimizer, better layout",
                lambda row: row.framework == "torch" and "fused" not in row.variant,
            ),
            (
                "PyTorch, fused optimizer, better layout",
                lambda row: row.framework == "torch" and "fused" in row.variant,
            ),
            ("JAX", lambda row: row.framework == "jax"),
        ):
            best = {
                key: min(
                    (r for r in race if r.framework != "tinybn" and wanted(r)), key=lambda r: r.median, default=None
                )
                for key, race in races.items()
            }
            ratios = {key: row.ratio for key, row in best.items() if row is not None and row.ratio}
            if ratios:
                each = ", ".join(f"{_short(key)} {ratio:.2f}" for key, ratio in ratios.items())
                mean = statistics.geometric_mean(ratios.values())
                lines.append(f"{title}: {what} takes {mean:.2f} times as long (geometric mean; {each})")
        peaks = {name: max((r.peak for r in chosen if r.framework == name), default=0) for name in ("tinybn", "torch")}
        if peaks["torch"]:
            lines.append(f"{title}: peak memory {peaks['tinybn'] / 1e6:.0f} MB, PyTorch's {peaks['torch'] / 1e6:.0f}")
    return "\n".join(lines)


def _short(key: tuple[str, int, int, int]) -> str:
    name, batch, width, depth = key
    return f"{name}/{batch}" + f"w{width}" * (width > 1) + f"d{depth}" * (depth > 1)


@dataclass
class TrainReport:
    """Everything that a run has measured, and on what."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    accuracy: list[dict[str, Any]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        content = {"format": _FORMAT, "kind": "train", **asdict(self)}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
