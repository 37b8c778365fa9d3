"""Convolution and its gradients against plain loops in float64, and the compiled kernels against their NumPy twins.

Most numbers are small integers: all sums are exact then, in any order, and results are compared with ==.
"""

import inspect
from collections.abc import Mapping

import numpy as np
import pytest
from guards import Guarded
from kernel_helpers import MEMORY, channels_last, every_dtype, read_only
from tolerances import sum_error

import tinybn as tb
from tinybn import kernels
from tinybn.kernels import convolve
from tinybn.kernels.windows import Geometry

RAW = ["correlate", "correlate_weights", "spread", "gather_weights", "sum_weights", "transpose_planes"]

# x (N, C, H, W), weight (K, C/G, R, S), stride, padding, dilation, groups.
CASES = {
    "1×1": ((2, 5, 4, 6), (7, 5, 1, 1), Geometry()),
    "1×1 with steps": ((2, 5, 5, 6), (7, 5, 1, 1), Geometry(stride=(2, 3))),
    "1×1 with an edge": ((2, 12, 4, 3), (3, 12, 1, 1), Geometry(padding=(1, 2))),
    "3×3": ((3, 9, 7, 8), (5, 9, 3, 3), Geometry()),
    "3×3 with an edge": ((3, 9, 7, 8), (5, 9, 3, 3), Geometry(padding=(1, 1))),
    "2×3 with uneven numbers": ((2, 10, 9, 11), (4, 10, 2, 3), Geometry((2, 3), (2, 0), (3, 1))),
    "steps larger than the kernel": ((2, 9, 11, 13), (3, 9, 2, 2), Geometry(stride=(3, 4))),
    "a rest behind the last window": ((2, 9, 10, 9), (3, 9, 2, 2), Geometry(stride=(3, 2), padding=(1, 0))),
    "dilation": ((2, 9, 9, 10), (3, 9, 3, 2), Geometry(dilation=(2, 3))),
    "an edge wider than the kernel": ((2, 9, 3, 4), (3, 9, 2, 2), Geometry(padding=(4, 5))),
    "a kernel as large as the image": ((3, 9, 5, 4), (6, 9, 5, 4), Geometry()),
    "a kernel larger than the image": ((2, 9, 2, 3), (6, 9, 5, 4), Geometry(padding=(2, 1))),
    "one row": ((2, 9, 1, 40), (3, 9, 1, 7), Geometry(padding=(0, 3))),
    "one column": ((2, 9, 40, 1), (3, 9, 7, 1), Geometry(stride=(3, 1))),
    "one of all": ((1, 1, 1, 1), (1, 1, 1, 1), Geometry()),
    "one channel": ((4, 1, 9, 8), (6, 1, 3, 3), Geometry(padding=(1, 1))),
    "one channel to one": ((2, 1, 9, 8), (1, 1, 3, 3), Geometry(stride=(2, 2))),
    "few channels": ((3, 3, 9, 8), (5, 3, 5, 5), Geometry(padding=(2, 2))),
    "few channels with uneven numbers": ((2, 4, 12, 13), (33, 4, 3, 3), Geometry((2, 1), (2, 3), (1, 2))),
    "few channels, a rest behind the last window": ((2, 3, 10, 11), (5, 3, 2, 4), Geometry((3, 3), (1, 0))),
    "as few channels as eight": ((2, 8, 6, 7), (17, 8, 3, 3), Geometry(padding=(1, 0))),
    "many channels": ((2, 70, 6, 5), (65, 70, 3, 3), Geometry(padding=(1, 1))),
    "two groups": ((2, 10, 6, 7), (6, 5, 3, 3), Geometry(padding=(1, 1), groups=2)),
    "groups of few": ((2, 6, 6, 7), (9, 2, 3, 5), Geometry((2, 1), (0, 2), (1, 1), 3)),
    "a group for each channel": ((2, 20, 6, 7), (20, 1, 3, 3), Geometry((1, 2), (1, 1), (2, 1), 20)),
    "more outputs for each channel": ((2, 3, 6, 7), (60, 1, 3, 3), Geometry(groups=3)),
    "several bands of a copy": ((1, 9, 90, 100), (3, 9, 3, 3), Geometry(padding=(1, 1))),
    "several bands where it lies": ((1, 9, 60, 100), (3, 9, 3, 3), Geometry()),
    "a band of one line": ((1, 9, 7, 2100), (2, 9, 3, 5), Geometry((2, 1), (1, 1))),
    "no images": ((0, 9, 7, 8), (5, 9, 3, 3), Geometry(padding=(1, 1))),
    "no images of few channels": ((0, 3, 7, 8), (5, 3, 3, 3), Geometry()),
    "nothing but an edge": ((2, 9, 0, 3), (5, 9, 3, 3), Geometry(padding=(2, 1))),
    "nothing but an edge, few channels": ((2, 3, 0, 3), (5, 3, 3, 3), Geometry(padding=(2, 1))),
}
every_case = pytest.mark.parametrize("case", CASES)
LAYOUTS = {"contiguous": np.ascontiguousarray, "channels last": channels_last}

# 2**20 operations and more: threads share them. Images, bands and the parts of the weights' gradient are tasks.
LARGE = {
    "3×3": ((8, 16, 28, 28), (32, 16, 3, 3), Geometry(padding=(1, 1))),
    "few channels": ((5, 3, 33, 30), (24, 3, 5, 5), Geometry((2, 1), (2, 2))),
    "one image": ((1, 12, 120, 64), (20, 12, 3, 3), Geometry(padding=(1, 1))),
    "where it lies": ((3, 64, 40, 40), (16, 64, 1, 1), Geometry()),
    "groups": ((6, 24, 30, 30), (48, 6, 3, 3), Geometry((1, 2), (1, 0), (1, 1), 4)),
}


def output_shape(x_shape, weight_shape, g):
    sizes = zip(x_shape[2:], weight_shape[2:], g.stride, g.padding, g.dilation, strict=True)
    return x_shape[0], weight_shape[0], *((n + 2 * pad - dil * (k - 1) - 1) // s + 1 for n, k, s, pad, dil in sizes)


def reference(x, weight, bias, dy, g):
    """y, dx and dweight in float64, tap by tap."""
    (n, _, h, w), (k, a, r, s), (_, _, p, q) = x.shape, weight.shape, dy.shape
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *((pad, pad) for pad in g.padding)))
    padded = padded.reshape(n, g.groups, a, *padded.shape[2:])
    weights = weight.astype(np.float64).reshape(g.groups, k // g.groups, a, r, s)
    dy = dy.astype(np.float64).reshape(n, g.groups, k // g.groups, p, q)
    y, dpadded, dweights = np.zeros(dy.shape), np.zeros(padded.shape), np.zeros(weights.shape)
    for i in range(r):
        for j in range(s):
            top, left = i * g.dilation[0], j * g.dilation[1]
            rows = slice(top, top + (p - 1) * g.stride[0] + 1, g.stride[0])
            seen = (..., rows, slice(left, left + (q - 1) * g.stride[1] + 1, g.stride[1]))
            y += np.einsum("ngapq,gka->ngkpq", padded[seen], weights[..., i, j])
            dpadded[seen] += np.einsum("ngkpq,gka->ngapq", dy, weights[..., i, j])
            dweights[..., i, j] = np.einsum("ngkpq,ngapq->gka", dy, padded[seen])
    dx = dpadded[..., g.padding[0] : g.padding[0] + h, g.padding[1] : g.padding[1] + w].reshape(x.shape)
    y = y.reshape(n, k, p, q)
    return {"y": y if bias is None else y + bias[:, None, None], "dx": dx, "dweight": dweights.reshape(weight.shape)}


def integers(case, dtype, layout):
    (x_shape, weight_shape, g), rng = case, np.random.default_rng(0)
    shapes = {"x": x_shape, "weight": weight_shape, "bias": weight_shape[:1], "dy": output_shape(*case)}
    made = {name: rng.integers(-4, 5, shape).astype(dtype) for name, shape in shapes.items()}
    return {name: read_only(a) if a.ndim == 1 else frozen(LAYOUTS[layout](a)) for name, a in made.items()}, g


def frozen(x):
    x.flags.writeable = False
    return x


def results(x, weight, bias, dy, g):
    return {
        "y": convolve.conv2d(x, weight, bias, g),
        "dx": convolve.conv2d_input_grad(dy, weight, g, x.shape),
        "dweight": convolve.conv2d_weight_grad(dy, x, g, weight.shape),
    }


def is_channels_last(x):
    return x.transpose(0, 2, 3, 1).flags.c_contiguous


def assert_equal(got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], dtype):
    for name, value in got.items():
        assert value.dtype == dtype
        np.testing.assert_array_equal(value, expected[name].astype(dtype), err_msg=name)


# --- the functions that ops call --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
@pytest.mark.parametrize("layout", LAYOUTS)
@every_case
def test_every_geometry(case, layout, dtype):
    given, g = integers(CASES[case], dtype, layout)
    before = {name: a.tobytes() for name, a in given.items()}
    got = results(**given, g=g)
    assert_equal(got, reference(**given, g=g), dtype)
    assert before == {name: a.tobytes() for name, a in given.items()}, "an input has changed"
    without = convolve.conv2d(given["x"], given["weight"], None, g)
    assert_equal({"y": without}, reference(**given | {"bias": None}, g=g), dtype)
    for source, value in ((given["x"], got["y"]), (given["dy"], got["dx"])):
        assert is_channels_last(value) if is_channels_last(source) else value.flags.c_contiguous
    assert got["dweight"].flags.c_contiguous


@every_dtype
@pytest.mark.parametrize("case", ["3×3 with an edge", "few channels", "two groups", "1×1"])
@pytest.mark.parametrize("name", ["x", "weight", "dy", "bias"])
@pytest.mark.parametrize("memory", MEMORY)
def test_any_memory(memory, name, case, dtype):
    given, g = integers(CASES[case], dtype, "contiguous")
    given[name] = (
        MEMORY[memory](given[name].reshape(len(given[name]), -1))[:, 0]
        if name == "bias"
        else (MEMORY[memory](given[name]))
    )
    expected, before = reference(**given, g=g), given[name].tobytes()
    for what, value in results(**given, g=g).items():
        np.testing.assert_array_equal(value, expected[what], err_msg=what)
    assert before == given[name].tobytes()


@every_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", LARGE)
def test_sums_are_as_exact_as_their_dtype_allows_and_the_same_for_any_number_of_threads(case, layout, dtype):
    x_shape, weight_shape, g = LARGE[case]
    shapes, rng = (x_shape, weight_shape, weight_shape[:1], output_shape(*LARGE[case])), np.random.default_rng(0)
    given = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    given = [LAYOUTS[layout](a) if a.ndim == 4 else a for a in given]
    exact, sizes = reference(*given, g), reference(*map(np.abs, given), g)
    taps, (n, k, p, q) = weight_shape[2] * weight_shape[3], shapes[-1]
    terms = {"y": taps * weight_shape[1] + 1, "dx": taps * k // g.groups, "dweight": n * p * q}
    before, different = tb.get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 4):
            tb.set_num_threads(threads)
            got = results(*given, g)
            different.add(b"".join(value.tobytes() for value in got.values()))
            for name, value in got.items():
                # Twice: the exact values are sums in float64 themselves.
                assert (np.abs(value - exact[name]) <= 2 * sum_error(terms[name], dtype) * sizes[name]).all(), name
    finally:
        tb.set_num_threads(before)
    if kernels.COMPILED:  # BLAS, which the twins use, does not promise it
        assert len(different) == 1


@pytest.mark.parametrize("case", ["3×3 with an edge", "few channels", "two groups"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_windows(bad, case):
    made, g = integers(CASES[case], "float32", "channels last")
    for name in ("x", "dy"):
        given = {key: np.abs(a) + 1 for key, a in made.items()}
        given[name][1, 2, 3, 4] = bad
        with np.errstate(all="ignore"):
            got, expected = results(**given, g=g), reference(**given, g=g)
        for what in ("y", "dx"):
            np.testing.assert_array_equal(np.isfinite(got[what]), np.isfinite(expected[what]), err_msg=(name, what))


# --- compiled against twin --------------------------------------------------------------------------------------------


def scratch_needed(name, given):
    """Values of scratch memory that a kernel says it needs for each thread."""
    *_, height, width, band = given["window"] if name != "spread" else (*given["window"], 0)
    image = height * width * (given["dx"] if name == "spread" else given["x"]).shape[3]
    if name == "correlate":
        return image
    if name == "spread":
        return image + given["matrix"].shape[2]
    _, _, q, k = given["dy"].shape
    return (0 if given["direct"] else image) + band * q * k + 128 // given["x"].itemsize  # two vectors, of up to 64


def with_both(name, called):
    """A raw kernel that is called compiled, with guards around what it writes, and as its twin: both must be equal."""
    compiled, twin = kernels.KERNELS[name]
    names = list(inspect.signature(twin).parameters)

    def function(*values):
        given = dict(zip(names, values, strict=True))
        arrays = [key for key in names[1:] if isinstance(given[key], np.ndarray) and key != "scratch"]
        before = {key: given[key].tobytes() for key in arrays}
        out, scratch = Guarded(values[0].shape, values[0].dtype, values[0].strides), None
        if given.get("scratch") is not None:
            scratch = Guarded((given["threads"], scratch_needed(name, given)), out.view.dtype)
            given["scratch"] = scratch.view
        compiled(out.view, *list(given.values())[1:])
        twin(*values)
        np.testing.assert_array_equal(out.view, values[0], err_msg=name)
        for guarded in (out, scratch):
            if guarded is not None:
                guarded.assert_clean_outside()
        assert before == {key: given[key].tobytes() for key in arrays}, f"{name}: an input has changed"
        called.add(name)

    return function


@every_dtype
@every_case
def test_compiled_and_twin_agree_and_write_nothing_else(case, dtype, monkeypatch):
    if not kernels.COMPILED:
        pytest.skip("the kernels are not compiled")
    called = set()
    for name in RAW:
        monkeypatch.setitem(convolve.chosen, name, with_both(name, called))
    for layout in LAYOUTS:
        given, g = integers(CASES[case], dtype, layout)
        assert_equal(results(**given, g=g), reference(**given, g=g), dtype)
    if given["x"].size:
        assert called >= {"correlate", "correlate_weights", "gather_weights", "sum_weights"}
        assert ("spread" in called) == ("few channels" in case)
        assert ("transpose_planes" in called) or given["x"].shape[1] == 1 or given["dy"].shape[1] == 1
