"""What the tests of recurrent nets share."""

import numpy as np
import pytest

import tinybn as tb

LAYERS = ["RNN", "LSTM", "GRU"]
CELLS = ["RNNCell", "LSTMCell", "GRUCell"]
NORMALIZATIONS = ["sequence", "step", "layer"]
T, N, C, H = 5, 4, 3, 6

every_layer = pytest.mark.parametrize("name", LAYERS)
every_cell = pytest.mark.parametrize("name", CELLS)
every_normalization = pytest.mark.parametrize("normalization", NORMALIZATIONS)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def drawn(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32").astype(dtype)


def normalized_net(name, normalization, dtype="float64", max_length=T, **options):
    """A net with a normalization, whose weights are away from their initial values."""
    if normalization == "step":
        options["max_length"] = max_length
    net = getattr(tb.nn, name)(
        C, H, dtype=dtype, generator=np.random.default_rng(1), normalization=normalization, **options
    )
    rng = np.random.default_rng(2)
    for parameter_name, parameter in net.named_parameters():
        if parameter_name.startswith("norm"):
            parameter.data += rng.uniform(-0.3, 0.3, parameter.shape)
    return net


def tensors(result):
    """Outputs and states of a layer or a cell, one after the other."""
    if isinstance(result, tuple | list):
        return [tensor for part in result for tensor in tensors(part)]
    return [result]
