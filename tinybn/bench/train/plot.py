"""How many times as long PyTorch takes, over batch size, width and depth, as one picture."""

from pathlib import Path
from typing import Any

from tinybn.bench.train.report import Row, TrainReport


def draw(report: TrainReport, path: Path) -> None:
    """A panel for each model: the ratio of PyTorch's best variant, a line for each number of cores."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in report.rows if row.framework == "torch" and row.ratio]
    models = list(dict.fromkeys(row.model for row in rows))
    figure = Figure(figsize=(3.6 * len(models) + 0.6, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"A training step: PyTorch's time over tinybn's. {report.machine.get('processor')}", fontsize=11)
    for axis, name in zip(figure.subplots(1, len(models), sharey=True, squeeze=False).flat, models, strict=True):
        _panel(axis, [row for row in rows if row.model == name])
    figure.savefig(path, dpi=130)


def _panel(axis: Any, rows: list[Row]) -> None:
    sizes = sorted({(row.width, row.depth, row.batch) for row in rows})
    for cores, marker in zip(sorted({row.cores for row in rows}), "os^D", strict=False):
        best = {}
        for row in rows:
            key = row.width, row.depth, row.batch
            if row.cores == cores and row.ratio is not None:
                best[key] = min(best.get(key, row.ratio), row.ratio)
        plain = [(sizes.index(key), ratio) for key, ratio in sorted(best.items()) if key[:2] == (1, 1)]
        others = [(sizes.index(key), ratio) for key, ratio in sorted(best.items()) if key[:2] != (1, 1)]
        line = (
            axis.plot(*zip(*plain, strict=True), marker=marker, label=f"{cores} core{'s' * (cores > 1)}")
            if plain
            else []
        )
        colour = line[0].get_color() if line else None
        if others:
            axis.plot(*zip(*others, strict=True), marker, color=colour)
    axis.axhline(1, color="grey", linewidth=0.8, linestyle="--")
    axis.set_xticks(range(len(sizes)), [_size(*size) for size in sizes], rotation=60)
    axis.set_ylim(bottom=0)
    axis.set_title(f"{rows[0].model}: {rows[0].title}".replace(", ", ",\n", 1), fontsize=8)
    axis.set_xlabel("batch")
    axis.legend(fontsize=8)


def _size(width: int, depth: int, batch: int) -> str:
    return f"width ×{width}" if width > 1 else f"depth ×{depth}" if depth > 1 else str(batch)
