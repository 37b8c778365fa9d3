"""How exact the BatchNorm kernels are: the promise of kernels/batchnorm.pyx, measured against float64."""

import math

import numpy as np
import pytest
from kernel_helpers import (
    EPS,
    LAYOUTS,
    arguments,
    every_layout,
    gradients,
    moments_of,
    normalized,
    row,
    rows,
    term_sizes,
)
from tolerances import (
    FEW_VALUES_VARIANCE_ULP,
    KERNEL,
    KERNEL_OUTPUT,
    KERNEL_VARIANCE_ULP,
    TWO_VALUES_VARIANCE_ULP,
)

from tinybn import kernels

DISTANCES = [0, 1, 10, 1e3, 1e4, 1e5]  # of the mean from 0, in standard deviations

# (N, C, S): M from 2 to 50176, as dense data, as images, and as long rows; the small ones have an odd rest everywhere.
SIZES = [(2, 3, 1), (3, 3, 1), (8, 70, 1), (17, 3, 1), (64, 100, 1), (100, 5, 1), (1000, 3, 1), (256, 256, 1)]
SIZES += [(1, 3, 2), (1, 3, 3), (2, 17, 4), (17, 5, 1), (2, 3, 32), (1, 2, 64), (4, 5, 25), (10, 4, 100), (1, 2, 1000)]
SIZES += [(64, 2, 784), (1, 2, 50176), (1024, 3, 49), (50176, 2, 1)]
MILLION = [(1_000_000, 2, 1), (1000, 2, 1000), (2, 2, 500_000), (20_000, 2, 50)]


def smooth(rng, n, c, s):
    """Images whose neighbouring values are alike, and neighbouring images too."""
    t = np.arange(n)[:, None, None] / n * 5 + np.arange(s) / s * 9
    return np.sin(t + rng.uniform(0, 6, (1, c, 1))) + 0.01 * rng.standard_normal((n, c, s))


def sampled_unlike_the_rest(rng, n, c, s):
    """Where the kernels look first for a mean to start from, the values are far away from the real one."""
    x = rng.standard_normal((n, c, s))
    x[:: max(1, n // 16)] += 1e3
    return x


def first_unlike_the_rest(rng, n, c, s):
    x = rng.standard_normal((n, c, s))
    x[0] -= 1e4
    return x


def outlier(rng, n, c, s):
    x = rng.standard_normal((n, c, s))
    x[-1, :, -1] = 1e6
    return x


def alternating(rng, n, c, s):
    """Zeros and one other value: what rounding takes from one square, it takes from all."""
    x = np.zeros((n, c, s))
    x[1::2] = rng.uniform(1, 2, (1, c, 1))
    x[:, :, 1::2] = rng.uniform(1, 2, (1, c, 1))
    return x


def every_other_row(rng, n, c, s):
    """As in `alternating`, and all that is sampled is one of the two."""
    x = np.zeros((n, c, s))
    x[1::2] = rng.uniform(1, 2, (1, c, 1))
    return x


DATA = {
    "normal": lambda rng, *size: rng.standard_normal(size),
    "uniform": lambda rng, *size: rng.uniform(-1, 1, size),
    "heavy tails": lambda rng, *size: rng.standard_cauchy(size),
    "lognormal": lambda rng, *size: np.exp(2 * rng.standard_normal(size)),
    "sorted": lambda rng, n, c, s: (
        np.sort(rng.standard_normal((c, n, s)).reshape(c, -1)).reshape(c, n, s).swapaxes(0, 1)
    ),
    "integers": lambda rng, *size: rng.integers(0, 256, size).astype(float),
    "mostly zeros": lambda rng, *size: np.maximum(rng.standard_normal(size) - 1, 0),
    "smooth": smooth,
    "first unlike": first_unlike_the_rest,
    "sampled unlike": sampled_unlike_the_rest,
    "outlier": outlier,
    "alternating": alternating,
    "every other row": every_other_row,
}
every_data = pytest.mark.parametrize("data", DATA)


def made(data, size, distance, seed=0):
    """float32 (N, C, S) of a kind, each channel with a standard deviation of its own and that many of them from 0."""
    rng = np.random.default_rng(seed)
    x = DATA[data](rng, *size)
    mean, var = moments_of(x)
    spread = np.sqrt(np.where(var > 0, var, 1))
    x = (x - row(mean, x.shape)) / row(spread, x.shape) + distance
    return np.ascontiguousarray(x * row(rng.uniform(0.7, 1.4, size[1]), x.shape), np.float32)


def check_promise(x, eps, case, ulps=KERNEL_VARIANCE_ULP):
    """Output and variance; the exact ones are those of the float32 values."""
    rng = np.random.default_rng(1)
    weight, bias = rng.standard_normal((2, x.shape[1])).astype("float32")
    exact = moments_of(x)
    expected = normalized(x, *exact, weight, bias, eps)
    size = np.abs(expected - row(bias.astype(float), x.shape)) + row(np.abs(bias), x.shape) + 1
    y, moments, _ = kernels.batch_norm(x, weight, bias, eps)
    error = np.abs(y - expected) / size
    assert error.max() <= KERNEL_OUTPUT, f"{case}: output off by {error.max()}"
    for got in (moments, kernels.batch_moments(x)):
        ulp = np.abs(got[1] - exact[1]) / np.spacing(exact[1].astype("float32"))
        assert ulp.max() <= ulps, f"{case}: variance off by {ulp.max()} ulp"
        assert (np.abs(got[0] - exact[0]) <= KERNEL_OUTPUT * np.sqrt(exact[1])).all(), f"{case}: mean"
    again = kernels.normalize(x, *moments, weight, bias, eps)
    assert (np.abs(again - expected) / size).max() <= KERNEL_OUTPUT, f"{case}: normalize"


@every_layout
@every_data
def test_output_and_variance_are_as_exact_as_promised(data, layout):
    for i, size in enumerate(SIZES):
        large = size[0] * size[2] > 10_000
        for distance in DISTANCES[i % 3 :: 3] if large else DISTANCES:
            x = LAYOUTS[layout](made(data, size, distance))
            check_promise(x, EPS, f"(N, C, S) = {size}, mean/std = {distance}")


@pytest.mark.parametrize("size", MILLION, ids=str)
@every_layout
def test_a_million_values_per_channel(layout, size):
    for data, distance in (("smooth", 0), ("normal", 1e5)):
        check_promise(LAYOUTS[layout](made(data, size, distance)), EPS, f"{data}, mean/std = {distance}")


@pytest.mark.slow
@pytest.mark.parametrize("size", MILLION, ids=str)
@every_layout
@every_data
def test_a_million_values_per_channel_of_every_kind(data, layout, size):
    for distance in DISTANCES:
        check_promise(LAYOUTS[layout](made(data, size, distance)), EPS, f"mean/std = {distance}")


@pytest.mark.slow
@every_layout
@every_data
def test_output_and_variance_for_other_seeds(data, layout):
    for seed in range(1, 6):
        for size in SIZES:
            for distance in DISTANCES:
                x = LAYOUTS[layout](made(data, size, distance, seed))
                ulps = TWO_VALUES_VARIANCE_ULP if data == "alternating" else KERNEL_VARIANCE_ULP
                check_promise(x, EPS, f"(N, C, S) = {size}, mean/std = {distance}, seed {seed}", ulps)


@every_layout
def test_a_few_values_that_make_up_most_of_the_variance(layout):
    for seed in range(300):
        rng = np.random.default_rng(seed)
        n, s = (257, 1) if seed % 2 else (16, 49)
        x = rng.standard_normal((n, 16, s)).astype("float32")
        for c in range(16):
            x[rng.integers(n), c, rng.integers(s)] = rng.uniform(10, 3000)
        check_promise(LAYOUTS[layout](x), EPS, f"(N, C, S) = {x.shape}, seed {seed}", FEW_VALUES_VARIANCE_ULP)


@every_layout
@every_data
def test_gradients_do_not_depend_on_how_far_the_data_sits_from_zero(data, layout):
    """No promise of digits for cancelled sums: the error is small against the terms, at any distance."""
    for size in [(64, 100, 1), (8, 70, 1), (4, 5, 25), (2, 3, 784), (300, 3, 49)]:
        a = {name: array.copy("K") for name, array in arguments(size, layout, "float32").items()}
        for distance in DISTANCES:
            a["x"] = LAYOUTS[layout](made(data, size, distance))
            a["mean"], a["var"] = moments_of(a["x"])
            terms = term_sizes(a, "batch_norm_backward", KERNEL["float32"])
            got = kernels.batch_norm_backward(a["dy"], a["x"], a["mean"], a["var"], a["weight"], EPS)
            expected = gradients(a["dy"], a["x"], a["mean"], a["var"], a["weight"])
            for name, one, other in zip(("dx", "dweight", "dbias"), got, expected, strict=True):
                error = (np.abs(one - other) / (terms[name] + 1e-30)).max()
                assert error <= KERNEL["float32"], f"{name}, (N, C, S) = {size}, mean/std = {distance}: {error}"


# --- the ends of float32 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1e-20, 1e-15, 1e15, 1e20, 1e25, 1e37])
@every_layout
def test_values_whose_squares_leave_float32(layout, scale):
    for size in [(24, 3, 1), (200, 33, 1), (6, 3, 20), (4, 40, 49), (5, 2, 700)]:
        for kind in ("normal", "alternating", "first unlike"):
            x = LAYOUTS[layout]((made(kind, size, 0).astype(float) * scale).astype("float32"))
            eps = 1e-5 * scale**2
            exact = moments_of(x)
            y, moments, _ = kernels.batch_norm(x, None, None, eps)
            expected = normalized(x, *exact, eps=eps)
            assert (np.abs(y - expected) <= KERNEL_OUTPUT * (np.abs(expected) + 1)).all(), f"{kind}, {size}"
            np.testing.assert_allclose(moments[1], exact[1], rtol=1e-6, err_msg=f"{kind}, {size}")
            dy = np.abs(expected).astype("float32")  # no sign that would take from a sum what makes it large
            for name, got, wanted in zip(
                ("dx", "dweight", "dbias"),
                kernels.batch_norm_backward(dy, x, *moments, None, eps),
                gradients(dy, x, *exact, eps=eps),
                strict=True,
            ):
                atol = 1e-5 * (1 / np.sqrt(exact[1]).min() if name == "dx" else size[0] * size[2])
                np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=atol, err_msg=f"{name}, {kind}, {size}")


@every_layout
def test_two_values_of_opposite_sign_whose_squares_are_zero_in_float32(layout):
    x = LAYOUTS[layout](np.array([[[1e-25]], [[-1e-25]]], "float32"))
    y, moments, _ = kernels.batch_norm(x, None, None, 0.0)
    np.testing.assert_array_equal(y, np.sign(x))
    np.testing.assert_allclose(moments, [[0], [1e-50]], rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
@every_layout
def test_subnormals_are_kept(layout, threads):
    """Inputs and outputs of a few thousandths of the smallest normal number, as float64 has them."""
    smallest = np.float64(2.0**-149)
    for size in [(24, 3, 1), (300, 33, 1), (6, 3, 20), (4, 40, 49), (5, 2, 700)]:
        numbers = np.random.default_rng(0).integers(-1000, 1000, size)
        x = LAYOUTS[layout]((numbers * smallest).astype("float32"))
        assert (x != 0).mean() > 0.99
        y = np.full_like(x, np.nan)
        moments = np.empty((2, size[1]))
        kernel = kernels.KERNELS["batch_norm"]
        (kernel[0] or kernel[1])(y, moments, x, None, None, None, None, 0.1, EPS, False, threads, False)
        # variances of 1e-85: 0 will do where the eps of 1e-5 hides them; below, with eps 0, it would not
        np.testing.assert_allclose(moments[1], moments_of(x)[1], rtol=1e-12, atol=smallest)
        np.testing.assert_allclose(moments[0], moments_of(x)[0], rtol=0, atol=smallest * 1e-9)
        # rounded: the mean's high part, by half of the smallest number times rstd, and two results
        expected = normalized(x, *moments_of(x))
        np.testing.assert_allclose(y, expected, rtol=0, atol=3 * smallest)
        assert (y[np.abs(expected) > 3 * smallest] != 0).all()
    tiny = np.full(64, 1e-40, "float32")
    assert (tiny * np.float32(0.5) != 0).all() and (tiny + tiny != 0).all(), "the process has lost its subnormals"


# --- what is exact ----------------------------------------------------------------------------------------------------


def test_two_values_per_channel_become_plus_and_minus_one():
    x = np.array([[3.0, -1.0], [5.0, 1e4]], "float32")
    weight, bias = np.array([2.0, 3.0], "float32"), np.array([0.5, -1.0], "float32")
    y, _, _ = kernels.batch_norm(x, weight, bias, 0.0)
    np.testing.assert_array_equal(y, bias + weight * [[-1, -1], [1, 1]])


def test_the_measure_itself_is_exact():
    """`moments_of` against sums without any rounding."""
    for data in DATA:
        x = made(data, (100, 1, 7), 1e5)
        values = rows(x)[:, 0].tolist()
        mean = math.fsum(values) / 700
        var = math.fsum((value - mean) ** 2 for value in values) / 700
        np.testing.assert_allclose(moments_of(x)[:, 0], [mean, var], rtol=1e-9, err_msg=data)
