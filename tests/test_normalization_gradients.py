"""First and second derivatives through every normalization, for the input and all parameters, against differences."""

import copy
from functools import partial

import numpy as np
import pytest

import tinybn as tb
from tinybn import nn
from tinybn.nn.utils.parametrizations import weight_norm, weight_standardization

VECTORS, SEQUENCES, IMAGES, VOLUMES = (5, 2), (3, 2, 4), (2, 2, 2, 3), (2, 2, 2, 1, 2)


def at_the_limits(layer):
    """Renormalization whose running statistics are so far away that r and d are constants for differences, too."""
    layer.running_mean.data[...], layer.running_var.data[...] = [40.0, -400.0], [1e-4, 1e3]
    return layer


def with_statistics(make):
    """In evaluation, with running statistics that are not 0 and 1."""
    layer = make()
    for buffer, value in ((layer.running_mean, [0.5, -1.0]), (layer.running_var, [2.0, 0.5])):
        if buffer is not None:
            buffer.data[...] = value
    return layer.eval()


MADE_BY_CHANNELS = {
    "BatchNorm1d": (VECTORS, nn.BatchNorm1d),
    "BatchNorm1d, sequences": (SEQUENCES, nn.BatchNorm1d),
    "BatchNorm2d": (IMAGES, nn.BatchNorm2d),
    "BatchNorm3d": (VOLUMES, nn.BatchNorm3d),
    "GhostBatchNorm1d": (VECTORS, partial(nn.GhostBatchNorm1d, ghost_size=2)),
    "GhostBatchNorm2d": (IMAGES, partial(nn.GhostBatchNorm2d, ghost_size=1)),
    "MeanOnlyBatchNorm1d": (VECTORS, nn.MeanOnlyBatchNorm1d),
    "MeanOnlyBatchNorm2d": (IMAGES, nn.MeanOnlyBatchNorm2d),
    "VarianceOnlyBatchNorm1d": (VECTORS, nn.VarianceOnlyBatchNorm1d),
    "VarianceOnlyBatchNorm2d": (IMAGES, nn.VarianceOnlyBatchNorm2d),
    "BatchRenorm1d": (VECTORS, lambda c: at_the_limits(nn.BatchRenorm1d(c))),
    "BatchRenorm2d": (IMAGES, lambda c: at_the_limits(nn.BatchRenorm2d(c))),
    "InstanceNorm1d": (SEQUENCES, partial(nn.InstanceNorm1d, affine=True, track_running_stats=True)),
    "InstanceNorm2d": (IMAGES, partial(nn.InstanceNorm2d, affine=True, track_running_stats=True)),
}

CASES = {
    **{name: (shape, partial(make, 2)) for name, (shape, make) in MADE_BY_CHANNELS.items()},
    **{
        f"{name} in eval": (s, partial(with_statistics, partial(make, 2)))
        for name, (s, make) in MADE_BY_CHANNELS.items()
    },
    "BatchNorm1d, no bias": (VECTORS, lambda: nn.BatchNorm1d(2, bias=False)),
    "BatchNorm1d, not affine": (VECTORS, lambda: nn.BatchNorm1d(2, affine=False)),
    "BatchNorm1d, frozen statistics": (VECTORS, lambda: nn.BatchNorm1d(2).freeze(affine=False)),
    "LayerNorm": (VECTORS, lambda: nn.LayerNorm(2)),
    "LayerNorm, two axes": (SEQUENCES, lambda: nn.LayerNorm((2, 4), bias=False)),
    "RMSNorm": (VECTORS, lambda: nn.RMSNorm(2)),
    "RMSNorm, two axes": (SEQUENCES, lambda: nn.RMSNorm((2, 4))),
    "GroupNorm, one group": (IMAGES, lambda: nn.GroupNorm(1, 2)),
    "GroupNorm, all groups": (IMAGES, lambda: nn.GroupNorm(2, 2)),
    "weight_norm": (VECTORS, lambda: weight_norm(nn.Linear(2, 3))),
    "weight_norm, one length": (VECTORS, lambda: weight_norm(nn.Linear(2, 3), dim=None)),
    "weight_standardization": (VECTORS, lambda: weight_standardization(nn.Linear(2, 3))),
    "weight_standardization, transposed": (
        IMAGES,
        lambda: weight_standardization(nn.ConvTranspose2d(2, 2, (1, 2), groups=2)),
    ),
    **{
        f"{kind}, {norm}": (SEQUENCES, partial(getattr(nn, kind), 4, 2, normalization=norm, max_length=length))
        for kind in ("RNN", "LSTM", "GRU")
        for norm, length in (("sequence", None), ("step", 2), ("layer", None))
    },
}


def test_every_normalization_is_in_the_table():
    made = {type(module).__name__ for _, make in CASES.values() for module in make().modules()}
    norms = {name for name in nn.__all__ if "Norm" in name or "Renorm" in name} - {"BatchNormMomentum"}
    assert norms <= made


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_derivatives(name):
    shape, make = CASES[name]
    rng = np.random.default_rng(0)
    tb.manual_seed(0)
    layer = make().double()
    names = [key for key, _ in layer.named_parameters()]
    values = [rng.standard_normal(p.shape) + 0.5 if p.ndim == 1 else p.data.copy() for p in layer.parameters()]

    def function(x, *parameters):
        copied = copy.deepcopy(layer)  # training moves the running statistics
        for key, parameter in zip(names, parameters, strict=True):
            *path, last = key.split(".")
            owner = copied
            for part in path:
                owner = getattr(owner, part)
            vars(owner)[last] = parameter
        return copied(x)

    inputs = [tb.tensor(array, requires_grad=True) for array in (rng.standard_normal(shape), *values)]
    assert tb.gradcheck(function, inputs)
    assert tb.gradgradcheck(function, inputs)
