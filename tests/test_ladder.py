"""The ladder of BatchNorm forwards: right where a step says so, and wrong where it says that."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybn import kernels
from tinybn.bench import ladder_page
from tinybn.bench.ladder import LADDER, step_named
from tinybn.errors import DTypeError, ShapeError

ROOT = Path(__file__).parents[1]
EPS = 1e-5

# Relative to |weight·x̂| + |bias| + 1. In float32 it is what the kernel that serves promises. In float64 the mean alone
# is summed in double: adding up 4,500 values of 1e5, one after the other, is off by some 1e-15·1e5 of a value.
TOLERANCE = {"float32": 2e-6, "float64": 1e-9}

# N, C, S: one value in a row, rows shorter than a register and longer than a piece, one image, one channel.
SIZES = [(64, 3, 1), (1, 2, 50), (2, 1, 1), (5, 4, 7), (9, 1, 33), (16, 5, 49), (3, 2, 1500), (1, 1, 4096)]
MEANS = [0.0, 10.0, 1e3, 1e4, 1e5]

compiled = pytest.mark.skipif(not kernels.COMPILED, reason="the kernels are not compiled, or not in use")
every_step = pytest.mark.parametrize("step", LADDER, ids=lambda step: step.name)
exact_steps = pytest.mark.parametrize("step", [step for step in LADDER if step.exact], ids=lambda step: step.name)


def sample(size, dtype, mean=0.0, seed=0):
    """x, weight, bias: x with standard deviation 1."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(size) + mean
    weight, bias = random.uniform(0.5, 2, size[1]), random.standard_normal(size[1])
    return x.astype(dtype), weight.astype(dtype), bias.astype(dtype)


def run(step, x, weight, bias, threads=1):
    y = np.full_like(x, np.nan)
    step.function(y, x, weight, bias, EPS, threads)
    return y


def relative_error(y, x, weight, bias):
    x, weight, bias = (a.astype(np.float64) for a in (x, weight[:, None], bias[:, None]))
    x = x - x.mean((0, 2), keepdims=True)
    x -= x.mean((0, 2), keepdims=True)  # what rounding has left of a mean of 1e5
    term = weight * x / np.sqrt(np.mean(x * x, (0, 2), keepdims=True) + EPS)
    return np.max(np.abs(y - (term + bias)) / (np.abs(term) + np.abs(bias) + 1))


# --- right and wrong --------------------------------------------------------------------------------------------------


@exact_steps
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_an_exact_step_is_exact(step, size, mean, dtype):
    x, weight, bias = sample(size, dtype, mean)
    assert relative_error(run(step, x, weight, bias), x, weight, bias) <= TOLERANCE[dtype]


@every_step
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_step_is_right_near_zero(step, size, dtype):
    """Sums of 4096 float32, one after the other, lose a digit."""
    x, weight, bias = sample(size, dtype)
    assert relative_error(run(step, x, weight, bias), x, weight, bias) <= 10 * TOLERANCE[dtype]


@compiled
def test_one_pass_is_wrong_far_from_zero():
    """The squares of values around 1e4 are 1e8; float32 rounds them to multiples of 8, and the variance is 1."""
    step = step_named("one_pass")
    x, weight, bias = sample((16, 5, 49), "float32", mean=1e4)
    y = run(step, x, weight, bias)
    assert not relative_error(y, x, weight, bias) < 0.1  # or NaN: the root of a variance below 0
    near = sample((16, 5, 49), "float32")
    assert relative_error(run(step, *near), *near) <= TOLERANCE["float32"]


@pytest.mark.parametrize("step", [step for step in LADDER if not step.exact], ids=lambda step: step.name)
def test_an_inexact_step_is_wrong_far_from_zero(step):
    x, weight, bias = sample((64, 2, 784), "float32", mean=1e5)
    assert not relative_error(run(step, x, weight, bias), x, weight, bias) < 1e-3


@exact_steps
def test_a_constant_channel_gives_the_bias(step):
    x, weight, bias = sample((6, 3, 10), "float32")
    x[:, 1] = 12345.678
    assert (run(step, x, weight, bias)[:, 1] == bias[1]).all()


@exact_steps
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 70), st.sampled_from(MEANS), st.integers(0, 99))
def test_an_exact_step_is_exact_for_any_shape(step, n, c, s, mean, seed):
    if n * s > 1:
        x, weight, bias = sample((n, c, s), "float32", mean, seed)
        assert relative_error(run(step, x, weight, bias), x, weight, bias) <= TOLERANCE["float32"]


# --- arrays and threads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [step for step in LADDER if step.threaded], ids=lambda step: step.name)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", [(16, 5, 49), (64, 3, 1), (1, 1, 4096), (2, 9, 1500)], ids=str)
def test_threads_do_not_change_a_bit(step, size, dtype):
    x, weight, bias = sample(size, dtype, mean=10)
    one, two, four = (run(step, x, weight, bias, threads) for threads in (1, 2, 4))
    assert one.tobytes() == two.tobytes() == four.tobytes()


@every_step
def test_inputs_are_left_alone(step):
    inputs = sample((4, 3, 35), "float32")
    before = [a.copy() for a in inputs]
    for a in inputs:
        a.flags.writeable = False
    run(step, *inputs)
    assert all((a == b).all() for a, b in zip(inputs, before, strict=True))


@every_step
def test_neighbours_of_y_are_left_alone(step):
    """y starts and ends in the middle of a cache line."""
    x, weight, bias = sample((3, 2, 37), "float32")
    memory = np.full(x.size + 10, 7, np.float32)
    step.function(memory[5:-5].reshape(x.shape), x, weight, bias, EPS, 1)
    assert (memory[:5] == 7).all() and (memory[-5:] == 7).all()
    assert memory[5:-5].tobytes() == run(step, x, weight, bias).tobytes()


@every_step
@pytest.mark.parametrize("size", [(0, 3, 4), (2, 0, 4), (2, 3, 0)], ids=str)
def test_an_empty_batch_is_left_empty(step, size):
    assert run(step, *sample(size, "float32")).size == 0


@every_step
def test_arrays_that_do_not_go_together_are_refused(step):
    x, weight, bias = sample((4, 3, 6), "float32")
    y = np.zeros_like(x)
    with pytest.raises(ShapeError, match=r"expected y and x \(N, C, S\).*\(4, 3, 5\)"):
        step.function(y[:, :, :5], x, weight, bias, EPS, 1)
    with pytest.raises(ShapeError, match=r"weight and bias \(C,\).*\(2,\)"):
        step.function(y, x, weight[:2], bias, EPS, 1)
    with pytest.raises(ShapeError, match="contiguous"):
        step.function(y, np.zeros((4, 6, 3), "f").transpose(0, 2, 1), weight, bias, EPS, 1)
    with pytest.raises(DTypeError, match=r"float64.*float32"):
        step.function(y.astype(np.float64), x, weight, bias, EPS, 1)
    with pytest.raises(DTypeError, match="int64"):
        step.function(*(a.astype(np.int64) for a in (y, x, weight, bias)), EPS, 1)
    assert not y.any()


@every_step
def test_a_read_only_output_is_refused(step):
    x, weight, bias = sample((4, 3, 6), "float32")
    y = np.zeros_like(x)
    y.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        step.function(y, x, weight, bias, EPS, 1)
    assert not y.any()


# --- the list and the page --------------------------------------------------------------------------------------------


def test_steps_stand_in_the_order_of_the_source():
    source = (ROOT / "kernels" / "ladder.pyx").read_text(encoding="utf-8")
    in_source = re.findall(r"^def (\w+)\(", source, re.MULTILINE)
    expected = ["numpy", *in_source, "tinybn"] if kernels.COMPILED else ["numpy", "tinybn"]
    assert [step.name for step in LADDER] == expected


def test_an_unknown_step_is_refused():
    with pytest.raises(ValueError, match=r"no step 'fastest'; there are numpy, naive"):
        step_named("fastest")


def test_without_compiled_kernels_an_error_says_what_to_do():
    program = (
        "from tinybn.bench import ladder; print([s.name for s in ladder.LADDER]); ladder.step_named('tinybn'); "
        "ladder.step_named('naive')"
    )
    environment = {**os.environ, "TINYBN_KERNELS": "numpy"}
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert process.stdout.split() == ["['numpy',", "'tinybn']"]
    assert "ImportError: the ladder's steps are compiled" in process.stderr
    assert "install a C compiler and reinstall" in process.stderr


@compiled
def test_the_page_s_command_prints_what_the_page_shows(capsys):
    ladder_page.main(["--quick"])
    times, limits, reads, errors = capsys.readouterr().out.strip().split("\n\n")
    names = [f"`{step.name}`" for step in LADDER]
    assert [line.split()[1] for line in times.splitlines()[2:]] == ["copy", *names]
    assert [line.split()[1] for line in errors.splitlines()[2:]] == names
    assert re.search(r"\d GB/s .* \d+ GFLOP/s", limits)
    for table in (times, reads, errors):
        assert len({line.count("|") for line in table.splitlines()}) == 1
        assert len({len(line) for line in table.splitlines()}) == 1


@compiled
def test_the_page_s_command_refuses_one_thread(capsys):
    with pytest.raises(SystemExit):
        ladder_page.main(["--threads", "1"])
    assert "--threads 1: expected 2 or more" in capsys.readouterr().err


@compiled
def test_the_page_shows_the_steps_that_there_are():
    page = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` ", page, re.MULTILINE)
    names = [step.name for step in LADDER]
    assert rows == names * 2  # times and errors
