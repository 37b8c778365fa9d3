"""How a run is made and what is measured in it.

The training images are split into a part to train on and a part to validate on. Curves and steps-to-accuracy come from
the validation part; the test images are looked at once, at the end of a run. All arms of one seed share initial weights
and batch order.
"""

import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinybn import nn, optim
from tinybn.data import DataLoader, Dataset, TrainTest
from tinybn.study.arms import ACTIVATIONS, NETS, PLACEMENTS, build, parse_placement
from tinybn.train import evaluate, train_step

TARGETS = (0.95, 0.97)
CURVE_IMAGES = 5_000  # of the validation part: ±0.3 point at 95 %, for half of the time
EVALUATION_BATCH = 500
OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": lambda params, lr: optim.SGD(params, lr=lr, momentum=0.9),
    "adam": lambda params, lr: optim.Adam(params, lr=lr),
}
ORDER_STREAM = 1_000_000  # beyond every stream of initial weights


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on, next to placement and seed."""

    data: str = "mnist"
    net: str = "mlp"
    activation: str = "relu"
    placements: tuple[str, ...] = PLACEMENTS
    seeds: int = 5
    epochs: int = 3
    batch_size: int = 128
    optimizer: str = "sgd"
    lr: float = 0.05
    max_train: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("seeds", self.seeds), ("epochs", self.epochs), ("batch_size", self.batch_size)):
            if value < 1:
                raise ValueError(f"{name} is {value!r}; expected a whole number from 1 on")
        if not self.lr > 0:
            raise ValueError(f"lr is {self.lr!r}; expected a number above 0")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer {self.optimizer!r}: expected one of {', '.join(OPTIMIZERS)}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation {self.activation!r}: expected one of {', '.join(ACTIVATIONS)}")
        if self.net not in NETS:
            raise ValueError(f"net {self.net!r}: expected one of {', '.join(NETS)}")
        seen = []
        for placement in self.placements:
            places = parse_placement(placement)
            if places in seen:
                raise ValueError(f"placement {placement!r}: given twice")
            if places and self.batch_size < 2:
                raise ValueError(f"batch_size is {self.batch_size}; BatchNorm at {placement!r} needs 2 or more")
            seen.append(places)


@dataclass(frozen=True)
class Run:
    """What one training run gave. Accuracies are fractions; a diverged run has met a loss that is not finite."""

    placement: str
    seed: int
    test_accuracy: float
    test_loss: float  # NaN if it was not finite
    steps_to: dict[str, int | None]  # target accuracy → first step at which the validation accuracy was there
    accuracy_running: float  # on the validation images, with running statistics
    accuracy_batch: float  # on the same images, with those of each batch
    ms_per_step: float
    seconds: float
    diverged: bool
    curve: list[tuple[int, float]]  # (step, validation accuracy)


def split(data: TrainTest, settings: Settings) -> tuple[Dataset, Dataset, Dataset]:
    """Training, validation and test images. The last sixth of the first is for validation (MNIST: 50k/10k).

    Raises:
        ValueError: the training images are fewer than a batch.
    """
    train, validation = data.train.split(len(data.train) * 5 // 6)
    if settings.max_train is not None:
        train = train.split(min(settings.max_train, len(train)))[0]
    if len(train) < settings.batch_size:
        raise ValueError(f"batch_size is {settings.batch_size}; there are only {len(train)} images to train on")
    return train, validation, data.test


def steps_per_run(data: TrainTest, settings: Settings) -> int:
    """How many steps of the optimizer a run takes; a last batch that is not full is left out."""
    return len(split(data, settings)[0]) // settings.batch_size * settings.epochs


@np.errstate(all="ignore")  # a run that diverges overflows: a result, and no reason for a warning
def run_arm(
    data: TrainTest, settings: Settings, placement: str, seed: int, after_step: Callable[[], Any] = lambda: None
) -> Run:
    """Train one network and measure it."""
    started = time.perf_counter()
    train, validation, test = split(data, settings)
    height, width = train.image_shape
    model = build(settings.net, settings.activation, placement, (height, width), train.classes, seed)
    optimizer = OPTIMIZERS[settings.optimizer](model.parameters(), settings.lr)
    order = np.random.default_rng([seed, ORDER_STREAM])
    loader = DataLoader(train, settings.batch_size, shuffle=True, drop_last=True, generator=order)
    curve_images = validation.split(min(CURVE_IMAGES, len(validation)))[0]

    curve: list[tuple[int, float]] = []
    times: list[float] = []
    diverged = False
    checkpoints = _checkpoints(len(loader) * settings.epochs)
    next_checkpoint = next(checkpoints)
    for inputs, targets in (batch for _ in range(settings.epochs) for batch in loader):
        began = time.perf_counter()
        loss = train_step(model, inputs, targets, optimizer)
        times.append(time.perf_counter() - began)
        after_step()
        diverged = diverged or not np.isfinite(loss)
        if len(times) == next_checkpoint:
            curve.append((len(times), _accuracy(model.eval(), curve_images, EVALUATION_BATCH)))
            next_checkpoint = next(checkpoints, 0)
            model.train()

    model.eval()
    final = evaluate(model, DataLoader(test, EVALUATION_BATCH))
    return Run(
        placement=placement,
        seed=seed,
        test_accuracy=final.accuracy,
        test_loss=final.loss,
        steps_to={f"{target:.0%}": next((s for s, a in curve if a >= target), None) for target in TARGETS},
        accuracy_running=_accuracy(model, validation, settings.batch_size),
        accuracy_batch=_accuracy(_with_batch_statistics(model), validation, settings.batch_size),
        ms_per_step=float(np.median(times)) * 1e3,
        seconds=time.perf_counter() - started,
        diverged=diverged,
        curve=curve,
    )


def _checkpoints(steps: int) -> Iterator[int]:
    """Steps to validate at: every tenth at first, then 10 % apart, and the last."""
    step = 10
    while step < steps:
        yield step
        step = max(step + 10, step * 11 // 10)
    yield steps


def _accuracy(model: nn.Module, images: Dataset, batch_size: int) -> float:
    # A last batch that is not full has other batch statistics than those that are compared: leave it out.
    return evaluate(model, DataLoader(images, min(batch_size, len(images)), drop_last=True)).accuracy


def _with_batch_statistics(model: nn.Module) -> nn.Module:
    """A copy in training mode: its BatchNorm layers use, and learn, the statistics of what they are given."""
    return copy.deepcopy(model).train()


def save_run(run: Run, folder: Path) -> None:
    """Append a run to ``results.jsonl``, so that what is finished stays whatever happens next."""
    with (folder / "results.jsonl").open("a", encoding="utf-8") as file:
        record = asdict(run)
        if not np.isfinite(run.test_loss):
            record["test_loss"] = None  # JSON has neither NaN nor infinity
        file.write(json.dumps(record, allow_nan=False) + "\n")


def load_runs(folder: Path) -> list[Run]:
    """The runs of a folder."""
    with (folder / "results.jsonl").open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    for record in records:
        record["curve"] = [(step, accuracy) for step, accuracy in record["curve"]]  # nor tuples
        record["test_loss"] = float("nan") if record["test_loss"] is None else record["test_loss"]
    return [Run(**record) for record in records]
