"""The running statistics that the BatchNorm kernels move: by which formula, and when not."""

import numpy as np
import pytest
from kernel_helpers import EPS, LAYOUTS, arguments, call, chosen, every_dtype, every_layout

from tinybn import kernels

SHAPES = [(24, 3), (200, 33), (6, 3, 4, 5), (4, 40, 7, 7), (3, 4, 40, 40), (2, 3), (1, 4)]


def running_formula(running, moments, momentum, count):
    """In float64, rounded once by the caller; the variance is the unbiased one."""
    mean, var = moments[0], moments[1] * (count / (count - 1) if count > 1 else 0.0)
    return [(1 - momentum) * r.astype(np.float64) + momentum * new for r, new in zip(running, (mean, var), strict=True)]


@every_dtype
@every_layout
@pytest.mark.parametrize("momentum", [0.0, 0.1, 1 / 3, 1.0])
def test_running_statistics_are_the_formula_in_float64_rounded_once(momentum, layout, dtype):
    for shape in SHAPES:
        given = arguments(shape, layout, dtype)
        got = call(chosen("batch_norm"), given, momentum=momentum)
        before = [given["running_mean"], given["running_var"]]
        count = given["x"].size // shape[1]
        for name, expected in zip(
            ("running_mean", "running_var"), running_formula(before, got["moments"], momentum, count), strict=True
        ):
            assert got["moved"] is True and got[name].tobytes() == expected.astype(dtype).tobytes()
            alone = call(chosen("batch_norm"), {**given}, momentum=momentum, **{name: None})
            other = ({"running_mean", "running_var"} - {name}).pop()
            assert alone["moved"] is True and alone[other].tobytes() == got[other].tobytes()


BEYOND = {
    "NaN": [[np.nan], [1.0]],
    "inf": [[np.inf], [1.0]],
    "-inf": [[-np.inf], [1.0]],
    "a variance beyond the dtype": [[1e30], [-1e30]],
    "an unbiased variance beyond the dtype": [[1.8e19], [-1.8e19]],
}


@every_layout
@pytest.mark.parametrize("what", BEYOND)
def test_a_batch_that_running_statistics_cannot_hold_moves_no_channel(what, layout):
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
    x[:, 3] = np.array(BEYOND[what])
    before = [np.full(5, value, "float32") for value in (0.1, 0.7)]
    running = [value.copy() for value in before]
    y, moments, moved = kernels.batch_norm(LAYOUTS[layout](x), None, None, EPS, *running)
    assert moved is False
    if np.isfinite(x).all():
        assert np.isfinite(moments).all() and np.isfinite(y).all()
    for got, expected in zip(running, before, strict=True):
        assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0)])
def test_an_empty_batch_moves_nothing(shape):
    running = [np.full(3, 0.1, "float32"), np.full(3, 0.7, "float32")]
    assert kernels.batch_norm(np.empty(shape, "float32"), None, None, EPS, *running)[2] is False
    assert (running[0] == np.float32(0.1)).all() and (running[1] == np.float32(0.7)).all()


def test_running_statistics_in_another_dtype_or_cut_from_larger_arrays_are_moved_in_place():
    x = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
    memory = np.full((3, 4), 0.1)
    _, moments, moved = kernels.batch_norm(x, None, None, EPS, memory[:, 1], memory[:, 3], momentum=0.5)
    assert moved and (memory[:, [0, 2]] == 0.1).all()
    np.testing.assert_allclose(memory[:, 1], 0.05 + moments[0] / 2, rtol=1e-6)
    np.testing.assert_allclose(memory[:, 3], 0.05 + moments[1] / 2 * 8 / 7, rtol=1e-6)


def test_running_statistics_in_another_dtype_keep_their_digits_after_a_batch_that_is_not_finite():
    running = np.full((2, 3), 0.1)
    assert not kernels.batch_norm(np.full((8, 3), np.nan, "float32"), None, None, EPS, *running)[2]
    assert (running == 0.1).all()


def test_running_statistics_that_cannot_be_written_are_refused_before_anything_is_written():
    x = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
    for step in (1, 2):  # as kernels take them, and cut from larger arrays
        mean, var = np.full(3 * step, 0.1, "float32")[::step], np.full(3 * step, 0.7, "float32")[::step]
        var.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            kernels.batch_norm(x, None, None, EPS, mean, var)
        assert (mean == np.float32(0.1)).all()


@pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled; their twins take anything")
def test_one_array_for_both_running_statistics_is_refused():
    x = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
    both = np.full(3, 0.5, "float32")
    with pytest.raises(ValueError, match="overlap"):
        kernels.batch_norm(x, None, None, EPS, both, both)
    assert (both == 0.5).all()
