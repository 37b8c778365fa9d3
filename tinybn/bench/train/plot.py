"""How many times as long PyTorch takes, over batch size, width and depth, as one picture."""

from pathlib import Path
from typing import Any

from tinybn.bench.train.report import Row, TrainReport

Key = tuple[int, int, int]  # width, depth, batch

_MARKERS = "os^Dv"


def draw(report: TrainReport, path: Path) -> bool:
    """A panel for each model: the ratio of PyTorch's best variant, for each optimizer and number of cores.

    False if there is none to draw; then there is no picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in report.rows if row.framework == "torch" and row.ratio]
    models = list(dict.fromkeys(row.model for row in rows))
    if not models:
        return False
    figure = Figure(figsize=(3.6 * len(models) + 0.6, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"A training step: PyTorch's time over tinybn's. {report.machine.get('processor')}", fontsize=11)
    axes = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for axis, name in zip(axes, models, strict=True):
        _panel(axis, [row for row in rows if row.model == name])
    axes[0].set_ylim(bottom=0)  # for all, when all values are there
    figure.savefig(path, dpi=130)
    return True


def _panel(axis: Any, rows: list[Row]) -> None:
    """A line goes through the batch sizes; models of more width or depth are points."""
    sizes = sorted({_key(row) for row in rows})
    kinds = sorted({(row.optimizer, row.cores) for row in rows})
    for i, (optimizer, cores) in enumerate(kinds):
        best: dict[Key, float] = {}
        for row in rows:
            if (row.optimizer, row.cores) == (optimizer, cores) and row.ratio:
                best[_key(row)] = min(best.get(_key(row), row.ratio), row.ratio)
        points = {sizes.index(key): ratio for key, ratio in sorted(best.items())}
        line = {sizes.index(key): ratio for key, ratio in sorted(best.items()) if key[:2] == (1, 1)}
        label = f"{optimizer}, {cores} core{'s' * (cores > 1)}"
        axis.plot(points.keys(), points.values(), _MARKERS[i % len(_MARKERS)], color=f"C{i}", label=label)
        axis.plot(line.keys(), line.values(), color=f"C{i}")
    axis.axhline(1, color="grey", linewidth=0.8, linestyle="--")
    axis.set_xticks(range(len(sizes)), [_size(*size) for size in sizes], rotation=60)
    axis.set_title(f"{rows[0].model}: {rows[0].title}".replace(", ", ",\n", 1), fontsize=8)
    axis.set_xlabel("batch")
    axis.legend(fontsize=8)


def _key(row: Row) -> Key:
    return row.width, row.depth, row.batch


def _size(width: int, depth: int, batch: int) -> str:
    return str(batch) + f", width ×{width}" * (width > 1) + f", depth ×{depth}" * (depth > 1)
