"""Every op, over the table in ``cases.py``: against PyTorch, against central differences, by the contract of an op."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import CASES, Case, convolution, distinct, normal, positive
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from numerical import check_gradients, check_second_gradients
from oracle import load_torch, to_numpy, to_torch
from tolerances import assert_close

import tinybn as tb
from tinybn import ops
from tinybn.errors import ShapeError
from tinybn.kernels import windows

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
every_layout_case = pytest.mark.parametrize("case", [case for case in CASES if case.keeps_layout], ids=str)


def test_every_op_has_a_case():
    exported = {name for name in ops.__all__ if not inspect.isclass(getattr(ops, name))} - {"call", "sum_to"}
    assert exported == {case.op.__name__ for case in CASES}


def test_case_names_are_unique():
    names = [str(case) for case in CASES]
    assert len(names) == len(set(names))


# --- values -----------------------------------------------------------------------------------------------------------


def forward_and_gradients(case: Case, arguments: list[Any], dy: Any = None) -> tuple[Any, list[Any]]:
    """The output and the gradients for a random dy of its shape, computed by the engine. Inputs share memory."""
    tensors = [tb.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    inputs = [tensors[i].requires_grad_() for i in case.positions]
    y = case.run(*tensors)
    gradients = tb.grad(y, inputs, random_like(y.data) if dy is None else dy)
    return y.data, [g.data for g in gradients]


def random_like(y: Any) -> Any:
    """The same numbers for the same shape."""
    return np.random.default_rng(7).standard_normal(y.shape).astype(y.dtype)


def assert_equals_torch(case: Case, dtype: Any) -> None:
    torch = load_torch()
    arguments = case.arguments(dtype)
    y, gradients = forward_and_gradients(case, arguments)
    theirs = [to_torch(a, requires_grad=i in case.positions) for i, a in enumerate(arguments)]
    their_y = case.run_torch(torch, *theirs)
    their_inputs = [theirs[i] for i in case.positions]
    their_gradients = torch.autograd.grad(their_y, their_inputs, to_torch(random_like(y)), materialize_grads=True)
    assert_close(y, to_numpy(their_y), dtype, f"{case}: output")
    for i, ours, gradient in zip(case.positions, gradients, their_gradients, strict=True):
        assert_close(ours, to_numpy(gradient), dtype, f"{case}: gradient of input {i}")


@every_dtype
@every_case
def test_output_and_gradients_equal_pytorch(case, dtype):
    assert_equals_torch(case, dtype)


@every_case
def test_gradients_equal_central_differences(case):
    check_gradients(str(case), case.run, case.arguments(), case.positions)


@every_case
def test_second_gradients_equal_central_differences(case):
    check_second_gradients(str(case), case.run, case.arguments(), case.positions)


@every_dtype
@every_case
def test_dtype_stays(case, dtype):
    arguments = case.arguments(dtype)
    y, gradients = forward_and_gradients(case, arguments)
    assert y.dtype == (case.result_dtype or dtype)
    assert [g.dtype for g in gradients] == [dtype] * len(gradients)


@every_case
def test_float32_stays_when_differentiated_twice(case):
    arguments = [tb.tensor(a) if isinstance(a, np.ndarray) else a for a in case.arguments(np.float32)]
    inputs = [arguments[i].requires_grad_() for i in case.positions]
    y = case.run(*arguments)
    dy = tb.tensor(random_like(y.data), requires_grad=True)
    first = tb.grad(y, inputs, dy, create_graph=True)
    second = tb.grad(first, [*inputs, dy], [random_like(g.data) for g in first], allow_unused=True)
    assert {g.dtype for g in first} == {np.dtype(np.float32)}
    assert {g.dtype for g in second[:-1] if g is not None} <= {np.dtype(np.float32)}
    assert second[-1].dtype == y.dtype


# --- the contract of an op --------------------------------------------------------------------------------------------


def run_bare(case: Case, arguments: list[Any]) -> tuple[Any, Callable[..., Any], tuple[Any, ...]]:
    """The op itself, without the engine."""
    out, backward, saved = case.op(*arguments, *case.options, **case.keywords)
    return out[0] if isinstance(out, tuple) else out, backward, saved


def gradients_of(backward: Callable[..., Any], dy: Any, saved: tuple[Any, ...]) -> list[Any]:
    return [g() if callable(g) else g for g in backward(dy, *saved)]


def freeze(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    return value


@every_case
def test_read_only_arrays_are_taken(case):
    y, backward, saved = run_bare(case, [freeze(a) for a in case.arguments()])
    gradients_of(backward, freeze(random_like(y)), [freeze(s) for s in saved])


@every_case
def test_nothing_is_changed(case):
    """Neither inputs nor outputs nor dy: an op could change what is writable and leave alone what is not."""
    arguments = case.arguments()
    y, backward, saved = run_bare(case, arguments)
    dy = random_like(y)
    kept = [np.array(a) for a in (y, dy, *(a for a in arguments if isinstance(a, np.ndarray)))]
    gradients_of(backward, dy, saved)
    for before, after in zip(kept, (y, dy, *(a for a in arguments if isinstance(a, np.ndarray))), strict=True):
        np.testing.assert_array_equal(before, after)
    for before, after in zip(case.arguments(), arguments, strict=True):
        np.testing.assert_array_equal(before, after)


@every_case
def test_saved_arrays_are_the_inputs_and_the_output(case):
    """The engine knows them by identity, and finds out whether they have been changed."""
    arguments = case.arguments()
    y, _, saved = run_bare(case, arguments)
    for value in saved:
        known = any(value is a for a in (*arguments, *case.options, y))
        assert known or value is None or isinstance(value, int | float)


@every_case
def test_gradients_are_fresh_or_views_of_dy_or_saved(case):
    """Two backwards share no memory but through what they were both given."""
    y, backward, saved = run_bare(case, case.arguments())
    known = [s for s in saved if isinstance(s, np.ndarray)]
    first, second = (gradients_of(backward, random_like(y), saved) for _ in range(2))
    for a in first:
        for b in second:
            if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.shares_memory(a, b):
                assert any(np.shares_memory(a, s) for s in known)


# --- memory layouts ---------------------------------------------------------------------------------------------------


def with_gaps(a: Any) -> Any:
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def backwards(a: Any) -> Any:
    return np.flip(np.flip(a).copy())


def channels_last(a: Any) -> Any:
    return np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1)


LAYOUTS: dict[str, tuple[Callable[[Any], Any], int]] = {  # each with the axes that it needs
    "gaps": (with_gaps, 1),
    "negative strides": (backwards, 1),
    "column-major": (np.asfortranarray, 2),
    "channels-last": (channels_last, 3),
    "broadcast": (lambda a: np.broadcast_to(a[:1], a.shape), 2),
}


def in_layout(layout: str, value: Any) -> Any:
    change, axes = LAYOUTS[layout]
    return change(value) if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim >= axes else value


@pytest.mark.parametrize("layout", LAYOUTS)
@every_case
def test_any_memory_layout_gives_the_same(case, layout):
    def run(change: Callable[[Any], Any]) -> list[Any]:
        """The output and every gradient, from arrays in the layout and then ``change``d."""
        arguments = [change(in_layout(layout, a)) for a in case.arguments()]
        y, backward, saved = run_bare(case, arguments)
        return [y, *gradients_of(backward, change(in_layout(layout, random_like(y))), saved)]

    def in_row_major_order(value: Any) -> Any:
        return np.array(value, order="C") if isinstance(value, np.ndarray) else value

    for got, expected in zip(run(lambda value: value), run(in_row_major_order), strict=True):
        if expected is not None:
            assert_close(got, expected, np.float64)


def order_of_axes(a: Any) -> tuple[int, ...]:
    """The axes of more than one element, outermost in memory first."""
    return tuple(sorted((i for i, n in enumerate(a.shape) if n > 1), key=lambda i: -a.strides[i]))


def in_order(a: Any, order: tuple[int, ...]) -> bool:
    return order_of_axes(a) == tuple(i for i in order if a.shape[i] > 1)


@pytest.mark.parametrize(
    ("change", "order"), [(np.ascontiguousarray, (0, 1, 2, 3)), (channels_last, (0, 2, 3, 1))], ids=["NCHW", "NHWC"]
)
@every_layout_case
def test_memory_layout_is_kept(case, change, order):
    arguments = [change(a) if isinstance(a, np.ndarray) and a.ndim == 4 else a for a in case.arguments()]
    y, backward, saved = run_bare(case, arguments)
    dx = gradients_of(backward, change(random_like(y)), saved)[0]
    assert in_order(y, order), f"output strides {y.strides}"
    assert in_order(dx, order), f"gradient strides {dx.strides}"


# --- points where a derivative is a convention, and values where arithmetic ends --------------------------------------

NAN, INF = np.nan, np.inf
POINTS = [
    (ops.absolute, "abs", [[0.0, -0.0, INF, -INF]]),
    (ops.relu, "relu", [[0.0, -0.0, -INF, INF]]),
    (ops.sigmoid, "sigmoid", [[-1000.0, 1000.0, -INF, INF, NAN]]),
    (ops.tanh, "tanh", [[-1000.0, 1000.0, -INF, INF, NAN]]),
    (ops.exp, "exp", [[1000.0, -1000.0, INF, -INF, NAN]]),
    (ops.log, "log", [[0.0, INF, 1e-300]]),
    (ops.sqrt, "sqrt", [[0.0, INF, 1e-300]]),
    (ops.divide, "div", [[1.0, 0.0, -1.0, INF], [0.0, 0.0, 0.0, 2.0]]),
    (ops.maximum, "maximum", [[1.0, 0.0, INF, -INF], [1.0, -0.0, INF, 1.0]]),
    (ops.minimum, "minimum", [[1.0, 0.0, INF, -INF], [1.0, -0.0, INF, 1.0]]),
    (ops.power, "pow", [[0.0, 0.0, 0.0, -2.0, -2.0, 2.0], [0.0, 1.0, 2.0, 2.0, 3.0, 0.0]]),
    (ops.amax, "amax", [[1.0, 3.0, 3.0, 2.0, 3.0]]),
    (ops.amin, "amin", [[1.0, 3.0, 1.0, 2.0, 3.0]]),
    (ops.softmax, "softmax", [[1000.0, 0.0, -1000.0, -INF]]),
    (ops.log_softmax, "log_softmax", [[1000.0, 0.0, -1000.0, 999.0]]),
]


@pytest.mark.parametrize(("op", "name", "values"), POINTS, ids=[row[1] for row in POINTS])
def test_special_points_are_those_of_pytorch(op, name, values):
    def torch_op(torch: Any, *arguments: Any) -> Any:
        options = {"dim": -1} if "softmax" in name else {}
        return getattr(torch, name)(*arguments, **options)

    assert_equals_torch(Case("points", op, lambda rng: tuple(map(np.array, values)), torch_op), np.float64)


@pytest.mark.parametrize("op", [ops.relu, ops.absolute, ops.amax, ops.amin])
def test_nan_comes_through(op):
    with np.errstate(all="ignore"):  # which the engine does
        assert np.isnan(op(np.array([NAN, 1.0, 2.0]))[0]).any()


@pytest.mark.parametrize("op", [ops.maximum, ops.minimum])
def test_nan_comes_through_from_either_side(op):
    assert np.isnan(op(np.array([NAN, 1.0]), np.array([1.0, NAN]))[0]).all()


@pytest.mark.parametrize("exponent", [0, 1, 2, 0.0, 2.5])
def test_power_of_zero(exponent):
    case = Case("of zero", ops.power, lambda rng: (np.zeros(2), exponent), lambda torch, x, y: x**y)
    assert_equals_torch(case, np.float64)


def test_max_pool_of_equal_values_and_nan():
    x = np.ones((1, 1, 4, 4))
    x[0, 0, 2, 1] = NAN

    def max_pool(torch: Any, x: Any, kernel: Any, geometry: Any) -> Any:
        return torch.nn.functional.max_pool2d(x, kernel, geometry.stride)

    options = ((2, 2), ops.Geometry(stride=(2, 2)))
    assert_equals_torch(Case("ties", ops.max_pool2d, lambda rng: (x,), max_pool, options), np.float64)


def test_max_pool_index_is_where_the_value_stands():
    x = distinct((2, 3, 6, 5))(np.random.default_rng(0))[0]
    (y, index), _, _ = ops.max_pool2d(x, (3, 2), ops.Geometry(stride=(2, 1), padding=(1, 1)))
    np.testing.assert_array_equal(ops.gather_plane(x, index)[0], y)


@every_dtype
def test_batch_norm_by_products(dtype):
    x = np.random.default_rng(0).standard_normal((4, 3, 5)).astype(dtype)
    running = np.zeros(3, dtype), np.ones(3, dtype)
    (_, moments, moved), _, _ = ops.batch_norm(x, None, None, 1e-5, *running, 0.25)
    assert moments.dtype == np.float64 and moved
    mean, var = x.astype(np.float64).mean(axis=(0, 2)), x.astype(np.float64).var(axis=(0, 2))
    np.testing.assert_allclose(moments, [mean, var], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(running, [0.25 * mean, 0.75 + 0.25 * var * 20 / 19], rtol=1e-6, atol=1e-7)


def test_batch_norm_of_no_rows():
    x = tb.zeros(0, 3, requires_grad=True)
    weight, bias = tb.ones(3, requires_grad=True), tb.zeros(3, requires_grad=True)
    y = tb.functional.batch_norm(x, None, None, weight, bias, training=True)
    assert y.shape == (0, 3)
    y.sum().backward()
    assert x.grad.shape == (0, 3) and weight.grad.tolist() == bias.grad.tolist() == [0, 0, 0]


@pytest.fixture(params=[1, 1000, 1 << 30], ids=["one row", "a few rows", "whole images"])
def band_bytes(request, monkeypatch):
    """Images are worked on in bands of so many bytes."""
    monkeypatch.setattr(windows, "BAND_BYTES", request.param)
    monkeypatch.setattr(windows, "BAND_PLACES", request.param)
    windows.windows.cache_clear()
    yield
    windows.windows.cache_clear()


@pytest.mark.parametrize(
    "geometry",
    [ops.Geometry(), ops.Geometry((2, 3), (1, 2), (1, 2)), ops.Geometry(padding=(3, 0), groups=2)],
    ids=["plain", "strided, dilated", "padded, grouped"],
)
def test_convolution_in_bands(geometry, band_bytes):
    """Bands, of which the last is smaller, give what a whole image would."""
    for case in convolution("bands", (3, 4, 9, 8), (6, 4 // geometry.groups, 3, 3), geometry):
        assert_equals_torch(case, np.float64)


def test_shapes_that_do_not_go_together():
    with pytest.raises(ShapeError, match=r"add: shapes \(2, 3\) and \(4,\) do not broadcast"):
        tb.zeros(2, 3) + tb.zeros(4)


# --- any shape --------------------------------------------------------------------------------------------------------

quickly = settings(max_examples=25, deadline=None, derandomize=True)


@quickly
@given(
    st.sampled_from([(ops.add, normal, "add"), (ops.divide, positive, "div"), (ops.maximum, distinct, "maximum")]),
    mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=4, min_side=0, max_side=3),
)
def test_any_shapes_that_broadcast(row, shapes):
    op, build, name = row
    case = Case("any", op, build(*shapes.input_shapes), lambda torch, x, y: getattr(torch, name)(x, y))
    assert_equals_torch(case, np.float64)


@st.composite
def convolution_shapes(draw: Any) -> tuple[Any, Any, ops.Geometry]:
    def pair(low: int, high: int) -> tuple[int, int]:
        return draw(st.tuples(st.integers(low, high), st.integers(low, high)))

    groups, kernel, stride, padding, dilation = draw(st.integers(1, 3)), pair(1, 3), pair(1, 3), pair(0, 2), pair(1, 2)
    c, k = (groups * n for n in pair(1, 2))
    smallest = [max(1, d * (r - 1) + 1 - 2 * p) for d, r, p in zip(dilation, kernel, padding, strict=True)]
    size = [n + extra for n, extra in zip(smallest, pair(0, 3), strict=True)]
    x, weight = (draw(st.integers(1, 3)), c, *size), (k, c // groups, *kernel)
    return x, weight, ops.Geometry(stride, padding, dilation, groups)


@quickly
@given(convolution_shapes())
def test_any_convolution(shapes):
    for case in convolution("any", *shapes):
        assert_equals_torch(case, np.float64)
