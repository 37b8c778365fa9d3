"""Winograd's form of 3×3 convolutions: right, exact, chosen by sizes alone, switched off when asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels import compiled_and_twin

import tinybn as tb
from tinybn import kernels
from tinybn.kernels import convolve, convolve_winograd
from tinybn.kernels.windows import Geometry

COMPILED = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled: plain sums serve")


def both_ways(function, *arguments):
    fast = function(*arguments)
    tb.set_winograd(False)
    try:
        return fast, function(*arguments)
    finally:
        tb.set_winograd(True)


def data(seed, n, c, k, size, padding, dtype):
    generator = np.random.default_rng(seed)
    p, q = (m + 2 * pad - 2 for m, pad in zip(size, padding, strict=True))
    x, dy = (
        generator.standard_normal((n, *place, channels)).astype(dtype).transpose(0, 3, 1, 2)
        for place, channels in ((size, c), ((p, q), k))
    )
    return x, generator.standard_normal((k, c, 3, 3)).astype(dtype), generator.standard_normal(k).astype(dtype), dy


def three_functions(x, weight, bias, dy, geometry):
    """What a convolution and its two gradients give."""
    return (
        lambda: convolve.conv2d(x, weight, bias, geometry),
        lambda: convolve.conv2d_input_grad(dy, weight, geometry, x.shape),
        lambda: convolve.conv2d_weight_grad(dy, x, geometry, weight.shape),
    )


SIZES = [  # images, channels in and out, height and width, padding
    (2, 32, 32, (9, 9), (0, 0)),
    (3, 32, 48, (8, 11), (1, 1)),
    (1, 48, 32, (7, 7), (1, 1)),
    (9, 32, 32, (14, 14), (1, 1)),
    (2, 64, 32, (13, 30), (2, 0)),
    (2, 32, 64, (7, 60), (1, 2)),
    (1, 160, 32, (8, 8), (1, 1)),
    (0, 32, 32, (9, 9), (1, 1)),
]


@COMPILED
@pytest.mark.parametrize("n, c, k, size, padding", SIZES)
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 5e-15)])
def test_convolution_and_its_gradients_are_those_of_plain_sums(n, c, k, size, padding, dtype, tolerance):
    """The error, relative to the largest value, is 4e-7 at the most in float32. In float64 it is that of both."""
    geometry = Geometry(padding=padding)
    given = data(0, n, c, k, size, padding, dtype)
    exact = tuple(a.astype("float64") for a in given)
    assert convolve_winograd.pays((k, c, 3, 3), geometry, given[3].shape[2:])
    tb.set_winograd(False)
    try:
        wanted = [function() for function in three_functions(*exact, geometry)]
    finally:
        tb.set_winograd(True)
    for function, expected in zip(three_functions(*given, geometry), wanted, strict=True):
        got = function()
        assert got.dtype == np.dtype(dtype) and got.shape == expected.shape
        if expected.size:
            assert np.abs(got - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-30)


@COMPILED
def test_it_is_another_way_and_can_be_switched_off():
    x, weight, bias, dy = data(1, 2, 32, 32, (9, 9), (1, 1), "float32")
    for function in three_functions(x, weight, bias, dy, Geometry(padding=(1, 1))):
        fast, plain = both_ways(function)
        assert (fast != plain).any()
        assert np.array_equal(fast, function())


@pytest.mark.parametrize(
    "k, c, kernel, geometry, out",
    [
        (32, 32, (5, 5), Geometry(), (9, 9)),
        (32, 32, (3, 3), Geometry(stride=(2, 2)), (9, 9)),
        (32, 32, (3, 3), Geometry(dilation=(1, 2)), (9, 9)),
        (32, 32, (3, 3), Geometry(groups=2), (9, 9)),
        (16, 32, (3, 3), Geometry(), (9, 9)),
        (32, 40, (3, 3), Geometry(), (9, 9)),
        (32, 32, (3, 3), Geometry(), (6, 6)),
    ],
)
def test_other_convolutions_do_without_it(k, c, kernel, geometry, out):
    assert not convolve_winograd.pays((k, c, *kernel), geometry, out)
    assert convolve_winograd.pays((32, 32, 3, 3), Geometry(), (9, 9)) == kernels.COMPILED


def test_only_true_and_false_switch_it():
    with pytest.raises(TypeError, match="set_winograd: enabled is 1; expected True or False"):
        tb.set_winograd(1)


@COMPILED
def test_threads_change_no_bit():
    x, weight, bias, dy = data(2, 9, 32, 64, (14, 15), (1, 1), "float32")
    before, made = tb.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            tb.set_num_threads(threads)
            made.append([f().tobytes() for f in three_functions(x, weight, bias, dy, Geometry(padding=(1, 1)))])
    finally:
        tb.set_num_threads(before)
    assert all(each == made[0] for each in made)


@COMPILED
def test_contiguous_inputs_give_contiguous_outputs_of_the_same_values():
    x, weight, bias, dy = data(3, 2, 32, 32, (9, 9), (1, 1), "float32")
    rows = [np.ascontiguousarray(a) for a in (x, weight, bias, dy)]
    geometry = Geometry(padding=(1, 1))
    pairs = zip(three_functions(x, weight, bias, dy, geometry), three_functions(*rows, geometry), strict=True)
    for last, first in pairs:
        assert np.array_equal(last(), first())
    assert convolve.conv2d(*rows[:3], geometry).flags.c_contiguous


@COMPILED
def test_second_derivatives_go_through_it():
    x, weight, _, _ = data(4, 1, 32, 32, (7, 7), (1, 1), "float64")
    x, weight = (tb.tensor(a, requires_grad=True) for a in (x, weight))

    def second():
        y = tb.functional.conv2d(x, weight, padding=1)
        (dx,) = tb.grad((y * y).sum(), x, create_graph=True)
        return tb.grad((dx * dx).sum(), weight)[0].numpy()

    fast, plain = both_ways(second)
    assert np.abs(fast - plain).max() <= 1e-12 * np.abs(plain).max()


# --- the kernels against their twins ----------------------------------------------------------------------------------

quickly = settings(max_examples=20, deadline=None, derandomize=True)
sizes = st.tuples(
    st.integers(1, 4), *[st.sampled_from((16, 32, 48))] * 2, *[st.integers(3, 19)] * 2, *[st.integers(0, 2)] * 2
)


def kernel_arguments(n, c, k, h, w, top, left, dtype):
    p, q = h + 2 * top - 2, w + 2 * left - 2
    generator = np.random.default_rng(n)
    x, dy, u, bias, weight = (
        generator.standard_normal(shape).astype(dtype)
        for shape in ((n, h, w, c), (n, p, q, k), (16, c, k), (k,), (k, c, 3, 3))
    )
    scratch = np.empty((2, 1 << 18), dtype)
    return x, dy, u, bias, weight, scratch


@quickly
@given(sizes, st.sampled_from(["float32", "float64"]))
def test_compiled_and_twin_agree(size, dtype):
    n, c, k, _, _, top, left = size
    x, dy, u, bias, weight, scratch = kernel_arguments(*size, dtype)
    calls = {
        "winograd": (np.empty_like(dy), (x, u, bias, scratch, top, left, 2)),
        "winograd_weights": (np.empty((min(n, 2), 16, c, k), dtype), (x, dy, scratch, top, left, 2)),
        "transform_weights": (np.empty_like(u), (weight, False)),
        "weights_of_sums": (np.empty_like(weight), (np.stack([u, u + 1]), 2)),
    }
    for name, (out, others) in calls.items():
        compiled, twin = compiled_and_twin(name)
        got, expected = np.full_like(out, np.nan), np.full_like(out, np.nan)
        twin(expected, *others)
        compiled(got, *others)
        tolerance = 1e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@COMPILED
@pytest.mark.parametrize(
    "change",
    [
        {"y": np.zeros((2, 8, 9, 32), "float32")},
        {"x": np.zeros((2, 9, 9, 24), "float32")},
        {"x": np.zeros((2, 9, 9, 32), "float64")},
        {"x": np.zeros((2, 9, 32, 9), "float32").transpose(0, 1, 3, 2)},
        {"u": np.zeros((16, 32, 16), "float32")},
        {"bias": np.zeros(31, "float32")},
        {"scratch": np.zeros((1, 100), "float32")},
        {"scratch": np.zeros((1, 1 << 18), "float32")},
        {"top": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(change):
    arguments = {
        "y": np.zeros((2, 9, 9, 32), "float32"),
        "x": np.zeros((2, 9, 9, 32), "float32"),
        "u": np.zeros((16, 32, 32), "float32"),
        "bias": np.ones(32, "float32"),
        "scratch": np.zeros((2, 1 << 18), "float32"),
        "top": 1,
        "left": 1,
        "threads": 2,
    }
    compiled, _ = compiled_and_twin("winograd")
    compiled(*arguments.values())
    arguments.update(change)
    arguments["y"][...] = 7
    with pytest.raises((tb.errors.ShapeError, tb.errors.DTypeError)):
        compiled(*arguments.values())
    assert (arguments["y"] == 7).all()
