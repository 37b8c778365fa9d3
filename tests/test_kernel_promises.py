"""What the BatchNorm kernels promise besides digits: constants, NaN, fused relu, invariants, Python threads."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_helpers import (
    EPS,
    KERNELS,
    LAYOUTS,
    arguments,
    bits,
    call,
    channels_last,
    chosen,
    every_dtype,
    every_layout,
    moments_of,
    rows,
)
from tolerances import KERNEL

from tinybn import kernels

SHAPES = [(24, 3), (200, 33), (6, 3, 4, 5), (4, 40, 7, 7), (3, 4, 40, 40)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


# --- constant channels ------------------------------------------------------------------------------------------------


def check_constant(x, value, dtype):
    """Channel 1 of x is constant."""
    rng = np.random.default_rng(0)
    x[:, 1] = value
    weight, bias = rng.standard_normal((2, x.shape[1])).astype(dtype)
    y, moments, _ = kernels.batch_norm(x, weight, bias, EPS)
    assert (y[:, 1] == bias[1]).all()
    assert (kernels.normalize(x, *moments, weight, bias, EPS)[:, 1] == bias[1]).all()
    assert moments[0, 1] == x[0, 1].flat[0] and 0 <= moments[1, 1] <= 1e-30 * float(value) ** 2
    dx, dweight, dbias = kernels.batch_norm_backward(y, x, *moments, weight, EPS)
    assert np.isfinite(dx).all() and np.isfinite(dweight).all() and np.isfinite(dbias).all()


@every_dtype
@every_layout
@every_shape
@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, -3.3e-20, 1e-42, 12345.678, 16777217.0, 1e30, -3e38])
def test_a_constant_channel_gives_exactly_the_bias_and_a_finite_gradient(value, shape, layout, dtype):
    check_constant(LAYOUTS[layout](np.random.default_rng(0).standard_normal(shape).astype(dtype)), value, dtype)


@every_dtype
@every_layout
@pytest.mark.parametrize("shape", [(1_000_000, 2), (1000, 2, 1000), (1, 2, 500_000)], ids=str)
def test_a_constant_channel_of_a_million_values(shape, layout, dtype):
    check_constant(
        LAYOUTS[layout](np.random.default_rng(0).standard_normal(shape, "float32").astype(dtype)), 0.1, dtype
    )


# --- NaN and infinity -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
@every_dtype
@every_layout
@every_shape
def test_nan_and_infinity_come_through_in_their_channel_only(shape, layout, dtype, place, bad):
    rng = np.random.default_rng(0)
    clean, dy = (LAYOUTS[layout](rng.standard_normal(shape).astype(dtype)) for _ in range(2))
    x, others = clean.copy("K"), np.arange(shape[1]) != 1
    at = {"first": 0, "middle": 1, "last": -1}[place]
    x[(at, 1) if x.ndim == 2 else (at, 1, at, at)] = bad

    def everything(x, relu):
        running = np.zeros((2, shape[1]), dtype)
        y, moments, moved = kernels.batch_norm(x, None, None, EPS, *running, relu=relu)
        dx, dweight, dbias = kernels.batch_norm_backward(dy, x, *moments, None, EPS, None, relu)
        assert moved == np.isfinite(x).all() and moved == running.any()
        assert bits({"": moments}) == bits({"": kernels.batch_moments(x)})
        return y, dx, moments, dweight[None], dbias[None]

    for relu in (False, True):
        for got, expected in zip(everything(x, relu), everything(clean, relu), strict=True):
            np.testing.assert_array_equal(got[:, others], expected[:, others])
        y, dx, moments, dweight, _ = everything(x, relu)
        for result in (y[:, 1], dx[:, 1], moments[1, 1], dweight[0, 1]):
            assert np.isnan(result).all()
        assert not np.isfinite(moments[0, 1])


@every_layout
@every_shape
def test_a_gradient_that_is_not_finite_stays_in_its_channel(shape, layout):
    rng = np.random.default_rng(0)
    x, clean = (LAYOUTS[layout](rng.standard_normal(shape).astype("float32")) for _ in range(2))
    moments, others = moments_of(x), np.arange(shape[1]) != 1
    for bad in (np.nan, np.inf):
        dy = clean.copy("K")
        dy[-1, 1] = bad
        for backward in (kernels.batch_norm_backward, kernels.normalize_backward):
            got, expected = backward(dy, x, *moments, None, EPS), backward(clean, x, *moments, None, EPS)
            for one, other in zip(got, expected, strict=True):
                one, other = (a if a.ndim > 1 else a[None] for a in (one, other))
                np.testing.assert_array_equal(one[:, others], other[:, others])
            assert not np.isfinite(got[0][-1, 1]).any() and not np.isfinite(got[1][1]) and not np.isfinite(got[2][1])


# --- fused relu -------------------------------------------------------------------------------------------------------


def with_zeros_and_nan(shape, layout, dtype):
    """Arguments of the kernels; in channel 0 some y are 0 or -0, and in the last some values are NaN."""
    a = {name: array.copy("K") for name, array in arguments(shape, layout, dtype).items()}
    a["x"][:, 0] = np.round(a["x"][:, 0])
    a["mean"][0], a["bias"][0] = a["x"][0, 0].flat[0], -0.0
    if shape[1] > 1:
        a["x"][-1, -1] = a["dy"][0, -1] = np.nan
    return a


@every_dtype
@every_layout
@every_shape
def test_fused_relu_has_the_bits_of_relu_afterwards(shape, layout, dtype):
    given = with_zeros_and_nan(shape, layout, dtype)
    for kernel in ("batch_norm", "normalize"):
        plain, fused = (call(chosen(kernel), given, relu=relu) for relu in (False, True))
        expected = {
            **plain,
            "y": np.maximum(plain["y"], 0) + 0,
        }  # + 0: NumPy may take -0 for the larger, kernels do not
        assert bits({**fused, "y": fused["y"] + 0}) == bits(expected)
        assert (plain["y"] == 0).any() or kernel == "batch_norm"
        assert np.isnan(fused["y"]).any()


@every_dtype
@every_layout
@every_shape
def test_the_gradient_of_fused_relu_has_the_bits_of_a_gradient_that_is_masked_first(shape, layout, dtype):
    given = with_zeros_and_nan(shape, layout, dtype)
    y = call(chosen("normalize"), given)["y"]
    masked = {**given, "dy": LAYOUTS[layout](given["dy"] * ~(y <= 0))}  # as in tinybn's relu: 0·dy keeps dy's sign
    assert ((y <= 0).sum() > 0) and (y == 0).any() and np.isnan(y).any()
    for kernel in ("batch_norm_backward", "normalize_backward"):
        fused = call(chosen(kernel), given, relu=True)
        assert bits(fused) == bits(call(chosen(kernel), masked))


# --- gradients, and what holds for any batch --------------------------------------------------------------------------


@every_layout
@every_shape
def test_classical_bug_detached_statistics(shape, layout):
    """A gradient that takes mean and variance for constants lacks two terms: compare with central differences."""
    rng = np.random.default_rng(0)
    x, dy = (LAYOUTS[layout](rng.standard_normal(shape)) for _ in range(2))
    weight = rng.standard_normal(shape[1])
    _, moments, _ = kernels.batch_norm(x, weight, None, EPS)
    dx, _, _ = kernels.batch_norm_backward(dy, x, *moments, weight, EPS)
    for _ in range(5):
        index, step = tuple(rng.integers(shape)), 1e-5
        losses = []
        for sign in (1, -1):
            moved = x.copy("K")
            moved[index] += sign * step
            losses.append((kernels.batch_norm(moved, weight, None, EPS)[0] * dy).sum())
        assert abs(dx[index] - (losses[0] - losses[1]) / (2 * step)) <= 1e-7
    detached, _, _ = kernels.normalize_backward(dy, x, *moments, weight, EPS)
    assert np.abs(dx - detached).max() > 1e-3


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
    tolerance = 20 * KERNEL[str(x.dtype)]
    y, (mean, var), _ = kernels.batch_norm(x, None, None, eps)
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


# --- several Python threads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_that_run_in_two_python_threads_at_a_time_do_not_disturb_each_other(threads):
    cases = [arguments((600, 40, 5), "contiguous", "float32"), arguments((3000, 33), "contiguous", "float64", seed=1)]
    expected = [{kernel: bits(call(chosen(kernel), case)) for kernel in KERNELS} for case in cases]
    start, wrong = threading.Barrier(2, timeout=60), []

    def work(case, results):
        start.wait()
        for _ in range(10):
            for kernel in KERNELS:
                if bits(call(chosen(kernel), case, threads=threads)) != results[kernel]:
                    wrong.append(kernel)

    workers = [threading.Thread(target=work, args=pair) for pair in zip(cases, expected, strict=True)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


FORK = """
import os
import numpy as np
from tinybn import kernels, set_num_threads

set_num_threads(4)
x = np.random.default_rng(0).standard_normal((512, 2048), dtype=np.float32)
before = kernels.batch_norm(x, None, None, 1e-5)[0].tobytes()
child = os.fork()
same = kernels.batch_norm(x, None, None, 1e-5)[0].tobytes() == before
if child:
    same = same and os.waitpid(child, 0)[1] == 0
    print(same)
else:
    os._exit(0 if same else 1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_process_may_fork_after_threads_have_worked():
    """The child has none of the parent's threads, and must not wait for them."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.split() == ["True"], done.stderr


FORK_WITHIN = """
import os, threading
import numpy as np
from tinybn import kernels

kernel = kernels.KERNELS["batch_norm"][0] or kernels.KERNELS["batch_norm"][1]
x = np.random.default_rng(0).standard_normal((64, 32, 784), dtype=np.float32)


def run(y, threads):
    kernel(y, np.empty((2, 32)), x, None, None, None, None, 0.1, 1e-5, False, threads, False)


def work():
    while not done:
        run(others, 2)


mine, others, expected = (np.empty_like(x) for _ in range(3))
done, failed = False, 0
run(expected, 1)
thread = threading.Thread(target=work)
thread.start()
for _ in range(100):  # without the cure, one in fifteen goes wrong
    child = os.fork()
    if child == 0:
        others[...] = 7  # the child's copy of what the other thread was writing to
        run(mine, 4)
        os._exit(0 if (mine == expected).all() and (others == 7).all() else 1)
    failed += os.waitpid(child, 0)[1] != 0
done = True
thread.join()
print(failed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_process_may_fork_while_another_thread_is_inside_a_kernel():
    """The job under way is not the child's: its workers would write to memory that is somebody else's there."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK_WITHIN], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stdout.split() == ["0"], (done.stdout, done.stderr)
