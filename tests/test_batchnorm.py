"""What batch normalization means, by name. ``test_layers.py`` compares the same layers with PyTorch."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numerical import check_gradients
from oracle import load_torch
from tolerances import assert_close

import tinybn as tb
from tinybn import nn
from tinybn.errors import ShapeError

F = tb.functional

# Every way to lay out M = 24 values of 3 channels.
LAYOUTS = {
    "(M, C)": lambda x: x,
    "(N, C, L)": lambda x: np.ascontiguousarray(x.reshape(6, 4, 3).transpose(0, 2, 1)),
    "(N, C, H, W)": lambda x: np.ascontiguousarray(x.reshape(3, 4, 2, 3).transpose(0, 3, 1, 2)),
    "channels last": lambda x: x.reshape(3, 4, 2, 3).transpose(0, 3, 1, 2),
    "transposed": lambda x: np.asfortranarray(x),
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "swapped space": lambda x: x.reshape(3, 4, 2, 3).transpose(0, 3, 2, 1),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def values(rng_seed=0, m=24, c=3):
    return np.random.default_rng(rng_seed).standard_normal((m, c)) * [1.0, 3.0, 0.1][:c] + [0.0, 5.0, -2.0][:c]


def rows(x):
    """Any layout as (M, C)."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def layer_for(x, **options):
    kind = nn.BatchNorm2d if x.ndim == 4 else nn.BatchNorm1d
    return kind(x.shape[1], dtype=x.dtype, **options)


def buffers(layer):
    return {name: value.data.tolist() for name, value in layer.named_buffers()}


# --- in training ------------------------------------------------------------------------------------------------------


@layouts
def test_normalization_uses_the_biased_variance_with_eps_inside_the_root(layout):
    x = LAYOUTS[layout](values())
    layer = layer_for(x, eps=0.5)
    layer.weight.data[...], layer.bias.data[...] = [2, -1, 0.5], [1, 2, 3]
    y = rows(layer(x).data)
    expected = (rows(x) - rows(x).mean(0)) / np.sqrt(rows(x).var(0) + 0.5) * [2, -1, 0.5] + [1, 2, 3]
    assert_close(y, expected, "float64")


@layouts
def test_running_variance_is_unbiased_and_moves_by_momentum(layout):
    x = LAYOUTS[layout](values())
    layer = layer_for(x, momentum=0.25)
    layer(x)
    assert_close(layer.running_mean.data, 0.25 * rows(x).mean(0), "float64")
    assert_close(layer.running_var.data, 0.75 + 0.25 * rows(x).var(0, ddof=1), "float64")
    layer(x)
    assert_close(layer.running_mean.data, (0.75 * 0.25 + 0.25) * rows(x).mean(0), "float64")


def test_momentum_none_averages_over_all_batches():
    layer = nn.BatchNorm1d(3, momentum=None, dtype="float64")
    batches = [values(seed) for seed in range(5)]
    for batch in batches:
        layer(batch)
    assert_close(layer.running_mean.data, np.mean([b.mean(0) for b in batches], axis=0), "float64")
    assert_close(layer.running_var.data, np.mean([b.var(0, ddof=1) for b in batches], axis=0), "float64")


def test_num_batches_tracked_moves_only_in_training_and_when_tracking():
    layer, x = nn.BatchNorm1d(3), values().astype("float32")
    for _ in range(3):
        layer(x)
    layer.eval()
    layer(x)
    assert layer.num_batches_tracked.item() == 3
    layer.train()
    with tb.no_grad():  # the mode decides, not the gradients
        layer(x)
    assert layer.num_batches_tracked.item() == 4
    layer.reset_running_stats()
    assert buffers(layer) == buffers(nn.BatchNorm1d(3))
    assert buffers(nn.BatchNorm1d(3, track_running_stats=False)) == {}


def test_eval_uses_the_running_statistics_and_leaves_them_alone():
    layer = nn.BatchNorm1d(3, dtype="float64")
    layer(values())
    before = buffers(layer)
    mean, var = layer.running_mean.data, layer.running_var.data
    x = values(1)
    assert_close(layer.eval()(x).data, (x - mean) / np.sqrt(var + 1e-5), "float64")
    assert layer(x[:1]).shape == (1, 3)  # one value per channel is fine here
    assert buffers(layer) == before


def test_without_running_statistics_eval_uses_the_batch():
    layer, x = nn.BatchNorm1d(3, track_running_stats=False), values().astype("float32")
    assert layer.eval()(x).data.tobytes() == layer.train()(x).data.tobytes()


BAD = {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf, "too large for its variance in float32": 3e38}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy, of the numbers that are the point here
def test_a_batch_that_is_not_finite_leaves_the_running_statistics_untouched(name, momentum):
    good, bad = values().astype("float32"), values(1).astype("float32")
    bad[5, 1] = BAD[name]
    layer, other = nn.BatchNorm1d(3, momentum=momentum), nn.BatchNorm1d(3, momentum=momentum)
    layer(bad)
    assert buffers(layer) == buffers(nn.BatchNorm1d(3))  # every channel, and the counter
    for x in (good, bad, good + 1):
        layer(x)
    for x in (good, good + 1):
        other(x)
    assert buffers(layer) == buffers(other)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_shows_in_the_output_of_its_own_channel_only():
    x = values().astype("float32")
    x[5, 1] = np.nan
    y = nn.BatchNorm1d(3)(x).data
    assert np.isnan(y[:, 1]).all() and np.isfinite(y[:, [0, 2]]).all()


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1)], ids=str)
def test_one_value_per_channel_in_training_is_an_error_that_names_drop_last(shape):
    layer = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(3)
    with pytest.raises(ShapeError, match=r"one value per channel.*\(1, 3.*drop_last") as raised:
        layer(np.ones(shape, np.float32))
    assert "BatchNorm" in str(raised.value)
    assert buffers(layer) == buffers(nn.BatchNorm1d(3))
    assert layer.eval()(np.ones(shape, np.float32)).shape == shape


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4), (5, 3, 0), (0, 3, 2, 2), (2, 3, 0, 4)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_gives_an_empty_result_and_moves_nothing(shape, training):
    layer = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(3).train(training)
    x = tb.zeros(shape, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == shape
    assert layer.weight.grad.tolist() == layer.bias.grad.tolist() == [0, 0, 0]
    assert buffers(layer) == buffers(nn.BatchNorm1d(3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3, 1e6])
def test_a_constant_channel_gives_exactly_the_bias_and_a_finite_gradient(constant, dtype):
    x = np.random.default_rng(0).standard_normal((7, 2, 3, 3)).astype(dtype)
    x[:, 1] = constant
    layer = nn.BatchNorm2d(2, dtype=dtype)
    layer.weight.data[...], layer.bias.data[...] = [2, 3], [0.25, 0.1]
    x = tb.tensor(x, requires_grad=True)
    y = layer(x)
    assert (y.data[:, 1] == layer.bias.data[1]).all()
    (y * y + y).sum().backward()
    assert np.isfinite(x.grad.data).all()
    assert layer.weight.grad.data[1] == 0


def test_two_values_become_minus_one_and_one():
    x = np.array([[1.0, -5.0], [3.0, -9.0]])
    layer = nn.BatchNorm1d(2, eps=0.0, dtype="float64")
    np.testing.assert_allclose(layer(x).data, [[-1, 1], [1, -1]], rtol=1e-15)
    np.testing.assert_allclose(layer.running_var.data, 0.9 + 0.1 * np.array([2.0, 8.0]), rtol=1e-15)
    layer.weight.data[...], layer.bias.data[...] = [2, 3], [10, 20]
    np.testing.assert_allclose(layer(x).data, [[8, 23], [12, 17]], rtol=1e-15)


@pytest.mark.parametrize("mean", [0, 10, 1e3, 1e4])
@pytest.mark.parametrize("layout", ["(N, C, H, W)", "channels last", "(M, C)"])
def test_float32_is_as_exact_far_from_zero_as_near_it(mean, layout):
    """Data of deviation 1 at a mean, and the output's largest error against float64."""
    x = np.random.default_rng(0).standard_normal((16, 4, 12, 12)) + mean
    x = x.astype("float32")
    if layout == "channels last":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if layout == "(M, C)":
        x = np.ascontiguousarray(rows(x))
    wide = rows(x).astype("float64")
    expected = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-5)
    error = np.abs(rows(layer_for(x)(x).data) - expected).max()
    assert error < 1e-6


# --- gradients --------------------------------------------------------------------------------------------------------


@layouts
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_against_central_differences(layout, affine, training):
    x = LAYOUTS[layout](values())
    parameters = [np.array([0.5, -2.0, 1.5]), np.array([1.0, 0.0, -1.0])] if affine else []
    mean, var = np.array([0.1, 4.0, -1.0]), np.array([2.0, 5.0, 0.3])

    def function(x, weight=None, bias=None):
        # Copies: in training they are written to, and every evaluation must start alike.
        return F.batch_norm(x, mean.copy(), var.copy(), weight, bias, training=training, eps=1e-3)

    check_gradients(f"batch_norm, {layout}", function, [x, *parameters])


def test_classical_bug_detached_statistics():
    """A gradient that takes mean and variance for constants, dy·w·rstd, lacks two terms. Ours must not be that one."""
    x = tb.tensor(values(), requires_grad=True)
    dy = np.random.default_rng(1).standard_normal(x.shape)
    F.batch_norm(x, None, None, training=True).backward(dy)
    rstd = 1 / np.sqrt(x.data.var(0) + 1e-5)
    x_hat = (x.data - x.data.mean(0)) * rstd
    assert_close(x.grad.data, rstd * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0)), "float64")
    for wrong in (rstd * dy, rstd * (dy - dy.mean(0)), rstd * (dy - x_hat * (dy * x_hat).mean(0))):
        assert np.abs(x.grad.data - wrong).max() > 0.01 * np.abs(x.grad.data).max()


def test_in_eval_the_statistics_are_constants_and_weight_and_bias_have_gradients():
    layer = nn.BatchNorm1d(3, dtype="float64")
    layer(values(1))
    x = tb.tensor(values(), requires_grad=True)
    dy = np.random.default_rng(2).standard_normal(x.shape)
    layer.eval()(x).backward(dy)
    rstd = 1 / np.sqrt(layer.running_var.data + 1e-5)
    assert_close(x.grad.data, dy * rstd, "float64")
    assert_close(layer.weight.grad.data, (dy * (x.data - layer.running_mean.data) * rstd).sum(0), "float64")
    assert_close(layer.bias.grad.data, dy.sum(0), "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@layouts
def test_layouts_and_dtypes_agree(layout, dtype):
    dy = np.random.default_rng(1).standard_normal((24, 3))
    results = []
    for arrange, kind in ((LAYOUTS["(M, C)"], "float64"), (LAYOUTS[layout], dtype)):
        x = tb.tensor(arrange(values()).astype(kind), requires_grad=True)
        assert x.data.strides == arrange(values().astype(kind)).strides or layout in ("strided", "reversed")
        layer = layer_for(x)
        layer.weight.data[...], layer.bias.data[...] = [0.5, -2, 1.5], [1, 0, -1]
        y = layer(x)
        # The gradient arrives in the order of the rows that the layout has.
        order = rows(arrange(np.arange(24.0)[:, None].repeat(3, 1)))[:, 0].astype(int)
        given = np.empty(x.shape, kind)
        np.moveaxis(given, 1, -1)[...] = dy[order].reshape(np.moveaxis(given, 1, -1).shape)
        y.backward(given)
        back = np.argsort(order)
        tensors = [layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var]
        results.append([rows(y.data)[back], rows(x.grad.data)[back], *(t.data for t in tensors)])
        assert {str(r.dtype) for r in results[-1]} == {kind}
    names = ["y", "dx", "dweight", "dbias", "running mean", "running variance"]
    for name, expected, got in zip(names, *results, strict=True):
        assert_close(got, expected, dtype, name)


def test_a_view_that_is_not_contiguous_is_not_written_to():
    base = np.random.default_rng(0).standard_normal((4, 3, 6, 6)).astype("float32")
    before = base.copy()
    x = tb.from_numpy(base[:, :, ::2, 1:5]).requires_grad_()
    y = nn.BatchNorm2d(3)(x)
    y.sum().backward()
    np.testing.assert_array_equal(base, before)
    assert y.shape == x.grad.shape == (4, 3, 3, 4)
    dense = nn.BatchNorm2d(3)(x.data.copy())
    assert_close(y.data, dense.data, "float32")


def test_requires_grad_false_does_not_freeze_the_statistics():
    layer = nn.BatchNorm1d(3).requires_grad_(False)
    y = layer(values().astype("float32"))
    assert not y.requires_grad
    assert layer.num_batches_tracked.item() == 1
    assert layer.running_mean.tolist() != [0, 0, 0]


def test_training_the_whole_undoes_eval_of_a_part():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    model[0].eval()
    model(values().astype("float32"))
    assert [layer.num_batches_tracked.item() for layer in model] == [0, 1]
    model.train()
    model(values().astype("float32"))
    assert [layer.num_batches_tracked.item() for layer in model] == [1, 2]


def test_two_small_batches_are_not_one_large_one():
    layer, x = nn.BatchNorm1d(3), values().astype("float32")
    halves = np.concatenate([layer(x[:12]).data, layer(x[12:]).data])
    assert np.abs(halves - layer(x).data).max() > 0.01


def test_running_statistics_carry_no_graph():
    layer = nn.BatchNorm1d(3)
    x = tb.tensor(values().astype("float32"), requires_grad=True)
    for _ in range(2):
        layer(x).sum().backward()
    assert layer.running_mean.grad_fn is None and not layer.running_mean.requires_grad
    assert layer.running_mean.grad is None


def test_a_bias_in_front_of_batch_norm_has_no_effect_and_no_gradient():
    linear = nn.Linear(3, 4, dtype="float64")
    model = nn.Sequential(linear, nn.BatchNorm1d(4, dtype="float64"))
    y = model(values())
    (y**3).sum().backward()
    assert np.abs(linear.bias.grad.data).max() < 1e-12 * np.abs(linear.weight.grad.data).max() * 24
    linear.bias.data += 5
    assert_close(model(values()).data, y.data, "float64")


# --- the function, with arrays of one's own ---------------------------------------------------------------------------


def test_the_function_updates_the_running_arrays_it_is_given():
    x, mean, var = values(), np.zeros(3), np.ones(3)
    F.batch_norm(x, mean, var, training=True, momentum=0.5)
    assert_close(mean, 0.5 * x.mean(0), "float64")
    assert_close(var, 0.5 + 0.5 * x.var(0, ddof=1), "float64")
    kept = mean.copy()
    F.batch_norm(x, mean, var)
    np.testing.assert_array_equal(mean, kept)


@pytest.mark.parametrize("given_one", ["running_mean", "running_var"])
def test_the_function_in_training_takes_one_running_array_or_none(given_one):
    array = np.ones(3)
    running = {"running_mean": None, "running_var": None, given_one: array}
    F.batch_norm(values(), **running, training=True)
    assert (array != 1).all()
    with pytest.raises(ValueError, match=r"running_mean and running_var are needed when training=False"):
        F.batch_norm(values(), **running)


@pytest.mark.parametrize("name", ["running_mean", "running_var", "weight", "bias"])
def test_the_function_refuses_wrong_shapes_before_anything_is_written(name):
    arrays = {"running_mean": np.zeros(3), "running_var": np.ones(3), "weight": np.ones(3), "bias": np.zeros(3)}
    arrays[name] = np.ones(4)
    before = {key: value.copy() for key, value in arrays.items()}
    with pytest.raises(ShapeError, match=rf"batch_norm.*\(24, 3\) needs a {name} of \(3,\), got \(4,\)"):
        F.batch_norm(values(), **arrays, training=True)
    for key, value in arrays.items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("training", [True, False])
def test_second_derivatives_are_those_of_torch(training):
    torch = load_torch()
    x, w = values(), np.array([0.5, -2.0, 1.5])
    mean, var = np.array([0.1, 4.0, -1.0]), np.array([2.0, 5.0, 0.3])
    ours = [tb.tensor(x, requires_grad=True), tb.tensor(w, requires_grad=True)]
    theirs = [torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)]
    first = tb.grad(
        (F.batch_norm(ours[0], mean.copy(), var.copy(), ours[1], training=training) ** 3).sum(), ours, create_graph=True
    )
    y = torch.nn.functional.batch_norm(theirs[0], torch.tensor(mean), torch.tensor(var), theirs[1], training=training)
    expected = torch.autograd.grad((y**3).sum(), theirs, create_graph=True)
    second = tb.grad((first[0] ** 2).sum() + (first[1] ** 2).sum(), ours)
    second_expected = torch.autograd.grad((expected[0] ** 2).sum() + (expected[1] ** 2).sum(), theirs)
    for got, reference in zip((*first, *second), (*expected, *second_expected), strict=True):
        assert_close(got.detach(), reference.detach(), "float64")


# --- what changes nothing ---------------------------------------------------------------------------------------------


@st.composite
def batches(draw):
    """x in one of the layouts, with M ≥ 2, at any scale and place that float64 bears well; and dy, w, b, eps."""
    n, c, h, w = draw(st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)))
    ndim = draw(st.sampled_from([2, 3, 4]))
    shape = (n, c, h, w)[:ndim]
    assume(n * math.prod(shape[2:]) >= 2)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = 10.0 ** draw(st.integers(-2, 3))
    x = rng.standard_normal(shape) * scale + draw(st.floats(-100, 100)) * scale
    if draw(st.booleans()):
        x = np.round(x / scale) * scale  # ties, and channels that are constant
    if draw(st.booleans()):
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    eps = draw(st.sampled_from([1e-5, 1e-3, 1.0]))
    return x, rng.standard_normal(shape), rng.standard_normal(c), rng.standard_normal(c), eps


def run(x, dy, weight, bias, eps):
    tensors = [tb.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    y = F.batch_norm(tensors[0], None, None, tensors[1], tensors[2], training=True, eps=eps)
    y.backward(dy)
    return y.data, *(t.grad.data for t in tensors)


@given(batches(), st.sampled_from([-1024.0, 0.5, 3.0, 4096.0]))
def test_a_shift_of_the_input_changes_nothing(batch, shift):
    x, *others = batch
    for before, after in zip(run(x, *others), run(x + shift, *others), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6 * max(1, np.abs(before).max()))


@given(batches(), st.sampled_from([1 / 8, 2.0, 1024.0]))
def test_a_scale_goes_through_when_eps_goes_with_it(batch, scale):
    x, dy, weight, bias, eps = batch
    y, dx, dweight, dbias = run(x, dy, weight, bias, eps)
    scaled = run(x * scale, dy, weight, bias, eps * scale**2)
    for expected, got in zip((y, dx / scale, dweight, dbias), scaled, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9 * max(1, np.abs(expected).max()))


@given(batches(), st.randoms(use_true_random=False))
def test_the_order_of_examples_and_channels_goes_through(batch, random):
    x, dy, weight, bias, eps = batch
    n, c = x.shape[:2]
    examples, channels = random.sample(range(n), n), random.sample(range(c), c)
    y, dx, dweight, dbias = run(*batch)
    moved = run(x[examples][:, channels], dy[examples][:, channels], weight[channels], bias[channels], eps)
    expected = y[examples][:, channels], dx[examples][:, channels], dweight[channels], dbias[channels]
    for want, got in zip(expected, moved, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-8 * max(1, np.abs(want).max()))
