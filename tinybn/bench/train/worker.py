"""The process in which one framework trains. Run as a script; commands and answers are lines of JSON.

The first line says what to train and on which cores: they are taken before NumPy and the framework are imported, whose
threads then know no others. The answer has the framework's version, and the seconds and the loss of the first step.
After that each line is a command:

    {"steps": n}        take so many steps; the answer has the seconds and the loss of each
    {"accuracy": true}  the answer has the accuracy on the test images

The answer to what could not be done is {"failed": why}, the last one. The end of the input ends the process, too.
"""

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_EVALUATED = 500  # test images at a time


def main() -> None:
    """Answer the commands on standard input."""
    with os.fdopen(os.dup(1), "w") as pipe:
        os.dup2(2, 1)  # what a framework prints is no answer
        for answer in _answers():
            pipe.write(json.dumps(answer) + "\n")
            pipe.flush()


def _answers() -> Iterator[dict[str, Any]]:
    try:
        yield from _obey(json.loads(sys.stdin.readline()))
    except Exception as error:
        yield {"failed": f"{type(error).__name__}: {error}"}


def _obey(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, task["cores"])
    import numpy as np

    framework = importlib.import_module(f"with_{task['framework']}")
    with np.load(task["data"]) as data:
        images, labels, test = data["images"], data["labels"], (data["test_images"], data["test_labels"])
        weights = [data[f"weight{i}"] for i in range(task["weights"])]
    trainer = framework.Trainer(
        task["layers"], weights, task["optimizer"], task["lr"], len(task["cores"]), task["variant"]
    )
    batches = _batches(images, labels, task["batch"], task["seed"])
    first = _steps(trainer, batches, 1)
    yield {"version": framework.Trainer.version, "first_step": first["seconds"][0], "loss": first["losses"][0]}
    for line in sys.stdin:
        command = json.loads(line)
        if "steps" in command:
            yield _steps(trainer, batches, command["steps"])
        else:
            yield {"accuracy": _accuracy(trainer, *test)}


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
    """Batches for ever, in the same order for every framework. There are images for one at least."""
    import numpy as np

    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(len(images))
        for start in range(0, len(order) - size + 1, size):
            index = order[start : start + size]
            yield _pixels(images[index]), labels[index].astype(np.int64)


def _pixels(images: Any) -> Any:
    """Bytes (B, 28, 28) as float32 (B, 1, 28, 28), 0 to 1."""
    x = images.astype("float32")
    x /= 255
    return x[:, None]


def _peak() -> int:
    """Bytes of memory that this process has had at the most.

    Linux's rusage counts what the process that has started this one had. Its /proc does not.
    """
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


if __name__ == "__main__":
    main()
