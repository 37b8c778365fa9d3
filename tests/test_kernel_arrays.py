"""Arrays as users have them: what the functions of `tinybn.kernels` take, and what the raw kernels refuse."""

import math
import re

import numpy as np
import pytest
from kernel_helpers import (
    EPS,
    MEMORY,
    arguments,
    channels_last,
    every_dtype,
    gradients,
    moments_of,
    normalized,
)
from tolerances import KERNEL

from tinybn import kernels
from tinybn.errors import DTypeError, ShapeError

every_memory = pytest.mark.parametrize("memory", MEMORY)


# --- the functions that ops call: any memory --------------------------------------------------------------------------


def assert_near(got, expected, dtype, scale=10):
    """For values of about 1; `scale` for sums of some hundred of them."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=KERNEL[dtype] * scale)


@every_dtype
@pytest.mark.parametrize(
    "shape", [(6, 5), (6, 1), (6, 5, 7), (6, 5, 3, 4), (6, 1, 3, 4), (6, 5, 1, 1), (6, 2, 2, 2, 2), (1, 3, 70)]
)
@every_memory
def test_any_memory_gives_the_right_answer_and_is_left_alone(memory, shape, dtype):
    rng = np.random.default_rng(1)
    x, dy = (MEMORY[memory](rng.standard_normal(shape).astype(dtype)) for _ in range(2))
    weight, bias = rng.standard_normal((2, shape[1]))
    before = x.copy(), dy.copy()
    mean, var = exact = moments_of(x)

    y, moments, moved = kernels.batch_norm(x, weight, bias, EPS)
    assert y.dtype == dtype and moments.dtype == np.float64 and moved is True
    assert_near(y, normalized(x, mean, var, weight, bias), dtype, 100)
    for got in (moments, kernels.batch_moments(x)):
        assert_near(got, exact, dtype)
    assert_near(kernels.normalize(x, mean, var, weight, bias, EPS), normalized(x, mean, var, weight, bias), dtype, 100)
    for backward, own in ((kernels.batch_norm_backward, True), (kernels.normalize_backward, False)):
        results = backward(dy, x, mean, var, weight, EPS)
        for got, wanted in zip(results, gradients(dy, x, mean, var, weight, own), strict=True):
            assert got.dtype == dtype
            assert_near(got, wanted, dtype, 1000)
        assert results[0].strides == y.strides

    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(dy, before[1])


@every_memory
def test_any_memory_of_arrays_per_channel(memory):
    given = {name: value.copy() for name, value in arguments((6, 5, 7), "contiguous", "float32").items()}
    laid = {name: MEMORY[memory](value[:, None])[:, 0] for name, value in given.items() if value.ndim == 1}
    x, dy, eps = given["x"], given["dy"], EPS
    writable = memory not in ("read-only", "broadcast", "broadcast channels")
    mean, var, weight, bias = (laid[name] for name in ("mean", "var", "weight", "bias"))
    running = [laid[name].copy() if not writable else laid[name] for name in ("running_mean", "running_var")]
    before = [np.array(value, np.float64) for value in running]
    exact = moments_of(x)

    y, moments, moved = kernels.batch_norm(x, weight, bias, eps, *running, momentum=0.25)
    assert_near(y, normalized(x, *exact, weight, bias), "float32", 100)
    assert moved is True
    for got, old, new in zip(running, before, moments * [[1], [42 / 41]], strict=True):
        np.testing.assert_allclose(got, 0.75 * old + 0.25 * new, rtol=1e-6)
    assert_near(
        kernels.normalize(x, mean, var, weight, bias, eps), normalized(x, mean, var, weight, bias), "float32", 100
    )
    for backward, own in ((kernels.batch_norm_backward, True), (kernels.normalize_backward, False)):
        got, wanted = backward(dy, x, mean, var, weight, eps), gradients(dy, x, mean, var, weight, own)
        for one, other in zip(got, wanted, strict=True):
            assert_near(one, other, "float32", 1000)


@pytest.mark.parametrize("memory", ["contiguous", "channels last", "cut from contiguous", "cut from channels last"])
def test_the_output_lies_as_the_input(memory):
    x = MEMORY[memory](np.random.default_rng(0).standard_normal((4, 5, 3, 2)).astype("float32"))
    y, _, _ = kernels.batch_norm(x, None, None, EPS)
    last = "last" in memory
    assert np.moveaxis(y, 1, -1).flags.c_contiguous == last and y.flags.c_contiguous != last


def test_a_gradient_in_another_layout_is_brought_to_that_of_the_input():
    x, dy = np.random.default_rng(0).standard_normal((2, 4, 5, 3, 2))
    mean, var = moments_of(x)
    expected = kernels.batch_norm_backward(dy, x, mean, var, None, EPS)
    got = kernels.batch_norm_backward(channels_last(dy), x, mean, var, None, EPS)
    for a, b in zip(got, expected, strict=True):
        assert a.tobytes() == b.tobytes() and a.strides == b.strides


@every_dtype
@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 4), (2, 3, 0), (2, 3, 4, 0), (5, 0), (5, 0, 2), (0, 0)])
def test_an_empty_batch_gives_empty_outputs_and_zeros(shape, dtype):
    broadcast = np.broadcast_to(np.empty((), dtype), shape)  # its strides are 0
    for x in (np.empty(shape, dtype), channels_last(np.empty(shape, dtype)), broadcast):
        y, moments, moved = kernels.batch_norm(x, None, None, EPS)
        assert y.shape == shape and y.dtype == dtype and moved is False
        for backward in (kernels.batch_norm_backward, kernels.normalize_backward):
            dx, dweight, dbias = backward(x, x, *moments, None, EPS)
            assert dx.shape == kernels.normalize(x, *moments, None, None, EPS).shape == shape
            for statistics in (*moments, dweight, dbias, *kernels.batch_moments(x)):
                np.testing.assert_array_equal(statistics, np.zeros(shape[1]))


@pytest.mark.parametrize("dtype", ["float16", "int64", "complex64", "bool", "longdouble"])
def test_a_dtype_that_kernels_do_not_have_is_refused(dtype):
    x = np.ones((4, 3), dtype)
    with pytest.raises(DTypeError, match=rf"float32 or float64.*{x.dtype}"):
        kernels.batch_norm(x, None, None, EPS)


def test_shapes_that_do_not_go_together_are_refused():
    x, three, four = np.ones((4, 3)), np.ones(3), np.ones(4)
    with pytest.raises(ShapeError, match=r"weight.*\(3,\).*\(4,\)"):
        kernels.batch_norm(x, four, three, EPS)
    with pytest.raises(ShapeError, match=r"bias.*\(3,\).*\(4,\)"):
        kernels.normalize(x, three, three, three, four, EPS)
    with pytest.raises(ShapeError, match=r"var.*\(3,\).*\(4,\)"):
        kernels.normalize(x, three, four, None, None, EPS)
    with pytest.raises(ShapeError, match=r"running_var.*\(3,\).*\(4,\)"):
        kernels.batch_norm(x, None, None, EPS, three, four)
    with pytest.raises(ShapeError, match=r"\(3, 4\).*\(4, 3\)"):
        kernels.batch_norm_backward(x.T, x, three, three, None, EPS)
    for x in (three, np.ones(())):
        with pytest.raises(ShapeError, match=r"\(N, C, \.\.\.\).*" + re.escape(str(x.shape))):
            kernels.batch_moments(x)


@every_memory
def test_erf_takes_any_memory(memory):
    x = MEMORY[memory](np.random.default_rng(0).standard_normal((4, 5, 3, 2)))
    y = kernels.erf(x)
    assert y.dtype == x.dtype and not np.shares_memory(x, y)
    np.testing.assert_allclose(y, np.vectorize(math.erf)(x), rtol=1e-15)
