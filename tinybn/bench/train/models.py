"""What is trained: models as lists of layers, which each framework builds in its own way, and their initial weights.

A layer is a tuple of its kind and its sizes:

    ("conv", inputs, outputs, kernel, padding)     without bias: a BatchNorm follows
    ("linear", inputs, outputs, bias)
    ("batchnorm1d", channels)   ("batchnorm2d", channels)   ("relu",)   ("sigmoid",)   ("pool", size)   ("flatten",)
"""

from dataclasses import dataclass

import numpy as np

from tinybn._typing import Array

Layer = tuple[str | int | bool, ...]

SIDE, CLASSES = 28, 10  # MNIST's


@dataclass(frozen=True)
class Model:
    """A model of the benchmark; ``convolutional`` ones take images (B, 1, 28, 28), the others rows (B, 784)."""

    name: str
    title: str
    batch: int
    layers: tuple[Layer, ...]
    width: int = 1
    depth: int = 1

    @property
    def convolutional(self) -> bool:
        return any(layer[0] == "conv" for layer in self.layers)


def mlp(widths: list[int], activation: str) -> tuple[Layer, ...]:
    """Linear, BatchNorm, activation for each width, and a last Linear."""
    layers: list[Layer] = [("flatten",)]
    inputs = SIDE * SIDE
    for width in widths:
        layers += [("linear", inputs, width, False), ("batchnorm1d", width), (activation,)]
        inputs = width
    return (*layers, ("linear", inputs, CLASSES, True))


def cnn(
    stages: list[tuple[tuple[int, ...], int, int, int]], widths: list[int], activation: str = "relu"
) -> tuple[Layer, ...]:
    """Stages of convolutions and a pooling of 2×2, then Linear layers, each but the last with BatchNorm and activation.

    A stage is the channels of its convolutions, their kernel, the padding of the first one, and that of the others.
    """
    layers: list[Layer] = []
    channels, side = 1, SIDE
    for outputs, kernel, first_padding, padding in stages:
        for i, count in enumerate(outputs):
            pad = padding if i else first_padding
            layers += [("conv", channels, count, kernel, pad), ("batchnorm2d", count), (activation,)]
            channels, side = count, side + 2 * pad - kernel + 1
        layers.append(("pool", 2))
        side //= 2
    layers.append(("flatten",))
    inputs = channels * side * side
    for width in widths:
        layers += [("linear", inputs, width, False), ("batchnorm1d", width), (activation,)]
        inputs = width
    return (*layers, ("linear", inputs, CLASSES, True))


def _a(width: int, depth: int) -> tuple[Layer, ...]:
    return mlp([100 * width] * (3 * depth), "sigmoid")


def _b(width: int, depth: int) -> tuple[Layer, ...]:
    return mlp([256 * width] * (2 * depth), "relu")


def _c(width: int, depth: int) -> tuple[Layer, ...]:
    stages = [((6 * width,) * depth, 5, 2, 2), ((16 * width,) * depth, 5, 0, 2)]
    return cnn(stages, [120 * width, 84 * width])


def _d(width: int, depth: int) -> tuple[Layer, ...]:
    return cnn([((32 * width,) * depth, 3, 1, 1), ((64 * width,) * depth, 3, 1, 1)], [128 * width])


_MODELS = {
    "A": ("MLP 784-100-100-100-10, BatchNorm, sigmoid", 60, _a),
    "B": ("MLP 784-256-256-10, BatchNorm, ReLU", 128, _b),
    "C": ("LeNet-5 with BatchNorm and ReLU", 64, _c),
    "D": ("conv32-BN-ReLU-pool, conv64-BN-ReLU-pool, fc128-BN-ReLU, fc10", 64, _d),
}
NAMES = tuple(_MODELS)


def model(name: str, batch: int | None = None, width: int = 1, depth: int = 1) -> Model:
    """One of A to D, with another batch size, its channels times ``width`` or its layers repeated ``depth`` times.

    >>> model("A", depth=2).layers.count(("sigmoid",))
    6
    """
    title, usual, layers = _MODELS[name]
    return Model(name, title, batch or usual, layers(width, depth), width, depth)


def initial_weights(layers: tuple[Layer, ...], seed: int) -> list[Array]:
    """Weights of all layers in order, in PyTorch's shapes.

    They are normal with σ = √(2/inputs); biases are 0, and BatchNorm's weights 1.
    """
    generator, weights = np.random.default_rng(seed), []
    for kind, *sizes in layers:
        if kind == "conv":
            inputs, outputs, kernel, _ = map(int, sizes)
            weights.append(_normal(generator, (outputs, inputs, kernel, kernel)))
        elif kind == "linear":
            inputs, outputs, bias = map(int, sizes)
            weights.append(_normal(generator, (outputs, inputs)))
            weights += [np.zeros(outputs, np.float32)] * bias
        elif kind in ("batchnorm1d", "batchnorm2d"):
            weights += [np.ones(int(sizes[0]), np.float32), np.zeros(int(sizes[0]), np.float32)]
    return weights


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
