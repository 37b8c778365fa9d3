"""Schedules for the momentum of running statistics."""

from collections.abc import Callable
from typing import Any

from tinybn.nn.module import Module
from tinybn.nn.normalization.batchnorm import BatchNorm

Schedule = Callable[[int], float | None]


class BatchNormMomentum:
    """Sets the ``momentum`` of every BatchNorm in a model to schedule(step): at once for step 0, then at each `step`.

    All kinds of BatchNorm, and InstanceNorm, get the same number, which each takes in the meaning of its own
    convention: as the weight of the new statistics, or of the old ones.

    Args:
        model: a module with at least one such layer in it, or one itself.
        schedule: from the number of the step to a momentum in [0, 1], or None for the average of all batches.

    Attributes:
        last_step: the number of the step that the layers are at.

    Raises:
        ValueError: a model without such layers, or a momentum that is none. No layer has been changed then.

    Source: Qi et al. 2017, "PointNet++", whose training code calls this BNMomentumScheduler.

    >>> import tinybn as tb
    >>> layer = tb.nn.BatchNorm1d(3)
    >>> momentum = tb.nn.BatchNormMomentum(layer, lambda step: 0.5 / (1 + step))
    >>> [(layer.momentum, momentum.step())[0] for _ in range(3)]
    [0.5, 0.25, 0.16666666666666666]
    """

    def __init__(self, model: Module, schedule: Schedule) -> None:
        self.layers = [module for module in model.modules() if isinstance(module, BatchNorm)]
        if not self.layers:
            raise ValueError(f"BatchNormMomentum: there is no BatchNorm in this {type(model).__name__}")
        self.schedule = schedule
        self._go_to(0)

    def step(self) -> None:
        """Go on to the next momentum."""
        self._go_to(self.last_step + 1)

    def state_dict(self) -> dict[str, Any]:
        """The number of the step. The schedule is not in it."""
        return {"last_step": self.last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the step of a `state_dict`; the layers get its momentum."""
        self._go_to(state_dict["last_step"])

    def _go_to(self, step: int) -> None:
        momentum = self.schedule(step)
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(f"BatchNormMomentum: schedule({step}) is {momentum!r}; expected None or one in [0, 1]")
        self.last_step = step
        for layer in self.layers:
            layer.momentum = momentum


def exponential_momentum(start: float = 0.5, decay: float = 0.5, every: int = 1, least: float = 0.01) -> Schedule:
    """A schedule for `BatchNormMomentum`: max(start·decay^⌊step/every⌋, least), the weight of the new statistics.

    Args:
        start, least: where it begins and ends; the defaults are PointNet's.
        decay: the factor, once in ``every`` steps.

    Raises:
        ValueError: ``every`` below 1.

    Source: Qi et al. 2017, "PointNet", appendix C: from 0.5 to 0.01.

    >>> import tinybn as tb
    >>> schedule = tb.nn.exponential_momentum(every=20)
    >>> [schedule(step) for step in (0, 19, 20, 40, 400)]
    [0.5, 0.5, 0.25, 0.125, 0.01]
    """
    if every < 1:
        raise ValueError(f"exponential_momentum: every is {every!r}; expected a whole number from 1 on")
    return lambda step: max(start * decay ** (step // every), least)
