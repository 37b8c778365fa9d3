"""``python -m tinybn bench train``: options, progress, exit status."""

import argparse
import importlib.util
import shlex
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinybn.bench import machine
from tinybn.bench.plot import check_available
from tinybn.bench.train import plot, race, report
from tinybn.bench.train.models import CLASSES, NAMES, SIDE, Model, model
from tinybn.data import Dataset, DataUnavailableError, TrainTest, mnist

# Steps of a round: a third of a second or more on a slow core, half a minute for all of a model's rounds.
_STEPS = {"A": 300, "B": 150, "C": 40, "D": 15}
_QUICK_STEPS = 3
_SWEPT_BATCHES = (16, 64, 256, 1024)
_EPILOG = """\
A step is forward, loss, backward and update. What it excludes: making the batch from bytes, importing, and the first step,
in which JAX compiles, which has a column of its own. Each framework has a process of its own, pinned to the same cores with
as many threads. docs/performance.md has the figures and what they mean."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``bench train``."""
    parser.epilog, parser.formatter_class = _EPILOG, argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--models", nargs="+", choices=NAMES, default=NAMES, help="default: all")
    add("--peers", default="", metavar="torch,jax", help="whom to race; default: nobody")
    add("--optimizer", nargs="+", choices=tuple(race.LEARNING_RATES), default=["sgd"], help="default: sgd")
    add("--cores", nargs="+", type=_positive, metavar="N", help="numbers of cores to pin to; default: 1 and all")
    add("--batch", nargs="+", type=_positive, metavar="B", help="batch sizes; default: the model's own")
    add("--width", nargs="+", type=_positive, default=[1], metavar="N", help="times as many channels")
    add("--depth", nargs="+", type=_positive, default=[1], metavar="N", help="times as many layers")
    add("--sweep", action="store_true", help="batches of 16 to 1,024, and twice the width and the depth")
    add("--rounds", type=_positive, default=11, metavar="N", help="default: 11")
    add("--steps", type=_positive, metavar="N", help="of a round; default: 15 to 300, by the model")
    add("--accuracy", type=_positive, metavar="EPOCHS", help="train so long, and compare the test accuracy instead")
    add("--seeds", type=_positive, default=5, metavar="N", help="for --accuracy; default: 5")
    add("--quick", action="store_true", help="one round of few steps: a check that takes seconds")
    add("--json", type=Path, metavar="FILE", help="write all rows, and where they were measured")
    add("--plot", type=Path, metavar="FILE.png", help="draw the ratios to PyTorch over batch size, width, depth")


def _positive(value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) <= 10**6:
        raise argparse.ArgumentTypeError(f"{value}: expected a number from 1 on")
    return int(value)


def run(options: argparse.Namespace, tinybn_version: str) -> int:
    """Do what the options say; returns the exit status."""
    try:
        return _run(options, tinybn_version)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace, tinybn_version: str) -> int:
    for path in filter(None, (options.json, options.plot)):
        if not path.absolute().parent.is_dir():
            raise ValueError(f"{path}: there is no folder {path.absolute().parent} to write it to")
    if options.plot:
        check_available(options.plot)
    frameworks = ("tinybn", *_peers(options.peers))
    images, name = _images()
    races = list(_races(options, frameworks))
    described = report.TrainReport(
        machine.describe(tinybn_version), {"command": shlex.join(sys.argv[1:]), "data": name}
    )
    pinned = ", ".join(dict.fromkeys("+".join(map(str, entry.cores)) for entry, _, _ in races))
    print(
        f"{name}; pinned to core {pinned}; a step is forward, loss, backward and update, not the batch and not the first"
    )
    status = _accuracies(options, races, images, described) if options.accuracy else _times(races, images, described)
    if options.json:
        described.save(options.json)
    if options.plot and described.rows:
        plot.draw(described, options.plot)
    return status


def _peers(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in race.VARIANTS or name == "tinybn":
            raise ValueError(f"--peers: no {name!r}; expected torch, jax or both")
        if importlib.util.find_spec(name) is None:
            raise ValueError(f"--peers: {name} is not installed; pip install 'tinybn[peers]'")
    return names


def _images() -> tuple[TrainTest, str]:
    """MNIST; where it cannot be had, noise, which takes as long."""
    try:
        return mnist(), "MNIST"
    except DataUnavailableError as error:
        print(
            f"note: {error}. Noise takes its place: times are right, losses and accuracies mean nothing",
            file=sys.stderr,
        )
        generator = np.random.default_rng(0)
        parts = (
            Dataset(
                generator.integers(0, 256, (n, SIDE, SIDE), np.uint8),
                generator.integers(0, CLASSES, n),
                classes=CLASSES,
            )
            for n in (10_000, 1_000)
        )
        return TrainTest(*parts), "noise in place of MNIST"


def _races(options: argparse.Namespace, frameworks: tuple[str, ...]) -> Iterator[tuple[race.Race, int, int]]:
    """All that the options ask for, with their widths and depths."""
    available = race.available_cores()
    counts = sorted(set(options.cores or (1, len(available))))
    if counts[-1] > len(available):
        raise ValueError(f"--cores {counts[-1]}: this process may run on {len(available)}")
    for name in options.models:
        for entry, width, depth in _sizes(options, name):
            for optimizer in options.optimizer:
                for count in counts:
                    # The last cores: the first one is where the system does its own work.
                    cores = tuple(available[-count:])
                    steps = _QUICK_STEPS if options.quick else options.steps or _steps(entry, width, depth)
                    rounds = 1 if options.quick else options.rounds
                    yield race.Race(entry, optimizer, cores, frameworks, rounds, steps), width, depth


def _sizes(options: argparse.Namespace, name: str) -> Iterator[tuple[Model, int, int]]:
    if options.sweep:
        shapes = [(batch, 1, 1) for batch in _SWEPT_BATCHES] + [(None, 2, 1), (None, 1, 2)]
    else:
        shapes = [(b, w, d) for b in options.batch or [None] for w in options.width for d in options.depth]
    return ((model(name, *shape), *shape[1:]) for shape in shapes)


def _steps(entry: Model, width: int, depth: int) -> int:
    """So many that a round takes as long as with the usual size."""
    usual = model(entry.name).batch
    return max(3, round(_STEPS[entry.name] * usual / (max(entry.batch, usual / 2) * width * depth)))


def _times(races: list[tuple[race.Race, int, int]], images: TrainTest, described: report.TrainReport) -> int:
    with tqdm(total=sum(entry.rounds + 1 for entry, _, _ in races), unit="round", file=sys.stderr, leave=False) as bar:
        for entry, width, depth in races:
            bar.set_description(f"{entry.model.name}, {len(entry.cores)}")
            made = report.rows(entry, width, depth, race.run(entry, images, bar.update))
            described.rows += made
            bar.write(report.table(made) + "\n", file=sys.stdout)
    print(report.summary(described.rows))
    return 1 if any(row.failed for row in described.rows) else 0


def _accuracies(
    options: argparse.Namespace,
    races: list[tuple[race.Race, int, int]],
    images: TrainTest,
    described: report.TrainReport,
) -> int:
    """Test accuracy after some epochs, over seeds: of initial weights and of the order of batches."""
    failed = False
    with tqdm(total=len(races) * options.seeds, unit="seed", file=sys.stderr, leave=False) as bar:
        for entry, _, _ in races:
            found: dict[str, list[float]] = {}
            for seed in range(options.seeds):
                for result in race.train(replace(entry, seed=seed), images, options.accuracy, lambda: None):
                    failed |= bool(result.failed)
                    if result.accuracy is not None and result.variant == "plain":
                        found.setdefault(result.framework, []).append(100 * result.accuracy)
                bar.update()
            line = f"{entry.model.name}, {entry.optimizer}, {len(entry.cores)} cores, {options.accuracy} epochs: "
            line += "; ".join(f"{name} {statistics.fmean(values):.2f} %" for name, values in found.items())
            bar.write(line, file=sys.stdout)
            described.accuracy.append({"model": entry.model.name, "epochs": options.accuracy, **found})
    return 1 if failed else 0
