"""``python -m tinybn bench train``: options, progress, exit status."""

import argparse
import importlib.util
import shlex
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
_ROUNDS, _QUICK_STEPS = 11, 3
_SWEPT_BATCHES = (16, 64, 256, 1024)
_EPILOG = """\
A step is forward, loss, backward and update. What it excludes: making the batch from bytes, importing, and the first
step, in which JAX compiles, which has a column of its own. Each framework has a process of its own, pinned to the same
cores with as many threads. docs/performance.md has the figures and what they mean.
Exit status: 0; 1 when a framework has failed; 2 for an error in options or files; 130 after Ctrl-C."""


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
    add("--rounds", type=_positive, metavar="N", help=f"default: {_ROUNDS}, with --quick 1")
    add("--steps", type=_positive, metavar="N", help="of a round; default: 15 to 300, by the model; with --quick 3")
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
    races = list(_races(options, ("tinybn", *_peers(options.peers))))
    if options.plot:
        check_available(options.plot)
        if "torch" not in races[0].frameworks:
            raise ValueError("--plot draws PyTorch's times over tinybn's; expected torch among --peers")
        if options.accuracy:
            raise ValueError("--plot draws times, which --accuracy does not measure; expected one of them")
    images, name = _images()
    for entry in races:
        if not 2 <= entry.model.batch <= len(images.train):
            raise ValueError(
                f"a batch of {entry.model.batch}: BatchNorm needs 2 or more, and there are {len(images.train)} images"
            )
    described = report.TrainReport(
        machine.describe(tinybn_version), {"command": shlex.join(sys.argv[1:]), "data": name}
    )
    pinned = ", ".join(dict.fromkeys("+".join(map(str, entry.cores)) for entry in races))
    print(f"{name}; pinned to cores {pinned}")
    try:
        if options.accuracy:
            _accuracies(options, races, images, described)
        else:
            _times(races, images, described)
        status = 1 if described.failed else 0
    except KeyboardInterrupt:
        print(f"\ninterrupted: {len(described.rows or described.accuracy)} rows are done", file=sys.stderr)
        status = 130
    if text := report.summary(described.rows):
        print(text)
    if options.json:
        described.save(options.json)
    if options.plot and not plot.draw(described, options.plot):
        print("note: --plot: no step of PyTorch was timed, so there is nothing to draw", file=sys.stderr)
    return status


def _peers(text: str) -> list[str]:
    expected = [name for name in race.VARIANTS if name != "tinybn"]
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in expected:
            raise ValueError(f"--peers: there is no {name!r}; expected {','.join(expected)} or one of them")
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


def _races(options: argparse.Namespace, frameworks: tuple[str, ...]) -> Iterator[race.Race]:
    """All that the options ask for."""
    available = race.available_cores()
    counts = sorted(set(options.cores or (1, len(available))))
    if counts[-1] > len(available):
        raise ValueError(f"--cores {counts[-1]}: this process may run on {len(available)}; ask for so many or fewer")
    rounds = options.rounds or (1 if options.quick else _ROUNDS)
    for name in options.models:
        for entry in _sizes(options, name):
            steps = options.steps or (_QUICK_STEPS if options.quick else _steps(entry))
            for optimizer in options.optimizer:
                for count in counts:
                    # The last cores: the first one is where the system does its own work.
                    cores = tuple(available[-count:])
                    yield race.Race(entry, optimizer, cores, frameworks, rounds, steps, plain=bool(options.accuracy))


def _sizes(options: argparse.Namespace, name: str) -> Iterator[Model]:
    if options.sweep:
        shapes = [(batch, 1, 1) for batch in _SWEPT_BATCHES] + [(None, 2, 1), (None, 1, 2)]
    else:
        shapes = [(b, w, d) for b in options.batch or [None] for w in options.width for d in options.depth]
    return (model(name, *shape) for shape in shapes)


def _steps(entry: Model) -> int:
    """So many that a round takes as long as with the usual size."""
    usual = model(entry.name).batch
    return max(3, round(_STEPS[entry.name] * usual / (max(entry.batch, usual / 2) * entry.width * entry.depth)))


def _times(races: list[race.Race], images: TrainTest, described: report.TrainReport) -> None:
    with tqdm(total=sum(entry.rounds + 1 for entry in races), unit="round", file=sys.stderr, leave=False) as bar:
        for entry in races:
            bar.set_description(f"{entry.model.name}, {len(entry.cores)}")
            made = report.rows(entry, race.run(entry, images, bar.update))
            described.rows += made
            bar.write(f"{report.heading(entry)}\n{report.table(made)}\n", file=sys.stdout)


def _accuracies(
    options: argparse.Namespace, races: list[race.Race], images: TrainTest, described: report.TrainReport
) -> None:
    """Test accuracy after some epochs, over seeds: of initial weights and of the order of batches."""
    total = sum(options.seeds * len(entry.entries) for entry in races)
    with tqdm(total=total, unit="training", file=sys.stderr, leave=False) as bar:
        for entry in races:
            bar.set_description(f"{entry.model.name}, {len(entry.cores)}")
            results: list[race.Entry] = []
            for seed in range(options.seeds):
                results += race.train(replace(entry, seed=seed), images, options.accuracy, bar.update)
            made = report.accuracies(entry, options.accuracy, results)
            described.accuracy += made
            bar.write(report.heading(entry), file=sys.stdout)
            bar.write(report.accuracy_table(made) + "\n", file=sys.stdout)
