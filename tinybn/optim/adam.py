"""Adam and AdamW."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinybn._typing import Array
from tinybn.kernels import updates
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
    decoupled = False  # weight decay from the gradient

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _update_group(
        self, parameters: list[Array], gradients: list[Array], states: list[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        for parameter, state in zip(parameters, states, strict=True):
            if not state:
                state.update(step=0, exp_avg=np.zeros_like(parameter), exp_avg_sq=np.zeros_like(parameter))
            state["step"] += 1
        beta1, beta2 = group["betas"]
        for step in dict.fromkeys(state["step"] for state in states):  # one, unless some had no gradient at times
            chosen = [i for i, state in enumerate(states) if state["step"] == step]
            updates.adam(
                *([column[i] for i in chosen] for column in (parameters, gradients)),
                *([states[i][name] for i in chosen] for name in ("exp_avg", "exp_avg_sq")),
                group["lr"],
                beta1,
                beta2,
                group["eps"],
                group["weight_decay"],
                self.decoupled,
                group["lr"] / (1 - beta1**step),
                1 / math.sqrt(1 - beta2**step),
            )


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

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
