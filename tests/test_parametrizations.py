"""Weight normalization, also from data, and weight standardization."""

import copy

import numpy as np
import pytest
from helpers import normal, with_state
from oracle import load_torch
from tolerances import assert_close

import tinybn as tb
from tinybn.errors import ShapeError, StateError
from tinybn.nn.utils.parametrizations import initialize_weight_norm, weight_norm, weight_standardization
from tinybn.nn.utils.parametrize import is_parametrized, remove_parametrizations

DTYPES = ["float32", "float64"]
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)

# A layer, the dim that has its output channels, an input's shape.
LAYERS = [
    ("Linear(5, 3)", 0, (4, 5)),
    ("Linear(5, 3, bias=False)", 0, (2, 4, 5)),
    ("Conv1d(2, 4, 3)", 0, (3, 2, 8)),
    ("Conv2d(4, 6, (3, 2), groups=2)", 0, (2, 4, 6, 5)),
    ("ConvTranspose1d(3, 2, 3)", 1, (2, 3, 5)),
    ("ConvTranspose2d(4, 6, 3, groups=2, stride=2)", 1, (2, 4, 3, 4)),
]
every_layer = pytest.mark.parametrize(("layer", "axis", "shape"), LAYERS, ids=[row[0] for row in LAYERS])


@pytest.fixture
def torch():
    return load_torch()


def built(layer, library):
    return eval(layer, dict(vars(library)))


def forward_and_gradients(layer, x, dy, as_tensor):
    """Output, input gradient, and the parameters' gradients under their names."""
    x = as_tensor(x).requires_grad_()
    y = layer(x)
    y.backward(as_tensor(dy))
    return y, x.grad, {name: parameter.grad for name, parameter in layer.named_parameters()}


# --- weight normalization ---------------------------------------------------------------------------------------------


@every_layer
@both_dtypes
@pytest.mark.parametrize("dim", ["axis", 0, 1, None, -1, -2])
def test_weight_norm_is_that_of_torch(torch, layer, axis, shape, dtype, dim):
    dim = axis if dim == "axis" else dim
    ours = weight_norm(with_state(built(layer, tb.nn)).to(dtype), dim=dim)
    theirs = torch.nn.utils.parametrizations.weight_norm(built(layer, torch.nn).double(), dim=dim)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    state = {name: torch.from_numpy(np.asarray(normal(v.shape, seed=3))) for name, v in ours.state_dict().items()}
    theirs.load_state_dict(state)
    ours.load_state_dict({name: value.numpy().astype(dtype) for name, value in state.items()})
    assert_close(ours.weight.data, theirs.weight.detach().numpy(), dtype)
    x = normal(shape)
    dy = normal(tuple(theirs(torch.from_numpy(x)).shape), seed=2)
    y, dx, gradients = forward_and_gradients(ours, x.astype(dtype), dy.astype(dtype), tb.tensor)
    expected, expected_dx, expected_gradients = forward_and_gradients(theirs, x, dy, torch.tensor)
    assert_close(y.data, expected.detach().numpy(), dtype)
    assert_close(dx.data, expected_dx.numpy(), dtype)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        assert str(gradient.dtype) == dtype
        assert_close(gradient.data, expected_gradients[name].numpy(), dtype, name)


@every_layer
def test_weight_norm_changes_nothing_at_first(layer, axis, shape):
    plain = with_state(built(layer, tb.nn)).double()
    x, weight = normal(shape), plain.weight.data.copy()
    expected = plain(x).data
    normed = weight_norm(plain, dim=axis)
    assert_close(normed(x).data, expected, "float64")
    assert_close(remove_parametrizations(normed, "weight").weight.data, weight, "float64")


def test_weight_norm_of_another_parameter_and_of_one_axis(torch):
    ours = weight_norm(with_state(tb.nn.Linear(3, 4)).double(), "bias")
    theirs = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 4).double(), "bias")
    theirs.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in ours.state_dict().items()})
    assert_close(ours.bias.data, theirs.bias.detach().numpy(), "float64")


@pytest.mark.parametrize("dim", [0, 1, None])
def test_second_derivatives_of_weight_norm(dim):
    norm = weight_norm(tb.nn.Linear(3, 2).double(), dim=dim).parametrizations.weight[0]
    v = tb.tensor(normal((2, 3)), requires_grad=True)
    g = tb.tensor(normal(norm.right_inverse(v)[0].shape), requires_grad=True)
    x = tb.tensor(normal((4, 3)), requires_grad=True)

    def function(x, g, v):
        return tb.functional.linear(x, norm(g, v)) ** 2

    assert tb.gradcheck(function, [x, g, v])
    assert tb.gradgradcheck(function, [x, g, v])


def test_weight_norm_keeps_its_parameters_when_it_is_cast():
    layer = weight_norm(tb.nn.Linear(3, 2))
    originals = [p for name, p in layer.named_parameters() if name != "bias"]
    layer.double()
    assert layer.weight.dtype == np.float64
    assert [p.dtype for p in originals] == [np.float64] * 2
    assert layer(normal((2, 3))).dtype == np.float64


def test_weight_norm_trains_as_in_torch(torch):
    ours = weight_norm(with_state(tb.nn.Linear(4, 3)).double())
    theirs = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 3).double())
    theirs.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in ours.state_dict().items()})
    optimizers = tb.optim.Adam(ours.parameters(), lr=0.05), torch.optim.Adam(theirs.parameters(), lr=0.05)
    x = normal((8, 4))
    for _ in range(10):
        for optimizer, layer, data in zip(optimizers, (ours, theirs), (x, torch.from_numpy(x)), strict=True):
            optimizer.zero_grad()
            (layer(data) ** 2).mean().backward()
            optimizer.step()
    for name, value in theirs.state_dict().items():
        assert_close(ours.state_dict()[name], value.numpy(), "float64", name)


def test_weight_norm_refuses():
    with pytest.raises(IndexError, match="weight_norm"):
        weight_norm(tb.nn.Linear(3, 2), dim=2)
    with pytest.raises(ValueError, match="ReLU has no parameter or buffer 'weight'; it has none"):
        weight_norm(tb.nn.ReLU())
    layer = weight_standardization(tb.nn.Linear(3, 2))
    with pytest.raises(ValueError, match="'weight' of Linear is parametrized already"):
        weight_norm(layer)


# --- weight normalization from data -----------------------------------------------------------------------------------


def channel_moments(layer, y):
    axis = -1 if isinstance(layer, tb.nn.Linear) else -1 - layer.axes
    rows = np.moveaxis(y.data, axis, 0).reshape(y.shape[axis], -1)
    return rows.mean(1), rows.var(1)


@pytest.mark.parametrize(
    ("layer", "axis", "shape"), [row for row in LAYERS if not (row[1] and "groups" in row[0])], ids=str
)
def test_the_first_batch_gets_mean_0_and_variance_1(layer, axis, shape):
    layer = weight_norm(with_state(built(layer, tb.nn)).double(), dim=axis)
    x, v = normal(shape), layer.parametrizations.weight.original1.data.copy()
    initialize_weight_norm(layer, x)
    mean, var = channel_moments(layer, layer(x))
    np.testing.assert_allclose(var, 1, rtol=1e-10)
    if layer.bias is not None:
        np.testing.assert_allclose(mean, 0, atol=1e-10)
    np.testing.assert_array_equal(layer.parametrizations.weight.original1.data, v)


def test_each_layer_is_initialized_behind_those_in_front_of_it():
    model = tb.nn.Sequential(
        weight_norm(with_state(tb.nn.Conv2d(1, 3, 3), 0)),
        tb.nn.ReLU(),
        tb.nn.Flatten(),
        weight_norm(with_state(tb.nn.Linear(48, 5), 1)),
        tb.nn.ReLU(),
        tb.nn.Linear(5, 2),
    ).double()
    plain = [p.data.copy() for p in model[5].parameters()]
    x = normal((20, 1, 6, 6))
    initialize_weight_norm(model, x)
    for end, layer in ((1, model[0]), (4, model[3])):
        mean, var = channel_moments(layer, model[:end](x))
        np.testing.assert_allclose(mean, 0, atol=1e-10)
        np.testing.assert_allclose(var, 1, rtol=1e-10)
    for kept, parameter in zip(plain, model[5].parameters(), strict=True):
        np.testing.assert_array_equal(parameter.data, kept)


def test_initialization_from_data_refuses_and_changes_nothing():
    def refused(model, x, error, message):
        before = {name: value.copy() for name, value in model.state_dict().items()}
        with pytest.raises(error, match=message):
            initialize_weight_norm(model, x)
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(value, before[name])
        model(x)  # no hook is left

    first, second = (weight_norm(tb.nn.Linear(3, 3)) for _ in range(2))
    x = normal((6, 3), "float32")
    refused(tb.nn.Linear(3, 3), x, ValueError, "Linear has no layer whose weight is under weight_norm")
    refused(
        tb.nn.Sequential(first, second), tb.zeros(4, 3), ValueError, "channel 0 of layer '0' has standard deviation 0"
    )
    refused(tb.nn.Sequential(first, second, second), x, StateError, "layer '1' runs more than once")
    refused(weight_norm(tb.nn.Linear(3, 3), dim=None), x, ValueError, r"has a g of shape \(\); expected one number per")
    transposed = weight_norm(tb.nn.ConvTranspose1d(2, 2, 3))
    refused(transposed, tb.zeros(2, 2, 4), ValueError, r"weight_norm\(dim=1\), without groups")


# --- weight standardization -------------------------------------------------------------------------------------------


def standardized(layer, v, eps):
    """What the paper's equation makes of a weight, output channel by output channel."""
    if not isinstance(layer, tb.nn.ConvTranspose1d | tb.nn.ConvTranspose2d):
        return np.stack([(row - row.mean()) / np.sqrt(row.var() + eps) for row in v])
    out, inputs = np.empty_like(v), v.shape[0] // layer.groups
    for group in range(layer.groups):
        part = slice(group * inputs, (group + 1) * inputs)
        for channel in range(v.shape[1]):
            values = v[part, channel]
            out[part, channel] = (values - values.mean()) / np.sqrt(values.var() + eps)
    return out


@every_layer
@both_dtypes
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_weight_standardization_is_the_equation_of_the_paper(layer, axis, shape, dtype, eps):
    layer = with_state(built(layer, tb.nn)).to(dtype)
    original = layer.weight
    v = original.data.copy()
    weight_standardization(layer, eps=eps)
    expected = standardized(layer, v.astype("float64"), eps)
    assert_close(layer.weight.data, expected, dtype)
    assert layer.parametrizations.weight.original is original
    plain = copy.deepcopy(layer)
    remove_parametrizations(plain, "weight")
    x = normal(shape, dtype)
    np.testing.assert_array_equal(layer(x).data, plain(x).data)


def test_gradients_of_weight_standardization_are_those_of_torch(torch):
    ours = weight_standardization(with_state(tb.nn.Conv2d(3, 4, 3)).double(), eps=1e-3)
    v = torch.tensor(ours.parametrizations.weight.original.data, requires_grad=True)
    x, dy = normal((2, 3, 6, 5)), normal((2, 4, 4, 3), seed=2)
    _, dx, gradients = forward_and_gradients(ours, x, dy, tb.tensor)
    var, mean = torch.var_mean(v, dim=(1, 2, 3), keepdim=True, correction=0)
    their_x = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.conv2d(their_x, (v - mean) / torch.sqrt(var + 1e-3), torch.tensor(ours.bias.data))
    y.backward(torch.from_numpy(dy))
    assert_close(dx.data, their_x.grad.numpy(), "float64")
    assert_close(gradients["parametrizations.weight.original"].data, v.grad.numpy(), "float64")


@pytest.mark.parametrize("layer", ["Linear(4, 3)", "Conv1d(2, 2, 2)", "ConvTranspose1d(4, 2, 2, groups=2)"])
def test_second_derivatives_of_weight_standardization(layer):
    layer = weight_standardization(with_state(built(layer, tb.nn)).double(), eps=1e-2)
    chain = layer.parametrizations.weight

    def function(v):
        return chain[0](v) ** 2

    v = tb.tensor(chain.original.data, requires_grad=True)
    assert tb.gradcheck(function, [v])
    assert tb.gradgradcheck(function, [v])


def test_scale_and_shift_of_the_original_do_not_matter():
    layer = weight_standardization(with_state(tb.nn.Linear(6, 4)).double(), eps=0.0)
    x = normal((3, 6))
    expected = layer(x).data
    layer.weight = 7 * layer.parametrizations.weight.original.detach() - 3
    assert_close(layer(x).data, expected, "float64")


def test_weight_standardization_goes_with_weight_norm():
    layer = weight_standardization(weight_norm(with_state(tb.nn.Linear(6, 4)).double()))
    assert_close(layer.weight.data.mean(1), np.zeros(4), "float64", scale=1)
    layer(normal((3, 6))).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("layer", ["Linear(1, 3)", "Conv2d(2, 4, 1, groups=2)", "ConvTranspose1d(2, 4, 1, groups=2)"])
def test_one_value_per_channel_is_refused(layer):
    layer = built(layer, tb.nn)
    with pytest.raises(ShapeError, match="expected two or more values for each output channel"):
        weight_standardization(layer)
    with pytest.raises(ShapeError, match=r"'bias' of \w+ has shape \(\d,\)"):
        weight_standardization(layer, "bias")
    assert not is_parametrized(layer)
