"""Row kernels and their layers at the edges: data far beyond 1, no values, equal values, any memory, odd arguments."""

import itertools

import numpy as np
import pytest
from guards import Guarded
from kernel_helpers import MEMORY, channels_last, every_dtype
from tolerances import KERNEL

import tinybn as tb
from tinybn import kernels
from tinybn.errors import DTypeError, ShapeError

EPS = 1e-5


def raw(kernel, which):
    compiled, twin = kernels.KERNELS[kernel]
    if which == "compiled" and compiled is None:
        pytest.skip("the kernels are not compiled")
    return compiled if which == "compiled" else twin


every_version = pytest.mark.parametrize("which", ["compiled", "twin"])


def gradient(dy, x, eps, centered=True):
    """dx of rows in float64."""
    x, dy = x.astype("float64"), dy.astype("float64")
    x = x - x.mean(1, keepdims=True) if centered else x
    rstd = 1 / np.sqrt((x * x).mean(1, keepdims=True) + eps)
    inner = dy - x * rstd * (dy * x * rstd).mean(1, keepdims=True)
    return rstd * (inner - dy.mean(1, keepdims=True) if centered else inner)


# --- very large and very small data: rstd² would leave float32's range ---


@pytest.mark.parametrize(
    "scale, size, eps",
    [(1e20, 1, EPS), (1e25, 1, EPS), (1e30, 1, EPS), (1e-20, 1, 0.0), (1e-20, 1e-15, 0.0), (1e-25, 1e-15, 0.0)],
)
@pytest.mark.parametrize("norm", ["layer", "rms", "group", "group, channels last"])
def test_gradients_of_very_large_and_very_small_data(norm, scale, eps, size):
    rng = np.random.default_rng(0)
    x, dy = ((rng.standard_normal((4, 6, 5, 5)) * s).astype("float32") for s in (scale, size))
    wanted = gradient(dy.reshape(4, -1), x.reshape(4, -1), eps, norm != "rms")
    if norm.startswith("group"):
        x, dy = (channels_last(a) if "last" in norm else a for a in (x, dy))
        _, moments = kernels.group_norm(x, None, None, 1, eps)
        dx, *_ = kernels.group_norm_backward(dy, x, moments, None, 1, eps)
    else:
        _, moments = kernels.layer_norm(x, None, None, 3, eps, norm == "layer")
        dx, *_ = kernels.layer_norm_backward(dy, x, moments, None, 3, eps, norm == "layer")
    np.testing.assert_allclose(dx.reshape(4, -1), wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


# --- no rows, no values ---


def test_without_rows_a_dweight_that_is_too_short_is_refused():
    x, dweight, dbias = np.zeros((0, 50), "float32"), Guarded((1,), "float32"), Guarded((1,), "float32")
    with pytest.raises(ShapeError):
        raw("layer_norm_backward", "compiled")(
            x.copy(), dweight.view, dbias.view, x, x, np.zeros((2, 0)), None, 1, EPS, True, np.zeros((1, 200)), 1
        )
    dweight.assert_clean_outside()


@every_version
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_no_values(shape, affine, which):
    x, moments = np.zeros(shape, "float32"), np.full((2, shape[0]), np.nan)
    weight = np.ones(shape[1], "float32") if affine else None
    raw("layer_norm", which)(np.empty_like(x), moments, x, weight, weight, 1, EPS, True, 1)
    assert not moments.any()
    dweight, dbias = np.full((2, shape[1]), 7, "float32")
    scratch = np.zeros((1, 4 * shape[1]))
    raw("layer_norm_backward", which)(np.empty_like(x), dweight, dbias, x, x, moments, weight, 1, EPS, True, scratch, 1)
    assert not dweight.any() and not dbias.any()


# --- equal values ---


@every_dtype
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])
@pytest.mark.parametrize("k", [2, 3, 7, 49])
def test_groups_of_one_value_give_exactly_the_bias(k, last, dtype):
    for value in (0.1, -7.3, 1e6 + 0.1):
        x = np.full((2, 2 * k, 4, 5), value, dtype)
        y, _ = kernels.group_norm(channels_last(x) if last else x, None, np.zeros(2 * k, dtype), 2, EPS)
        assert not y.any()


# --- what is refused changes nothing ---


def test_instance_norm_refuses_before_it_changes_anything():
    mean, var = np.zeros(3, "float32"), np.ones(3, "float32")
    var.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        tb.functional.instance_norm(tb.randn(2, 3, 4), mean, var)
    assert not mean.any()


def test_instance_norm_leaves_statistics_alone_that_cannot_hold_the_new_ones():
    """As batch_norm does."""
    mean, var = np.zeros(3, "float32"), np.ones(3, "float32")
    tb.functional.instance_norm(tb.randn(2, 3, 4) * 1e30, mean, var)
    assert not mean.any() and (var == 1).all()


def test_instance_norm_heeds_relu_in_training_as_it_does_in_evaluation():
    layer, x = tb.nn.InstanceNorm1d(3, track_running_stats=True), tb.randn(4, 3, 5)
    for training in (False, True):
        assert layer.train(training)(x, relu=True).data.min() == 0


# --- sizes that are NumPy's, dtypes that nobody takes ---


def test_a_size_may_be_numpys_integer():
    assert tb.nn.LayerNorm(np.int64(3)).normalized_shape == (3,)
    assert tb.functional.rms_norm(tb.ones(2, 3), np.int32(3)).shape == (2, 3)


@pytest.mark.parametrize("function, arguments", [("layer_norm", (6,)), ("rms_norm", (6,)), ("group_norm", (2,))])
def test_float16_is_refused_by_the_functions_own_name(function, arguments):
    with pytest.raises(DTypeError, match=f"{function}: expected float32 or float64, got float16"):
        getattr(tb.functional, function)(np.ones((4, 6), "float16"), *arguments)


# --- any memory ---


@every_dtype
@pytest.mark.parametrize("shape", [(4, 6, 3, 2), (5, 6), (4, 6, 7)])
@pytest.mark.parametrize("memory", MEMORY)
def test_any_memory(memory, shape, dtype):
    rng = np.random.default_rng(1)
    made = (MEMORY[memory](rng.standard_normal(shape).astype(dtype)) for _ in range(2))
    x, dy = made
    plain_x, plain_dy = (np.array(a, dtype, order="C") for a in (x, dy))
    near = {"rtol": 0, "atol": 20 * KERNEL[dtype]}
    for axes in range(1, len(shape) + 1):
        weight = np.array(rng.standard_normal(shape[-axes:]), dtype)
        y, moments = kernels.layer_norm(x, weight, weight, axes, EPS)
        expected, wide = kernels.layer_norm(plain_x, weight, weight, axes, EPS)
        np.testing.assert_allclose(y, expected, **near)
        got = kernels.layer_norm_backward(dy, x, moments, weight, axes, EPS)
        right = kernels.layer_norm_backward(plain_dy, plain_x, wide, weight, axes, EPS)
        for a, b in zip(got, right, strict=True):
            np.testing.assert_allclose(a, b, **near)
    for groups in (1, 2, 3):
        weight = np.array(rng.standard_normal(6), dtype)
        y, moments = kernels.group_norm(x, weight, weight, groups, EPS)
        expected, wide = kernels.group_norm(plain_x, weight, weight, groups, EPS)
        np.testing.assert_allclose(y, expected, **near)
        got = kernels.group_norm_backward(dy, x, moments, weight, groups, EPS)
        right = kernels.group_norm_backward(plain_dy, plain_x, wide, weight, groups, EPS)
        for a, b in zip(got, right, strict=True):
            np.testing.assert_allclose(a, b, **near)


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])
def test_groups_write_nothing_outside_of_their_outputs(last):
    for n, c, space, groups in [(1, 1, (2,), 1), (3, 6, (5, 3), 2), (2, 803 * 2, (3,), 2), (2, 1606, (2, 2), 22)]:
        shape = (n, c, *space)
        rng = np.random.default_rng(0)
        x, dy = (rng.standard_normal(shape).astype("float32") for _ in range(2))
        if last:
            x, dy = channels_last(x), channels_last(dy)
        weight = rng.standard_normal(c).astype("float32")
        y, dx = (Guarded(shape, "float32", x.strides) for _ in range(2))
        moments, scratch = Guarded((2, n * groups), "float64"), Guarded((n, 2 * c), "float64")
        dweight, dbias = Guarded((c,), "float32"), Guarded((c,), "float32")
        raw("group_norm", "compiled")(y.view, moments.view, x, weight, weight, groups, EPS, scratch.view, 2)
        raw("group_norm_backward", "compiled")(
            dx.view, dweight.view, dbias.view, dy, x, moments.view, weight, groups, EPS, scratch.view, 2
        )
        for output in (y, dx, moments, scratch, dweight, dbias):
            assert np.isfinite(output.view).all()
            output.assert_clean_outside()


@pytest.mark.parametrize("kernel", ["layer_norm_backward", "group_norm_backward"])
def test_what_does_not_fit_a_backward_is_refused(kernel):
    rng = np.random.default_rng(0)
    layer = kernel.startswith("layer")
    shape = (6, 10) if layer else (2, 6, 4)
    places, rows = (10, 6) if layer else (6, 6)
    x = rng.standard_normal(shape).astype("float32")
    scratch = (1, 40) if layer else (2, 12)

    def given(**changes):
        values = {"dx": np.zeros_like(x), "dweight": np.zeros(places, "f"), "dbias": np.zeros(places, "f"), "dy": x}
        values |= {"x": x, "moments": np.ones((2, rows)), "weight": None, "parts": 1 if layer else 3, "eps": EPS}
        values |= {"centered": True} if layer else {}
        return [*(values | {"scratch": np.zeros(scratch), "threads": 1} | changes).values()]

    raw(kernel, "compiled")(*given())
    for name, wrong in itertools.chain(
        (("dx", np.zeros(shape, d)) for d in ("float64", "int32")),
        (("dy", a) for a in (x[:1], x.astype("float64"), x.T, x[..., ::2])),
        ((n, np.zeros(s, "float32")) for n in ("dweight", "dbias", "weight") for s in (places - 1, places + 1)),
        ((n, np.zeros(places)) for n in ("dweight", "dbias", "weight")),
        (("moments", np.ones(s)) for s in ((2, rows - 1), (1, rows), (rows,))),
        (("scratch", np.zeros(s)) for s in ((scratch[0], scratch[1] - 1), (0, scratch[1]), (scratch[1],))),
        (("parts", p) for p in (0, -1, 4)),
    ):
        arguments = given(**{name: wrong})
        with pytest.raises((ValueError, TypeError)):
            raw(kernel, "compiled")(*arguments)
        assert not arguments[0].any()


def test_trained_with_channels_last_data_the_weights_are_the_same():
    x, dy = (np.random.default_rng(i).standard_normal((2, 3, 4, 5)).astype("float32") for i in range(2))
    weights = []
    for lay in (np.ascontiguousarray, channels_last):
        layer = tb.nn.LayerNorm((3, 4, 5))
        optimizer = tb.optim.Adam(layer.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            layer(tb.tensor(lay(x))).backward(dy)
            optimizer.step()
        weights.append(layer.weight.data)
    np.testing.assert_allclose(*weights, rtol=1e-6)
