"""The arms of the study: one network, BatchNorm at different places.

A placement names the places, joined by "+": ``input`` (the images themselves), ``before`` and ``after`` (every hidden
activation), ``logits`` (the output), or ``none``.
"""

from collections.abc import Callable

import numpy as np

from tinybn import nn

PLACES = ("input", "before", "after", "logits")

# Where people put it, in the order of the report.
PLACEMENTS = ("none", "before", "after", "input", "input+before", "input+after", "before+logits")

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}

NETS = ("mlp", "cnn")
MLP_HIDDEN = (100, 100, 100)  # Ioffe & Szegedy 2015, §4.1
CNN_CHANNELS = (16, 32)
CNN_HIDDEN = 64


def parse_placement(name: str) -> frozenset[str]:
    """The places that a placement names.

    >>> sorted(parse_placement("input+before"))
    ['before', 'input']
    """
    if name == "none":
        return frozenset()
    places = name.split("+")
    unknown = [place for place in places if place not in PLACES]
    if unknown or len(set(places)) < len(places):
        raise ValueError(f"placement {name!r}: expected 'none' or some of {', '.join(PLACES)} joined by '+', each once")
    return frozenset(places)


def build(
    net: str, activation: str, placement: str, image_shape: tuple[int, int], classes: int, seed: int
) -> nn.Sequential:
    """The network with BatchNorm where the placement says.

    Every arm of a seed starts from the same weights: each layer draws from a stream of its own, so that a bias left out
    in front of a BatchNorm (which would take it away again) moves no other layer's numbers.

    Args:
        net: "mlp" (three hidden layers of 100 units) or "cnn" (two 3×3 convolutions of 16 and 32 channels, each with
            2×2 max-pooling behind its activation, then a hidden layer of 64 units).
        activation: "relu", "sigmoid" or "tanh".
        placement: see the top of this file.
        image_shape, classes: of the data.
        seed: of the initial weights.

    >>> build("mlp", "relu", "before", (8, 8), 10, seed=0)[1:4]
    Sequential(
      (1): Linear(in_features=64, out_features=100, bias=False)
      (2): BatchNorm1d(100, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
      (3): ReLU()
    )
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation {activation!r}: expected one of {', '.join(ACTIVATIONS)}")
    if net not in NETS:
        raise ValueError(f"net {net!r}: expected one of {', '.join(NETS)}")
    places = parse_placement(placement)
    layers: list[nn.Module] = []
    streams = iter(range(1_000))

    def weights() -> np.random.Generator:
        return np.random.default_rng([seed, next(streams)])

    def hidden(make: Callable[[bool], nn.Module], norm: Callable[[int], nn.Module], width: int) -> None:
        layers.append(make("before" not in places))
        if "before" in places:
            layers.append(norm(width))
        layers.append(ACTIVATIONS[activation]())
        if "after" in places:
            layers.append(norm(width))

    def linear(inputs: int, outputs: int) -> Callable[[bool], nn.Module]:
        return lambda bias: nn.Linear(inputs, outputs, bias, generator=weights())

    def conv(inputs: int, outputs: int) -> Callable[[bool], nn.Module]:
        return lambda bias: nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias, generator=weights())

    height, width = image_shape
    if net == "mlp":
        size = height * width
        layers.append(nn.Flatten())
        if "input" in places:
            layers.append(nn.BatchNorm1d(size))
        for units in MLP_HIDDEN:
            hidden(linear(size, units), nn.BatchNorm1d, units)
            size = units
    else:
        channels = 1
        if "input" in places:
            layers.append(nn.BatchNorm2d(channels))
        for filters in CNN_CHANNELS:
            hidden(conv(channels, filters), nn.BatchNorm2d, filters)
            layers.append(nn.MaxPool2d(2))
            channels, height, width = filters, height // 2, width // 2
        layers.append(nn.Flatten())
        size = CNN_HIDDEN
        hidden(linear(channels * height * width, size), nn.BatchNorm1d, size)
    layers.append(linear(size, classes)("logits" not in places))
    if "logits" in places:
        layers.append(nn.BatchNorm1d(classes))
    return nn.Sequential(*layers)
