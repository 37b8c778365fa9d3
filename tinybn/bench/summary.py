"""Figures over many shapes: against PyTorch, against the copy, two threads against one."""

import statistics
from collections.abc import Sequence

from tinybn.bench.results import Row

_LARGE = 3_000_000  # bytes of a tensor from which its copy is a fair measure: below, the call itself weighs
_SCALED = (3_000_000, 30_000_000)  # where a second thread is asked for: enough to share, and within a large cache


def summary(rows: Sequence[Row]) -> str:
    """Three tables over the rows that were timed and have what the table needs; an empty string if there are none."""
    own = [row for row in rows if row.status == "ok" and not row.peer and row.median]
    tables = [_against_torch(own), _against_copy(own), _scaling(own)]
    return "\n\n".join(table for table in tables if table)


def _against_torch(rows: Sequence[Row]) -> str:
    kinds = _kinds([row for row in rows if row.times_faster])
    lines = []
    for name, members in kinds.items():
        ratios = {row: row.times_faster or 0.0 for row in members}
        least = min(members, key=lambda row: ratios[row])
        mean = statistics.geometric_mean(ratios.values())
        lines.append(f"{_label(name)} {mean:9.2f} {ratios[least]:9.2f}  {least.case}")
    return _table("PyTorch's time ÷ tinybn's", ["geo. mean", "least"], lines)


def _against_copy(rows: Sequence[Row]) -> str:
    lines = []
    for name, members in _kinds([row for row in rows if row.case.nbytes >= _LARGE and row.times_copy]).items():
        ratios = {row: row.times_copy or 0.0 for row in members}
        most = max(members, key=lambda row: ratios[row])
        mean = statistics.geometric_mean(ratios.values())
        lines.append(f"{_label(name)} {mean:9.2f} {ratios[most]:9.2f}  {most.case}")
    return _table(f"time ÷ copy's, tensors of {_LARGE // 10**6} MB and more", ["geo. mean", "most"], lines)


def _scaling(rows: Sequence[Row]) -> str:
    """Both were timed in the same rounds."""
    single = {(*row.key[:-1],): row.median for row in rows if row.threads == 1}
    several = [row for row in rows if row.threads > 1 and (*row.key[:-1],) in single]
    lines = []
    for name, members in _kinds([row for row in several if _SCALED[0] <= row.case.nbytes <= _SCALED[1]]).items():
        ratios = {row: (single[(*row.key[:-1],)] or 0.0) / (row.median or 1.0) for row in members}
        least = min(members, key=lambda row: ratios[row])
        mean = statistics.geometric_mean(ratios.values())
        lines.append(f"{_label(name)} {mean:9.2f} {ratios[least]:9.2f}  {least.case}")
    low, high = (size // 10**6 for size in _SCALED)
    return _table(f"one thread's time ÷ several threads', tensors of {low} to {high} MB", ["geo. mean", "least"], lines)


Kind = tuple[str, str, str, str, int]


def _kinds(rows: Sequence[Row]) -> dict[Kind, list[Row]]:
    """Rows that differ in nothing but the shape."""
    kinds: dict[Kind, list[Row]] = {}
    for row in rows:
        kinds.setdefault((row.kernel, row.version, row.dtype, row.layout, row.threads), []).append(row)
    return kinds


def _label(kind: Kind) -> str:
    kernel, version, dtype, layout, threads = kind
    return f"  {kernel:<24} {version:<16} {dtype:<8} {layout:<13} {threads:>7}"


def _table(title: str, figures: Sequence[str], lines: Sequence[str]) -> str:
    if not lines:
        return ""
    names = f"{'kernel':<24} {'version':<16} {'dtype':<8} {'layout':<13} threads"
    head = f"  {names} {figures[0]:>9} {figures[1]:>9}  where"
    return "\n".join([title, head, *lines])
