"""Parameters computed from others: register_parametrization, and what it means for copies, states and modes."""

import copy
import pickle

import numpy as np
import pytest
from helpers import normal, with_state
from oracle import load_torch
from tolerances import assert_close

import tinybn as tb
from tinybn.errors import DTypeError, ShapeError
from tinybn.nn.utils.parametrizations import weight_norm, weight_standardization
from tinybn.nn.utils.parametrize import (
    is_parametrized,
    register_parametrization,
    remove_parametrizations,
    type_before_parametrizations,
)


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
