"""Rows of figures, and the file that keeps them."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tinybn._typing import Shape
from tinybn.bench.inputs import Case
from tinybn.errors import DataError

_FORMAT = 1

Key = tuple[str, str, Shape, str, str, float, int]


@dataclass(frozen=True)
class Row:
    """One version of one kernel on one case with one number of threads. Times are in seconds.

    ``status`` is "ok"; "wrong", and then there are no times; "inexact" for a version that is known to be wrong on such
    data; or "failed", with a message, for one that raised an exception. Figures that could not be measured are None.
    """

    kernel: str
    version: str
    shape: Shape
    dtype: str
    layout: str
    mean: float
    threads: int
    status: str
    error: float | None = None  # largest, relative; see tinybn.bench.verify
    message: str = ""
    peer: bool = False
    bytes: int = 0  # inputs once, outputs once
    flops: int = 0
    rounds: int = 0
    minimum: float | None = None
    median: float | None = None
    quartiles: tuple[float, float] | None = None
    times_copy: float | None = None  # median over rounds of time / time of the copy in the same round
    times_copy_spread: float | None = None  # of these ratios: 1.48 · median absolute deviation / median, a relative σ
    copy: float | None = None  # the median of np.copyto on one thread
    bandwidth: float | None = None  # bytes per second of the fastest copy of this size with so many threads
    peak_flops: float | None = None  # per second
    peer_median: float | None = None  # PyTorch's

    @property
    def key(self) -> Key:
        """What tells a row from all others of a run, and finds it again in another run."""
        return self.kernel, self.version, self.shape, self.dtype, self.layout, self.mean, self.threads

    @property
    def case(self) -> Case:
        return Case(self.shape, self.dtype, self.layout, self.mean)

    @property
    def gigabytes_per_second(self) -> float | None:
        return self.bytes / self.median / 1e9 if self.median else None

    @property
    def gigaflops(self) -> float | None:
        return self.flops / self.median / 1e9 if self.median else None

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / self.bytes if self.bytes else 0.0

    @property
    def attainable(self) -> float | None:
        """The roofline, in operations per second: what bandwidth and peak allow at this intensity."""
        if self.bandwidth is None or self.peak_flops is None:
            return None
        return min(self.peak_flops, self.intensity * self.bandwidth)

    @property
    def roofline(self) -> float | None:
        """Achieved of attainable."""
        attainable = self.attainable
        return self.flops / self.median / attainable if self.median and attainable else None

    @property
    def times_faster(self) -> float | None:
        """PyTorch's time over this one's."""
        return self.peer_median / self.median if self.median and self.peer_median and not self.peer else None


@dataclass
class Report:
    """All rows of a run, and where they were measured."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    rows: list[Row] = field(default_factory=list)

    @property
    def failures(self) -> list[Row]:
        """Rows that are wrong or have raised, apart from the peers' and from those that are known to be inexact."""
        return [row for row in self.rows if row.status in ("wrong", "failed") and not row.peer]

    def save(self, path: Path) -> None:
        """Write a JSON file; derived figures are in it too, for other programs to read."""
        rows = [{**asdict(row), **_derived(row)} for row in self.rows]
        content = {"format": _FORMAT, "machine": self.machine, "settings": self.settings, "rows": rows}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Report:
    """A report that `Report.save` has written.

    Raises:
        OSError: it cannot be read.
        DataError: it is not such a file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise DataError(f"{path}: written in format {content['format']}; this version reads format {_FORMAT}")
        return Report(content["machine"], content["settings"], [_row(entry) for entry in content["rows"]])
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a file that `python -m tinybn bench --json` has written ({error!r})") from error


def _row(entry: dict[str, Any]) -> Row:
    values = {name.name: entry[name.name] for name in fields(Row)}
    quartiles = values["quartiles"]
    return Row(**{**values, "shape": tuple(values["shape"]), "quartiles": tuple(quartiles) if quartiles else None})


def _derived(row: Row) -> dict[str, float | None]:
    names = "gigabytes_per_second", "gigaflops", "intensity", "roofline", "times_faster"
    return {name: getattr(row, name) for name in names}


def groups(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows that were timed in turn with each other: one kernel on one case."""
    found: dict[tuple[str, Case], list[Row]] = {}
    for row in rows:
        found.setdefault((row.kernel, row.case), []).append(row)
    return list(found.values())
