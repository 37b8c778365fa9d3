"""`parameter_groups`: what weight decay is for, and what it leaves alone."""

import copy

import numpy as np
import pytest
from helpers import snapshot
from oracle import load_torch
from tolerances import assert_close

import tinybn as tb
from tinybn.optim import parameter_groups

OPTIMIZERS = {
    "SGD": lambda params: tb.optim.SGD(params, lr=0.1),
    "SGD with momentum": lambda params: tb.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.7),
    "Adam": lambda params: tb.optim.Adam(params, lr=0.1),
    "AdamW": lambda params: tb.optim.AdamW(params, lr=0.1),  # decays by 0.01 where a group does not say
}


def net(nn=tb.nn):
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.PReLU(), nn.Flatten(),
        nn.Linear(8, 6, bias=False), nn.LayerNorm([6]), nn.Linear(6, 3),
    )  # fmt: skip


def names(model, weight_decay=0.1):
    """The parameters' names in the two groups."""
    by_id = {id(p): name for name, p in model.named_parameters()}
    return [[by_id[id(p)] for p in group["params"]] for group in parameter_groups(model, weight_decay)]


def test_weights_are_decayed_and_all_else_is_not():
    decayed, kept = names(net())
    assert decayed == ["0.weight", "4.weight", "6.weight"]
    assert kept == ["1.weight", "1.bias", "2.weight", "5.weight", "5.bias", "6.bias"]


@pytest.mark.parametrize(
    "layer",
    [
        "BatchNorm1d(3)", "BatchNorm2d(3)", "BatchNorm3d(3)", "BatchRenorm1d(3)", "GhostBatchNorm1d(3, ghost_size=2)",
        "MeanOnlyBatchNorm1d(3)", "VarianceOnlyBatchNorm2d(3)", "InstanceNorm2d(3, affine=True)", "GroupNorm(3, 6)",
        "LayerNorm((4, 3))", "RMSNorm((4, 3))",
    ],
)  # fmt: skip
def test_no_parameter_of_a_normalization_is_decayed(layer):
    decayed, kept = names(eval(layer, dict(vars(tb.nn))))
    assert decayed == [] and kept


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("Embedding(5, 3)", ["weight"]),
        ("Conv1d(2, 3, 3)", ["weight"]),
        ("ConvTranspose2d(2, 3, 3)", ["weight"]),
        ("LSTM(2, 3)", ["weight_ih_l0", "weight_hh_l0"]),
        ("GRU(2, 3, normalization='layer')", ["weight_ih_l0", "weight_hh_l0"]),
        ("RNN(2, 3, normalization='step', max_length=2)", ["weight_ih_l0", "weight_hh_l0"]),
    ],
)
def test_weights_of_products_are_decayed(layer, expected):
    assert names(eval(layer, dict(vars(tb.nn))))[0] == expected


def test_weight_normalization_is_decayed_as_the_weight_is():
    model = tb.nn.utils.parametrizations.weight_norm(tb.nn.Linear(3, 2))
    decayed, kept = names(model)
    assert decayed == ["parametrizations.weight.original0", "parametrizations.weight.original1"]
    assert kept == ["bias"]


def test_layers_of_ones_own():
    class Scaled(tb.nn.Module):
        def __init__(self):
            self.gain, self.scalar = tb.nn.Parameter(tb.ones(3)), tb.nn.Parameter(tb.ones(()))
            self.matrix, self.norm = tb.nn.Parameter(tb.ones(3, 3)), type("Mine", (tb.nn.LayerNorm,), {})((2, 3))

    assert names(Scaled()) == [["matrix"], ["gain", "scalar", "norm.weight", "norm.bias"]]


def test_each_parameter_is_there_once():
    model = net()
    model.append(model[4]).append(model[1])
    tied = tb.nn.Linear(6, 8)
    tied.weight = tb.nn.Parameter(tb.ones(8, 6))
    model.append(tied).append(tb.nn.Linear(6, 8))[-1].weight = tied.weight
    groups = parameter_groups(model, 0.1)
    listed = [id(p) for group in groups for p in group["params"]]
    assert len(set(listed)) == len(listed)
    assert set(listed) == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("norm_first", [True, False])
def test_what_a_normalization_shares_is_not_decayed(norm_first):
    norm, layer = tb.nn.LayerNorm((3, 3)), tb.nn.Linear(3, 3)
    layer.weight = norm.weight
    decayed, kept = parameter_groups(tb.nn.ModuleList([norm, layer] if norm_first else [layer, norm]), 0.1)
    assert decayed["params"] == [] and any(p is norm.weight for p in kept["params"])


def test_frozen_parameters_are_there_and_move_once_they_are_unfrozen():
    model = tb.nn.Sequential(tb.nn.Linear(3, 2), tb.nn.BatchNorm1d(2).freeze())
    optimizer = tb.optim.SGD(parameter_groups(model, 0.1), lr=0.1)
    x = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")
    for frozen in (True, False):
        before = snapshot(model)
        (model(x) ** 2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert np.array_equal(model[1].weight.data, before["1.weight"]) == frozen
        model[1].unfreeze()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_with_gradients_of_zero_decays_the_weights_alone(optimizer):
    """Nothing but decay moves a parameter then; the optimizer's own does not reach the second group."""
    model = net()
    optimizer = OPTIMIZERS[optimizer](parameter_groups(model, 0.1))
    before = snapshot(model)
    for p in model.parameters():
        p.grad = tb.zeros(p.shape)
    optimizer.step()
    after = model.state_dict()
    decayed, kept = names(model)
    for name in decayed:
        assert np.linalg.norm(after[name]) < np.linalg.norm(before[name]), name
    for name in kept:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_training_is_torchs_with_the_same_groups(kind):
    torch = load_torch()
    theirs, ours = net(torch.nn).double(), net().double()
    ours.load_state_dict(theirs.state_dict())
    decayed, kept = names(ours)
    own = dict(theirs.named_parameters())
    their_groups = [
        {"params": [own[name] for name in decayed], "weight_decay": 0.1},
        {"params": [own[name] for name in kept], "weight_decay": 0.0},
    ]
    their_optimizer = getattr(torch.optim, kind)(their_groups, lr=0.01)
    our_optimizer = getattr(tb.optim, kind)(parameter_groups(ours, 0.1), lr=0.01)
    x = np.random.default_rng(0).standard_normal((6, 1, 4, 4))
    for _ in range(5):
        for model, optimizer, batch in ((theirs, their_optimizer, torch.from_numpy(x)), (ours, our_optimizer, x)):
            optimizer.zero_grad()
            (model(batch) ** 2).sum().backward()
            optimizer.step()
    for name, value in theirs.named_parameters():
        assert_close(ours.state_dict()[name], value.detach(), "float64", name)


def test_groups_of_optimizers_and_their_state():
    model = tb.nn.Sequential(tb.nn.BatchNorm1d(3))  # the first group is empty
    optimizer = tb.optim.AdamW(parameter_groups(model, 0.1), lr=0.1)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    other = tb.optim.AdamW(parameter_groups(copy.deepcopy(model), 0.3), lr=0.2)
    other.load_state_dict(optimizer.state_dict())
    assert [(group["weight_decay"], group["lr"]) for group in other.param_groups] == [(0.1, 0.1), (0.0, 0.1)]


def test_refused():
    with pytest.raises(ValueError, match="parameter_groups: ReLU has no parameters"):
        parameter_groups(tb.nn.ReLU(), 0.1)
    with pytest.raises(TypeError, match="parameter_groups: expected a Module, got a generator"):
        parameter_groups(net().parameters(), 0.1)
    with pytest.raises(ValueError, match="weight_decay"):
        tb.optim.SGD(parameter_groups(net(), -0.1), lr=0.1)
