"""Whose batch normalization it is: the definitions of six frameworks, their defaults, debiased statistics."""

import copy
import pickle

import numpy as np
import pytest
from batchnorm_helpers import assert_exact, batches, every_convention, rows

from tinybn import nn
from tinybn.nn.normalization import CONVENTIONS

# --- what each framework computes, from its own definition ------------------------------------------------------------


def onnx(mean, var, x, momentum):
    """BatchNormalization of opset 15 with training_mode=1; ReduceVar is the population's."""
    current_mean, current_var = x.mean(0), ((x - x.mean(0)) ** 2).mean(0)
    return mean * momentum + current_mean * (1 - momentum), var * momentum + current_var * (1 - momentum)


def keras(mean, var, x, momentum):
    batch_mean, batch_variance = x.mean(0), x.var(0)
    return mean * momentum + batch_mean * (1.0 - momentum), var * momentum + batch_variance * (1.0 - momentum)


def flax(mean, var, x, momentum):
    return momentum * mean + (1 - momentum) * x.mean(0), momentum * var + (1 - momentum) * x.var(0)


def mlx(mean, var, x, mu):
    return (1 - mu) * mean + mu * x.mean(0), (1 - mu) * var + mu * x.var(0)


def chainer(mean, var, x, decay):
    adjust = len(x) / max(len(x) - 1.0, 1.0)
    return decay * mean + (1 - decay) * x.mean(0), decay * var + (1 - decay) * adjust * x.var(0)


def torch(mean, var, x, momentum):
    return (1 - momentum) * mean + momentum * x.mean(0), (1 - momentum) * var + momentum * x.var(0, ddof=1)


# The update of the running statistics, eps and momentum by default.
DEFINITIONS = {
    "torch": (torch, 1e-5, 0.1),
    "keras": (keras, 1e-3, 0.99),
    "flax": (flax, 1e-5, 0.99),
    "mlx": (mlx, 1e-5, 0.1),
    "onnx": (onnx, 1e-5, 0.9),
    "chainer": (chainer, 2e-5, 0.9),
}


def test_every_convention_has_a_definition_here():
    assert list(CONVENTIONS) == list(DEFINITIONS)


@every_convention
@pytest.mark.parametrize("shape", [(32, 3), (8, 3, 4), (8, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("momentum", ["default", 0.25])
def test_ten_steps_and_evaluation_are_those_of_the_definition(name, shape, momentum):
    update, eps, default = DEFINITIONS[name]
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    options = {} if momentum == "default" else {"momentum": momentum}
    momentum = default if momentum == "default" else momentum
    layer = kind(3, convention=name, dtype="float64", **options)
    weight, bias = np.array([0.5, -2.0, 1.5]), np.array([1.0, 0.0, -1.0])
    layer.weight.data[...], layer.bias.data[...] = weight, bias
    mean, var = np.zeros(3), np.ones(3)
    for x in batches(shape=shape):
        y, flat = rows(layer(x).data), rows(x)
        assert_exact(y, (flat - flat.mean(0)) / np.sqrt(flat.var(0) + eps) * weight + bias)
        mean, var = update(mean, var, flat, momentum)
    assert_exact(layer.running_mean, mean)
    assert_exact(layer.running_var, var)
    x = batches(1, shape, seed=1)[0]
    assert_exact(rows(layer.eval()(x).data), (rows(x) - mean) / np.sqrt(var + eps) * weight + bias)


@every_convention
def test_defaults_are_those_of_the_framework(name):
    _, eps, momentum = DEFINITIONS[name]
    layer = nn.BatchNorm2d(3, convention=name)
    assert (layer.eps, layer.momentum) == (eps, momentum)
    assert type(layer.eps) is type(layer.momentum) is float


@every_convention
def test_what_is_given_wins_over_the_convention(name):
    layer = nn.BatchNorm1d(3, 1e-5, 0.1, convention=name)  # PyTorch's defaults, but said aloud
    assert (layer.eps, layer.momentum) == (1e-5, 0.1)
    assert nn.BatchNorm1d(3, eps=0.5, convention=name).momentum == DEFINITIONS[name][2]
    assert nn.BatchNorm1d(3, momentum=None, convention=name).momentum is None


@every_convention
def test_momentum_none_averages_in_every_convention(name):
    layer = nn.BatchNorm2d(3, momentum=None, convention=name, dtype="float64")
    for x in batches():
        layer(x)
    ddof = 1 if name in ("torch", "chainer") else 0
    assert_exact(layer.running_mean, np.mean([rows(x).mean(0) for x in batches()], axis=0))
    assert_exact(layer.running_var, np.mean([rows(x).var(0, ddof=ddof) for x in batches()], axis=0))


@every_convention
def test_a_momentum_that_is_set_later_is_in_the_meaning_of_the_convention(name):
    update, _, default = DEFINITIONS[name]
    layer, (mean, var) = nn.BatchNorm2d(3, convention=name, dtype="float64"), (np.zeros(3), np.ones(3))
    for step, x in enumerate(batches(4)):
        if step == 2:
            layer.momentum = 0.25
        layer(x)
        mean, var = update(mean, var, rows(x), 0.25 if step >= 2 else default)
    assert_exact(layer.running_mean, mean)
    assert_exact(layer.running_var, var)


def test_an_unknown_convention_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"convention 'tensorflow': expected one of torch, keras, flax, mlx, onnx, chai"
    ):
        nn.BatchNorm1d(3, convention="tensorflow")


def test_text_says_what_is_not_pytorchs():
    assert "convention" not in repr(nn.BatchNorm1d(3)) and "debias" not in repr(nn.BatchNorm1d(3))
    text = repr(nn.BatchNorm1d(3, convention="keras", debias=True))
    assert text.startswith("BatchNorm1d(3, eps=0.001, momentum=0.99, affine=True, ")
    assert text.endswith("track_running_stats=True, convention='keras', debias=True)")
    assert repr(nn.BatchNorm1d(3).freeze()).endswith("frozen: statistics and affine)")


@every_convention
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_go_on_in_the_same_convention(name, duplicate):
    layer = nn.BatchNorm2d(3, convention=name, debias=True, dtype="float64")
    layer(batches()[0])
    other = duplicate(layer)
    assert repr(other) == repr(layer)
    for x in batches(3, seed=1):
        assert layer(x).data.tobytes() == other(x).data.tobytes()
    assert_exact(other.running_var, layer.running_var)


# --- without the beginning's 0 and 1 ----------------------------------------------------------------------------------


@every_convention
def test_debiased_statistics_are_weighted_averages_of_the_batches_alone(name):
    layer = nn.BatchNorm2d(3, convention=name, debias=True, dtype="float64")
    new = CONVENTIONS[name].momentum if name in ("torch", "mlx") else 1 - CONVENTIONS[name].momentum
    ddof = 1 if name in ("torch", "chainer") else 0
    seen = []
    for x in batches(6):
        layer(x)
        seen.append((rows(x).mean(0), rows(x).var(0, ddof=ddof)))
        weights = new * (1 - new) ** np.arange(len(seen))[::-1]
        mean, var = np.einsum("t,tsc->sc", weights / weights.sum(), np.array(seen))
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(layer.running_var, var, rtol=1e-13)


@pytest.mark.parametrize("momentum", [None, 0.0, 1.0])
def test_debiasing_changes_nothing_where_there_is_nothing_to_take_out(momentum):
    plain, debiased = (nn.BatchNorm2d(3, momentum=momentum, debias=d, dtype="float64") for d in (False, True))
    for x in batches(3):
        plain(x), debiased(x)
    assert plain.running_var.tolist() == debiased.running_var.tolist()
