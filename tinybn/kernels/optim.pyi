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
) -> bool: ...
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
) -> bool: ...
