"""BatchNorm's states of other frameworks: from one convention to another, under other names; schedules of momentum."""

import numpy as np
import pytest
from batchnorm_helpers import assert_exact, batches, rows, trained
from oracle import load_torch

import tinybn as tb
from tinybn import nn
from tinybn.errors import StateError
from tinybn.nn.normalization import CONVENTIONS

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
