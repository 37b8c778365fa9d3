"""The roofline, and time over size, as one picture."""

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tinybn.bench.results import Report, Row

_COLUMNS = 2  # of the panels of time over size
_MARKERS = "osD^vP*X<>hpd"


def check_available(path: Path) -> None:
    """Raises ValueError if matplotlib is not installed or the file is no picture; asked before anything is measured."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"--plot {path}: expected a name that ends with .png, .svg or .pdf")
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib: pip install 'tinybn[plots]'")


def draw(report: Report, path: Path) -> None:
    """Write a PNG: on top the roofline with each kernel's best version, below a panel of time over size per kernel.

    A picture shows one dtype, layout, mean and number of threads: those that most rows have.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, kind = _most_frequent([row for row in report.rows if row.median])
    kernels = list(dict.fromkeys(row.kernel for row in rows))
    lines = -(-len(kernels) // _COLUMNS)
    figure = Figure(figsize=(13, 5.2 + 3.1 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{report.machine.get('processor')}, {kind}", fontsize=13)
    grid = figure.add_gridspec(2, 1, height_ratios=(5.2, 3.1 * lines))
    top, bottom = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    _roofline(top.subplots(), rows, kernels)
    panels = list(bottom.subplots(lines, _COLUMNS, squeeze=False).flat)
    versions = _styles(rows)
    for axes, kernel in zip(panels, kernels, strict=False):
        _time_over_size(axes, [row for row in rows if row.kernel == kernel], versions)
    for axes in panels[len(kernels) :]:
        axes.remove()
    figure.savefig(path, dpi=110)


def _most_frequent(rows: Sequence[Row]) -> tuple[list[Row], str]:
    groups: dict[tuple[str, str, float, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dtype, row.layout, row.mean, row.threads), []).append(row)
    if not groups:
        raise ValueError("--plot: no row was timed, so there is nothing to draw")
    (dtype, layout, mean, threads), chosen = max(groups.items(), key=lambda item: len(item[1]))
    where = f", mean {mean:g}" if mean else ""
    return chosen, f"{dtype}, {layout}{where}, {threads} thread{'s' if threads > 1 else ''}"


def _styles(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each version, the same in every panel."""
    names = list(dict.fromkeys(row.version for row in rows if not row.peer))
    own = {name: {"color": _colour(i), "marker": _MARKERS[i % len(_MARKERS)]} for i, name in enumerate(names)}
    peers = {row.version: {"color": "black", "linestyle": "--"} for row in rows if row.peer}
    return {**own, **peers}


def _colour(i: int) -> Any:
    """The ten colours of matplotlib's cycle, then the same ones paler."""
    from matplotlib import colormaps

    return colormaps["tab20"](2 * (i % 10) + i // 10 % 2)


def _roofline(axes: Any, rows: Sequence[Row], kernels: Sequence[str]) -> None:
    """Each kernel's best version at its largest and its smallest size, under the roofs of these sizes."""
    sizes = sorted({row.case.nbytes for row in rows})
    ends = {sizes[0], sizes[-1]}
    low, high = min(row.intensity for row in rows) / 2, 2 * max(row.intensity for row in rows)
    for size, style in zip(sorted(ends), ("--", "-"), strict=False):
        row = next(row for row in rows if row.case.nbytes == size)
        assert row.bandwidth and row.peak_flops
        ridge = row.peak_flops / row.bandwidth
        xs = [low, ridge, max(high, 4 * ridge)]
        roof = [min(row.peak_flops, x * row.bandwidth) / 1e9 for x in xs]
        axes.plot(xs, roof, "k" + style, linewidth=1, label=f"roof for {_size(size)}: {row.bandwidth / 1e9:.0f} GB/s")
    for i, kernel in enumerate(kernels):
        for size in sorted(ends):
            candidates = [r for r in rows if r.kernel == kernel and r.case.nbytes == size and not r.peer]
            if candidates:
                best = max(candidates, key=lambda row: row.gigaflops or 0.0)
                filled = {} if size == sizes[-1] else {"markerfacecolor": "none"}
                label = kernel if size == sizes[-1] else None
                marker = {"color": _colour(i), "marker": _MARKERS[i % len(_MARKERS)], "markersize": 8}
                axes.plot(best.intensity, best.gigaflops, linestyle="", label=label, **marker, **filled)
    _logarithmic(axes, "operations per byte", "GFLOP/s")
    smallest = f", hollow: {_size(sizes[0])}" if len(ends) > 1 else ""
    axes.set_title(f"roofline: the fastest version of each kernel; filled: tensors of {_size(sizes[-1])}{smallest}")


def _time_over_size(axes: Any, rows: Sequence[Row], styles: dict[str, dict[str, Any]]) -> None:
    copies = sorted({row.case.nbytes: row.copy for row in rows}.items())
    axes.plot([n / 1e6 for n, _ in copies], [(t or 0) * 1e6 for _, t in copies], "k:", linewidth=1.5, label="copy")
    for version, style in styles.items():
        points = sorted((row.case.nbytes / 1e6, (row.median or 0) * 1e6) for row in rows if row.version == version)
        if points:
            axes.plot(*zip(*points, strict=True), label=version, linewidth=1.2, markersize=4, **style)
    _logarithmic(axes, "MB of one tensor", "µs")
    axes.set_title(rows[0].kernel, fontsize=11)


def _logarithmic(axes: Any, x: str, y: str) -> None:
    from matplotlib.ticker import LogFormatter

    axes.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,g}")
        axis.set_minor_formatter(LogFormatter())  # 20, 30 … where less than two decades are shown
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e6:.3g} MB" if nbytes >= 1e6 else f"{nbytes / 1e3:.3g} KB"
