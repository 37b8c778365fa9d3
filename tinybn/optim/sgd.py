"""Stochastic gradient descent."""

from collections.abc import Iterable
from typing import Any

from tinybn._typing import Array
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

    def _update(self, parameter: Array, gradient: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        momentum = group["momentum"]
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * parameter
        if momentum:
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = gradient.copy()
            else:
                state["momentum_buffer"] *= momentum
                state["momentum_buffer"] += gradient if not group["dampening"] else (1 - group["dampening"]) * gradient
            velocity = state["momentum_buffer"]
            gradient = gradient + momentum * velocity if group["nesterov"] else velocity
        parameter -= group["lr"] * gradient
