"""Batch Renormalization, ghost batches, mean-only and variance-only: each against its formula in float64."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import KERNEL_OUTPUT, assert_close

import tinybn as tb
from tinybn import nn
from tinybn.errors import AnomalyError, DTypeError, ShapeError

EPS = 1e-5

# --- the formulas, on (N, C, S) in float64 ----------------------------------------------------------------------------


def column(values):
    return np.reshape(values, (1, -1, 1))


def moments(x):
    return x.mean((0, 2)), x.var((0, 2))


def moved(state, x, momentum):
    mean, var = moments(x)
    m = x.shape[0] * x.shape[2]
    state["mean"] = (1 - momentum) * state["mean"] + momentum * mean
    state["var"] = (1 - momentum) * state["var"] + momentum * var * m / (m - 1)


def batch_norm(x, dy, weight):
    """x̂ and dx."""
    mean, var = moments(x)
    rstd = 1 / np.sqrt(column(var) + EPS)
    x_hat = (x - column(mean)) * rstd
    projected = x_hat * (dy * x_hat).mean((0, 2), keepdims=True)
    return x_hat, rstd * column(weight) * (dy - dy.mean((0, 2), keepdims=True) - projected)


def renorm(state, x, dy, weight, bias, momentum=0.1, r_max=3.0, d_max=5.0):
    """y, dx, dweight, dbias; r and d are constants."""
    mean, var = moments(x)
    std = np.sqrt(state["var"] + EPS)
    r = np.clip(np.sqrt(var + EPS) / std, 1 / r_max, r_max)
    d = np.clip((mean - state["mean"]) / std, -d_max, d_max)
    x_hat, dx = batch_norm(x, dy, weight * r)
    corrected = x_hat * column(r) + column(d)
    moved(state, x, momentum)
    return corrected * column(weight) + column(bias), dx, (dy * corrected).sum((0, 2)), dy.sum((0, 2))


def ghost(state, x, dy, weight, bias, momentum=0.1, sizes=(4, 2)):
    stops = np.cumsum(sizes)
    x_hats, dxs = [], []
    for start, stop in zip([0, *stops], stops, strict=False):
        x_hat, dx = batch_norm(x[start:stop], dy[start:stop], weight)
        moved(state, x[start:stop], momentum)
        x_hats.append(x_hat)
        dxs.append(dx)
    x_hat = np.concatenate(x_hats)
    y = x_hat * column(weight) + column(bias)
    return y, np.concatenate(dxs), (dy * x_hat).sum((0, 2)), dy.sum((0, 2))


def mean_only(state, x, dy, weight, bias, momentum=0.1):
    moved(state, x, momentum)
    centered = x - x.mean((0, 2), keepdims=True)
    return centered + column(bias), dy - dy.mean((0, 2), keepdims=True), None, dy.sum((0, 2))


def variance_only(state, x, dy, weight, bias, momentum=0.1):
    moved(state, x, momentum)
    mean, var = moments(x)
    rstd, centered = 1 / np.sqrt(column(var) + EPS), x - column(mean)
    dx = column(weight) * (rstd * dy - centered * rstd**3 * (dy * x).mean((0, 2), keepdims=True))
    return x * rstd * column(weight) + column(bias), dx, (dy * x * rstd).sum((0, 2)), dy.sum((0, 2))


KINDS = {
    "BatchRenorm": renorm,
    "GhostBatchNorm": ghost,
    "MeanOnlyBatchNorm": mean_only,
    "VarianceOnlyBatchNorm": variance_only,
}
every_kind = pytest.mark.parametrize("kind", KINDS)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def evaluated(kind, state, x, weight, bias):
    centered = x if kind == "VarianceOnlyBatchNorm" else x - column(state["mean"])
    rstd = 1.0 if kind == "MeanOnlyBatchNorm" else 1 / np.sqrt(column(state["var"]) + EPS)
    return centered * rstd * column(1 if kind == "MeanOnlyBatchNorm" else weight) + column(bias)


# --- the layers -------------------------------------------------------------------------------------------------------

# 6 examples of 3 channels with 4 positions, or with one.
LAYOUTS = {
    "(N, C)": lambda x: x[:, :, 0].copy(),
    "(N, C, L)": lambda x: x,
    "(N, C, H, W)": lambda x: x.reshape(6, 3, 2, 2),
    "channels last": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x.reshape(6, 3, 2, 2), 1, -1)), -1, 1),
    "(N, C, L), channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 1)).transpose(0, 2, 1),
    "strided": lambda x: np.repeat(x.reshape(6, 3, 2, 2), 2, axis=-1)[..., ::2],
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)
WEIGHT, BIAS = np.array([0.5, -2.0, 1.5]), np.array([1.0, 0.25, -1.0])


def values(seed=0, dtype="float64"):
    """Numbers that float32 holds, in channels of different sizes and places."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((6, 3, 4)) * column([1.0, 3.0, 0.2]) + column([0.0, 5.0, -2.0])
    return x.astype(np.float32).astype(dtype)


def make(kind, ndim=3, channels=3, ghost_size=4, **options):
    if kind == "GhostBatchNorm":
        options["ghost_size"] = ghost_size
    return getattr(nn, f"{kind}{'2d' if ndim == 4 else '1d'}")(channels, **options)


def prepared(kind, ndim=3, **options):
    """A layer whose parameters are not those of the start."""
    layer = make(kind, ndim, **options)
    for parameter, start in ((layer.weight, WEIGHT), (layer.bias, BIAS)):
        if parameter is not None:
            parameter.data[...] = start
    return layer


def flat(x):
    return np.asarray(x, np.float64).reshape(*x.shape[:2], -1)


def buffers(layer):
    return {name: value.data.tolist() for name, value in layer.named_buffers()}


@every_kind
@every_layout
@both_dtypes
def test_outputs_gradients_and_buffers_over_ten_steps(kind, layout, dtype):
    arrange, state = LAYOUTS[layout], {"mean": np.zeros(3), "var": np.ones(3)}
    layer = prepared(kind, arrange(values()).ndim, dtype=dtype)
    for step in range(10):
        x = tb.from_numpy(arrange(values(step, dtype))).requires_grad_()
        dy = np.random.default_rng(100 + step).standard_normal(x.shape).astype(np.float32)
        layer.zero_grad()
        y = layer(x)
        y.backward(dy.astype(dtype))
        weight, bias = WEIGHT, BIAS
        expected = KINDS[kind](state, flat(x.data), flat(dy), weight, bias)
        got = [flat(y.data), flat(x.grad.data), None if layer.weight is None else layer.weight.grad, layer.bias.grad]
        for name, value, reference in zip(("y", "dx", "dweight", "dbias"), got, expected, strict=True):
            assert (value is None) == (reference is None), name
            if value is not None:
                assert_close(value, reference, dtype, f"{name} of step {step}")
        assert {str(t.dtype) for t in (y, x.grad, layer.bias.grad)} == {dtype}
    assert layer.num_batches_tracked.item() == 10
    for buffer, name in ((layer.running_mean, "mean"), (layer.running_var, "var")):
        if buffer is not None:
            assert str(buffer.dtype) == dtype
            assert_close(buffer, state[name], dtype, name)
    before = buffers(layer)
    x = arrange(values(11, dtype))
    assert_close(flat(layer.eval()(x).data), evaluated(kind, state, flat(x), WEIGHT, BIAS), dtype, "eval")
    assert buffers(layer) == before


@every_kind
def test_state_has_what_the_kind_needs(kind):
    left_out = {"MeanOnlyBatchNorm": {"weight", "running_var"}, "VarianceOnlyBatchNorm": {"running_mean"}}.get(
        kind, set()
    )
    full = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert list(make(kind).state_dict()) == [name for name in full if name not in left_out]
    if kind != "BatchRenorm":
        plain = make(kind, affine=False, track_running_stats=False)
        assert plain.state_dict() == {}
        assert plain.eval()(values(0, "float32")).data.tobytes() == plain.train()(values(0, "float32")).data.tobytes()
    layer, x = make(kind, affine=False, dtype="float64"), values()
    assert_close(layer(x).data, make(kind, dtype="float64")(x).data, "float64")


@every_kind
@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 2)], ids=str)
def test_first_and_second_derivatives(kind, shape):
    """Renormalization with statistics so far away that r and d stand at their limits, where they are constant."""
    rng = np.random.default_rng(0)
    inputs = [tb.tensor(rng.standard_normal(s), requires_grad=True) for s in (shape, (3,), (3,))]

    def function(x, weight, bias):
        layer = make(kind, dtype="float64")
        for buffer, value in ((layer.running_mean, [40.0, -400.0, 40.0]), (layer.running_var, [1e-4, 1e3, 1e-4])):
            if buffer is not None:
                buffer.data[...] = value
        if layer.weight is not None:
            layer.weight = None
            layer.weight = weight
        layer.bias = None
        layer.bias = bias
        y = layer(x)
        return y if layer.weight is not None else y + 0 * weight.sum()

    assert tb.gradcheck(function, inputs)
    assert tb.gradgradcheck(function, inputs)


# --- edges ------------------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4), (9, 3, 0), (0, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_gives_an_empty_result_and_moves_nothing(kind, shape, training):
    layer = make(kind, len(shape)).train(training)
    before = buffers(layer)
    x = tb.zeros(shape, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == shape
    assert all(p.grad.tolist() == [0, 0, 0] for p in layer.parameters())
    assert buffers(layer) == before


@every_kind
@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1)], ids=str)
def test_one_value_per_channel_in_training_is_an_error(kind, shape):
    layer = make(kind, len(shape))
    before = buffers(layer)
    with pytest.raises(ShapeError, match=rf"^{kind}.*one value per channel.*\(1, 3.*drop_last"):
        layer(np.ones(shape, np.float32))
    assert buffers(layer) == before
    assert layer.eval()(np.ones(shape, np.float32)).shape == shape


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("BatchRenorm", [[1, -3], [3, 3]]),  # r = 1 and 3, which is 5 at its limit; d = 2 and 0
        ("GhostBatchNorm", [[-1, -1], [1, 1]]),
        ("MeanOnlyBatchNorm", [[-1, -5], [1, 5]]),
        ("VarianceOnlyBatchNorm", [[1, -1], [3, 1]]),
    ],
)
def test_two_values_per_channel(kind, expected):
    layer = make(kind, channels=2, eps=0.0, dtype="float64")
    assert_close(layer(np.array([[1.0, -5.0], [3.0, 5.0]])).data, np.array(expected), "float64")


@every_kind
def test_evaluation_before_any_training(kind):
    x = values()
    expected = x if kind == "MeanOnlyBatchNorm" else x / np.sqrt(1 + EPS)
    np.testing.assert_allclose(make(kind, dtype="float64").eval()(x).data, expected, rtol=1e-14)


@every_kind
def test_a_constant_channel_has_finite_gradients(kind):
    x = tb.tensor(values(), requires_grad=True)
    x.data[:, 1] = 7.25
    layer = prepared(kind, dtype="float64")
    y = layer(x)
    (y**2).sum().backward()
    assert np.isfinite(x.grad.data).all() and np.isfinite(y.data).all()
    if kind in ("GhostBatchNorm", "MeanOnlyBatchNorm"):
        assert set(y.data[:, 1].ravel()) == {BIAS[1]}


@every_kind
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_batch_that_is_not_finite_moves_nothing_and_warns_once(kind, bad):
    layer, x = prepared(kind, dtype="float64"), values()
    layer(x)
    before = buffers(layer)
    x[5, 1, 2] = bad  # in the last ghost, behind one that is finite
    model = nn.Sequential(layer)
    with pytest.warns(RuntimeWarning) as caught:
        y = model(x).data
        model(x)
    assert [str(w.message)[: len(kind) + 5] for w in caught] == [f"'0', {kind}"]
    assert buffers(layer) == before and layer.skipped_batches == 2
    assert np.isfinite(y[:, [0, 2]]).all() and np.isnan(y[5, 1, 2])
    with tb.detect_anomaly(), pytest.raises(AnomalyError, match=rf"'0', {kind}.*not finite"):
        model(x)
    assert buffers(layer) == before


@every_kind
def test_inputs_are_not_changed_and_may_be_read_only(kind):
    x = values()
    x.flags.writeable = False
    before = x.copy()
    make(kind, dtype="float64")(tb.from_numpy(x).requires_grad_()).sum().backward()
    np.testing.assert_array_equal(x, before)


@every_kind
def test_what_does_not_fit_is_refused_before_anything_changes(kind):
    layer = make(kind)
    before = buffers(layer)
    with pytest.raises(DTypeError, match=r"float32.*float64|float64.*float32") as raised:
        layer(values())
    assert str(raised.value).startswith(repr(layer))
    with pytest.raises(DTypeError, match="int64"):
        layer(np.ones((6, 3), np.int64))
    with pytest.raises(ShapeError, match=r"expected an input of shape \(N, 3\) or \(N, 3, L\), got \(6, 4\)"):
        layer(np.ones((6, 4), np.float32))
    with pytest.raises(ShapeError, match=r"expected an input of shape \(N, 3, H, W\), got \(6, 3\)"):
        make(kind, 4)(np.ones((6, 3), np.float32))
    assert buffers(layer) == before


@every_kind
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_a_relu_behind_sees_the_same_bits(kind, training, affine):
    results = []
    for together in (True, False):
        layer = prepared(kind, affine=affine)
        if layer.running_mean is not None:
            layer.running_mean.data[...] = [0.5, 4.0, -2.0]
        relu = nn.ReLU()
        model = nn.Sequential(layer, relu).train(training) if together else layer.train(training)
        x = tb.from_numpy(values(0, "float32")).requires_grad_()
        y = model(x) if together else relu(model(x))
        y.backward(values(1, "float32"))
        grads = [p.grad.tolist() for p in layer.parameters()]
        results.append((y.tolist(), x.grad.tolist(), grads, buffers(layer)))
        assert (y.data >= 0).all() and (y.data == 0).any() and (y.data > 0).any()
    assert results[0] == results[1]
    x = values(0, "float32")
    np.testing.assert_array_equal(prepared(kind).forward(x, relu=True).data, tb.relu(prepared(kind)(x)).data)


@every_kind
def test_frozen_statistics_are_used_in_training(kind):
    layer = prepared(kind, dtype="float64")
    layer(values())
    before = buffers(layer)
    frozen = layer.freeze().train()(values(1))
    assert buffers(layer) == before
    assert frozen.data.tobytes() == layer.eval()(values(1)).data.tobytes()
    assert all(not p.requires_grad for p in layer.parameters())


@every_kind
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_and_states_go_on_alike(kind, duplicate):
    layer = prepared(kind, dtype="float64", convention="keras", debias=True)
    layer(values())
    other, loaded = duplicate(layer), make(kind, dtype="float64", convention="keras", debias=True)
    loaded.load_state_dict({name: value.copy() for name, value in layer.state_dict().items()})
    assert repr(other) == repr(layer) == repr(loaded)
    assert (
        len({layer(values(1)).data.tobytes(), other(values(1)).data.tobytes(), loaded(values(1)).data.tobytes()}) == 1
    )
    assert buffers(layer) == buffers(other) == buffers(loaded)
    layer.reset_parameters()
    assert buffers(layer) == buffers(make(kind, dtype="float64"))


@every_kind
def test_channels_last_stays_channels_last(kind):
    for count in (6, 8):  # with a smaller last ghost, and without
        x = np.ascontiguousarray(np.random.default_rng(0).standard_normal((count, 4, 5, 3))).transpose(0, 3, 1, 2)
        layer = make(kind, 4, dtype="float64")
        assert layer(x).data.strides == x.strides
        assert layer.eval()(x).data.strides == x.strides


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "BatchRenorm"])
@pytest.mark.parametrize("shape", [(64, 3), (16, 3, 4, 4)], ids=str)
@pytest.mark.parametrize("place", [0.0, 10.0, 1e3, 1e4, 1e5])
def test_exactness_in_float32_wherever_the_data_sits(kind, shape, place):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) + place).astype(np.float32)
    dy = rng.standard_normal(shape).astype(np.float32)
    layer, leaf = prepared(kind, len(shape), ghost_size=shape[0] // 2), tb.from_numpy(x).requires_grad_()
    y = layer(leaf)
    y.backward(dy)
    options = {"sizes": (shape[0] // 2,) * 2} if kind == "GhostBatchNorm" else {}
    state = {"mean": np.zeros(3), "var": np.ones(3)}
    expected, dx, _, _ = KINDS[kind](state, flat(x), flat(dy), WEIGHT, BIAS, **options)
    error = np.abs(flat(y.data) - expected)
    assert (error <= KERNEL_OUTPUT * (np.abs(expected - column(BIAS)) + np.abs(column(BIAS)) + 1)).all()
    assert_close(flat(leaf.grad.data), dx, "float32", "dx")


# --- Batch Renormalization --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("affine", [True, False])
@both_dtypes
def test_renormalization_without_room_for_correction_is_batch_norm(affine, dtype):
    renormalized = nn.BatchRenorm1d(3, affine=affine, dtype=dtype, r_max=1.0, d_max=0.0)
    plain = nn.BatchNorm1d(3, affine=affine, dtype=dtype)
    for step in range(3):
        results = []
        for layer in (renormalized, plain):
            x = tb.tensor(values(step, dtype), requires_grad=True)
            y = layer(x)
            y.backward(values(step + 10, dtype))
            results.append([y.data, x.grad.data, *(p.grad.data for p in layer.parameters())])
        for got, expected in zip(*results, strict=True):
            np.testing.assert_array_equal(got, expected)
    assert buffers(renormalized) == buffers(plain)


def test_inside_the_limits_training_computes_what_evaluation_would():
    layer = prepared("BatchRenorm", dtype="float64")
    for step in range(20):
        layer(values(step))
    evaluated = copy.deepcopy(layer).eval()(values(21))
    assert_close(layer(values(21)).data, evaluated.data, "float64")


@pytest.mark.parametrize(("r_max", "d_max"), [(1.0, 0.0), (1.5, 0.5), (3.0, 5.0), (1.0, np.inf), (np.inf, 0.0)])
def test_the_limits_are_kept(r_max, d_max):
    layer, x = nn.BatchRenorm1d(3, r_max=r_max, d_max=d_max, dtype="float64"), values()
    layer.running_mean.data[...], layer.running_var.data[...] = [0.0, 50.0, -2.1], [1.1, 1e-2, 1e3]
    state = {"mean": layer.running_mean.data.copy(), "var": layer.running_var.data.copy()}
    expected = renorm(state, x, 0 * x, np.ones(3), np.zeros(3), r_max=r_max, d_max=d_max)[0]
    assert_close(layer(x).data, expected, "float64")


def test_the_limits_grow_as_in_the_paper():
    layer = nn.BatchRenorm1d(3, total_steps=130_000)
    seen = {}
    for step in (0, 5_000, 15_000, 22_500, 25_000, 40_000, 130_000, 200_000):
        layer.num_batches_tracked.data[...] = step
        seen[step] = layer.limits()
    assert seen[0] == seen[5_000] == (1, 0)
    np.testing.assert_allclose(seen[15_000], (1 + 2 * 10 / 35, 2.5))
    np.testing.assert_allclose(seen[22_500], (2, 4.375))
    np.testing.assert_allclose(seen[25_000], (1 + 2 * 20 / 35, 5))
    np.testing.assert_allclose([seen[40_000], seen[130_000], seen[200_000]], [(3, 5)] * 3)
    assert nn.BatchRenorm1d(3, r_max=1.5, d_max=0.5).limits() == (1.5, 0.5)


def test_a_resumed_run_goes_on_exactly():
    def new():
        return nn.BatchRenorm1d(3, total_steps=26, r_max=1.5, d_max=0.5, dtype="float64")

    whole, first = new(), new()
    expected = [whole(values(step)).tolist() for step in range(12)]
    for step in range(5):
        first(values(step))
    resumed = new()
    resumed.load_state_dict({name: value.copy() for name, value in first.state_dict().items()})
    assert [resumed(values(step)).tolist() for step in range(5, 12)] == expected[5:]
    assert 1 < resumed.limits()[0] <= 1.5
    plain = nn.BatchNorm1d(3, dtype="float64")
    assert expected[0] == plain(values(0)).tolist()  # the first 26th of the run is BatchNorm's


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r_max": 0.5}, r"BatchRenorm2d: r_max is 0.5; r is kept in \[1/r_max, r_max\], so expected 1 or more"),
        ({"r_max": np.nan}, "r_max is nan"),
        ({"d_max": -1.0}, r"BatchRenorm2d: d_max is -1.0; d is kept in \[-d_max, d_max\], so expected 0 or more"),
        ({"total_steps": 0}, "total_steps is 0; expected a whole number from 1 on, or None"),
        ({"total_steps": 10.5}, "BatchRenorm2d: total_steps is 10.5; expected a whole number"),
        ({"track_running_stats": False}, "track_running_stats=False; training needs running statistics"),
    ],
)
def test_renormalization_refuses_what_cannot_be(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        nn.BatchRenorm2d(3, **options)


def test_text_of_renormalization_and_ghosts():
    assert repr(nn.BatchRenorm1d(3)).endswith("track_running_stats=True, r_max=3.0, d_max=5.0)")
    assert repr(nn.BatchRenorm1d(3, total_steps=9)).endswith("d_max=5.0, total_steps=9)")
    assert repr(nn.GhostBatchNorm2d(3, ghost_size=16)).endswith("track_running_stats=True, ghost_size=16)")


# --- ghost batches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"debias": True, "convention": "flax"}], ids=str)
def test_a_batch_of_one_ghost_is_batch_norms(options):
    ghosts, plain = nn.GhostBatchNorm1d(3, ghost_size=6, **options), nn.BatchNorm1d(3, **options)
    for step in range(3):
        x = values(step, "float32")
        assert ghosts(x).data.tobytes() == plain(x).data.tobytes()
        assert ghosts(x[:4]).data.tobytes() == plain(x[:4]).data.tobytes()
    assert buffers(ghosts) == buffers(plain)


@settings(max_examples=60)
@given(
    st.integers(1, 13), st.integers(1, 5), st.sampled_from([(), (1,), (3,), (2, 2)]), st.booleans(), st.integers(0, 99)
)
def test_ghosts_of_any_size_are_batch_norms_of_their_own(count, size, space, last, seed):
    x = np.random.default_rng(seed).standard_normal((count, 3, *space))
    if last:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    positions = int(np.prod(space))
    sizes = [size] * (count // size) + [count % size] * (count % size > 0)
    if sizes[-1] * positions == 1 and len(sizes) > 1 and size > 1:
        sizes[-2:] = [size + 1]
    layer, plain = (make(k, x.ndim, ghost_size=size, dtype="float64") for k in ("GhostBatchNorm", "GhostBatchNorm"))
    plain.ghost_size = count
    if min(sizes) * positions == 1:
        with pytest.raises(ShapeError, match="one value per channel"):
            layer(x)
        assert layer.running_mean.tolist() == [0, 0, 0]
        return
    y = layer(x)
    stops = np.cumsum(sizes)
    expected = [plain(x[stop - n : stop]).data for n, stop in zip(sizes, stops, strict=True)]
    assert_close(y.data, np.concatenate(expected), "float64")
    assert_close(layer.running_mean, plain.running_mean.data, "float64")
    assert_close(layer.running_var, plain.running_var.data, "float64")
    assert layer.num_batches_tracked.item() == 1 and plain.num_batches_tracked.item() == len(sizes)


def test_the_running_statistics_are_the_papers_sum():
    """(1 − η)^G·running + Σ (1 − η)^(G−1−l)·η·new_l over the ghosts l of a batch."""
    layer, x = nn.GhostBatchNorm1d(3, momentum=0.25, ghost_size=2, dtype="float64"), values()
    layer.running_mean.data[...] = 10
    layer(x)
    news = [x[i : i + 2].mean((0, 2)) for i in (0, 2, 4)]
    expected = 0.75**3 * 10 + sum(0.75 ** (2 - i) * 0.25 * new for i, new in enumerate(news))
    assert_close(layer.running_mean, expected, "float64")


def test_momentum_none_weighs_all_ghosts_of_a_batch_and_all_batches_alike():
    layer = nn.GhostBatchNorm1d(3, momentum=None, ghost_size=2, dtype="float64")
    batches = [values(0), values(1)[:4], values(2)]
    for x in batches:
        layer(x)
    means = [np.mean([x[i : i + 2].mean((0, 2)) for i in range(0, len(x), 2)], axis=0) for x in batches]
    variances = [np.mean([x[i : i + 2].var((0, 2), ddof=1) for i in range(0, len(x), 2)], axis=0) for x in batches]
    assert_close(layer.running_mean, np.mean(means, axis=0), "float64")
    assert_close(layer.running_var, np.mean(variances, axis=0), "float64")
    assert layer.num_batches_tracked.item() == 3


def test_debiased_ghosts_leave_nothing_of_the_beginning():
    layer = nn.GhostBatchNorm1d(3, debias=True, momentum=0.25, ghost_size=2, dtype="float64")
    layer.running_mean.data[...] = 1e6
    x = values()
    layer(x), layer(x + 1)
    news = [(x + shift)[i : i + 2].mean((0, 2)) for shift in (0, 1) for i in (0, 2, 4)]
    weights = 0.75 ** np.arange(6)[::-1]
    assert_close(layer.running_mean, weights @ np.array(news) / weights.sum(), "float64")


def test_a_remainder_of_one_value_joins_the_ghost_before():
    x = values()[:, :, 0]
    layer = nn.GhostBatchNorm1d(3, ghost_size=5, dtype="float64")
    assert layer(x).data.tobytes() == nn.BatchNorm1d(3, dtype="float64")(x).data.tobytes()
    layer = nn.GhostBatchNorm1d(3, ghost_size=5, dtype="float64")
    images = values()  # of one example, four values per channel are left
    assert_close(layer(images).data[5:], nn.BatchNorm1d(3, dtype="float64")(images[5:]).data, "float64")


def test_ghosts_of_one_value_are_refused():
    layer = nn.GhostBatchNorm1d(3, ghost_size=1)
    with pytest.raises(
        ShapeError, match=r"one value per channel in each ghost batch \(input of shape \(6, 3\), ghost_si"
    ):
        layer(np.ones((6, 3), np.float32))
    with pytest.raises(ValueError, match="GhostBatchNorm1d: ghost_size is 0; expected a whole number from 1 on"):
        nn.GhostBatchNorm1d(3, ghost_size=0)
    with pytest.raises(TypeError, match="ghost_size"):
        nn.GhostBatchNorm1d(3)
    assert layer.eval()(np.ones((6, 3), np.float32)).shape == (6, 3)


# --- the halves -------------------------------------------------------------------------------------------------------


def test_the_two_halves_make_batch_norm():
    x = values()
    mean, variance = (make(k, dtype="float64") for k in ("MeanOnlyBatchNorm", "VarianceOnlyBatchNorm"))
    assert_close(variance(mean(x)).data, nn.BatchNorm1d(3, dtype="float64")(x).data, "float64")


@every_kind
def test_float32_stays_float32_where_silent_casts_are_errors(kind):
    with tb.strict_float32():
        x = tb.from_numpy(values(0, "float32")).requires_grad_()
        y = make(kind)(x)
        y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float32
