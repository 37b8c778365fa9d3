"""Which biases a normalization makes redundant: those that shift a channel by a number that it then takes away."""

from collections.abc import Iterable
from typing import Any

from tinybn.nn.dropout import Dropout
from tinybn.nn.linear import Flatten, Identity
from tinybn.nn.module import Module
from tinybn.nn.normalization import BatchNorm, GroupNorm, VarianceOnlyBatchNorm1d, VarianceOnlyBatchNorm2d
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


def has_bias(name: str, bias: Any, following: Iterable[Module]) -> bool:
    """What the argument ``bias`` of a block means for a weight with these modules behind it."""
    if bias not in (True, False, "auto"):
        raise ValueError(f"{name}: bias is {bias!r}; expected True, False or 'auto'")
    return not takes_shift_away(following) if bias == "auto" else bias


def takes_shift_away(modules: Iterable[Module]) -> bool:
    """Whether a number added to a channel changes nothing behind these modules, in training.

    Ioffe & Szegedy 2015, §3.2: the effect of a bias is cancelled by the subtraction of the mean behind it.
    """
    for module in modules:
        if _subtracts_channel_means(module):
            return True
        if not passes_shift(module):
            return False
    return False


def _subtracts_channel_means(module: Module) -> bool:
    if isinstance(module, BatchNorm):
        return not (module.frozen_statistics or isinstance(module, VarianceOnlyBatchNorm1d | VarianceOnlyBatchNorm2d))
    return isinstance(module, GroupNorm) and module.num_groups == module.num_channels


_PASSING = (AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, Identity, MaxPool1d, MaxPool2d)


def passes_shift(module: Module) -> bool:
    """Whether a number added to a channel of the input is added to what becomes of the channel."""
    if isinstance(module, AvgPool1d | AvgPool2d):  # the zeros of a padding are not shifted
        return module.padding in (0, (0,), (0, 0)) and getattr(module, "divisor_override", None) is None
    if isinstance(module, Flatten):
        return module.start_dim == 1
    if isinstance(module, Dropout):
        return module.p == 0
    return isinstance(module, _PASSING)
