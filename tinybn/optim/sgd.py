"""Stochastic gradient descent."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinybn._typing import Array
from tinybn.kernels import updates
from tinybn.optim.optimizer import Optimizer


class SGD(Optimizer):
    """p ← p − lr·v with v ← momentum·v + (1 − dampening)·g and g = gradient + weight_decay·p.

    The first v is g itself. With ``nesterov`` the step is along g + momentum·v.

    Args:
        params: parameters, or dicts with ``params`` and options of their own.
        lr: the step size. momentum, dampening, weight_decay: see the formula.
        nesterov: look ahead; needs momentum and no dampening.

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", §2, in PyTorch's
    form, where lr stands outside v.

    >>> import tinybn as tb
    >>> w = tb.nn.Parameter([1.0])
    >>> optimizer = tb.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step(); w.tolist()
    [0.800000011920929]
    """

    state_names = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
            },
        )

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and a dampening of 0")

    def _update_group(
        self, parameters: list[Array], gradients: list[Array], states: list[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        if not group["momentum"]:
            self._move(parameters, gradients, None, group, first=False)
            return
        for first in (False, True):
            chosen = [i for i, state in enumerate(states) if (not state) == first]
            if not chosen:
                continue
            if first:
                for i in chosen:
                    states[i]["momentum_buffer"] = np.empty_like(parameters[i])
            velocities = [states[i]["momentum_buffer"] for i in chosen]
            self._move([parameters[i] for i in chosen], [gradients[i] for i in chosen], velocities, group, first)

    def _move(
        self,
        parameters: list[Array],
        gradients: list[Array],
        velocities: list[Array] | None,
        group: dict[str, Any],
        first: bool,
    ) -> None:
        names = ("lr", "momentum", "dampening", "weight_decay", "nesterov")
        updates.sgd(parameters, gradients, velocities, *(group[name] for name in names), first)
