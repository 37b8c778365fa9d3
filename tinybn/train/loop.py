"""fit and evaluate."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from tinybn import functional as F
from tinybn.modes import no_grad
from tinybn.nn import Module
from tinybn.optim import Optimizer
from tinybn.optim.lr_scheduler import LRScheduler

Batches = Iterable[tuple[Any, Any]]


class Evaluation(NamedTuple):
    """Mean loss per example, and accuracy as a fraction."""

    loss: float
    accuracy: float


def fit(
    model: Module,
    batches: Batches,
    optimizer: Optimizer,
    loss: Callable[[Any, Any], Any] = F.cross_entropy,
    schedule: LRScheduler | None = None,
    after_step: Callable[[float], Any] | None = None,
) -> float:
    """One pass over the batches in training mode, a step of the optimizer for each; returns the mean loss of the steps.

    Args:
        batches: ``(inputs, targets)`` pairs, such as a `DataLoader`.
        loss: from outputs and targets to a scalar.
        schedule: moves on after each step.
        after_step: is called with each step's loss, for a progress bar or a record.

    Raises:
        ValueError: there are no batches.

    >>> import tinybn as tb
    >>> _ = tb.manual_seed(0)
    >>> model = tb.nn.Linear(2, 2)
    >>> batches = [(tb.ones(4, 2), [0, 1, 0, 1])] * 3
    >>> fit(model, batches, tb.optim.SGD(model.parameters(), lr=0.1)) > 0
    True
    """
    model.train()
    losses = []
    for inputs, targets in batches:
        losses.append(train_step(model, inputs, targets, optimizer, loss))
        if schedule is not None:
            schedule.step()
        if after_step is not None:
            after_step(losses[-1])
    if not losses:
        raise ValueError("fit: got no batches; a loader with drop_last has none when the data are fewer than a batch")
    return float(np.mean(losses))


def train_step(
    model: Module,
    inputs: Any,
    targets: Any,
    optimizer: Optimizer,
    loss: Callable[[Any, Any], Any] = F.cross_entropy,
) -> float:
    """Forward, backward and a step of the optimizer on one batch; returns the loss before the step.

    >>> import tinybn as tb
    >>> model = tb.nn.Linear(2, 2)
    >>> train_step(model, tb.ones(4, 2), [0, 1, 0, 1], tb.optim.SGD(model.parameters(), lr=0.1)) > 0
    True
    """
    optimizer.zero_grad()
    value = loss(model(inputs), targets)
    value.backward()
    optimizer.step()
    return float(value.item())


def evaluate(model: Module, batches: Batches) -> Evaluation:
    """Mean cross-entropy and accuracy over the batches, in the mode that the model is in: call ``model.eval()`` first.

    Raises:
        ValueError: there are no examples.

    >>> import tinybn as tb
    >>> evaluate(tb.nn.Flatten().eval(), [(tb.eye(3), [0, 1, 1])]).accuracy
    0.6666666666666666
    """
    loss, right, count = 0.0, 0, 0
    with no_grad():
        for inputs, targets in batches:
            logits = model(inputs)
            loss += F.cross_entropy(logits, targets, reduction="sum").item()
            right += int((logits.data.argmax(axis=1) == np.asarray(targets)).sum())
            count += len(logits)
    if not count:
        raise ValueError("evaluate: got no examples")
    return Evaluation(loss / count, right / count)
