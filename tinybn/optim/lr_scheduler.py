"""Learning-rate schedules. Each is a formula for the factor by which the initial rates are multiplied."""

import math
from typing import Any

from tinybn.optim.optimizer import Optimizer


class LRScheduler:
    """Sets every group's ``lr`` to the rate of step number ``last_epoch``. Call `step` once a step (or an epoch).

    A subclass has `rate(initial, step)`.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.last_epoch = 0
        self._set()

    @property
    def base_lrs(self) -> list[float]:
        """The rates that the groups started from; a group that was added later starts from the one it had then."""
        return [group.setdefault("initial_lr", group["lr"]) for group in self.optimizer.param_groups]

    def rate(self, initial: float, step: int) -> float:
        raise NotImplementedError

    def step(self) -> None:
        """Go on to the next rate."""
        self.last_epoch += 1
        self._set()

    def get_last_lr(self) -> list[float]:
        """The rates of the groups as they are now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {"base_lrs": self.base_lrs, "last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_epoch = state_dict["last_epoch"]
        for group, initial in zip(self.optimizer.param_groups, state_dict["base_lrs"], strict=True):
            group["initial_lr"] = initial
        self._set()

    def _set(self) -> None:
        for group, initial in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.rate(initial, self.last_epoch)


class StepLR(LRScheduler):
    """lr = initial · gamma^⌊step / step_size⌋.

    >>> import tinybn as tb
    >>> schedule = tb.optim.lr_scheduler.StepLR(tb.optim.SGD([tb.zeros(1)], lr=1.0), step_size=2)
    >>> [(schedule.get_last_lr()[0], schedule.step())[0] for _ in range(4)]
    [1.0, 1.0, 0.1, 0.1]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size is {step_size!r}; expected a whole number from 1 on")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def rate(self, initial: float, step: int) -> float:
        return initial * self.gamma ** (step // self.step_size)


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (initial − eta_min)·(1 + cos(π·step/T_max))/2.

    Args:
        T_max: the number of steps down to eta_min.
        eta_min: the last rate.

    Source: Loshchilov & Hutter 2017, "SGDR", eq. 5, without restarts.

    >>> import tinybn as tb
    >>> schedule = tb.optim.lr_scheduler.CosineAnnealingLR(tb.optim.SGD([tb.zeros(1)], lr=1.0), T_max=2)
    >>> [(round(schedule.get_last_lr()[0], 3), schedule.step())[0] for _ in range(3)]
    [1.0, 0.5, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max is {T_max!r}; expected a whole number from 1 on")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, initial: float, step: int) -> float:
        return self.eta_min + (initial - self.eta_min) * (1 + math.cos(math.pi * step / self.T_max)) / 2
