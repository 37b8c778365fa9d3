"""The twins of /kernels/optim.pyx, on lists of parameters and of what goes with them."""

import numpy as np

from tinybn._typing import Array


def sgd(
    parameters: list[Array],
    gradients: list[Array],
    velocities: list[Array] | None,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first: bool,
    threads: int,
) -> bool:
    """v ← momentum·v + (1 − dampening)·g with g = gradient + weight_decay·p, and p ← p − lr·v; first: v ← g."""
    for i, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
        if weight_decay:
            g = g + weight_decay * p
        if velocities is not None:
            v = velocities[i]
            if first:
                v[...] = g
            else:
                v *= momentum
                v += (1 - dampening) * g if dampening else g
            g = g + momentum * v if nesterov else v
        p -= lr * g
    return True


def adam(
    parameters: list[Array],
    gradients: list[Array],
    means: list[Array],
    squares: list[Array],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    mean_scale: float,
    square_scale: float,
    threads: int,
) -> bool:
    """m ← β₁·m + (1 − β₁)·g, v ← β₂·v + (1 − β₂)·g², p ← p − m/(√v·square_scale + eps)·mean_scale."""
    for p, g, m, v in zip(parameters, gradients, means, squares, strict=True):
        if weight_decay and decoupled:
            p *= 1 - lr * weight_decay
        elif weight_decay:
            g = g + weight_decay * p
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += g * g * (1 - beta2)
        p -= m / (np.sqrt(v) * square_scale + eps) * mean_scale
    return True
