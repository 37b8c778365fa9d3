"""The table and the picture of a study."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from tinybn.study.protocol import TARGETS, Run, Settings
from tinybn.study.statistics import mean_interval

HEADER = ("placement", "test accuracy %", *(f"steps to {t:.0%}" for t in TARGETS), "batch / running, %", "ms/step")


def table(runs: Sequence[Run]) -> str:
    """One row per placement, in Markdown.

    Test accuracy is the mean over seeds ± the half width of its 95 % interval. Steps are medians over seeds, in which a
    run that did not get there counts as later than all others; behind them how many did, if not all. "batch / running"
    is the accuracy with each batch's own statistics and that with the running ones, on the same validation images; time
    is the median over steps and seeds.
    """
    rows = [HEADER, *(_row(placement, arm) for placement, arm in _by_placement(runs).items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    rows.insert(1, tuple("-" * (width - 1) + ":" if i else "-" * width for i, width in enumerate(widths)))
    return "\n".join(f"| {' | '.join(_aligned(row, widths))} |" for row in rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = list(zip(row, widths, strict=True))
    return [cells[0][0].ljust(cells[0][1]), *(cell.rjust(width) for cell, width in cells[1:])]


def _row(placement: str, runs: Sequence[Run]) -> tuple[str, ...]:
    accuracy = mean_interval([100 * run.test_accuracy for run in runs])
    batch = statistics.mean(100 * run.accuracy_batch for run in runs)
    running = statistics.mean(100 * run.accuracy_running for run in runs)
    diverged = sum(run.diverged for run in runs)
    return (
        placement + (f" ({diverged} of {len(runs)} diverged)" if diverged else ""),
        f"{accuracy.mean:.2f}" + ("" if math.isnan(accuracy.half) else f" ± {accuracy.half:.2f}"),
        *(_steps([run.steps_to[f"{target:.0%}"] for run in runs]) for target in TARGETS),
        f"{batch:.2f} / {running:.2f}",
        f"{statistics.median(run.ms_per_step for run in runs):.2f}",
    )


def _steps(steps: Sequence[int | None]) -> str:
    reached = sum(s is not None for s in steps)
    median = statistics.median(math.inf if s is None else s for s in steps)
    text = "not reached" if math.isinf(median) else f"{median:.0f}"
    return text if reached in (0, len(steps)) else f"{text} ({reached} of {len(steps)})"


def _by_placement(runs: Sequence[Run]) -> dict[str, list[Run]]:
    arms: dict[str, list[Run]] = {}
    for run in runs:
        arms.setdefault(run.placement, []).append(run)
    return arms


def plot(runs: Sequence[Run], settings: Settings, path: Path) -> None:
    """Learning curves on the left, test accuracy with its intervals on the right.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    arms = _by_placement(runs)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    curves, finals = figure.subplots(1, 2, width_ratios=(3, 2))
    for i, (placement, arm) in enumerate(arms.items()):
        color = f"C{i}"
        steps = [step for step, _ in arm[0].curve]
        errors = [[100 - 100 * accuracy for _, accuracy in run.curve] for run in arm]
        across = list(zip(*errors, strict=True))
        curves.plot(steps, [statistics.mean(e) for e in across], color=color, label=placement, linewidth=1.6)
        low, high = [min(e) for e in across], [max(e) for e in across]
        curves.fill_between(steps, low, high, color=color, alpha=0.12, linewidth=0)
        accuracy = mean_interval([100 * run.test_accuracy for run in arm])
        half = 0.0 if math.isnan(accuracy.half) else accuracy.half
        finals.errorbar(accuracy.mean, i, xerr=half, fmt="o", color=color, capsize=4)
        finals.plot([100 * run.test_accuracy for run in arm], [i] * len(arm), "|", color=color, alpha=0.6)
    curves.set(
        xscale="log",
        yscale="log" if curves.dataLim.y1 > 0 else "linear",  # without a single error there is no logarithm to take
        xlabel="step",
        ylabel="validation error, %",
        title="Learning curves (mean and range over seeds)",
    )
    ticks = [t for t in (1, 2, 3, 5, 10, 20, 50, 90) if curves.get_ylim()[0] <= t <= curves.get_ylim()[1]]
    curves.set_yticks(ticks, [str(t) for t in ticks])
    curves.xaxis.set_major_formatter("{x:g}")
    curves.minorticks_off()
    curves.grid(alpha=0.25)
    curves.legend(title="BatchNorm at", fontsize=9)
    finals.set_yticks(range(len(arms)), list(arms))
    finals.invert_yaxis()
    finals.grid(alpha=0.25)
    finals.set(xlabel="test accuracy, %", title="At the end (mean, 95 % interval, each seed)")
    figure.suptitle(
        f"{settings.data}, {settings.net} with {settings.activation}, {settings.optimizer} at {settings.lr:g}, "
        f"batch {settings.batch_size}, seeds: {settings.seeds}"
    )
    figure.savefig(path, dpi=120)
