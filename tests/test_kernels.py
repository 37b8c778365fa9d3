"""The BatchNorm kernels: the compiled ones against their NumPy twins, and both against what BatchNorm promises."""

import ast
import inspect
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybn import kernels
from tinybn.errors import DTypeError, ShapeError

ROOT = Path(__file__).parents[1]
EPS = 1e-5

# Relative to the size of the terms that a result is the sum of (see `term_sizes`). A result takes some five roundings
# of 6e-8 in float32, 1e-16 in float64; sums add less than that, as their lanes are short and independent.
TOLERANCE = {"float32": 5e-7, "float64": 2e-14}

# What a raw kernel writes and reads, in the order of its arguments; `threads` follows.
OUTPUTS = {
    "batch_moments": ["mean", "var"],
    "batch_norm": ["y", "mean", "var"],
    "normalize": ["y"],
    "batch_norm_backward": ["dx", "dweight", "dbias"],
    "normalize_backward": ["dx", "dweight", "dbias"],
}
INPUTS = {
    "batch_moments": ["x"],
    "batch_norm": ["x", "weight", "bias", "eps"],
    "normalize": ["x", "mean", "var", "weight", "bias", "eps"],
    "batch_norm_backward": ["dy", "x", "mean", "var", "weight", "eps"],
    "normalize_backward": ["dy", "x", "mean", "var", "weight", "eps"],
}

# N, C, S. The small ones are all ends of lanes; the others reach every branch: bands and groups of channels, slices of
# rows, rows longer than a flush, lines of many repeated rows.
SIZES = [(n, c, s) for n in (1, 2, 33) for c in (1, 3, 17) for s in (1, 5, 49)]
SIZES += [(600, 70, 1), (2, 3, 2500), (130, 300, 5), (20, 33, 196), (1, 2, 5000)]

every_kernel = pytest.mark.parametrize("kernel", OUTPUTS)
every_layout = pytest.mark.parametrize("layout", ["ncs", "mc"])
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


# --- the table --------------------------------------------------------------------------------------------------------


def test_compiled_kernels_are_in_use():
    if os.environ.get("TINYBN_REQUIRE_COMPILED") == "1":
        assert kernels.COMPILED
    elif not kernels.COMPILED:
        pytest.skip("the kernels are not compiled; TINYBN_REQUIRE_COMPILED=1 makes this a failure")


def test_the_table_has_every_kernel_with_its_twin():
    names = {f"{kernel}_{layout}" for kernel in OUTPUTS for layout in ("ncs", "mc")}
    assert names <= set(kernels.KERNELS)
    for name, (compiled, twin) in kernels.KERNELS.items():
        assert (compiled is not None) == kernels.COMPILED, name
        assert callable(twin), name


def test_a_kernel_its_twin_and_its_stub_take_the_same_arguments():
    stubs = {}
    for path in (ROOT / "tinybn" / "kernels").glob("*.pyi"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                stubs[node.name] = [argument.arg for argument in node.args.args]
    for name, (compiled, twin) in kernels.KERNELS.items():
        expected = list(inspect.signature(twin).parameters)
        assert stubs[name] == expected, name
        if compiled is not None:
            assert list(inspect.signature(compiled).parameters) == expected, name


# --- compiled against twin --------------------------------------------------------------------------------------------


@every_dtype
@every_layout
@every_kernel
def test_compiled_and_twin_agree_and_threads_change_no_bit(kernel, layout, dtype):
    compiled, twin = kernels.KERNELS[f"{kernel}_{layout}"]
    if compiled is None:
        pytest.skip("the kernels are not compiled")
    for size in SIZES:
        given_arrays = arguments(size, layout, dtype)
        expected = run(twin, kernel, given_arrays, 1)
        got = run(compiled, kernel, given_arrays, 1)
        sizes = term_sizes(given_arrays, kernel)
        for name in OUTPUTS[kernel]:
            error = np.abs(got[name].astype(np.float64) - expected[name])
            assert (error <= TOLERANCE[dtype] * sizes[name]).all(), f"{name}, (N, C, S) = {size}: {error.max()}"
        for threads in (2, 4):
            again = run(compiled, kernel, given_arrays, threads)
            assert same_bits(got, again), f"(N, C, S) = {size}: {threads} threads"


def arguments(size, layout, dtype, seed=0):
    """Read-only inputs of every kernel; mean and var are not those of x."""
    n, c, s = size
    rng = np.random.default_rng(seed)
    shape = (n, c, s) if layout == "ncs" else (n * s, c)
    row = (c, 1) if layout == "ncs" else (c,)
    x = rng.standard_normal(shape) * rng.uniform(0.1, 10, row) + rng.uniform(-30, 30, row)
    arrays = {"x": x, "dy": rng.standard_normal(shape) + 0.5, "weight": rng.standard_normal(c)}
    arrays["bias"] = rng.standard_normal(c)
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    axes = (0, 2) if layout == "ncs" else (0,)
    arrays["mean"] = x.mean(axis=axes) + 0.3
    arrays["var"] = x.var(axis=axes) + 0.2
    for array in arrays.values():
        array.flags.writeable = False
    return {**arrays, "eps": EPS}


def run(function, kernel, given_arrays, threads):
    """The outputs of a raw kernel, which must leave its inputs alone and fill its outputs."""
    x = given_arrays["x"]
    outputs = {
        name: np.full(x.shape if name in ("y", "dx") else x.shape[1], np.nan, x.dtype if name in ("y", "dx") else float)
        for name in OUTPUTS[kernel]
    }
    before = {name: array.tobytes() for name, array in given_arrays.items() if name != "eps"}
    function(*outputs.values(), *(given_arrays[name] for name in INPUTS[kernel]), threads)
    assert before == {name: array.tobytes() for name, array in given_arrays.items() if name != "eps"}
    return outputs


def term_sizes(a, kernel):
    """How large the terms are that each output is the sum of."""
    own = kernel in ("batch_moments", "batch_norm")
    x, dy = a["x"].astype(np.float64), np.abs(a["dy"].astype(np.float64))
    axes = (0, 2) if x.ndim == 3 else (0,)
    row = (-1, 1) if x.ndim == 3 else (-1,)
    mean, var = (x.mean(axis=axes), x.var(axis=axes)) if own else (a["mean"], a["var"])
    rstd = 1 / np.sqrt(var + EPS)
    x_hat = np.abs(x - mean.reshape(row)) * rstd.reshape(row)
    weight, bias = np.abs(a["weight"].astype(np.float64)), np.abs(a["bias"].astype(np.float64))
    dweight, dbias = (dy * x_hat).sum(axis=axes), dy.sum(axis=axes)
    count = x.size // len(mean)
    inner = dy + (dbias / count).reshape(row) + x_hat * (dweight / count).reshape(row)
    # float64 holds the mean itself to 1e-16; TOLERANCE is of the spread, which is smaller than the mean here.
    rounding = np.abs(mean) * (1e-15 / TOLERANCE[str(a["x"].dtype)])
    return {
        "y": weight.reshape(row) * (x_hat + 1) + bias.reshape(row),  # + 1: the mean's own error
        "mean": np.sqrt(var) + rounding,
        "var": var,
        "dx": (weight * rstd).reshape(row) * inner,
        "dweight": dweight,
        "dbias": dbias,
    }


def same_bits(a, b):
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


# --- arrays as users have them ----------------------------------------------------------------------------------------


def misaligned(x):
    memory = np.empty(x.nbytes + 1, np.uint8)[1:]
    out = memory.view(x.dtype).reshape(x.shape)
    out[...] = x
    assert not out.flags.aligned
    return out


def read_only(x):
    out = x.copy()
    out.flags.writeable = False
    return out


def channels_last(x):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


# Ways for x (N, C, ...) to lie in memory; each keeps its values, but for the broadcast one.
MEMORY = {
    "contiguous": lambda x: x.copy(),
    "read-only": read_only,
    "channels last": channels_last,
    "cut from contiguous": lambda x: np.repeat(x, 2, axis=0)[::2],
    "cut from channels last": lambda x: channels_last(np.repeat(x, 2, axis=0))[::2],
    "every other channel": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "Fortran order": np.asfortranarray,
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "misaligned": misaligned,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
}


def formula(x, weight, bias, eps=EPS):
    """y, mean, var in float64."""
    x = np.asarray(x, np.float64)
    axes, row = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    mean, var = x.mean(axis=axes), x.var(axis=axes)
    x_hat = (x - mean.reshape(row)) / np.sqrt(var + eps).reshape(row)
    return x_hat * np.reshape(weight, row) + np.reshape(bias, row), mean, var


def gradient_formula(dy, x, mean, var, weight, fixed, eps=EPS):
    """dx, dweight, dbias in float64; `fixed`: the statistics are constants."""
    dy, x = np.asarray(dy, np.float64), np.asarray(x, np.float64)
    axes, row = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    rstd = 1 / np.sqrt(var + eps)
    x_hat = (x - mean.reshape(row)) * rstd.reshape(row)
    dweight, dbias, count = (dy * x_hat).sum(axis=axes), dy.sum(axis=axes), x.size // len(mean)
    inner = dy if fixed else dy - dbias.reshape(row) / count - x_hat * dweight.reshape(row) / count
    return inner * (weight * rstd).reshape(row), dweight, dbias


def assert_near(got, expected, dtype, scale=10):
    """For values of about 1; `scale` for sums of some hundred of them."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


@every_dtype
@pytest.mark.parametrize(
    "shape", [(6, 5), (6, 1), (6, 5, 7), (6, 5, 3, 4), (6, 1, 3, 4), (6, 5, 1, 1), (6, 2, 2, 2, 2)]
)
@pytest.mark.parametrize("memory", MEMORY)
def test_any_memory_gives_the_right_answer_and_is_left_alone(memory, shape, dtype):
    rng = np.random.default_rng(1)
    x, dy = (MEMORY[memory](rng.standard_normal(shape).astype(dtype)) for _ in range(2))
    weight, bias = rng.standard_normal((2, shape[1]))
    before = x.copy(), dy.copy()

    y, mean, var = kernels.batch_norm(x, weight, bias, EPS)
    assert y.dtype == dtype and mean.dtype == var.dtype == np.float64
    expected = formula(x, weight, bias)
    for got, wanted in zip((y, mean, var), expected, strict=True):
        assert_near(got, wanted, dtype, 100)
    for got, wanted in zip(kernels.batch_moments(x), expected[1:], strict=True):
        assert_near(got, wanted, dtype)
    assert_near(kernels.normalize(x, mean, var, weight, bias, EPS), expected[0], dtype, 100)
    for backward, fixed in ((kernels.batch_norm_backward, False), (kernels.normalize_backward, True)):
        results = backward(dy, x, mean, var, weight, EPS)
        for got, wanted in zip(results, gradient_formula(dy, x, mean, var, weight, fixed), strict=True):
            assert got.dtype == dtype
            assert_near(got, wanted, dtype, 1000)
        assert results[0].strides == y.strides

    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(dy, before[1])


@pytest.mark.parametrize("memory", ["contiguous", "channels last", "cut from contiguous", "cut from channels last"])
def test_the_output_lies_as_the_input(memory):
    x = MEMORY[memory](np.random.default_rng(0).standard_normal((4, 5, 3, 2)).astype("float32"))
    y, _, _ = kernels.batch_norm(x, None, None, EPS)
    last = "last" in memory
    assert np.moveaxis(y, 1, -1).flags.c_contiguous == last and y.flags.c_contiguous != last


def test_a_gradient_in_another_layout_is_brought_to_that_of_the_input():
    x, dy = np.random.default_rng(0).standard_normal((2, 4, 5, 3, 2))
    _, mean, var = kernels.batch_norm(x, None, None, EPS)
    expected = kernels.batch_norm_backward(dy, x, mean, var, None, EPS)
    got = kernels.batch_norm_backward(channels_last(dy), x, mean, var, None, EPS)
    for a, b in zip(got, expected, strict=True):
        assert a.tobytes() == b.tobytes() and a.strides == b.strides


def test_no_weight_and_no_bias_are_one_and_zero():
    x = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
    for got, expected in zip(
        kernels.batch_norm(x, None, None, EPS), kernels.batch_norm(x, np.ones(3), np.zeros(3), EPS), strict=True
    ):
        assert got.tobytes() == expected.tobytes()


@every_dtype
@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 4), (2, 3, 0), (5, 0), (5, 0, 2)])
def test_an_empty_batch_gives_empty_outputs_and_zeros(shape, dtype):
    x = np.empty(shape, dtype)
    zeros = np.zeros(shape[1])
    y, mean, var = kernels.batch_norm(x, None, None, EPS)
    assert y.shape == shape and y.dtype == dtype
    dx, dweight, dbias = kernels.batch_norm_backward(x, x, mean, var, None, EPS)
    assert dx.shape == kernels.normalize(x, mean, var, None, None, EPS).shape == shape
    for statistics in (mean, var, dweight, dbias, *kernels.batch_moments(x)):
        np.testing.assert_array_equal(statistics, zeros)


@pytest.mark.parametrize("dtype", ["float16", "int64", "complex64", "bool"])
def test_a_dtype_that_kernels_do_not_have_is_refused(dtype):
    with pytest.raises(DTypeError, match=rf"float32 or float64.*{dtype}"):
        kernels.batch_norm(np.ones((4, 3), dtype), None, None, EPS)


def test_shapes_that_do_not_go_together_are_refused():
    x, three, four = np.ones((4, 3)), np.ones(3), np.ones(4)
    with pytest.raises(ShapeError, match=r"weight.*\(3,\).*\(4,\)"):
        kernels.batch_norm(x, four, three, EPS)
    with pytest.raises(ShapeError, match=r"bias.*\(3,\).*\(4,\)"):
        kernels.normalize(x, three, three, three, four, EPS)
    with pytest.raises(ShapeError, match=r"var.*\(3,\).*\(4,\)"):
        kernels.normalize(x, three, four, None, None, EPS)
    with pytest.raises(ShapeError, match=r"\(3, 4\).*\(4, 3\)"):
        kernels.batch_norm_backward(x.T, x, three, three, None, EPS)
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        kernels.batch_moments(three)


# --- what BatchNorm promises ------------------------------------------------------------------------------------------

SHAPES = [(24, 3), (200, 33), (6, 3, 4, 5), (4, 40, 7, 7)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
both_orders = pytest.mark.parametrize("order", [np.ascontiguousarray, channels_last], ids=["contiguous", "last"])


def rows(x):
    """(M, C) in float64, from any layout."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]).astype(np.float64)


@every_dtype
@both_orders
@every_shape
@pytest.mark.parametrize("value", [0.0, 0.1, -3.3e-20, 12345.678, 1e30])
def test_a_constant_channel_gives_exactly_the_bias_and_a_finite_gradient(value, shape, order, dtype):
    rng = np.random.default_rng(0)
    x = order(rng.standard_normal(shape).astype(dtype))
    x[:, 1] = value
    weight, bias = rng.standard_normal((2, shape[1])).astype(dtype)
    y, mean, var = kernels.batch_norm(x, weight, bias, EPS)
    assert (y[:, 1] == bias[1]).all()
    assert mean[1] == x[0, 1].flat[0] and abs(var[1]) <= 1e-30 * value**2
    dx, _, _ = kernels.batch_norm_backward(rng.standard_normal(shape).astype(dtype), x, mean, var, weight, EPS)
    assert np.isfinite(dx).all()


@both_orders
@every_shape
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_in_their_channel(bad, shape, order):
    rng = np.random.default_rng(0)
    clean, dy = (order(rng.standard_normal(shape).astype("float32")) for _ in range(2))
    x = clean.copy("K")
    x[-1, 1].flat[-1:] = bad
    if x.ndim == 2:
        x[-1, 1] = bad
    others = np.arange(shape[1]) != 1

    def everything(x):
        y, mean, var = kernels.batch_norm(x, None, None, EPS)
        dx, dweight, dbias = kernels.batch_norm_backward(dy, x, mean, var, None, EPS)
        return y, dx, mean[None], var[None], dweight[None], dbias[None]

    for got, expected in zip(everything(x), everything(clean), strict=True):
        np.testing.assert_array_equal(got[:, others], expected[:, others])
    y, dx, _, var, dweight, _ = everything(x)
    for result in (y[:, 1], dx[:, 1], var[:, 1], dweight[:, 1]):
        assert np.isnan(result).all()


@both_orders
@every_shape
@pytest.mark.parametrize("distance", [0, 10, 1e3, 1e4, 1e5])
def test_the_output_does_not_depend_on_how_far_the_data_sits_from_zero(distance, shape, order):
    rng = np.random.default_rng(0)
    x = order((rng.standard_normal(shape) + distance).astype("float32"))
    weight, bias = rng.standard_normal((2, shape[1])).astype("float32")
    expected, _, _ = formula(x, weight, bias)
    y, mean, var = kernels.batch_norm(x, weight, bias, EPS)
    size = np.abs(rows(expected) - bias) + np.abs(bias) + 1
    assert (np.abs(rows(y) - rows(expected)) <= 2e-6 * size).all()
    assert (np.abs(rows(kernels.normalize(x, mean, var, weight, bias, EPS)) - rows(expected)) <= 2e-6 * size).all()
    dy = order(rng.standard_normal(shape).astype("float32"))
    for got, wanted in zip(
        kernels.batch_norm_backward(dy, x, mean, var, weight, EPS),
        gradient_formula(dy, x, *formula(x, 1, 0)[1:], weight, fixed=False),
        strict=True,
    ):
        assert_near(got, wanted, "float32", 300)


@pytest.mark.parametrize("scale", [1e-15, 1e15, 1e25, 1e37])
@both_orders
@every_shape
def test_values_whose_squares_leave_float32(shape, order, scale):
    x = order((np.random.default_rng(0).standard_normal(shape) * scale).astype("float32"))
    y, mean, var = kernels.batch_norm(x, None, None, 1e-5 * scale**2)
    expected = formula(x, 1, 0, 1e-5 * scale**2)
    assert_near(y, expected[0], "float32", 30)
    np.testing.assert_allclose(mean, expected[1], rtol=0, atol=1e-6 * scale)
    np.testing.assert_allclose(var, expected[2], rtol=1e-5)


@both_orders
@pytest.mark.parametrize("shape", [(200, 33), (100, 3, 5, 7), (100, 40, 3, 3)], ids=str)
@pytest.mark.parametrize("distance", [3.0, 1e3, 1e6])
def test_a_sample_that_is_unlike_the_rest_costs_no_digit(distance, shape, order):
    """Where the kernels look first for a mean to start from, all values are far away from the real one."""
    x = np.random.default_rng(0).standard_normal(shape)
    x[:: shape[0] // 8] += distance
    x = order(x.astype("float32"))
    mean, var = kernels.batch_moments(x)
    _, expected_mean, expected_var = formula(x, 1, 0)
    assert (np.abs(mean - expected_mean) <= TOLERANCE["float32"] * np.sqrt(expected_var)).all()
    np.testing.assert_allclose(var, expected_var, rtol=2 * TOLERANCE["float32"])


@both_orders
@every_shape
def test_classical_bug_detached_statistics(shape, order):
    """A gradient that takes mean and variance for constants lacks two terms: compare with central differences."""
    rng = np.random.default_rng(0)
    x, dy = (order(rng.standard_normal(shape)) for _ in range(2))
    weight = rng.standard_normal(shape[1])
    _, mean, var = kernels.batch_norm(x, weight, None, EPS)
    dx, _, _ = kernels.batch_norm_backward(dy, x, mean, var, weight, EPS)
    for _ in range(5):
        index, step = tuple(rng.integers(shape)), 1e-5
        losses = []
        for sign in (1, -1):
            moved = x.copy("K")
            moved[index] += sign * step
            losses.append((kernels.batch_norm(moved, weight, None, EPS)[0] * dy).sum())
        assert abs(dx[index] - (losses[0] - losses[1]) / (2 * step)) <= 1e-7
    detached, _, _ = kernels.normalize_backward(dy, x, mean, var, weight, EPS)
    assert np.abs(dx - detached).max() > 1e-3


def test_two_values_per_channel_become_plus_and_minus_one():
    x = np.array([[3.0, -1.0], [5.0, 1e4]], "float32")
    weight, bias = np.array([2.0, 3.0], "float32"), np.array([0.5, -1.0], "float32")
    y, _, _ = kernels.batch_norm(x, weight, bias, 0.0)
    np.testing.assert_array_equal(y, bias + weight * [[-1, -1], [1, 1]])


@st.composite
def batches(draw):
    """x and dy (N, C, ...), with two values per channel or more, in either order of memory, and a weight."""
    n, c = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    space = draw(st.sampled_from([(), (1,), (2,), (33,), (3, 5), (2, 1, 4)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    x = rng.standard_normal((max(n, 2), c, *space)) * 10.0 ** draw(st.integers(-2, 2)) + draw(st.integers(-20, 20))
    order = draw(st.sampled_from([np.ascontiguousarray, channels_last]))
    dy = rng.standard_normal(x.shape)
    return order(x.astype(dtype)), order(dy.astype(dtype)), rng.standard_normal(c).astype(dtype)


@given(batches(), st.sampled_from([1e-5, 1e-3]))
def test_the_invariants(batch, eps):
    x, dy, weight = batch
    tolerance = 20 * TOLERANCE[str(x.dtype)]
    y, mean, var = kernels.batch_norm(x, None, None, eps)
    dx, dweight, dbias = kernels.batch_norm_backward(dy, x, mean, var, weight, eps)
    x_hat, dx, dy = rows(y), rows(dx), rows(dy)
    m, rstd = len(dx), 1 / np.sqrt(var + eps)

    assert (np.abs(x_hat) <= np.sqrt(m - 1) * (1 + tolerance)).all()
    mean_rounding = np.finfo(np.float64).eps * np.abs(mean) * rstd  # the mean is a double
    assert (np.abs(x_hat.sum(0)) <= (tolerance + mean_rounding) * m).all()
    np.testing.assert_allclose((x_hat**2).mean(0), var / (var + eps), rtol=tolerance)
    terms = np.abs(weight) * rstd * (np.abs(dy).sum(0) + np.abs(dy * x_hat).sum(0))
    assert (np.abs(dx.sum(0)) <= tolerance * terms).all()
    left = weight * rstd * (dy * x_hat).sum(0) * eps / (var + eps)
    assert (np.abs((dx * x_hat).sum(0) - left) <= tolerance * terms * np.sqrt(m)).all()
    assert (np.abs(dweight - (dy * x_hat).sum(0)) <= tolerance * np.abs(dy * x_hat).sum(0)).all()
    assert (np.abs(dbias - dy.sum(0)) <= tolerance * np.abs(dy).sum(0)).all()


# --- erf --------------------------------------------------------------------------------------------------------------


@every_dtype
def test_compiled_erf_and_its_twin_give_the_same_bits_on_any_number_of_threads(dtype):
    compiled, twin = kernels.KERNELS["erf"]
    if compiled is None:
        pytest.skip("the kernels are not compiled")
    x = read_only(np.r_[np.linspace(-7, 7, 1001), 0.0, -0.0, 1e-300, np.inf, -np.inf, np.nan].astype(dtype))
    expected, got = np.empty_like(x), np.empty_like(x)
    twin(expected, x, 1)
    np.testing.assert_allclose(expected, [math.erf(value) for value in x], rtol=np.finfo(dtype).eps)
    for threads in (1, 2, 4):
        compiled(got, x, threads)
        assert np.nan_to_num(got).tobytes() == np.nan_to_num(expected).tobytes(), f"{threads} threads"


@pytest.mark.parametrize("memory", MEMORY)
def test_erf_takes_any_memory(memory):
    x = MEMORY[memory](np.random.default_rng(0).standard_normal((4, 5, 3, 2)))
    y = kernels.erf(x)
    assert y.dtype == x.dtype and not np.shares_memory(x, y)
    np.testing.assert_allclose(y, np.vectorize(math.erf)(x), rtol=1e-15)


@pytest.mark.parametrize("shape", [(), (0, 3)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_erf_of_a_scalar_and_of_nothing(shape, dtype):
    y = kernels.erf(np.zeros(shape, dtype))
    assert isinstance(y, np.ndarray) and y.shape == shape and y.dtype == dtype and not y.any()


# --- which build serves -----------------------------------------------------------------------------------------------

REPORT = """
import json, os, sys, warnings
warnings.simplefilter("error")
{before}
from tinybn import kernels
print(json.dumps([kernels.BUILD, kernels.COMPILED, "OMP_WAIT_POLICY" in os.environ]))
"""
NOT_BUILT = """
class NotBuilt:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("tinybn.kernels.") and name.rpartition(".")[2] not in ("builds", "layout", "reference"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotBuilt())
"""


def fresh(code, choice=None):
    """Run code in a new interpreter with TINYBN_KERNELS set to choice."""
    environment = {key: value for key, value in os.environ.items() if key not in ("TINYBN_KERNELS", "OMP_WAIT_POLICY")}
    environment["PYTHONPATH"] = str(ROOT)
    if choice is not None:
        environment["TINYBN_KERNELS"] = choice
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def test_tinybn_kernels_chooses_the_twins_without_a_warning():
    done = fresh(REPORT.format(before=""), "numpy")
    assert json.loads(done.stdout) == ["numpy", False, False], done.stderr


def test_tinybn_kernels_with_an_unknown_value_is_refused():
    done = fresh(REPORT.format(before=""), "fast")
    assert "ValueError: TINYBN_KERNELS is 'fast'; expected one of numpy" in done.stderr


def test_a_missing_build_is_one_clear_warning_or_an_error_when_it_was_asked_for():
    done = fresh(REPORT.format(before=NOT_BUILT))
    assert "RuntimeWarning" in done.stderr and "not compiled" in done.stderr and "C compiler" in done.stderr
    done = fresh(REPORT.format(before=NOT_BUILT + 'warnings.simplefilter("ignore")'))
    assert json.loads(done.stdout) == ["numpy", False, False], done.stderr
    done = fresh(REPORT.format(before=NOT_BUILT), "baseline")
    assert "ImportError: TINYBN_KERNELS is 'baseline'" in done.stderr


SAME_EVERYWHERE = """
import hashlib, sys
import numpy as np
from tinybn import kernels
hash = hashlib.sha256()
rng = np.random.default_rng(0)
for dtype in ("float32", "float64"):
    for shape in [(64, 100), (300, 300), (2000, 33), (8, 5, 49), (3, 40, 14, 14)]:
        x, dy = rng.standard_normal((2, *shape)).astype(dtype) + 100
        weight = rng.standard_normal(shape[1]).astype(dtype)
        y, mean, var = kernels.batch_norm(x, weight, weight, 1e-5)
        for array in (y, mean, var, *kernels.batch_norm_backward(dy, x, mean, var, weight, 1e-5)):
            hash.update(array.tobytes())
print(hash.hexdigest())
"""


def test_instruction_sets_give_the_same_bits():
    results = {choice: fresh(SAME_EVERYWHERE, choice) for choice in ("baseline", "v3", "v4")}
    bits = {choice: done.stdout for choice, done in results.items() if done.returncode == 0}
    for choice in results.keys() - bits.keys():
        assert f"ImportError: TINYBN_KERNELS is '{choice}'" in results[choice].stderr, results[choice].stderr
    assert len(set(bits.values())) <= 1, bits
    assert bits or not kernels.COMPILED
