"""Max-pooling: the raw kernels against their twins, whose loops are over the window, in every form that they work in.

Values are taken as they are, so all comparisons are of bits.
"""

import itertools

import numpy as np
import pytest
from guards import Guarded, holding
from kernel_helpers import every_dtype, read_only

from tinybn import kernels

# R, S, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w
WINDOWS = {
    "2×2": (2, 2, 2, 2, 0, 0, 1, 1),
    "2×2 that overlap": (2, 2, 1, 1, 0, 0, 1, 1),
    "2×2 with an edge": (2, 2, 2, 2, 1, 1, 1, 1),
    "2×2 with dilation": (2, 2, 1, 2, 0, 0, 3, 2),
    "3×3": (3, 3, 2, 2, 1, 1, 1, 1),
    "3×2 with uneven numbers": (3, 2, 1, 3, 2, 0, 2, 1),
    "a row": (1, 4, 1, 2, 0, 1, 1, 1),
    "a column": (4, 1, 2, 1, 1, 0, 1, 1),
    "one value": (1, 1, 1, 1, 0, 0, 1, 1),
    "one value of some": (1, 1, 2, 3, 0, 0, 1, 1),
    "all": (6, 7, 1, 1, 0, 0, 1, 1),
    "more than all": (8, 9, 1, 1, 2, 3, 1, 1),
    "steps over places": (2, 2, 3, 4, 1, 0, 1, 1),
    "some windows on padding alone": (2, 2, 1, 1, 4, 5, 1, 1),
    "dilation over the edge": (2, 3, 1, 1, 2, 3, 4, 3),
}
every_window = pytest.mark.parametrize("window", WINDOWS)

# Fewer than 16 channels are worked on a row of windows at a time, if rows have at most 2048 values.
CHANNELS = [1, 2, 3, 7, 15, 16, 17, 33]
ROWS = [(2048, 1), (2049, 1), (1024, 2), (1025, 2), (682, 3), (683, 3), (136, 15), (137, 15)]  # W, C


def ties(rng, shape):
    return rng.integers(0, 3, shape) - 1


VALUES = {
    "ties": ties,
    "zeros of both signs": lambda rng, shape: rng.choice([0.0, -0.0, -1.0], shape),
    "all -inf": lambda rng, shape: np.full(shape, -np.inf),
    "many -inf": lambda rng, shape: np.where(rng.random(shape) < 0.7, -np.inf, ties(rng, shape)),
    "some NaN": lambda rng, shape: np.where(rng.random(shape) < 0.1, np.nan, ties(rng, shape)),
    "many NaN": lambda rng, shape: np.where(rng.random(shape) < 0.6, np.nan, rng.choice([np.inf, -np.inf, 1], shape)),
    "all NaN": lambda rng, shape: np.full(shape, np.nan),
    "numbers": lambda rng, shape: rng.standard_normal(shape),
}


def raw(kernel):
    compiled, _ = kernels.KERNELS[kernel]
    if compiled is None:
        pytest.skip("the kernels are not compiled")
    return compiled


def output_size(size, window):
    taps, strides, pads, dilations = window[:2], window[2:4], window[4:6], window[6:]
    axes = zip(size, taps, strides, pads, dilations, strict=True)
    return tuple((n + 2 * pad - dilation * (k - 1) - 1) // stride + 1 for n, k, stride, pad, dilation in axes)


def check(x, window, threads=1):
    shape = (len(x), *output_size(x.shape[1:3], window), x.shape[3])
    y, index = Guarded(shape, x.dtype), Guarded(shape, "int32")
    raw("max_pool2d")(y.view, index.view, read_only(x), *window, threads)
    expected = np.empty(shape, x.dtype), np.empty(shape, "int32")
    kernels.KERNELS["max_pool2d"][1](*expected, x, *window, 1)
    for got, wanted in zip((y, index), expected, strict=True):
        np.testing.assert_array_equal(got.view, wanted, err_msg=f"x {x.shape}")
        assert got.view.tobytes() == wanted.tobytes()
        got.assert_clean_outside()


@every_dtype
@pytest.mark.parametrize("values", VALUES)
@every_window
def test_maxima_and_their_places_are_those_of_the_twin(window, values, dtype):
    rng = np.random.default_rng(0)
    for c in CHANNELS:
        check(VALUES[values](rng, (2, 6, 7, c)).astype(dtype), WINDOWS[window])


@every_dtype
@pytest.mark.parametrize("width, c", ROWS)
@pytest.mark.parametrize("window", ["2×2", "3×3", "some windows on padding alone", "dilation over the edge"])
def test_rows_that_are_as_long_as_a_row_may_be(window, width, c, dtype):
    x = VALUES["some NaN"](np.random.default_rng(0), (1, 4, width, c)).astype(dtype)
    check(x, WINDOWS[window])


@pytest.mark.parametrize("values", ["some NaN", "numbers"])
def test_the_output_may_have_longer_rows_than_the_input(values):
    """From 2048 values on in either of them."""
    for pad, c in itertools.product((1010, 1011, 1012, 1013, 1014), (1, 2)):
        check(VALUES[values](np.random.default_rng(0), (1, 3, 24 // c, c)), (2, 3, 1, 1, 0, pad // c, 1, 1))


@every_dtype
@pytest.mark.parametrize("c", CHANNELS)
def test_threads_change_no_bit(c, dtype):
    x = VALUES["some NaN"](np.random.default_rng(0), (7, 6, 7, c)).astype(dtype)
    for threads in (2, 3, 4):
        check(x, WINDOWS["3×3"], threads)


def test_nothing_is_done_for_no_images_or_channels():
    for shape in ((0, 6, 7, 3), (2, 6, 7, 0)):
        check(np.zeros(shape), WINDOWS["2×2"])


def test_an_image_of_nothing_has_windows_on_padding_alone():
    check(np.zeros((2, 0, 3, 5)), (2, 2, 1, 1, 1, 1, 1, 1))
    check(np.zeros((2, 3, 0, 5)), (2, 2, 1, 1, 1, 1, 1, 1))


# --- the gradient -----------------------------------------------------------------------------------------------------

APART = [name for name, (r, s, sh, sw, _, _, dh, dw) in WINDOWS.items() if sh >= r and sw >= s and (dh, dw) == (1, 1)]


@every_dtype
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("window", APART)
def test_the_gradient_of_windows_that_do_not_overlap_is_what_scatter_makes(window, values, dtype):
    rng, window = np.random.default_rng(0), WINDOWS[window]
    for c, (h, w) in itertools.product(CHANNELS, [(6, 7), (8, 8), (5, 9)]):
        x = VALUES[values](rng, (3, h, w, c)).astype(dtype)
        y, index = (np.empty((3, *output_size((h, w), window), c), kind) for kind in (dtype, "int32"))
        kernels.KERNELS["max_pool2d"][1](y, index, x, *window, 1)
        dy = rng.standard_normal(y.shape).astype(dtype)
        expected = np.zeros((3, h * w, c), dtype)
        n, p, q, k = np.nonzero(index >= 0)
        np.add.at(expected, (n, index[n, p, q, k], k), dy[n, p, q, k])
        for threads in (1, 2, 4):
            dx = Guarded(x.shape, dtype)
            raw("max_pool2d_backward")(dx.view, read_only(dy), read_only(index), *window[:6], threads)
            np.testing.assert_array_equal(dx.view, expected.reshape(x.shape), err_msg=f"{x.shape}, {threads} threads")
            dx.assert_clean_outside()


@every_dtype
@every_window
def test_scatter_adds_at_the_places_that_the_maxima_had(window, dtype):
    """Integers, whose sums are exact: several windows may have the same place."""
    rng, window = np.random.default_rng(0), WINDOWS[window]
    for c in (1, 3, 16, 17):
        x = VALUES["some NaN"](rng, (2, 6, 7, c)).astype(dtype)
        y, index = (np.empty((2, *output_size((6, 7), window), c), kind) for kind in (dtype, "int32"))
        kernels.KERNELS["max_pool2d"][1](y, index, x, *window, 1)
        dy, before = rng.integers(-4, 5, y.shape).astype(dtype), rng.integers(-4, 5, (2, 42, c)).astype(dtype)
        expected, flat = before.copy(), (2, -1, c)
        kernels.KERNELS["scatter_plane"][1](expected, dy.reshape(flat), index.reshape(flat), 1)
        for threads in (1, 2, 4):
            dx = holding(before)
            raw("scatter_plane")(dx.view, read_only(dy.reshape(flat)), read_only(index.reshape(flat)), threads)
            np.testing.assert_array_equal(dx.view, expected)
            dx.assert_clean_outside()


@pytest.mark.parametrize("kernel", ["max_pool2d", "max_pool2d_backward"])
def test_another_dtype_other_memory_and_read_only_outputs_are_refused(kernel):
    shape, sizes = (2, 3, 3, 5), WINDOWS["2×2"]
    given = [np.zeros(shape), np.zeros(shape, "int32"), np.zeros((2, 6, 7, 5))]
    outputs = (0, 1)
    if kernel == "max_pool2d_backward":
        given, sizes, outputs = [given[2], given[0], given[1]], sizes[:6], (0,)
    changes = [lambda x, dtype=dtype: x.astype(dtype) for dtype in ("float32", "float16", "int64", "complex128", ">f8")]
    changes += [lambda x: x[..., ::-1], lambda x: np.repeat(x, 2, axis=3)[..., ::2], np.asfortranarray, lambda x: x[0]]
    for which, change in [(i, change) for i in range(3) for change in changes] + [(i, read_only) for i in outputs]:
        arrays = [change(x) if i == which else x for i, x in enumerate(given)]
        with pytest.raises((ValueError, TypeError)):
            raw(kernel)(*arrays, *sizes, 1)
        assert not any(x.any() for x in arrays)
