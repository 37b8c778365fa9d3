"""Learning-rate schedules. Each step changes the rates that the groups have then.

So a rate that was set by hand stays, and two schedules on one optimizer multiply.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tinybn.optim.optimizer import Optimizer

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "StepLR",
]


class LRScheduler:
    """Sets every group's ``lr``. Call `step` once an epoch (or a step), behind the optimizer's.

    A subclass has `get_lr`, which returns the rates that the groups get at ``last_epoch``.

    Args:
        last_epoch: the number of the step that was the last one; −1 starts anew, any other number goes on with groups
            that have their ``initial_lr``.

    Attributes:
        base_lrs: the rates that the groups started from; a group that is added later starts from the one it has then.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{name}: expected an optimizer, got {type(optimizer).__name__}")
        if last_epoch != -1 and not all("initial_lr" in group for group in optimizer.param_groups):
            raise KeyError(f"{name}: last_epoch is {last_epoch}; expected groups with an initial_lr to go on with")
        self.optimizer = optimizer
        self.base_lrs: list[float] = []
        self.last_epoch = last_epoch
        self._starting = True
        self.step()
        self._starting = False

    def get_lr(self) -> list[float]:
        """The rates of the groups at step number ``last_epoch``."""
        raise NotImplementedError

    def step(self) -> None:
        """Go on to the next rates."""
        groups = self.optimizer.param_groups
        added = groups[len(self.base_lrs) :]
        self.base_lrs = self.base_lrs + [group.setdefault("initial_lr", group["lr"]) for group in added]
        self.last_epoch += 1
        for group, rate in zip(groups, self.get_lr(), strict=True):
            group["lr"] = rate
        self._last_lr = [group["lr"] for group in groups]

    def get_last_lr(self) -> list[float]:
        """The rates that the last step has set."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """All but the optimizer, whose own state has the rates."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        vars(self).update(state_dict)

    def _scaled(self, factor: float) -> list[float]:
        return [group["lr"] * factor for group in self.optimizer.param_groups]


class StepLR(LRScheduler):
    """lr ← lr·gamma after every ``step_size`` steps.

    >>> import tinybn as tb
    >>> schedule = tb.optim.lr_scheduler.StepLR(tb.optim.SGD([tb.zeros(1)], lr=1.0), step_size=2)
    >>> [(schedule.get_last_lr()[0], schedule.step())[0] for _ in range(4)]
    [1.0, 1.0, 0.1, 0.1]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size is {step_size!r}; expected a whole number from 1 on")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._scaled(self.gamma if self.last_epoch and self.last_epoch % self.step_size == 0 else 1)


class MultiStepLR(LRScheduler):
    """lr ← lr·gamma at the steps with the numbers ``milestones``; twice where one is given twice.

    >>> import tinybn as tb
    >>> schedule = tb.optim.lr_scheduler.MultiStepLR(tb.optim.SGD([tb.zeros(1)], lr=1.0), [1, 3], gamma=0.5)
    >>> [(schedule.get_last_lr()[0], schedule.step())[0] for _ in range(4)]
    [1.0, 0.5, 0.5, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._scaled(self.gamma ** self.milestones[self.last_epoch])


class ExponentialLR(LRScheduler):
    """lr ← lr·gamma after every step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._scaled(1 if self._starting else self.gamma)


class LambdaLR(LRScheduler):
    """lr = initial·f(step).

    Args:
        lr_lambda: f, or a list with one for each group.

    >>> import tinybn as tb
    >>> schedule = tb.optim.lr_scheduler.LambdaLR(tb.optim.SGD([tb.zeros(1)], lr=1.0), lambda step: 1 / (1 + step))
    >>> [(schedule.get_last_lr()[0], schedule.step())[0] for _ in range(2)]
    [1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = getattr(optimizer, "param_groups", [])  # the base class refuses what is no optimizer
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, list | tuple) else [lr_lambda] * len(groups)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if len(self.lr_lambdas) != len(self.base_lrs):
            raise ValueError(
                f"LambdaLR: expected a function for each of {len(self.base_lrs)} groups, got {len(self.lr_lambdas)}"
            )
        return [
            initial * function(self.last_epoch)
            for initial, function in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """With the attributes of the functions, which themselves cannot be saved."""
        return {**super().state_dict(), "lr_lambdas": [dict(getattr(f, "__dict__", {})) for f in self.lr_lambdas]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "lr_lambdas"})
        for function, attributes in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if attributes:
                vars(function).update(attributes)


class ConstantLR(LRScheduler):
    """lr ← lr·factor at the start, and back to lr/factor after ``total_iters`` steps."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor is {factor!r}; expected a number from 0 to 1")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._scaled(self.factor)
        return self._scaled(1 / self.factor if self.last_epoch == self.total_iters else 1)


class LinearLR(LRScheduler):
    """lr·start_factor at first, which becomes lr·end_factor in ``total_iters`` equal steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor is {start_factor!r}; expected a number above 0, up to 1")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor is {end_factor!r}; expected a number from 0 to 1")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._scaled(self.start_factor)
        if self._starting or self.last_epoch > self.total_iters:
            return self._scaled(1)
        rise = self.end_factor - self.start_factor
        return self._scaled(1 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise))


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (initial − eta_min)·(1 + cos(π·step/T_max))/2, as long as nobody else changes lr.

    In each step, lr − eta_min is multiplied by what its cosine has grown.

    Args:
        T_max: the number of steps down to eta_min.
        eta_min: the last rate.

    Source: Loshchilov & Hutter 2017, "SGDR", eq. 5, without restarts.

    >>> import tinybn as tb
    >>> schedule = tb.optim.lr_scheduler.CosineAnnealingLR(tb.optim.SGD([tb.zeros(1)], lr=1.0), T_max=2)
    >>> [(round(schedule.get_last_lr()[0], 3), schedule.step())[0] for _ in range(3)]
    [1.0, 0.5, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max is {T_max!r}; expected a whole number from 1 on")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self._starting:
            return self._scaled(1)
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # up from eta_min, where a factor means nothing
            share = (1 - math.cos(math.pi / self.T_max)) / 2
            return [
                group["lr"] + (initial - self.eta_min) * share
                for group, initial in zip(self.optimizer.param_groups, self.base_lrs, strict=True)
            ]
        factor = self._height(self.last_epoch) / self._height(self.last_epoch - 1)
        return [factor * (group["lr"] - self.eta_min) + self.eta_min for group in self.optimizer.param_groups]

    def _height(self, step: int) -> float:
        return 1 + math.cos(math.pi * step / self.T_max)
