"""Whose batch normalization it is, freezing, and what happens to batches that are not finite."""

import copy
import gc
import pickle
import warnings
import weakref

import numpy as np
import pytest
from oracle import load_torch

import tinybn as tb
from tinybn import nn
from tinybn.errors import AnomalyError, StateError
from tinybn.nn.normalization import CONVENTIONS

every_convention = pytest.mark.parametrize("name", CONVENTIONS)
EXACT = 1e-14  # float64 rounding, 1.1e-16, in some ten operations and sums of 32


def batches(count=10, shape=(8, 3, 2, 2), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) * (step + 1) + step for step in range(count)]


def rows(x):
    """(N, C, ...) as (M, C)."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def assert_exact(got, expected):
    got, expected = np.asarray(got), np.asarray(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=EXACT * np.abs(expected).max())


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


# --- freezing ---------------------------------------------------------------------------------------------------------


def trained(**options):
    layer = nn.BatchNorm2d(3, dtype="float64", **options)
    for x in batches(3):
        layer(x)
    return layer


def statistics(layer):
    return [buffer.data.tolist() for buffer in layer.buffers()]


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


# --- batches that are not finite --------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self):
        self.blocks = nn.Sequential(nn.Identity(), nn.BatchNorm2d(3, dtype="float64"))

    def forward(self, x):
        return self.blocks(x)


def poisoned(value=np.nan):
    x = batches()[0]
    x[2, 1, 0, 1] = value
    return x


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_warning_names_the_layer_and_its_place(value):
    net, x = Net(), poisoned(value)
    net(batches()[0])
    before = statistics(net)
    with pytest.warns(RuntimeWarning) as caught:
        for _ in range(3):
            net(x)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith("'blocks.1', BatchNorm2d(3, eps=1e-05") and "(8, 3, 2, 2)" in text and "not finite" in text
    assert statistics(net) == before
    assert net.blocks[1].skipped_batches == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_instance_norm_warns_too(value):
    net = nn.Sequential(nn.InstanceNorm2d(3, track_running_stats=True))
    x = batches()[0].astype("float32")
    net(x)
    before = statistics(net)
    x[2, 1, 0, 1] = value
    with pytest.warns(RuntimeWarning, match=r"^'0', InstanceNorm2d\(3.*\(8, 3, 2, 2\) are not finite") as caught:
        net(x), net(x)
    assert len(caught) == 1 and net[0].skipped_batches == 2
    assert statistics(net) == before
    with tb.detect_anomaly(), pytest.raises(AnomalyError, match=r"'0', InstanceNorm2d"):
        net(x)
    nn.InstanceNorm2d(3)(x)  # without running statistics there is nothing to keep


def test_each_layer_warns_for_itself_and_again_after_a_reset():
    net, x = nn.Sequential(nn.BatchNorm2d(3, dtype="float64"), nn.BatchNorm2d(3, dtype="float64")), poisoned()
    with pytest.warns(RuntimeWarning) as caught:
        net(x), net(x)
    assert [str(w.message)[:3] for w in caught] == ["'0'", "'1'"]
    net[0].reset_running_stats()
    with pytest.warns(RuntimeWarning, match="'0'"):
        net(x)


def test_a_layer_that_stands_alone_is_named_by_its_text():
    with pytest.warns(RuntimeWarning, match=r"^BatchNorm2d\(3, eps=1e-05.*\): the statistics of a batch"):
        nn.BatchNorm2d(3, dtype="float64")(poisoned())


def test_detect_anomaly_makes_it_an_error_each_time():
    net, x = Net(), poisoned()
    before = statistics(net)
    for _ in range(2):
        with tb.detect_anomaly(), pytest.raises(AnomalyError, match=r"'blocks\.1', BatchNorm2d\(3.*not finite"):
            net(x)
    assert statistics(net) == before
    assert net.blocks[1].skipped_batches == 2


def test_evaluation_and_frozen_statistics_say_nothing_of_nan():
    net, x = Net(), poisoned()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.eval()(x)
        net.blocks[1].freeze()
        net.train()(x)
    assert net.blocks[1].skipped_batches == 0


def test_the_place_is_found_beside_weak_references_to_what_is_gone():
    class Gone(nn.Module):
        pass

    gone = Gone()
    dead = weakref.proxy(gone)
    del gone
    gc.collect()
    net = Net()
    with pytest.warns(RuntimeWarning, match=r"'blocks\.1'"):
        net(poisoned())
    with pytest.raises(ReferenceError):
        dead.training  # noqa: B018


# --- from one convention to another -----------------------------------------------------------------------------------

PAIRS = [(source, target) for source in CONVENTIONS for target in CONVENTIONS if source != target]
every_pair = pytest.mark.parametrize(("source", "target"), PAIRS)


def same_weight(momentum, source, target):
    """The target's momentum that gives new statistics the weight that they have in the source."""
    return momentum if CONVENTIONS[source].weighs_new == CONVENTIONS[target].weighs_new else 1 - momentum


@every_pair
@pytest.mark.parametrize("shape", [(2, 3), (16, 3), (4, 3, 5, 2)], ids=str)
def test_converting_equals_training_with_the_other_convention(source, target, shape):
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    ours = kind(3, convention=source, dtype="float64")
    eps, momentum = ours.eps, same_weight(ours.momentum, source, target)
    theirs = kind(3, eps, momentum, convention=target, dtype="float64")
    for x in batches(shape=shape):
        ours(x), theirs(x)
    m = shape[0] * int(np.prod(shape[2:]))
    converted = tb.nn.convert_batch_norm(ours.state_dict(), source, target, m)
    assert list(converted) == list(ours.state_dict())
    for name, value in theirs.state_dict().items():
        assert converted[name].dtype == value.dtype
        assert_exact(converted[name], value)
    loaded = kind(3, eps, momentum, convention=target, dtype="float64")
    loaded.load_state_dict(converted)
    assert_exact(loaded.eval()(x).data, theirs.eval()(x).data)


@pytest.mark.parametrize("options", [{"momentum": None}, {"debias": True}], ids=str)
def test_converting_averages_without_a_share_of_the_beginning(options):
    ours, theirs = (nn.BatchNorm2d(3, convention=c, dtype="float64", **options) for c in ("torch", "mlx"))
    for x in batches(5):
        ours(x), theirs(x)
    converted = tb.nn.convert_batch_norm(ours.state_dict(), "torch", "mlx", 32, momentum=None)
    assert_exact(converted["running_var"], theirs.running_var.data)


def test_converting_with_a_momentum_of_ones_own():
    ours = nn.BatchNorm2d(3, momentum=0.3, dtype="float64")
    theirs = nn.BatchNorm2d(3, momentum=0.7, convention="flax", dtype="float64")
    for x in batches(4):
        ours(x), theirs(x)
    converted = tb.nn.convert_batch_norm(ours.state_dict(), "torch", "flax", 32, momentum=0.3)
    assert_exact(converted["running_var"], theirs.running_var.data)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_before_any_batch_the_variance_of_1_stays(momentum):
    state = nn.BatchNorm2d(3).state_dict()
    assert tb.nn.convert_batch_norm(state, "torch", "keras", 2, momentum)["running_var"].tolist() == [1, 1, 1]


def test_without_a_counter_all_of_the_variance_is_scaled():
    state = {"running_var": np.array([8.0, 4.0], np.float32)}
    converted = tb.nn.convert_batch_norm(state, "torch", "onnx", 4)
    assert converted["running_var"].tolist() == [6, 3] and converted["running_var"].dtype == np.float32
    assert state["running_var"].tolist() == [8, 4]


def test_converting_a_model_with_its_own_values_for_each_layer():
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.BatchNorm1d(12)).double()
    for x in batches(3, (5, 3, 4, 4)):
        model(x)
    state = model.state_dict()
    converted = tb.nn.convert_batch_norm(state, "torch", "keras", {"1": 20, "3": 5})
    for name, m in (("1", 20), ("3", 5)):
        assert_exact(converted[f"{name}.running_var"], 0.9**3 + (state[f"{name}.running_var"] - 0.9**3) * (m - 1) / m)
    for name in set(state) - {"1.running_var", "3.running_var"}:
        np.testing.assert_array_equal(converted[name], state[name])
        assert not np.shares_memory(converted[name], state[name])


def test_there_and_back_is_where_it_was():
    state = trained().state_dict()
    there = tb.nn.convert_batch_norm(state, "torch", "onnx", 32)
    back = tb.nn.convert_batch_norm(there, "onnx", "torch", 32)
    assert_exact(back["running_var"], state["running_var"])


def test_torchs_own_state_is_taken():
    torch = load_torch()
    layer = torch.nn.BatchNorm2d(3).double()
    layer(torch.from_numpy(batches()[0]))
    converted = tb.nn.convert_batch_norm(layer.state_dict(), "torch", "keras", 32)
    assert_exact(converted["running_var"], 0.9 + 0.1 * rows(batches()[0]).var(0))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"source": "caffe"}, ValueError, "convention 'caffe': expected one of torch"),
        ({"target": "caffe"}, ValueError, "convention 'caffe': expected one of torch"),
        ({"values_per_channel": 1}, ValueError, r"norm\.running_var: 1 values per channel; expected 2 or more"),
        ({"values_per_channel": np.inf}, ValueError, r"norm\.running_var: inf values per channel"),
        ({"values_per_channel": {"norm": 0}}, ValueError, r"norm\.running_var: 0 values per channel"),
        ({"values_per_channel": {"other": 8}}, StateError, r"norm\.running_var.*no 'norm', only \['other'\]"),
    ],
)
def test_refusals_name_the_key(change, error, message):
    arguments = {"source": "torch", "target": "keras", "values_per_channel": 8} | change
    with pytest.raises(error, match=message):
        tb.nn.convert_batch_norm({"norm.running_var": np.ones(3)}, **arguments)


NAMES = {
    "keras": ["gamma", "beta", "moving_mean", "moving_variance"],
    "flax": ["scale", "bias", "mean", "var"],
    "mlx": ["weight", "bias", "running_mean", "running_var"],
    "onnx": ["scale", "B", "input_mean", "input_var"],
    "chainer": ["gamma", "beta", "avg_mean", "avg_var"],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prefix", ["", "blocks.1."])
def test_other_frameworks_names_become_ours_and_theirs_again(name, prefix):
    values = [np.arange(3.0) + i for i in range(4)]
    theirs = {prefix + key: value for key, value in zip(NAMES[name], values, strict=True)} | {"head.kernel": values[0]}
    ours = tb.nn.rename_batch_norm(theirs, name)
    keys = [f"{prefix}{key}" for key in ("weight", "bias", "running_mean", "running_var")]
    assert list(ours) == [*keys, "head.kernel"]
    for key, value in zip(keys, values, strict=True):
        np.testing.assert_array_equal(ours[key], value)
    assert list(tb.nn.rename_batch_norm(ours, "torch", name)) == list(theirs)


def test_a_keras_layer_evaluates_as_it_did_there():
    rng = np.random.default_rng(0)
    keras_weights = dict(zip(NAMES["keras"], rng.uniform(0.5, 2, (4, 3)), strict=True))
    layer = nn.BatchNorm1d(3, convention="keras", dtype="float64").eval()
    missing, unexpected = layer.load_state_dict(tb.nn.rename_batch_norm(keras_weights, "keras"), strict=False)
    assert (missing, unexpected) == (["num_batches_tracked"], [])
    gamma, beta, mean, var = keras_weights.values()
    x = rng.standard_normal((5, 3))
    assert_exact(layer(x).data, gamma * (x - mean) / np.sqrt(var + 1e-3) + beta)


def test_two_arrays_of_one_name_are_refused():
    with pytest.raises(StateError, match=r"norm\.gamma would be norm\.weight, which is there already"):
        tb.nn.rename_batch_norm({"norm.weight": [1.0], "norm.gamma": [1.0]}, "keras")
    with pytest.raises(ValueError, match="convention 'caffe'"):
        tb.nn.rename_batch_norm({}, "caffe")


# --- schedules of momentum --------------------------------------------------------------------------------------------


def test_a_schedule_sets_every_kind_of_batch_norm():
    model = nn.Sequential(
        nn.Linear(3, 3),
        nn.BatchNorm1d(3),
        nn.Sequential(nn.BatchRenorm1d(3), nn.MeanOnlyBatchNorm1d(3, convention="keras")),
        nn.InstanceNorm1d(3, track_running_stats=True),
        nn.LayerNorm(3),
    )
    schedule = tb.nn.BatchNormMomentum(model, [0.5, 0.25, None].__getitem__)
    layers = [model[1], *model[2], model[3]]
    for expected in (0.5, 0.25, None):
        assert [layer.momentum for layer in layers] == [expected] * 4
        if expected is not None:
            schedule.step()


def test_a_scheduled_momentum_moves_the_statistics():
    layer = nn.BatchNorm2d(3, dtype="float64")
    schedule = tb.nn.BatchNormMomentum(layer, lambda step: 0.5 / (1 + step))
    mean = np.zeros(3)
    for step, x in enumerate(batches(4)):
        layer(x)
        mean = mean + 0.5 / (1 + step) * (rows(x).mean(0) - mean)
        schedule.step()
    assert_exact(layer.running_mean, mean)


def test_a_schedule_goes_on_from_its_state():
    first, second = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    schedule = tb.nn.BatchNormMomentum(first, tb.nn.exponential_momentum(every=2))
    for _ in range(5):
        schedule.step()
    state = schedule.state_dict()
    resumed = tb.nn.BatchNormMomentum(second, tb.nn.exponential_momentum(every=2))
    assert second.momentum == 0.5
    resumed.load_state_dict(state)
    assert resumed.last_step == 5 and second.momentum == first.momentum == 0.125
    resumed.step()
    assert second.momentum == 0.0625


def test_exponential_momentum_ends_at_the_least():
    schedule = tb.nn.exponential_momentum(0.4, 0.5, every=3, least=0.05)
    assert [schedule(step) for step in (0, 2, 3, 6, 9, 12, 1000)] == [0.4, 0.4, 0.2, 0.1, 0.05, 0.05, 0.05]
    with pytest.raises(ValueError, match="every is 0; expected a whole number from 1 on"):
        tb.nn.exponential_momentum(every=0)


def test_what_cannot_be_a_momentum_changes_no_layer():
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match=r"schedule\(0\) is 1.5; expected None or one in \[0, 1\]"):
        tb.nn.BatchNormMomentum(layer, lambda step: 1.5)
    assert layer.momentum == 0.1
    schedule = tb.nn.BatchNormMomentum(layer, lambda step: 0.5 - step)
    with pytest.raises(ValueError, match=r"schedule\(1\) is -0.5"):
        schedule.step()
    assert layer.momentum == 0.5 and schedule.last_step == 0
    with pytest.raises(ValueError, match="there is no BatchNorm in this Linear"):
        tb.nn.BatchNormMomentum(nn.Linear(2, 2), lambda step: 0.5)
