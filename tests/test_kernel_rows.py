"""The kernels of LayerNorm, RMSNorm and GroupNorm: against their twins, exactness, threads, refusals."""

import itertools

import numpy as np
import pytest
from guards import Guarded
from kernel_helpers import channels_last, every_dtype, misaligned, read_only
from tolerances import KERNEL

from tinybn import kernels

EPS = 1e-5

# Rows, places. All ends of loops over 16 lanes, rows of several chunks, more rows than are added in float32 at a time.
ROWS = [(r, d) for r in (1, 3, 70) for d in (1, 2, 5, 16, 33, 100, 1000, 4000)] + [(600, 7), (2000, 33), (9, 25_000)]

# N, C, space, groups
GROUPS = [
    (n, c, space, groups)
    for n, c, space, groups in itertools.product(
        (1, 3), (6, 12, 900), [(1,), (3,), (7, 9), (40, 30)], (1, 2, 3, 6, 12, 900)
    )
    if c % groups == 0 and (c // groups) * np.prod(space) > 2 and n * c * np.prod(space) < 200_000
]


def raw(kernel):
    compiled, twin = kernels.KERNELS[kernel]
    if compiled is None:
        pytest.skip("the kernels are not compiled")
    return compiled, twin


def draw(seed, shape, dtype, mean=0.0):
    a = (np.random.default_rng(seed).standard_normal(shape) + mean).astype(dtype)
    a.flags.writeable = False
    return a


def lay(x, last):
    return read_only(channels_last(x)) if last else x


def close(got, expected, terms, dtype, what):
    """Errors relative to the size of the terms that each result is the sum of."""
    error = np.abs(got.astype(np.float64) - expected)
    assert (error <= KERNEL[dtype] * terms).all(), f"{what}: {(error / (terms + 1e-300)).max()}"


def size_of_x_hat(x, mean, rstd, dtype):
    """|x̂| + 1, for the mean's own error; the twin's float64 holds a mean to 1e-15 of itself only."""
    return np.abs(x - mean) * rstd + 1 + np.abs(mean) * rstd * (1e-15 / KERNEL[dtype])


def moment_sizes(moments, dtype):
    spread, rounding = np.sqrt(moments[1]), np.abs(moments[0]) * (1e-15 / KERNEL[dtype])
    return np.array([spread + rounding, moments[1] + spread * rounding + 1e-30])


# --- rows -------------------------------------------------------------------------------------------------------------


def layer_norm(kernel, x, weight, bias, period=1, centered=True, threads=1, rows=None, dtype=None):
    y, moments = np.full(x.shape, np.nan, dtype or x.dtype), np.full((2, rows or len(x)), np.nan)
    kernel(y, moments, x, weight, bias, period, EPS, centered, threads)
    return y, moments


def layer_gradients(kernel, dy, x, moments, weight, period=1, centered=True, threads=1, dtype=None):
    places, kind = period * (x.size // moments.shape[1]), dtype or x.dtype
    dx, dweight, dbias = np.full(x.shape, np.nan, kind), np.full(places, np.nan, kind), np.full(places, np.nan, kind)
    scratch = np.full((max(1, min(16, moments.shape[1] // 8)), 4 * places), np.nan)
    kernel(dx, dweight, dbias, dy, x, moments, weight, period, EPS, centered, scratch, threads)
    return dx, dweight, dbias


@every_dtype
@pytest.mark.parametrize("centered", [True, False], ids=["centered", "not centered"])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("mean", [0, 30])
def test_rows_agree_with_the_twin_and_threads_change_no_bit(dtype, centered, affine, mean):
    compiled, twin = raw("layer_norm")
    for r, d in ROWS:
        x = draw(0, (r, d), dtype, mean)
        weight, bias = (draw(1, (d,), dtype), draw(2, (d,), dtype)) if affine else (None, None)
        y, moments = layer_norm(compiled, x, weight, bias, centered=centered)
        expected, wide = layer_norm(twin, x, weight, bias, centered=centered, dtype="float64")
        x_hat = size_of_x_hat(x, wide[0][:, None], 1 / np.sqrt(wide[1] + EPS)[:, None], dtype)
        scale = 1 if weight is None else np.abs(weight)
        close(y, expected, scale * x_hat + (0 if bias is None else np.abs(bias)), dtype, f"y {r, d}")
        close(moments, wide, moment_sizes(wide, dtype), dtype, f"moments {r, d}")
        for threads in (2, 3):
            again = layer_norm(compiled, x, weight, bias, centered=centered, threads=threads)
            assert [a.tobytes() for a in again] == [y.tobytes(), moments.tobytes()]


@every_dtype
@pytest.mark.parametrize("centered", [True, False], ids=["centered", "not centered"])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_gradients_of_rows_agree_with_the_twin_and_threads_change_no_bit(dtype, centered, affine):
    compiled, twin = raw("layer_norm_backward")
    for r, d in ROWS:
        x, dy = draw(0, (r, d), dtype, 3), draw(3, (r, d), dtype)
        weight = draw(1, (d,), dtype) if affine else None
        _, moments = layer_norm(raw("layer_norm")[1], x, None, None, centered=centered, dtype="float64")
        got = layer_gradients(compiled, dy, x, moments, weight, centered=centered)
        expected = layer_gradients(twin, dy, x, moments, weight, centered=centered, dtype="float64")
        rstd = 1 / np.sqrt(moments[1] + EPS)[:, None]
        x_hat, g = (
            size_of_x_hat(x, moments[0][:, None], rstd, dtype),
            np.abs(dy) * (1 if weight is None else np.abs(weight)),
        )
        terms = rstd * (g + g.mean(1, keepdims=True) + x_hat * (g * x_hat).mean(1, keepdims=True))
        close(got[0], expected[0], terms, dtype, f"dx {r, d}")
        close(got[1], expected[1], (np.abs(dy) * x_hat).sum(0), dtype, f"dweight {r, d}")
        close(got[2], expected[2], np.abs(dy).sum(0), dtype, f"dbias {r, d}")
        for threads in (2, 3):
            again = layer_gradients(compiled, dy, x, moments, weight, centered=centered, threads=threads)
            assert [a.tobytes() for a in again] == [a.tobytes() for a in got]


@every_dtype
@pytest.mark.parametrize("period", [1, 2, 5])
def test_rows_of_a_period_have_weights_of_their_own(dtype, period):
    x, dy = draw(0, (40, 7), dtype), draw(1, (40, 7), dtype)
    weight, bias = draw(2, (period, 7), dtype), draw(3, (period, 7), dtype)
    compiled, _ = raw("layer_norm")
    y, moments = layer_norm(compiled, x, weight, bias, period)
    dx, dweight, dbias = layer_gradients(raw("layer_norm_backward")[0], dy, x, moments, weight, period)
    for i in range(period):
        part = slice(i, None, period)
        one = [np.ascontiguousarray(a[part]) for a in (x, dy)]
        y_one, moments_one = layer_norm(compiled, one[0], weight[i], bias[i])
        np.testing.assert_array_equal(y[part], y_one)
        made = layer_gradients(raw("layer_norm_backward")[0], one[1], one[0], moments_one, weight[i])
        np.testing.assert_array_equal(dx[part], made[0])
        for got, expected in ((dweight, made[1]), (dbias, made[2])):
            np.testing.assert_allclose(got.reshape(period, 7)[i], expected, rtol=1e-5, atol=1e-5)


def test_without_wanted_sums_the_input_gradient_is_the_same():
    x, dy, weight = draw(0, (40, 33), "float32"), draw(1, (40, 33), "float32"), draw(2, (33,), "float32")
    _, moments = layer_norm(raw("layer_norm")[0], x, None, None)
    expected, *_ = layer_gradients(raw("layer_norm_backward")[0], dy, x, moments, weight)
    dx = np.empty_like(x)
    scratch = np.empty((2, 132))
    raw("layer_norm_backward")[0](dx, None, None, dy, x, moments, weight, 1, EPS, True, scratch, 1)
    np.testing.assert_array_equal(dx, expected)


# --- groups -----------------------------------------------------------------------------------------------------------


def group_norm(kernel, x, weight, bias, groups, threads=1, dtype=None):
    y = np.full_like(x, np.nan, dtype or x.dtype)
    moments, scratch = np.full((2, len(x) * groups), np.nan), np.full((len(x), 2 * x.shape[1]), np.nan)
    kernel(y, moments, x, weight, bias, groups, EPS, scratch, threads)
    return y, moments


def group_gradients(kernel, dy, x, moments, weight, groups, threads=1, dtype=None):
    kind = dtype or x.dtype
    dx, sums = np.full_like(x, np.nan, kind), np.full((2, x.shape[1]), np.nan, kind)
    scratch = np.full((len(x), 2 * x.shape[1]), np.nan)
    kernel(dx, sums[0], sums[1], dy, x, moments, weight, groups, EPS, scratch, threads)
    return dx, sums[0], sums[1]


def per_group(values, x, groups):
    """(N·groups,) so that it lines up with x."""
    return np.repeat(values.reshape(len(x), groups), x.shape[1] // groups, axis=1).reshape(
        *x.shape[:2], *(1,) * (x.ndim - 2)
    )


def mean_of_groups(x, groups):
    return per_group(x.reshape(len(x) * groups, -1).mean(1), x, groups)


@every_dtype
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("mean", [0, 30])
def test_groups_agree_with_the_twin_and_threads_change_no_bit(dtype, last, affine, mean):
    forward, forward_twin = raw("group_norm")
    backward, backward_twin = raw("group_norm_backward")
    for n, c, space, groups in GROUPS:
        case = f"{n, c, space, groups}"
        x, dy = (lay(draw(seed, (n, c, *space), dtype, at), last) for seed, at in ((0, mean), (3, 0)))
        weight, bias = (draw(1, (c,), dtype), draw(2, (c,), dtype)) if affine else (None, None)
        y, moments = group_norm(forward, x, weight, bias, groups)
        expected, wide = group_norm(forward_twin, x, weight, bias, groups, dtype="float64")
        rstd = per_group(1 / np.sqrt(wide[1] + EPS), x, groups)
        x_hat, column = size_of_x_hat(x, per_group(wide[0], x, groups), rstd, dtype), (-1, *(1,) * len(space))
        scale = np.ones(1) if weight is None else np.abs(weight).reshape(column)
        offset = np.zeros(1) if bias is None else np.abs(bias).reshape(column)
        close(y, expected, scale * x_hat + offset, dtype, f"y {case}")
        close(moments, wide, moment_sizes(wide, dtype), dtype, f"moments {case}")
        made = group_gradients(backward, dy, x, wide, weight, groups)
        right = group_gradients(backward_twin, dy, x, wide, weight, groups, dtype="float64")
        g = np.abs(dy) * scale
        terms = rstd * (g + mean_of_groups(g, groups) + x_hat * mean_of_groups(g * x_hat, groups))
        axes = (0, *range(2, x.ndim))
        close(made[0], right[0], terms, dtype, f"dx {case}")
        close(made[1], right[1], (np.abs(dy) * x_hat).sum(axes), dtype, f"dweight {case}")
        close(made[2], right[2], np.abs(dy).sum(axes), dtype, f"dbias {case}")
        for threads in (2, 3):
            again = group_norm(forward, x, weight, bias, groups, threads)
            again += group_gradients(backward, dy, x, wide, weight, groups, threads)
            assert [a.tobytes() for a in again] == [a.tobytes() for a in (y, moments, *made)]


# --- exactness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0, 10, 1e3, 1e5])
def test_float32_is_as_exact_far_from_zero_as_near_it(mean):
    """Data of deviation 1 at a mean: the output's largest error is that of a few roundings, of values up to 5."""
    x = draw(0, (16, 8, 12, 12), "float32", mean)
    for groups, last in itertools.product((1, 2, 8), (False, True)):
        wide = x.astype(np.float64).reshape(16 * groups, -1)
        expected = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + EPS)
        y, _ = group_norm(raw("group_norm")[0], lay(x, last), None, None, groups)
        assert np.abs(y.reshape(wide.shape) - expected).max() < 1e-6
    rows = x.reshape(16, -1)
    wide = rows.astype(np.float64)
    expected = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + EPS)
    assert np.abs(layer_norm(raw("layer_norm")[0], rows, None, None)[0] - expected).max() < 1e-6


@every_dtype
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e6])
def test_a_constant_row_gives_exactly_the_bias_and_a_finite_gradient(value, dtype):
    x, weight, bias = np.full((3, 50), value, dtype), draw(0, (50,), dtype), draw(1, (50,), dtype)
    y, moments = layer_norm(raw("layer_norm")[0], x, weight, bias)
    assert (y == bias).all() and (moments[1] == 0).all()
    dx, *_ = layer_gradients(raw("layer_norm_backward")[0], draw(2, (3, 50), dtype), x, moments, weight)
    assert np.isfinite(dx).all()
    for last in (False, True):
        images = lay(np.full((2, 6, 4, 5), value, dtype), last)
        y, moments = group_norm(raw("group_norm")[0], images, None, bias[:6], 3)
        assert (y == bias[:6].reshape(6, 1, 1)).all() and (moments[1] == 0).all()


@pytest.mark.parametrize("scale", [1e-25, 1e-19, 1e19, 1e30])
def test_squares_that_leave_the_range_of_float32_are_taken_in_double(scale):
    x = draw(0, (5, 60), "float32") * np.float32(scale)
    wide = x.astype(np.float64)
    for centered in (True, False):
        y, moments = np.empty_like(x), np.empty((2, 5))
        raw("layer_norm")[0](y, moments, x, None, None, 1, 0.0, centered, 1)
        mean = wide.mean(1, keepdims=True) if centered else 0
        expected = ((wide - mean) ** 2).mean(1)
        np.testing.assert_allclose(moments[1], expected, rtol=1e-6)
        np.testing.assert_allclose(y, (wide - mean) / np.sqrt(expected)[:, None], rtol=2e-6, atol=2e-6)
    for last in (False, True):
        images, moments = lay(x.reshape(5, 6, 10, 1), last), np.empty((2, 10))
        raw("group_norm")[0](np.empty_like(images), moments, images, None, None, 2, 0.0, np.empty((5, 12)), 1)
        np.testing.assert_allclose(moments[1], wide.reshape(10, -1).var(1), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_row(bad):
    x = draw(0, (4, 6, 5, 5), "float32").copy()
    x[2, 1, 3, 3] = bad
    for last in (False, True):
        y, moments = group_norm(raw("group_norm")[0], lay(x, last), None, None, 2)
        finite = np.isfinite(y.reshape(8, -1))
        assert not finite[4].any() and finite[[0, 1, 2, 3, 5, 6, 7]].all()
        dx, *_ = group_gradients(
            raw("group_norm_backward")[0], lay(np.ones_like(x), last), lay(x, last), moments, None, 2
        )
        assert np.isfinite(dx.reshape(8, -1)[[0, 1, 2, 3, 5, 6, 7]]).all()
    y, _ = layer_norm(raw("layer_norm")[0], x.reshape(4, -1), None, None)
    assert np.isnan(y[2]).all() and np.isfinite(y[[0, 1, 3]]).all()


# --- memory, refusals -------------------------------------------------------------------------------------------------


def test_nothing_is_written_outside_of_the_outputs():
    for r, d in [(1, 1), (3, 17), (40, 33), (2, 1000)]:
        x, dy, weight = draw(0, (r, d), "float32"), draw(1, (r, d), "float32"), draw(2, (d,), "float32")
        y, dx, moments = Guarded((r, d), "float32"), Guarded((r, d), "float32"), Guarded((2, r), "float64")
        dweight, dbias, scratch = (
            Guarded((d,), "float32"),
            Guarded((d,), "float32"),
            Guarded((3, 4 * d), "float64"),
        )
        raw("layer_norm")[0](y.view, moments.view, x, weight, weight, 1, EPS, True, 2)
        raw("layer_norm_backward")[0](
            dx.view, dweight.view, dbias.view, dy, x, moments.view, weight, 1, EPS, True, scratch.view, 2
        )
        for output in (y, dx, moments, dweight, dbias, scratch):
            output.assert_clean_outside()


def test_what_does_not_fit_is_refused_before_anything_is_written():
    kernel, _ = raw("layer_norm")
    x, weight = draw(0, (6, 10), "float32"), draw(1, (10,), "float32")

    def given(**changes):
        y, moments = np.zeros((6, 10), "float32"), np.zeros((2, 6))
        values = {"y": y, "moments": moments, "x": x, "weight": weight, "bias": None, "period": 1, **changes}
        return list(values.values())

    for changes in [
        {"y": np.zeros((6, 9), "float32")},
        {"y": np.zeros((6, 10))},
        {"y": read_only(np.zeros((6, 10), "float32"))},
        {"y": np.zeros((10, 6), "float32").T},
        {"moments": np.zeros((2, 7))},
        {"moments": np.zeros((2, 6), "float32")},
        {"x": x.astype("int32")},
        {"x": x[:, ::2]},
        {"x": misaligned(x)},
        {"weight": draw(1, (9,), "float32")},
        {"weight": draw(1, (10,), "float64")},
        {"bias": draw(1, (20,), "float32")[::2]},
        {"period": 4},
        {"period": 0},
        {"period": 2},
    ]:
        arguments = given(**changes)
        with pytest.raises((ValueError, TypeError)):
            kernel(*arguments, EPS, True, 1)
        assert not arguments[0].any() and not arguments[1].any()
    same = x.copy()
    with pytest.raises(ValueError, match="overlap"):
        kernel(*given(y=same, x=same), EPS, True, 1)


def test_groups_that_do_not_fit_are_refused():
    kernel, _ = raw("group_norm")
    x, moments, scratch = draw(0, (2, 6, 4), "float32"), np.zeros((2, 6)), np.zeros((2, 12))
    y = np.zeros_like(x)
    for changes in [
        {"groups": 4},
        {"groups": 0},
        {"groups": 2},
        {"scratch": np.zeros((1, 12))},
        {"scratch": np.zeros((2, 12), "float32")},
        {"moments": np.zeros((2, 5))},
        {"y": np.zeros((2, 6, 5), "float32")},
        {"weight": draw(1, (5,), "float32")},
    ]:
        given = {"y": y, "moments": moments, "x": x, "weight": None, "bias": None, "groups": 3}
        given |= {"eps": EPS, "scratch": scratch, "threads": 1, **changes}
        with pytest.raises((ValueError, TypeError)):
            kernel(*given.values())
        assert not y.any() and not moments.any()


def test_one_of_dweight_and_dbias_alone_is_refused():
    x, moments = draw(0, (6, 10), "float32"), np.ones((2, 6))
    dx, dweight = np.zeros_like(x), np.zeros(10, "float32")
    with pytest.raises(ValueError, match="both or neither"):
        raw("layer_norm_backward")[0](dx, dweight, None, x, x, moments, None, 1, EPS, True, np.zeros((1, 40)), 1)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_nothing_is_done_for_no_values(shape):
    x = np.zeros(shape, "float32")
    y, moments = layer_norm(raw("layer_norm")[0], x, None, None)
    assert y.shape == shape and not moments.any()
    scratch, dweight, dbias = np.zeros((1, 4 * shape[1])), np.full(shape[1], 7, "f"), np.full(shape[1], 7, "f")
    raw("layer_norm_backward")[0](y, dweight, dbias, x, x, moments, None, 1, EPS, True, scratch, 1)
    assert not dweight.any() and not dbias.any()
