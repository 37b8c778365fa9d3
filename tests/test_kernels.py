"""The table of kernels, and the compiled ones against their NumPy twins."""

import ast
import inspect
import math
import os
from pathlib import Path

import numpy as np
import pytest
from kernel_helpers import (
    KERNELS,
    arguments,
    bits,
    call,
    every_dtype,
    every_kernel,
    every_layout,
    term_sizes,
)
from tolerances import KERNEL

from tinybn import kernels

ROOT = Path(__file__).parents[1]

# (N, C, S). The small ones are all ends of loops; the others reach every branch: blocks of channels, slices of rows,
# rows that are long or several in a line, positions that are cut into lines with a rest.
SIZES = [(n, c, s) for n in (1, 2, 33) for c in (1, 3, 17) for s in (1, 5, 49)]
SIZES += [(1100, 70, 1), (5000, 3, 1), (40, 600, 1), (2, 3, 2500), (600, 40, 5), (20, 33, 196), (1, 2, 5003)]

# A million values: from 8 MB on the kernels sweep twice over all, or go block by block when they stream. Rows that are
# summed along themselves and rows that are not, and more channels than have room for their sums between two sweeps.
LARGE = [(1100, 960, 1), (170, 130, 49), (128, 42, 196), (64, 33, 500), (33, 17, 1900), (3, 2050, 172)]

every_relu = pytest.mark.parametrize("relu", [False, True], ids=["", "relu"])


# --- the table --------------------------------------------------------------------------------------------------------


def test_compiled_kernels_are_in_use():
    if os.environ.get("TINYBN_REQUIRE_COMPILED") == "1":
        assert kernels.COMPILED
    elif not kernels.COMPILED:
        pytest.skip("the kernels are not compiled; TINYBN_REQUIRE_COMPILED=1 makes this a failure")


def test_the_table_has_every_kernel_with_its_twin():
    assert set(KERNELS) <= set(kernels.KERNELS)
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


def compiled_and_twin(kernel):
    compiled, twin = kernels.KERNELS[kernel]
    if compiled is None:
        pytest.skip("the kernels are not compiled")
    return compiled, twin


@every_relu
@every_dtype
@every_layout
@every_kernel
def test_compiled_and_twin_agree_and_neither_threads_nor_streaming_change_a_bit(kernel, layout, dtype, relu):
    compiled, twin = compiled_and_twin(kernel)
    for size in SIZES:
        given = arguments(size, layout, dtype)
        got = call(compiled, given, relu=relu)
        assert_agree(got, call(twin, given, relu=relu), term_sizes(given, kernel, KERNEL[dtype]), dtype, size)
        for threads, stream in ((1, True), (2, False), (4, True)):
            again = call(compiled, given, relu=relu, threads=threads, stream=stream)
            assert bits(got) == bits(again), f"(N, C, S) = {size}: {threads} threads, stream={stream}"


@pytest.mark.parametrize("size", LARGE, ids=str)
@every_relu
@every_dtype
@every_layout
@pytest.mark.parametrize("kernel", ["batch_norm", "batch_norm_backward"])
def test_two_sweeps_and_blocks_give_the_same_bits_and_agree_with_the_twin(kernel, layout, dtype, relu, size):
    compiled, twin = compiled_and_twin(kernel)
    given = arguments(size, layout, dtype)
    swept = call(compiled, given, relu=relu)
    assert_agree(swept, call(twin, given, relu=relu), term_sizes(given, kernel, KERNEL[dtype]), dtype, size)
    for threads, stream in ((4, False), (1, True), (2, True)):
        again = call(compiled, given, relu=relu, threads=threads, stream=stream)
        assert bits(swept) == bits(again), f"{threads} threads, stream={stream}"


@pytest.mark.parametrize(
    "dtype, positions", [("float64", 307_199), pytest.param("float32", 2_000_987, marks=pytest.mark.slow)]
)
@every_kernel
def test_compiled_and_twin_agree_on_rows_so_long_that_a_rest_of_lines_is_long_too(kernel, dtype, positions):
    compiled, twin = compiled_and_twin(kernel)
    given = arguments((1, 2, positions), "contiguous", dtype)
    got = call(compiled, given)
    assert_agree(got, call(twin, given), term_sizes(given, kernel, KERNEL[dtype]), dtype, positions)


@every_layout
@every_kernel
@pytest.mark.parametrize("missing", ["weight", "bias", "running_mean", "running_var", "all"])
def test_compiled_and_twin_agree_without_some_arguments(missing, kernel, layout):
    compiled, twin = compiled_and_twin(kernel)
    names = ["weight", "bias", "running_mean", "running_var"] if missing == "all" else [missing]
    given = arguments((33, 5, 7), layout, "float32")
    ones = {"weight": np.ones(5, "float32"), "bias": np.zeros(5, "float32")}
    sizes = term_sizes(given, kernel, KERNEL["float32"])
    plain = call(compiled, {**given, **{name: ones[name] for name in names if name in ones}})
    got = call(compiled, given, **dict.fromkeys(names))
    assert_agree(got, call(twin, given, **dict.fromkeys(names)), sizes, "float32", missing)
    for name in got.keys() & plain.keys():
        assert bits({name: got[name]}) == bits({name: plain[name]}), name


@every_layout
@every_kernel
@pytest.mark.parametrize("name", ["x", "dy", "weight", "bias", "mean", "var", "running_mean"])
def test_compiled_and_twin_agree_about_what_is_not_finite(name, kernel, layout):
    compiled, twin = compiled_and_twin(kernel)
    given = dict(arguments((33, 5, 7), layout, "float32"))
    given[name] = given[name].copy("K")
    for bad in (np.nan, np.inf, -np.inf) if name in ("x", "dy") else (np.nan,):
        given[name][(0, 2) if given[name].ndim > 1 else 2] = bad
        for relu in (False, True):
            got, expected = call(compiled, given, relu=relu), call(twin, given, relu=relu)
            assert got["moved"] == expected["moved"]
            for output in got.keys() - {"moved"}:
                finite = [np.isfinite(results[output]) for results in (got, expected)]
                np.testing.assert_array_equal(*finite, err_msg=f"{output}, {bad}, relu={relu}")


@every_dtype
@pytest.mark.parametrize("kernel", ["normalize", "batch_norm_backward", "normalize_backward"])
def test_statistics_of_the_tensors_dtype_and_in_float64_give_the_same(kernel, dtype):
    compiled, _ = compiled_and_twin(kernel)
    given = arguments((33, 5, 7), "contiguous", dtype)
    single = {name: given[name].astype(dtype) for name in ("mean", "var")}
    double = {name: value.astype(np.float64) for name, value in single.items()}
    assert bits(call(compiled, {**given, **single})) == bits(call(compiled, {**given, **double}))


def assert_agree(got, expected, sizes, dtype, case):
    assert got.keys() == expected.keys() and got["moved"] == expected["moved"]
    for name in got.keys() - {"moved"}:
        error = np.abs(got[name].astype(np.float64) - expected[name])
        assert (error <= KERNEL[dtype] * sizes[name]).all(), f"{name}, {case}: {error.max()}"


# --- erf --------------------------------------------------------------------------------------------------------------


@every_dtype
def test_compiled_erf_and_its_twin_give_the_same_bits_on_any_number_of_threads(dtype):
    compiled, twin = compiled_and_twin("erf")
    x = np.r_[np.linspace(-7, 7, 1001), 0.0, -0.0, 1e-300, np.inf, -np.inf, np.nan].astype(dtype)
    x.flags.writeable = False
    expected, got = np.empty_like(x), np.empty_like(x)
    twin(expected, x, 1)
    np.testing.assert_allclose(expected, [math.erf(value) for value in x], rtol=np.finfo(dtype).eps)
    for threads in (1, 2, 4):
        compiled(got, x, threads)
        assert np.nan_to_num(got).tobytes() == np.nan_to_num(expected).tobytes(), f"{threads} threads"


@pytest.mark.parametrize("shape", [(), (0, 3)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_erf_of_a_scalar_and_of_nothing(shape, dtype):
    y = kernels.erf(np.zeros(shape, dtype))
    assert isinstance(y, np.ndarray) and y.shape == shape and y.dtype == dtype and not y.any()
