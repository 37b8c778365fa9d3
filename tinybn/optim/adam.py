"""Adam and AdamW."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinybn._typing import Array
from tinybn.optim.optimizer import Optimizer


class Adam(Optimizer):
    """p ← p − lr · m̂/(√v̂ + eps), with moving averages m of the gradient and v of its square.

    m ← β₁·m + (1 − β₁)·g,  v ← β₂·v + (1 − β₂)·g²,  m̂ = m/(1 − β₁ᵗ),  v̂ = v/(1 − β₂ᵗ),  g = gradient + weight_decay·p.

    Args:
        params: parameters, or dicts with ``params`` and options of their own.
        lr, betas, eps, weight_decay: see the formula.

    Source: Kingma & Ba 2015, "Adam", algorithm 1.

    >>> import tinybn as tb
    >>> w = tb.nn.Parameter([1.0])
    >>> optimizer = tb.optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step(); round(w.item(), 6)
    0.9
    """

    state_names = ("step", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _update(self, parameter: Array, gradient: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * parameter
        self._move(parameter, gradient, state, group)

    def _move(self, parameter: Array, gradient: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state.update(step=0, exp_avg=np.zeros_like(parameter), exp_avg_sq=np.zeros_like(parameter))
        state["step"] += 1
        (beta1, beta2), mean, square = group["betas"], state["exp_avg"], state["exp_avg_sq"]
        mean *= beta1
        mean += (1 - beta1) * gradient
        square *= beta2
        scratch = gradient * gradient
        scratch *= 1 - beta2
        square += scratch
        np.sqrt(square, out=scratch)
        scratch *= 1 / math.sqrt(1 - beta2 ** state["step"])
        scratch += group["eps"]
        np.divide(mean, scratch, out=scratch)
        scratch *= group["lr"] / (1 - beta1 ** state["step"])
        parameter -= scratch


class AdamW(Adam):
    """Adam with weight decay beside the gradient: first p ← p − lr·weight_decay·p, then Adam's step.

    Args:
        params: parameters, or dicts with ``params`` and options of their own.
        lr, betas, eps, weight_decay: as in `Adam`, weight_decay 0.01 by default.

    Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2.

    >>> import tinybn as tb
    >>> w = tb.nn.Parameter([1.0])
    >>> optimizer = tb.optim.AdamW([w], lr=0.1, weight_decay=0.5)
    >>> (w * w).sum().backward(); optimizer.step(); round(w.item(), 6)
    0.85
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, parameter: Array, gradient: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        parameter *= 1 - group["lr"] * group["weight_decay"]
        self._move(parameter, gradient, state, group)
