"""The process in which one framework trains. Run as a script; commands and answers are lines of JSON.

The first line says what to train and on which cores: they are taken before the framework is imported, whose threads
then know no others. After that each line is a command:

    {"steps": n}        take so many steps; the answer has the seconds of each, and the loss
    {"accuracy": true}  the answer has the accuracy on the test images

The end of the input ends it.
"""

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

_EVALUATED = 500  # test images at a time


def main() -> None:
    """Answer the commands on standard input."""
    task = json.loads(sys.stdin.readline())
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, task["cores"])
    began = time.perf_counter()
    framework = importlib.import_module(f"with_{task['framework']}")
    imported = time.perf_counter() - began
    with np.load(task["data"]) as data:
        images, labels, test = data["images"], data["labels"], (data["test_images"], data["test_labels"])
        weights = [data[f"weight{i}"] for i in range(task["weights"])]
    trainer = framework.Trainer(
        task["layers"], weights, task["optimizer"], task["lr"], len(task["cores"]), task["variant"]
    )
    batches = _batches(images, labels, task["batch"], task["seed"])
    began = time.perf_counter()
    first = float(trainer.step(trainer.batch(*next(batches))))
    first_step = time.perf_counter() - began
    _answer({"version": framework.Trainer.version, "import": imported, "first_step": first_step, "loss": first})
    for line in sys.stdin:
        command = json.loads(line)
        if "steps" in command:
            _answer(_steps(trainer, batches, command["steps"]))
        else:
            _answer({"accuracy": _accuracy(trainer, *test)})


def _steps(trainer: Any, batches: Iterator[Any], count: int) -> dict[str, Any]:
    """Take so many steps. A batch is made of its bytes before the clock of its step runs."""
    seconds, losses, faults = [], [], 0
    for _ in range(count):
        batch = trainer.batch(*next(batches))
        faults -= resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        began = time.perf_counter()
        losses.append(trainer.step(batch))
        seconds.append(time.perf_counter() - began)
        faults += resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return {"seconds": seconds, "losses": [float(loss) for loss in losses], "faults": faults, "peak": _peak()}


def _accuracy(trainer: Any, images: Any, labels: Any) -> float:
    right = 0
    for start in range(0, len(images), _EVALUATED):
        part = slice(start, start + _EVALUATED)
        right += int((trainer.predict(_pixels(images[part])).argmax(axis=1) == labels[part]).sum())
    return right / len(images)


def _batches(images: Any, labels: Any, size: int, seed: int) -> Iterator[Any]:
    """Batches for ever, in the same order for every framework."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(len(images))
        for start in range(0, len(order) - size + 1, size):
            index = order[start : start + size]
            yield _pixels(images[index]), labels[index].astype(np.int64)


def _pixels(images: Any) -> Any:
    """Bytes (B, 28, 28) as float32 (B, 1, 28, 28), 0 to 1."""
    x = images.astype(np.float32)
    x /= np.float32(255)
    return x[:, None]


def _peak() -> int:
    """Bytes of memory that this process has had at the most."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def _answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
