"""Initial weights: those of layers and the functions of `nn.init`."""

import math

import numpy as np
import pytest
from helpers import assert_state, snapshot
from oracle import load_torch

import tinybn as tb
from tinybn import nn

WEIGHTED = ["Linear(4, 6)", "Conv2d(4, 6, 3)"]


# --- initial weights --------------------------------------------------------------------------------------------------

# layer, 1/√fan_in
INITIAL = [("Linear(100, 400)", 0.1), ("Conv2d(4, 600, 5)", 0.1), ("Conv2d(64, 2000, 5, groups=16)", 0.1)]


def looks_uniform(values, bound):
    """On ±bound: the largest is near it, and the empirical distribution nowhere far off (Kolmogorov, 1 in 10,000)."""
    values = np.sort(np.asarray(values, np.float64).ravel())
    n = values.size
    assert np.abs(values).max() <= bound * (1 + 1e-6)
    assert np.abs(values).max() >= bound * (1 - 20 / n)
    expected = (values + bound) / (2 * bound)
    distance = max(np.abs(expected - np.arange(n) / n).max(), np.abs(expected - np.arange(1, n + 1) / n).max())
    assert distance < 2.23 / math.sqrt(n)


def looks_normal(values, std, mean=0.0):
    """Mean, deviation and the share within one and two deviations, each within 4 of its own standard errors."""
    z = (np.asarray(values, np.float64).ravel() - mean) / std
    n = z.size
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.std() - 1) < 4 / math.sqrt(2 * n)
    for limit in (1, 2):
        share = math.erf(limit / math.sqrt(2))
        assert abs((np.abs(z) < limit).mean() - share) < 4 * math.sqrt(share * (1 - share) / n)


@pytest.mark.parametrize(("layer", "bound"), INITIAL)
def test_linear_and_conv_start_uniform_on_one_over_root_fan_in(layer, bound):
    tb.manual_seed(0)
    module = eval(layer, dict(vars(nn)))
    looks_uniform(module.weight.data, bound)
    looks_uniform(module.bias.data, bound)
    assert not np.array_equal(module.weight.data.ravel()[: module.bias.numel()], module.bias.data)


@pytest.mark.parametrize(("layer", "bound"), INITIAL)
def test_the_distribution_of_initial_weights_is_that_of_torch(layer, bound):
    torch = load_torch()
    torch.manual_seed(0)
    theirs = eval(layer, dict(vars(torch.nn)))
    looks_uniform(theirs.weight.detach().numpy(), bound)
    looks_uniform(theirs.bias.detach().numpy(), bound)


def test_batch_norm_starts_as_torch_does():
    layer = nn.BatchNorm2d(3)
    expected = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1, "num_batches_tracked": 0}
    assert {name: set(np.ravel(value).tolist()) for name, value in layer.state_dict().items()} == {
        name: {value} for name, value in expected.items()
    }


@pytest.mark.parametrize("layer", WEIGHTED)
def test_initial_weights_are_reproducible(layer):
    def by_generator(seed):
        return eval(
            layer.replace(")", ", generator=generator)"), {**vars(nn), "generator": np.random.default_rng(seed)}
        )

    def by_seed(seed):
        tb.manual_seed(seed)
        return eval(layer, dict(vars(nn)))

    for make in (by_generator, by_seed):
        first = snapshot(make(5))
        assert_state(make(5), first)
        assert not np.array_equal(make(6).weight.data, first["weight"])


def test_a_generator_of_ones_own_leaves_the_default_one_alone():
    tb.manual_seed(1)
    expected = tb.rand(3).tolist()
    tb.manual_seed(1)
    nn.Linear(2, 2, generator=np.random.default_rng(0))
    assert tb.rand(3).tolist() == expected


def test_reset_parameters_draws_anew():
    layer = nn.Linear(4, 4)
    before = layer.weight.data.copy()
    layer.reset_parameters(np.random.default_rng(1))
    assert not np.array_equal(layer.weight.data, before)
    assert_state(layer, nn.Linear(4, 4, generator=np.random.default_rng(1)).state_dict())


@pytest.mark.parametrize("layer", ["Linear(0, 3)", "Linear(3, 0)"])
def test_layers_without_inputs_or_outputs_work(layer):
    module = eval(layer, dict(vars(nn)))
    assert module(tb.zeros(2, module.in_features)).shape == (2, module.out_features)


# nn.init: function, options, what the numbers must look like for a weight of fans 300 (in) and 600 (out)
FAN_IN, FAN_OUT = 300, 600
LEAKY = math.sqrt(2 / (1 + 0.25))  # the gain for a slope of 0.5
UNIFORM = [
    ("uniform_", {"a": -0.5, "b": 0.5}, 0.5),
    ("xavier_uniform_", {}, math.sqrt(6 / (FAN_IN + FAN_OUT))),
    ("xavier_uniform_", {"gain": 2.0}, 2 * math.sqrt(6 / (FAN_IN + FAN_OUT))),
    ("kaiming_uniform_", {}, math.sqrt(6 / FAN_IN)),
    ("kaiming_uniform_", {"a": 0.5}, LEAKY * math.sqrt(3 / FAN_IN)),
    ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(6 / FAN_OUT)),
    ("kaiming_uniform_", {"nonlinearity": "tanh"}, 5 / 3 * math.sqrt(3 / FAN_IN)),
]
NORMAL = [
    ("normal_", {"std": 0.3}, 0.3),
    ("xavier_normal_", {}, math.sqrt(2 / (FAN_IN + FAN_OUT))),
    ("xavier_normal_", {"gain": 0.5}, 0.5 * math.sqrt(2 / (FAN_IN + FAN_OUT))),
    ("kaiming_normal_", {}, math.sqrt(2 / FAN_IN)),
    ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "linear"}, math.sqrt(1 / FAN_OUT)),
]
WEIGHT_SHAPES = [(FAN_OUT, FAN_IN), (FAN_OUT // 6, FAN_IN // 6, 3, 2)]


@pytest.mark.parametrize("shape", WEIGHT_SHAPES, ids=str)
@pytest.mark.parametrize(("name", "options", "bound"), UNIFORM)
def test_uniform_initializers(name, options, bound, shape):
    weight = tb.zeros(shape)
    assert getattr(nn.init, name)(weight, **options, generator=np.random.default_rng(0)) is weight
    looks_uniform(weight.data, bound)


@pytest.mark.parametrize("shape", WEIGHT_SHAPES, ids=str)
@pytest.mark.parametrize(("name", "options", "std"), NORMAL)
def test_normal_initializers(name, options, std, shape):
    weight = tb.zeros(shape)
    assert getattr(nn.init, name)(weight, **options, generator=np.random.default_rng(0)) is weight
    looks_normal(weight.data, std)


def test_constant_initializers_fill_in_place():
    weight = nn.Parameter(tb.zeros(2, 3))
    array = weight.data
    for fill, value in ((nn.init.ones_, 1.0), (nn.init.zeros_, 0.0), (lambda w: nn.init.constant_(w, 0.25), 0.25)):
        assert fill(weight) is weight
        assert weight.data is array and set(array.ravel().tolist()) == {value}
        assert weight.is_leaf and weight.requires_grad


def test_normal_initializer_with_a_mean():
    looks_normal(nn.init.normal_(tb.zeros(300, 300), 3.0, 0.5, np.random.default_rng(0)).data, 0.5, mean=3.0)


@pytest.mark.parametrize("nonlinearity", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains_are_those_of_torch(nonlinearity):
    torch = load_torch()
    for param in (None, 0.3) if nonlinearity == "leaky_relu" else (None,):
        expected = torch.nn.init.calculate_gain(nonlinearity, param)
        assert nn.init.calculate_gain(nonlinearity, param) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.init.calculate_gain("swish"), r"calculate_gain: 'swish' is unknown; expected one of .*relu"),
        (lambda: nn.init.kaiming_normal_(tb.zeros(2, 2), mode="fan"), r"mode is 'fan'; expected 'fan_in' or 'fan_out'"),
        (lambda: nn.init.kaiming_normal_(tb.zeros(2, 2), nonlinearity="swish"), r"'swish' is unknown"),
        (lambda: nn.init.xavier_uniform_(tb.zeros(3)), r"two or more axes, got shape \(3,\)"),
        (lambda: nn.init.normal_(tb.zeros(3), std=-1.0), r"scale < 0|std is -1"),
    ],
)
def test_bad_arguments_of_initializers(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_layers_of_a_model_start_differently():
    tb.manual_seed(0)
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    assert not np.array_equal(first.weight.data, second.weight.data)
