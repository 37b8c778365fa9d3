"""How many channels and axes there are between two layers of a model."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tinybn._tensor import Tensor, as_tensor
from tinybn.errors import ShapeError
from tinybn.modes import no_grad
from tinybn.nn.blocks import ResidualBlock, ResidualLinearBlock
from tinybn.nn.container import Sequential
from tinybn.nn.conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from tinybn.nn.dropout import Dropout
from tinybn.nn.insertion.places import ACTIVATIONS, Part, leaves_of, parts_of
from tinybn.nn.linear import Identity, Linear
from tinybn.nn.module import Module
from tinybn.nn.normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from tinybn.nn.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    MaxPool1d,
    MaxPool2d,
)


class Width(NamedTuple):
    """The size of axis 1, and how many axes there are."""

    channels: int
    axes: int


def widths_from_example(model: Sequential, example: Any, gaps: Iterable[int]) -> dict[int, Width]:
    """By gap. The model stays as it is: a copy runs, in evaluation mode and without hooks.

    Raises:
        ShapeError: something at a gap without an axis 1.
    """
    copied = copy.deepcopy(model).eval()
    for module in copied.modules():
        module._hooks = None
    seen: list[Any] = [as_tensor(example)]
    with no_grad():
        for leaf in leaves_of(parts_of(copied)):
            seen.append(leaf.module(seen[-1]))
    shapes = [x.shape if isinstance(x, Tensor) else () for x in seen]
    for gap in gaps:
        if len(shapes[gap]) < 2:
            raise ShapeError(
                f"insert_normalization: expected (N, C, ...) behind {gap} layers, got shape {shapes[gap]} there, from "
                f"an example of shape {shapes[0]}"
            )
    return {gap: Width(shapes[gap][1], len(shapes[gap])) for gap in gaps}


# --- without an example -----------------------------------------------------------------------------------------------

_AXES: dict[type[Module], int] = {
    **dict.fromkeys((Linear, ResidualLinearBlock), 2),
    **dict.fromkeys((Conv1d, ConvTranspose1d), 3),
    **dict.fromkeys((Conv2d, ConvTranspose2d, ResidualBlock), 4),
}

_KEEPING = (
    *(*ACTIVATIONS, Dropout, Identity, BatchNorm, GroupNorm, LayerNorm, RMSNorm, MaxPool1d, MaxPool2d, AvgPool1d),
    *(AvgPool2d, AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d),
)


def widths_from_layers(leaves: Sequence[Part], gaps: Iterable[int]) -> dict[int, Width]:
    """By gap, what the nearest layer in front of it gives out, or the nearest one behind it takes in.

    Raises:
        ShapeError: there is none, or what lies between may have changed the number of channels.
    """
    return {gap: _between(leaves, gap) for gap in gaps}


def _between(leaves: Sequence[Part], gap: int) -> Width:
    for side, neighbours in (("out", reversed(leaves[:gap])), ("in", iter(leaves[gap:]))):
        for leaf in neighbours:
            axes = next((axes for kind, axes in _AXES.items() if isinstance(leaf.module, kind)), None)
            if axes is not None:
                return Width(getattr(leaf.module, f"{side}_{'features' if axes == 2 else 'channels'}"), axes)
            if not isinstance(leaf.module, _KEEPING):
                break
    where = f"in front of {leaves[gap].path!r}" if gap < len(leaves) else "at the end"
    raise ShapeError(
        f"insert_normalization: the layers do not tell how many channels there are {where}; give example=, a batch of "
        "inputs"
    )
