"""What became slower or faster between two runs, and by how much more than the noise."""

import math
from dataclasses import dataclass

from tinybn.bench.results import Report, Row
from tinybn.errors import DataError

# The median of n samples of spread σ is uncertain by 1.25·σ/√n. Chance exceeds three times that in one row of 400,
# and a run has hundreds.
_MEDIAN = math.sqrt(math.pi / 2)
_SIGMAS = 3.0
# What two runs of one program differ by beyond the spread within each: other pages, other places in the caches.
_BETWEEN_RUNS = 0.08


@dataclass(frozen=True)
class Change:
    """One row in two runs.

    ``ratio`` is new / old: of the times, or of the times in units of the copy that was made in the same rounds,
    whichever is nearer to 1; 1 if they disagree about the direction. A machine that is slower as a whole moves the
    first alone, and a copy whose arrays lie better the second.
    """

    old: Row
    new: Row
    ratio: float
    noise: float

    @property
    def verdict(self) -> str:
        if self.ratio > 1 + self.noise:
            return "slower"
        return "faster" if self.ratio < 1 / (1 + self.noise) else "same"


@dataclass(frozen=True)
class Comparison:
    changes: list[Change]
    broken: list[Row]  # right in the first run, wrong or failed in the second
    only_old: int
    only_new: int

    def of(self, verdict: str) -> list[Change]:
        return [change for change in self.changes if change.verdict == verdict]

    @property
    def worse(self) -> bool:
        return bool(self.of("slower") or self.broken)


def compare(old: Report, new: Report) -> Comparison:
    """The rows that both have, apart from PyTorch's.

    Raises:
        DataError: they have no row in common.
    """
    before, after = ({row.key: row for row in report.rows if not row.peer} for report in (old, new))
    common = before.keys() & after.keys()
    if not common:
        raise DataError("the two files have no row in common: nothing to compare")
    pairs = [(before[key], after[key]) for key in before if key in common]
    changes = [_change(a, b) for a, b in pairs if a.times_copy and b.times_copy and a.median and b.median]
    broken = [b for a, b in pairs if a.status == "ok" and b.status != "ok"]
    return Comparison(changes, broken, len(before) - len(common), len(after) - len(common))


def _change(old: Row, new: Row) -> Change:
    assert old.times_copy and new.times_copy and old.median and new.median
    noise = _SIGMAS * math.hypot(_uncertainty(old), _uncertainty(new)) + _BETWEEN_RUNS
    least, most = sorted((new.median / old.median, new.times_copy / old.times_copy))
    return Change(old, new, least if least > 1 else min(most, 1.0), noise)


def _uncertainty(row: Row) -> float:
    return _MEDIAN * (row.times_copy_spread or 0.0) / math.sqrt(max(1, row.rounds))


def text(comparison: Comparison, old: Report, new: Report) -> str:
    """For reading: what is different about the runs, what broke, what became slower, what faster."""
    lines = [f"note: {name} was {a!r}, is {b!r}" for name, a, b in _differences(old, new)]
    lines += [f"BROKEN  {_name(row)}: {row.status} {row.message}".rstrip() for row in comparison.broken]
    for verdict in ("slower", "faster"):
        changes = sorted(comparison.of(verdict), key=lambda change: -abs(math.log(change.ratio)))
        lines += [_change_line(change) for change in changes]
    counts = ", ".join(f"{len(comparison.of(verdict))} {verdict}" for verdict in ("slower", "faster", "same"))
    missing = f"; only in the first: {comparison.only_old}, only in the second: {comparison.only_new}"
    unmatched = missing if comparison.only_old or comparison.only_new else ""
    return "\n".join([*lines, f"{len(comparison.changes)} rows compared: {counts}{unmatched}"])


def _differences(old: Report, new: Report) -> list[tuple[str, object, object]]:
    names = "processor", "instruction set", "compiler", "flags", "numpy", "blas", "threads", "load"
    pairs = [(name, old.machine.get(name), new.machine.get(name)) for name in names]
    return [(name, a, b) for name, a, b in pairs if a != b]


def _change_line(change: Change) -> str:
    old, new = change.old, change.new
    much = (change.ratio if change.verdict == "slower" else 1 / change.ratio) - 1
    beyond = much - change.noise
    return (
        f"{change.verdict}  {_name(old)}: by {much:.0%}, {beyond:.0%} beyond the noise of {change.noise:.0%} "
        f"({old.times_copy:.2f} → {new.times_copy:.2f} × copy; {_micro(old)} → {_micro(new)} µs)"
    )


def _name(row: Row) -> str:
    return f"{row.kernel} {row.version} {row.case}, {row.threads} thread{'s' if row.threads > 1 else ''}"


def _micro(row: Row) -> str:
    return f"{(row.median or 0) * 1e6:,.1f}"
