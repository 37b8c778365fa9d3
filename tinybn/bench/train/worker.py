"""The process in which one framework trains. Run as a script; commands and answers are lines of JSON.

The first line says what to train and on which cores: they are taken before the framework is imported, whose threads
then know no others. After that each line is a number of steps to take; the answer has the seconds of each step and the
loss behind it. An empty line ends it.
"""

import importlib
import json
import os
import resource
import sys
import time
from typing import Any

import numpy as np


def main() -> None:
    """Answer the commands on standard input."""
    task = json.loads(sys.stdin.readline())
    _pin(task["cores"])
    began = time.perf_counter()
    framework = importlib.import_module(f"with_{task['framework']}")
    imported = time.perf_counter() - began
    with np.load(task["data"]) as data:
        images, labels, weights = data["images"], data["labels"], [data[f"w{i}"] for i in range(task["weights"])]
    trainer = framework.Trainer(
        task["layers"], weights, task["optimizer"], task["lr"], len(task["cores"]) or 1, task["variant"]
    )
    batches = _batches(images, labels, task["batch"])
    began = time.perf_counter()
    first = float(trainer.step(trainer.batch(*next(batches))))  # JAX compiles
    _answer({
        "version": framework.Trainer.version, "import": imported, "first_step": time.perf_counter() - began,
        "loss": first,
    })
    for line in sys.stdin:
        if not line.strip():
            break
        _answer(_steps(trainer, batches, json.loads(line)))


def _pin(cores: list[int]) -> None:
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _steps(trainer: Any, batches: Any, count: int) -> dict[str, Any]:
    """Take so many steps. A batch is made of its bytes before the clock of its step runs."""
    seconds, losses = [], []
    faults = 0
    for _ in range(count):
        batch = trainer.batch(*next(batches))
        faults_before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        began = time.perf_counter()
        losses.append(trainer.step(batch))
        seconds.append(time.perf_counter() - began)
        faults += resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults_before
    return {"seconds": seconds, "losses": [float(loss) for loss in losses], "faults": faults, "peak": _peak()}


def _batches(images: Any, labels: Any, size: int) -> Any:
    """Batches for ever, in the same order for everyone."""
    generator = np.random.default_rng(0)
    while True:
        order = generator.permutation(len(images))
        for start in range(0, len(order) - size + 1, size):
            index = order[start : start + size]
            x = images[index].astype(np.float32)
            x /= np.float32(255)
            yield x[:, None], labels[index].astype(np.int64)


def _peak() -> int:
    """Bytes of memory that this process has had at the most."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def _answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
