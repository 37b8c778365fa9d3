"""The matrix product against float64 around the borders of its loops, in every layout, and what it refuses.

Most numbers are small integers: all sums are exact then, in any order, and results are compared with ==.
"""

import itertools

import numpy as np
import pytest
from guards import Guarded
from kernel_helpers import MEMORY, every_dtype, misaligned, read_only
from tolerances import sum_error

import tinybn as tb
from tinybn import kernels
from tinybn.errors import ShapeError
from tinybn.kernels import matmul

# Of M, N and K: tiles have 6 or 12 rows, panels 4 to 32 columns, and K is cut into pieces of 256.
LENGTHS = [0, 1, 11, 12, 13, 16, 17, 31, 32, 33, 255, 256, 257]
SHAPES = list(itertools.product(LENGTHS, repeat=3))

# Ways to lie in memory that the kernel takes. Those that are broadcast have other values.
ROWS = {
    "contiguous": lambda x: x.copy(),
    "transposed": lambda x: x.copy("F"),
    "read-only": read_only,
    "cut from longer rows": lambda x: np.pad(x, ((0, 0), (2, 3)))[:, 2 : 2 + x.shape[1]],
    "cut from longer columns": lambda x: np.pad(x, ((2, 3), (0, 0))).copy("F")[2 : 2 + x.shape[0]],
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "rows reversed": lambda x: x[::-1].copy()[::-1],
    "one row for all": lambda x: np.broadcast_to(x[:1], x.shape),
}
A_LAYOUTS = {**ROWS, "every other column": lambda x: np.repeat(x, 2, axis=1)[:, ::2]}
B_LAYOUTS = {
    **ROWS,
    "columns of a transposed one reversed": lambda x: x[:, ::-1].copy("F")[:, ::-1],
    "one column for all of a transposed one": lambda x: np.broadcast_to(x[:, :1].copy("F"), x.shape),
}


def raw(which):
    compiled, twin = kernels.KERNELS["multiply"]
    if which == "compiled" and compiled is None:
        pytest.skip("the kernels are not compiled")
    return compiled if which == "compiled" else twin


def scratch_for(k, n, dtype):
    return Guarded(((k + 1) * (-(-n // 32) * 32),), dtype)


def integers(rng, *shape):
    return rng.integers(-8, 9, shape).astype(np.float64)


def check(function, a, b, bias, threads, row_gap=0):
    """One product, whose numbers are integers, with guards around all that is written."""
    (m, k), n, dtype = a.shape, b.shape[1], a.dtype
    case = f"(M, N, K) = {(m, n, k)}, strides {a.strides} and {b.strides}, bias {bias is not None}, {threads} threads"
    c, scratch = Guarded((m, n), dtype, ((n + row_gap) * dtype.itemsize, dtype.itemsize)), scratch_for(k, n, dtype)
    before = [x.tobytes() for x in (a, b, bias) if x is not None]
    # Of an array without elements NumPy may set all steps to 0, which the kernel need not take.
    assert function(c.view, a, b, bias, scratch.view, threads) is True or not c.view.size, case
    expected = a.astype(np.float64) @ b.astype(np.float64) + (0 if bias is None else bias)
    np.testing.assert_array_equal(c.view, expected, err_msg=case)
    c.assert_clean_outside()
    scratch.assert_clean_outside()
    assert before == [x.tobytes() for x in (a, b, bias) if x is not None], f"{case}: an input has changed"


@pytest.mark.parametrize("which, step", [("compiled", 2), ("twin", 17)])  # 13 lengths: each pair comes up
@every_dtype
def test_every_shape(dtype, which, step):
    function, rng = raw(which), np.random.default_rng(0)
    a, b, bias = (integers(rng, *shape).astype(dtype) for shape in ((257, 257), (257, 257), (257,)))
    a_layouts, b_layouts = list(A_LAYOUTS.values()), list(B_LAYOUTS.values())
    for i, (m, n, k) in list(enumerate(SHAPES))[::step]:
        laid_a, laid_b = a_layouts[rng.integers(len(a_layouts))], b_layouts[rng.integers(len(b_layouts))]
        start, row_gap = bias[:n] if rng.random() < 0.5 else None, int(rng.choice([0, 1, 7]))
        check(function, laid_a(a[:m, :k]), laid_b(b[:k, :n]), start, i % 4 + 1, row_gap)


@pytest.mark.parametrize("which", ["compiled", "twin"])
@every_dtype
@pytest.mark.parametrize("b_layout", B_LAYOUTS)
@pytest.mark.parametrize("a_layout", A_LAYOUTS)
def test_every_layout(a_layout, b_layout, dtype, which):
    function, rng = raw(which), np.random.default_rng(0)
    for m, n, k in [(1, 1, 1), (1, 40, 3), (40, 1, 3), (13, 33, 17), (25, 64, 300), (7, 17, 1), (5, 6, 0)]:
        a, b = (integers(rng, *shape).astype(dtype) for shape in ((m, k), (k, n)))
        a, b = A_LAYOUTS[a_layout](a), B_LAYOUTS[b_layout](b)
        check(function, a, b, read_only(integers(rng, n).astype(dtype)), 2)
        check(function, a, b, None, 1, 3)


@pytest.mark.parametrize("row", [-30, 0])
def test_rows_of_the_output_may_lie_in_any_order(row):
    """Upwards in memory; and all in one place, where the last one stays."""
    function, a, b = raw("compiled"), np.arange(26.0).reshape(13, 2), np.arange(40.0).reshape(2, 20)
    c = Guarded((13, 20), "float64", (row * 8, 8))
    assert function(c.view, a, b, None, scratch_for(2, 20, "float64").view, 1)
    np.testing.assert_array_equal(c.view, a @ b if row else np.broadcast_to(a[-1:] @ b, (13, 20)))
    c.assert_clean_outside()


REAL = [(30, 40, 1000), (1, 300, 2000), (300, 1, 513), (64, 33, 256), (200, 120, 70)]


@pytest.mark.parametrize("which", ["compiled", "twin"])
@every_dtype
@pytest.mark.parametrize("m, n, k", REAL)
def test_sums_are_as_exact_as_their_dtype_allows_and_the_same_for_any_number_of_threads(m, n, k, dtype, which):
    function, rng = raw(which), np.random.default_rng(0)
    a, b, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n), (n,)))
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble) + bias
    sizes = np.abs(a).astype(np.float64) @ np.abs(b) + np.abs(bias)
    results = set()
    for threads in (1, 2, 3, 4, 100) if which == "compiled" else (1,):
        c = np.full((m, n), np.nan, dtype)
        assert function(c, a, b, bias, scratch_for(k, n, dtype).view, threads)
        results.add(c.tobytes())
        assert (np.abs(c - exact) <= sum_error(k + 1, dtype) * sizes).all()
    assert len(results) == 1


@every_dtype
def test_the_layout_of_b_changes_no_bit(dtype):
    function, rng = raw("compiled"), np.random.default_rng(0)
    a, b = rng.standard_normal((25, 300)).astype(dtype), rng.standard_normal((300, 70)).astype(dtype)
    results = set()
    for layout in set(B_LAYOUTS) - {"one row for all", "one column for all of a transposed one"}:
        c = np.empty((25, 70), dtype)
        assert function(c, a, B_LAYOUTS[layout](b), None, scratch_for(300, 70, dtype).view, 1)
        results.add(c.tobytes())
    assert len(results) == 1


@pytest.mark.parametrize("which", ["compiled", "twin"])
@pytest.mark.parametrize("n", [5, 32, 37])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_row_or_column(bad, n, which):
    function = raw(which)
    for name, position in [("a", (7, 3)), ("a", (12, 0)), ("b", (2, n - 1)), ("b", (0, 1)), ("bias", (n - 2,))]:
        given = {"a": np.ones((13, 9), "float32"), "b": np.ones((9, n), "float32"), "bias": np.ones(n, "float32")}
        given[name][position] = bad
        c, finite = np.empty((13, n), "float32"), np.ones((13, n), bool)
        with np.errstate(all="ignore"):
            function(c, *given.values(), scratch_for(9, n, "float32").view, 1)
        finite[(position[0], slice(None)) if name == "a" else (slice(None), position[-1])] = False
        np.testing.assert_array_equal(np.isfinite(c), finite, err_msg=f"{name} at {position}")
        np.testing.assert_array_equal(c[finite], 10)


# --- what the raw kernel cannot take ----------------------------------------------------------------------------------


def given_arrays():
    rng = np.random.default_rng(0)
    made = {"c": np.zeros((5, 7)), "a": integers(rng, 5, 6), "b": integers(rng, 6, 7), "bias": integers(rng, 7)}
    return {name: x.astype("float32") for name, x in made.items()} | {"scratch": np.zeros(7 * 32, "float32")}


def both_steps(x):
    return np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2]


LAID = [
    ("a", "values in descending order", lambda x: x[:, ::-1]),
    ("a", "one value for all of a row", lambda x: np.broadcast_to(x[:, :1], x.shape)),
    ("b", "values in descending order", lambda x: x[:, ::-1]),
    ("b", "one value for all of a row", lambda x: np.broadcast_to(x[:, :1], x.shape)),
    ("b", "a transposed one in descending order", lambda x: x.copy("F")[::-1]),
    ("b", "neither rows nor columns in one piece", both_steps),
    ("bias", "every other", lambda x: np.repeat(x, 2)[::2]),
    ("bias", "reversed", lambda x: x[::-1]),
    ("bias", "one value for all", lambda x: np.broadcast_to(x[:1], x.shape)),
    ("c", "transposed", lambda x: x.copy("F")),
    ("c", "every other column", lambda x: np.repeat(x, 2, axis=1)[:, ::2]),
    ("c", "values in descending order", lambda x: x[:, ::-1]),
    ("c", "read-only", read_only),
    ("scratch", "every other", lambda x: np.repeat(x, 2)[::2]),
    ("scratch", "read-only", read_only),
]
ANY = {"misaligned": misaligned, "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder())}
ANY |= {dtype: lambda x, dtype=dtype: x.astype(dtype) for dtype in ("float64", "float16", "int32", "complex64")}
LAID += [(name, how, change) for name in given_arrays() for how, change in ANY.items()]


@pytest.mark.parametrize("name, how, change", LAID, ids=[f"{name}: {how}" for name, how, _ in LAID])
def test_it_returns_false_and_does_nothing_where_it_cannot_take_them_as_they_lie(name, how, change):
    function, given = raw("compiled"), given_arrays()
    given[name] = change(given[name])
    before = [x.tobytes() for x in given.values()]
    assert function(*given.values(), 1) is False
    assert before == [x.tobytes() for x in given.values()]


@pytest.mark.parametrize(
    "name, shape",
    [
        *[("c", shape) for shape in [(5, 8), (4, 7), (7, 5), (35,), (5, 7, 1)]],
        *[("a", shape) for shape in [(5, 7), (6, 6), (4, 6), (6,), (1, 5, 6), ()]],
        *[("b", shape) for shape in [(5, 7), (6, 8), (7, 6), (6,), (6, 7, 1), ()]],
        *[("bias", shape) for shape in [(6,), (8,), (1, 7), (7, 1), ()]],
        *[("scratch", shape) for shape in [(7 * 32 - 1,), (0,), (6, 32), ()]],
    ],
    ids=str,
)
def test_shapes_that_do_not_go_together_are_refused(name, shape):
    function, given = raw("compiled"), given_arrays()
    given[name] = np.zeros(shape, "float32")
    with pytest.raises(ShapeError, match=f"multiply.*{'scratch' if name == 'scratch' else 'bias'}"):
        function(*given.values(), 1)
    assert not given["c"].any() and not given["scratch"].any()


@pytest.mark.parametrize("name", ["c", "a", "b", "scratch", "bias"])
def test_what_is_no_array_is_refused(name):
    function, given = raw("compiled"), given_arrays()
    for wrong in ([[1.0]], 1.0, *([None] if name != "bias" else [])):
        with pytest.raises(TypeError, match=name):
            function(*(given | {name: wrong}).values(), 1)


# --- the function that ops call ---------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("b_memory", MEMORY)
@pytest.mark.parametrize("a_memory", MEMORY)
def test_the_function_takes_any_memory(a_memory, b_memory, dtype):
    rng = np.random.default_rng(0)
    a, b, bias = (integers(rng, *shape).astype(dtype) for shape in ((14, 9), (9, 35), (35,)))
    a, b, bias = MEMORY[a_memory](a), MEMORY[b_memory](b), MEMORY[b_memory](bias[:, None])[:, 0]
    before = [x.tobytes() for x in (a, b, bias)]
    product = a.astype(np.float64) @ b.astype(np.float64)
    for got, expected in ((matmul.multiply(a, b), product), (matmul.multiply(a, b, bias), product + bias)):
        assert got.dtype.newbyteorder("=") == dtype and got.flags.c_contiguous
        np.testing.assert_array_equal(got, expected)
    assert before == [x.tobytes() for x in (a, b, bias)]


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (1, 1, 1), (5, 6, 7)], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble", "int8", "int64", "bool", "complex64"])
def test_the_function_takes_any_numbers(dtype, shape):
    (m, n, k), rng = shape, np.random.default_rng(0)
    a, b, bias = (rng.integers(0, 5, s).astype(dtype) for s in ((m, k), (k, n), (n,)))
    for got, expected in ((matmul.multiply(a, b), a @ b), (matmul.multiply(a, b, bias), a @ b + bias)):
        assert got.dtype == dtype and got.shape == (m, n)
        np.testing.assert_array_equal(got, expected)


def test_the_function_gives_the_same_bits_for_any_number_of_threads():
    raw("compiled")  # BLAS, which the twin uses, does not promise it
    rng, before, results = np.random.default_rng(0), tb.get_num_threads(), set()
    a, b, bias = (rng.standard_normal(shape).astype("float32") for shape in ((300, 400), (400, 500), (500,)))
    try:
        for threads in (1, 2, 3, 4):
            tb.set_num_threads(threads)
            results.add(matmul.multiply(a, b, bias).tobytes())
    finally:
        tb.set_num_threads(before)
    assert len(results) == 1
