"""Rows as text: a heading for what was timed together, a line for each version."""

from collections.abc import Callable, Sequence

from tinybn.bench.results import Row

Column = tuple[str, Callable[[Row], str]]


def _number(value: float | None, digits: int = 2, suffix: str = "") -> str:
    return "" if value is None else f"{value:,.{digits}f}{suffix}"


def _micro(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e6:,.1f}"


def _error(row: Row) -> str:
    return "" if row.error is None else f"{row.error:.0e}"


_COLUMNS: tuple[Column, ...] = (
    ("threads", lambda row: str(row.threads)),
    ("error", _error),
    ("min µs", lambda row: _micro(row.minimum)),
    ("median µs", lambda row: _micro(row.median)),
    ("GB/s", lambda row: _number(row.gigabytes_per_second, 1)),
    ("GFLOP/s", lambda row: _number(row.gigaflops, 1)),
    ("× copy", lambda row: _number(row.times_copy)),
    ("roofline", lambda row: _number(row.roofline and 100 * row.roofline, 0, " %")),
    ("torch ÷ it", lambda row: _number(row.times_faster)),
)
_WIDTH = 9
_NAME = 24
_VERDICTS = {"wrong": "WRONG, not timed", "inexact": "wrong here, as is known; not timed", "failed": "FAILED"}


def group_table(rows: Sequence[Row]) -> str:
    """The rows of one group: one kernel on one case."""
    first = rows[0]
    lines = [f"{first.kernel}   {first.case}{_copy(rows)}"]
    lines.append(_line("", [title for title, _ in _COLUMNS]))
    lines += [_row_line(row) for row in rows]
    return "\n".join(lines)


def _copy(rows: Sequence[Row]) -> str:
    timed = [row for row in rows if row.copy]
    if not timed or timed[0].copy is None:
        return ""
    return f"   copy {_micro(timed[0].copy)} µs, {2 * timed[0].case.nbytes / timed[0].copy / 1e9:.0f} GB/s"


def _row_line(row: Row) -> str:
    if row.status == "ok":
        return _line(row.version, [cell(row) for _, cell in _COLUMNS])
    verdict = f"{_VERDICTS[row.status]}{': ' if row.message else ''}{row.message}"
    return f"{_line(row.version, [str(row.threads), _error(row)])}  {verdict}"


def _line(name: str, cells: Sequence[str]) -> str:
    return f"  {name:<{_NAME}}" + " ".join(f"{cell:>{_WIDTH + 1 if i > 1 else _WIDTH}}" for i, cell in enumerate(cells))
