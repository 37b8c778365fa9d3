"""BatchNorm that is frozen: through training, in states, in copies."""

import copy
import pickle

import numpy as np
import pytest
from batchnorm_helpers import batches, statistics, trained

import tinybn as tb
from tinybn import nn
from tinybn.errors import StateError


def test_frozen_statistics_survive_train_and_normalize_as_evaluation():
    model = nn.Sequential(trained())
    before = statistics(model)
    model[0].freeze()
    x = batches(1, seed=5)[0]
    frozen = model.train()(x)
    assert model.training and model[0].training
    assert statistics(model) == before
    assert frozen.data.tobytes() == model.eval()(x).data.tobytes()
    assert model.train()(x[:1, :, :1, :1]).shape == (1, 3, 1, 1)  # no statistics are taken, so one value is enough


def test_an_optimizer_does_not_move_frozen_parameters():
    model = nn.Sequential(nn.Conv2d(3, 3, 1, dtype="float64"), trained())
    model[1].freeze()
    optimizer = tb.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1, momentum=0.9)
    weight, bias = model[1].weight.tolist(), model[1].bias.tolist()
    convolution = model[0].weight.tolist()
    for x in batches(2):
        optimizer.zero_grad()
        model(x).pow(2).sum().backward()
        optimizer.step()
    assert (model[1].weight.tolist(), model[1].bias.tolist()) == (weight, bias)
    assert model[0].weight.tolist() != convolution  # gradients go through to the layer in front


def test_statistics_or_affine_alone():
    layer = trained().freeze(affine=False)
    before = statistics(layer)
    layer(batches()[0]).sum().backward()
    assert statistics(layer) == before and layer.weight.grad is not None
    layer = trained().freeze(statistics=False)
    layer(batches()[0])
    assert statistics(layer) != before and not layer.weight.requires_grad and not layer.bias.requires_grad
    layer.freeze(affine=False)  # adds to what is frozen
    assert layer.frozen_statistics and layer.frozen_affine


def test_unfreezing_one_or_both():
    layer = trained().freeze()
    layer.unfreeze(statistics=False)
    assert layer.frozen_statistics and not layer.frozen_affine and layer.weight.requires_grad
    before = statistics(layer)
    layer.unfreeze()(batches()[0])
    assert statistics(layer) != before
    assert "frozen" not in repr(layer)


@pytest.mark.parametrize("flags", [(True, True), (True, False), (False, True)])
def test_a_state_remembers_what_is_frozen(flags):
    model = nn.Sequential(nn.Identity(), trained())
    assert "1._extra_state" not in model.state_dict()  # PyTorch's own names, as long as nothing is frozen
    model[1].freeze(*flags)
    assert model.state_dict()["1._extra_state"].tolist() == list(flags)
    other = nn.Sequential(nn.Identity(), nn.BatchNorm2d(3, dtype="float64"))
    result = other.load_state_dict({name: value.copy() for name, value in model.state_dict().items()})
    assert result == ([], [])
    assert (other[1].frozen_statistics, other[1].frozen_affine) == flags
    assert other[1].weight.requires_grad == (not flags[1])
    assert statistics(other) == statistics(model)
    other[1].unfreeze()
    assert "1._extra_state" not in other.state_dict()


def test_a_state_without_the_key_leaves_a_frozen_layer_frozen():
    layer = nn.BatchNorm2d(3, dtype="float64").freeze()
    layer.load_state_dict(trained().state_dict())
    assert layer.frozen_statistics and layer.frozen_affine


@pytest.mark.parametrize("flags", [[0, 0, 0], [[1, 1]], [0.5, np.nan], [2, 1], {"frozen": 1}, "ab"], ids=str)
def test_flags_that_are_none_are_refused_and_nothing_changes(flags):
    model = nn.Sequential(*(nn.BatchNorm2d(3) for _ in range(3)))
    model[1].freeze(affine=False)
    before = statistics(model)
    state = {**model.state_dict(), "0._extra_state": [1, 1], "1._extra_state": [0, 1], "2._extra_state": flags}
    state["0.running_mean"] = np.ones(3)
    with pytest.raises(StateError, match=r"BatchNorm2d\(3.*expected two flags that are 0 or 1, got"):
        model.load_state_dict(state)
    assert statistics(model) == before
    assert [(layer.frozen_statistics, layer.frozen_affine) for layer in model] == [(0, 0), (1, 0), (0, 0)]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_state_with_frozen_statistics_needs_a_layer_that_keeps_some():
    layer = nn.BatchNorm2d(3, track_running_stats=False)
    with pytest.raises(StateError, match=r"BatchNorm2d\(3.*keeps no running statistics"):
        layer.load_state_dict({**layer.state_dict(), "_extra_state": [1, 1]})
    assert not layer.frozen_statistics and layer.weight.requires_grad


def test_a_shared_layer_is_frozen_under_each_of_its_names():
    shared, apart = trained().freeze(), [trained(), trained()]
    state = nn.Sequential(shared, shared).state_dict()
    other = nn.Sequential(*apart)
    assert other.load_state_dict(state) == ([], [])
    assert [layer.frozen_statistics for layer in apart] == [True, True]
    assert nn.Sequential(shared, shared).load_state_dict(other.state_dict()) == ([], [])


def test_freezing_again_takes_back_what_requires_grad_has_undone():
    layer = trained().freeze().requires_grad_(True)
    assert not layer.freeze().weight.requires_grad
    layer = trained().requires_grad_(False)
    assert not layer.unfreeze().weight.requires_grad  # it was not frozen


def test_statistics_that_do_not_exist_cannot_be_frozen():
    layer = nn.BatchNorm2d(3, track_running_stats=False)
    with pytest.raises(StateError, match=r"BatchNorm2d\(3.*keeps no running statistics.*freeze\(statistics=False\)"):
        layer.freeze()
    assert layer.weight.requires_grad
    assert not layer.freeze(statistics=False).weight.requires_grad


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_of_a_frozen_layer_are_frozen(duplicate):
    layer = duplicate(trained().freeze())
    before = statistics(layer)
    layer.train()(batches()[0])
    assert statistics(layer) == before and not layer.weight.requires_grad
