"""Frameworks take turns in training the same model on the same cores.

Each runs in a process of its own (`worker`), with the same images, initial weights and order of batches. All are
started first; then, in each round, each takes some steps while the others wait. The order changes from round to round.
A framework that fails stays in the race without taking part, and its entry says why.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from tinybn.bench.train.models import Model, initial_weights
from tinybn.data import TrainTest

_WORKER = Path(__file__).with_name("worker.py")
_PACKAGE = Path(__file__).parents[3]

# Threads of OpenMP spin for some milliseconds after their last work, on cores that the next one needs.
_SETTLES = 0.01

_MESSAGE = 160  # characters of what a framework has failed with

# What a framework may be told to do otherwise: see the trainers.
VARIANTS = {
    "tinybn": ("plain",),
    "torch": ("plain", "fused", "channels_last", "channels_last fused"),
    "jax": ("plain", "channels_last"),
}
LEARNING_RATES = {"sgd": 0.05, "adam": 1e-3}


@dataclass(frozen=True)
class Race:
    """What is trained, by whom, how long."""

    model: Model
    optimizer: str
    cores: tuple[int, ...]
    frameworks: tuple[str, ...]
    rounds: int
    steps: int  # in a round
    seed: int = 0
    plain: bool = False  # leave out variants, which differ in time alone

    @property
    def entries(self) -> list[tuple[str, str]]:
        """Frameworks and their variants; the layout of images is nothing to an MLP."""
        return [
            (framework, variant)
            for framework in self.frameworks
            for variant in VARIANTS[framework]
            if variant == "plain" or not self.plain
            if self.model.convolutional or "channels_last" not in variant
        ]


@dataclass
class Entry:
    """One framework in one variant: what was measured, in seconds and bytes."""

    framework: str
    variant: str
    version: str = ""
    first_step: float = 0.0  # JAX compiles in it; not among the others
    seconds: list[float] = field(default_factory=list)  # the median step of each round
    losses: list[float] = field(default_factory=list)  # of every step, the first one too
    faults: float = 0.0  # per step, of the last round
    peak: int = 0
    accuracy: float | None = None
    failed: str = ""


def run(race: Race, images: TrainTest, progress: Callable[[], Any]) -> list[Entry]:
    """Time the steps of everyone. The first round warms up and does not count."""
    with _workers(race, images) as workers:
        order = list(workers)
        for turn in range(race.rounds + 1):
            random.Random(turn).shuffle(order)
            for worker in order:
                worker.take_steps(race.steps, counted=turn > 0)
                time.sleep(_SETTLES)
            progress()
        return [worker.entry for worker in workers]


def train(race: Race, images: TrainTest, epochs: int, progress: Callable[[], Any]) -> list[Entry]:
    """Train everyone for some epochs and measure the accuracy on the test images."""
    with _workers(race, images) as workers:
        for worker in workers:
            worker.take_steps(epochs * (len(images.train) // race.model.batch) - 1, counted=True)  # one is done
            worker.measure_accuracy()
            progress()
        return [worker.entry for worker in workers]


class _Worker:
    """A process that trains, and what it has answered."""

    def __init__(self, framework: str, variant: str, cores: int, printed: IO[str]) -> None:
        self.entry = Entry(framework, variant)
        self.printed = printed
        self.process = subprocess.Popen(
            [sys.executable, str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
            env=_environment(cores),
        )

    def take_first_step(self, race: Race, data: str, weights: int) -> None:
        task = {
            "framework": self.entry.framework,
            "variant": self.entry.variant,
            "cores": race.cores,
            "data": data,
            "weights": weights,
            "layers": race.model.layers,
            "batch": race.model.batch,
            "optimizer": race.optimizer,
            "lr": LEARNING_RATES[race.optimizer],
            "seed": race.seed,
        }
        answer = self._ask(task)
        if answer:
            self.entry.version, self.entry.first_step = answer["version"], answer["first_step"]
            self.entry.losses.append(answer["loss"])

    def take_steps(self, count: int, counted: bool) -> None:
        answer = self._ask({"steps": count}) if count else {}
        if answer:
            self.entry.losses += answer["losses"]
            self.entry.faults, self.entry.peak = answer["faults"] / count, answer["peak"]
            if counted:
                self.entry.seconds.append(float(np.median(answer["seconds"])))

    def measure_accuracy(self) -> None:
        self.entry.accuracy = self._ask({"accuracy": True}).get("accuracy")

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """The answer; empty once the process has failed, which the entry then says."""
        if self.entry.failed:
            return {}
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line.endswith("\n") else {"failed": self._last_words()}
        if "failed" in answer:
            self.entry.failed = textwrap.shorten(answer["failed"], _MESSAGE, placeholder=" …")
            return {}
        return answer

    def _last_words(self) -> str:
        """Of a process that has ended without an answer: its status, and the last line that it has printed."""
        status = self.process.wait()
        self.printed.seek(0)
        return ": ".join([f"the process ended with status {status}", *self.printed.read().strip().splitlines()[-1:]])

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def _workers(race: Race, images: TrainTest) -> Iterator[list[_Worker]]:
    """One for each entry, until the block ends."""
    workers: list[_Worker] = []
    weights = initial_weights(race.model.layers, race.seed)
    arrays: dict[str, Any] = {f"weight{i}": weight for i, weight in enumerate(weights)}
    for prefix, part in (("", images.train), ("test_", images.test)):
        arrays |= {f"{prefix}images": part.images, f"{prefix}labels": part.labels}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = Path(folder) / "data.npz"
        np.savez(path, **arrays)
        for framework, variant in race.entries:
            # What a framework prints goes to a file; a pipe that nobody reads would fill up.
            printed = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
            worker = _Worker(framework, variant, len(race.cores), printed)
            stack.callback(worker.close)  # before it is waited for: that can be interrupted
            workers.append(worker)
            worker.take_first_step(race, str(path), len(weights))
        yield workers


def _environment(threads: int) -> dict[str, str]:
    """As many threads as cores, for every library; this tinybn, wherever it was started from."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    search = os.pathsep.join(filter(None, (str(_PACKAGE), os.environ.get("PYTHONPATH"))))
    return {**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONPATH": search, "JAX_PLATFORMS": "cpu"}


def available_cores() -> Sequence[int]:
    """The numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)
