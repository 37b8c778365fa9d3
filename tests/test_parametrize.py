"""Parameters computed from others: register_parametrization, weight normalization, weight standardization."""

import copy
import pickle

import numpy as np
import pytest
from oracle import load_torch
from tolerances import assert_close

import tinybn as tb
from tinybn.errors import DTypeError, ShapeError, StateError
from tinybn.nn.utils.parametrizations import initialize_weight_norm, weight_norm, weight_standardization
from tinybn.nn.utils.parametrize import (
    is_parametrized,
    register_parametrization,
    remove_parametrizations,
    type_before_parametrizations,
)

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


class Symmetric(tb.nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T

    def right_inverse(self, a):
        return a.triu()


class Doubled(tb.nn.Module):
    def forward(self, x):
        return 2 * x


class Halves(tb.nn.Module):
    """A tensor as the sum of two."""

    def forward(self, a, b):
        return a + b

    def right_inverse(self, x):
        return 0.25 * x, 0.75 * x


class Giving(tb.nn.Module):
    """What its function gives."""

    def __init__(self, function, inverse=None):
        self.function = function
        if inverse is not None:
            self.right_inverse = inverse

    def forward(self, *values):
        return self.function(*values)


@pytest.fixture
def torch():
    return load_torch()


def built(layer, library):
    return eval(layer, dict(vars(library)))


def with_state(layer, seed=0):
    """A layer whose parameters are normal, the same for each seed."""
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape)
    return layer


def normal(shape, dtype="float64", seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def forward_and_gradients(layer, x, dy, as_tensor):
    """Output, input gradient, and the parameters' gradients under their names."""
    x = as_tensor(x).requires_grad_()
    y = layer(x)
    y.backward(as_tensor(dy))
    return y, x.grad, {name: parameter.grad for name, parameter in layer.named_parameters()}


# --- the machinery ----------------------------------------------------------------------------------------------------


def test_a_parametrized_weight_is_computed_whenever_it_is_read():
    layer = with_state(tb.nn.Linear(3, 3))
    weight, original = layer.weight.data.copy(), layer.weight
    assert register_parametrization(layer, "weight", Symmetric()) is layer
    assert is_parametrized(layer)
    assert is_parametrized(layer, "weight")
    assert not is_parametrized(layer, "bias")
    np.testing.assert_array_equal(layer.weight.data, np.triu(weight) + np.triu(weight, 1).T)
    assert layer.parametrizations.weight.original is original  # an optimizer that has it already goes on
    original.data[0, 1] = 7
    assert layer.weight.data[1, 0] == 7
    assert isinstance(layer, tb.nn.Linear)
    assert type(layer).__name__ == "ParametrizedLinear"
    assert type_before_parametrizations(layer) is tb.nn.Linear


def test_gradients_go_to_the_original_and_an_optimizer_moves_it():
    layer = register_parametrization(with_state(tb.nn.Linear(3, 3)), "weight", Symmetric())
    optimizer = tb.optim.SGD(layer.parameters(), lr=0.1)
    before = layer.weight.data.copy()
    for _ in range(3):
        optimizer.zero_grad()
        (layer(normal((5, 3), "float32")) ** 2).mean().backward()
        optimizer.step()
    after = layer.weight.data
    np.testing.assert_array_equal(after, after.T)
    assert np.abs(after - before).max() > 1e-3
    assert not layer.weight.is_leaf


def test_assignment_goes_through_the_inverse():
    layer = register_parametrization(tb.nn.Linear(3, 3), "weight", Symmetric())
    original = layer.parametrizations.weight.original
    value = normal((3, 3), "float32")
    value += value.T
    layer.weight = tb.tensor(value)
    np.testing.assert_array_equal(layer.weight.data, value)
    assert layer.parametrizations.weight.original is original
    np.testing.assert_array_equal(original.data, np.triu(value))


def test_the_assigned_tensor_is_copied():
    layer = register_parametrization(tb.nn.Linear(2, 2), "weight", Giving(lambda x: x, lambda x: x))
    value = tb.ones(2, 2)
    layer.weight = value
    layer.parametrizations.weight.original.data[...] = 5
    assert value.tolist() == [[1, 1], [1, 1]]


def test_what_has_no_inverse_cannot_be_assigned_to():
    layer = register_parametrization(tb.nn.Linear(2, 2), "weight", Doubled())
    before = layer.weight.data.copy()
    with pytest.raises(RuntimeError, match="Doubled has no right_inverse"):
        layer.weight = tb.ones(2, 2)
    np.testing.assert_array_equal(layer.weight.data, before)


def test_several_originals_and_several_parametrizations():
    layer = with_state(tb.nn.Linear(3, 2))
    weight = layer.weight.data.copy()
    register_parametrization(layer, "weight", Halves())
    register_parametrization(layer, "weight", Doubled())
    register_parametrization(layer, "bias", Doubled())
    np.testing.assert_allclose(layer.weight.data, 2 * weight, rtol=1e-6)
    assert list(layer.state_dict()) == [
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
        "parametrizations.bias.original",
    ]
    assert [type(m).__name__ for m in layer.parametrizations.weight] == ["Halves", "Doubled"]
    layer(normal((2, 3), "float32")).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_a_buffer_stays_a_buffer():
    norm = tb.nn.BatchNorm1d(2)
    norm.running_var.data[...] = 3
    register_parametrization(norm, "running_var", Doubled())
    assert norm.running_var.tolist() == [6, 6]
    assert dict(norm.named_buffers())["parametrizations.running_var.original"].tolist() == [3, 3]
    assert "running_var" not in norm.state_dict()
    remove_parametrizations(norm, "running_var")
    assert type(norm) is tb.nn.BatchNorm1d
    assert norm.state_dict()["running_var"].tolist() == [6, 6]


def test_the_mode_is_that_of_the_module():
    layer = tb.nn.Linear(2, 2).eval()
    noise = tb.nn.Dropout(0.5)
    register_parametrization(layer, "weight", noise)
    assert not noise.training
    layer.train()
    assert noise.training


def test_names_are_those_of_torch(torch):
    class Theirs(torch.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).T

    register_parametrization(ours := tb.nn.Linear(3, 3), "weight", Symmetric())
    theirs = torch.nn.Linear(3, 3)
    torch.nn.utils.parametrize.register_parametrization(theirs, "weight", Theirs())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    ours.load_state_dict(theirs.state_dict())
    np.testing.assert_array_equal(ours.weight.data, theirs.weight.detach().numpy())


@pytest.mark.parametrize("leave", [True, False])
def test_removal_gives_back_a_plain_parameter(leave):
    layer = with_state(tb.nn.Linear(3, 3))
    original, before = layer.weight, layer.weight.data.copy()
    register_parametrization(layer, "weight", Doubled())
    assert remove_parametrizations(layer, "weight", leave_parametrized=leave) is layer
    assert type(layer) is tb.nn.Linear
    assert layer.weight is original
    np.testing.assert_array_equal(layer.weight.data, 2 * before if leave else before)
    assert not is_parametrized(layer)
    assert sorted(layer.state_dict()) == ["bias", "weight"]


def test_removal_of_one_of_two_leaves_the_other():
    layer = with_state(tb.nn.Linear(3, 3))
    register_parametrization(layer, "weight", Doubled())
    register_parametrization(layer, "bias", Doubled())
    bias = layer.bias.data.copy()
    remove_parametrizations(layer, "weight")
    assert isinstance(layer.weight, tb.nn.Parameter)
    assert is_parametrized(layer, "bias")
    np.testing.assert_array_equal(layer.bias.data, bias)


def test_removal_keeps_what_required_no_grad():
    layer = tb.nn.Linear(3, 3).requires_grad_(False)
    weight_norm(layer)
    assert not any(p.requires_grad for p in layer.parameters())
    remove_parametrizations(layer, "weight")
    assert not layer.weight.requires_grad
    assert "weight" in layer.state_dict()


@pytest.mark.parametrize(
    ("parametrization", "error", "message"),
    [
        (Giving(lambda x: x.sum()), ShapeError, r"Giving.forward gave shape \(\) for \(2, 3\); unsafe=True would"),
        (Giving(lambda x: x.double()), DTypeError, "Giving.forward gave float64 for float32"),
        (Giving(lambda x: x.data), TypeError, "Giving.forward gave a ndarray; expected a Tensor"),
        (Giving(lambda x: x, lambda x: x.double()), DTypeError, "Giving.right_inverse made float64 of float32"),
        (Giving(lambda x: x, lambda x: 3), TypeError, "Giving.right_inverse gave int; expected a Tensor or a tuple"),
        (lambda x: x, TypeError, "register_parametrization: expected a Module, got function"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(parametrization, error, message):
    layer = tb.nn.Linear(3, 2)
    before = layer.weight.data.copy()
    with pytest.raises(error, match=message):
        register_parametrization(layer, "weight", parametrization)
    assert type(layer) is tb.nn.Linear
    assert list(layer.state_dict()) == ["weight", "bias"]
    np.testing.assert_array_equal(layer.weight.data, before)


def test_a_second_one_is_checked_too():
    layer = register_parametrization(tb.nn.Linear(3, 2), "weight", Doubled())
    with pytest.raises(ShapeError, match=r"Giving.forward gave shape \(3, 2\)"):
        register_parametrization(layer, "weight", Giving(lambda x: x.T))
    with pytest.raises(ShapeError, match=r"Giving.right_inverse gave shape \(3, 2\)"):
        register_parametrization(layer, "weight", Giving(lambda x: x, lambda x: x.T))
    assert len(layer.parametrizations.weight) == 1


def test_unsafe_may_change_the_shape():
    layer = tb.nn.Linear(3, 2, bias=False)
    register_parametrization(layer, "weight", Giving(lambda x: x[:1]), unsafe=True)
    assert layer(tb.zeros(4, 3)).shape == (4, 1)


def test_unknown_names_are_refused():
    layer = tb.nn.Linear(3, 2, bias=False)
    for name in ("weights", "bias", "in_features"):
        with pytest.raises(ValueError, match=f"Linear has no parameter or buffer '{name}'; it has weight"):
            register_parametrization(layer, name, Doubled())
    with pytest.raises(ValueError, match="'weight' of Linear is not parametrized"):
        remove_parametrizations(layer, "weight")
    with pytest.raises(ValueError, match="has 2 originals, of which none can be its value"):
        remove_parametrizations(weight_norm(layer), "weight", leave_parametrized=False)
    assert is_parametrized(layer, "weight")


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
@pytest.mark.parametrize("parametrize", [weight_norm, weight_standardization])
def test_copies_compute_the_same_and_share_nothing(duplicate, parametrize):
    model = tb.nn.Sequential(parametrize(with_state(tb.nn.Linear(4, 3))), tb.nn.ReLU())
    x = normal((5, 4), "float32")
    other = duplicate(model)
    expected = model(x).data.copy()
    np.testing.assert_array_equal(other(x).data, expected)
    assert type_before_parametrizations(other[0]) is tb.nn.Linear
    for parameter in other.parameters():
        parameter.data.fill(1)
    np.testing.assert_array_equal(model(x).data, expected)
    remove_parametrizations(other[0], "weight")
    assert is_parametrized(model[0])
    assert type(other[0]) is tb.nn.Linear


def test_a_normalization_with_a_parametrized_weight_still_runs_with_its_relu():
    norm = register_parametrization(tb.nn.BatchNorm1d(3), "weight", Doubled())
    x = tb.tensor(normal((6, 3), "float32"), requires_grad=True)
    y = tb.nn.Sequential(norm, tb.nn.ReLU())(x)
    assert y.node.op.__name__ == "batch_norm"
    expected = tb.functional.relu(2 * tb.nn.BatchNorm1d(3)(x))
    assert_close(y.data, expected.data, "float32")


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
