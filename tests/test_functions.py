"""Every public function, over the table in ``function_cases``: PyTorch, central differences, layouts, errors."""

import importlib
import pkgutil
from typing import Any

import function_cases
import numpy as np
import pytest
from function_cases.row import Refused, Row, flat, tensors, torch_tensors
from numerical import check_gradients, check_second_gradients
from oracle import load_torch, to_numpy, to_torch
from tolerances import assert_close

import tinybn as tb


def rows() -> list[Row]:
    names = sorted(m.name for m in pkgutil.iter_modules(function_cases.__path__) if m.name != "row")
    return [row for name in names for row in importlib.import_module(f"function_cases.{name}").ROWS]


ROWS = [row for row in rows() if not isinstance(row, Refused)]
REFUSED = [row for row in rows() if isinstance(row, Refused)]
every_row = pytest.mark.parametrize("row", ROWS, ids=str)
every_smooth_row = pytest.mark.parametrize("row", [row for row in ROWS if row.smooth], ids=str)
every_method_row = pytest.mark.parametrize("row", [row for row in ROWS if row.method], ids=str)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def test_names_are_unique():
    names = [str(row) for row in (*ROWS, *REFUSED)]
    assert len(names) == len(set(names)), sorted(n for n in set(names) if names.count(n) > 1)


def test_every_function_has_a_row():
    exported = set(tb.functional.__all__) - set(tb.functional.noise.__all__)
    assert exported == {row.function for row in ROWS}


def random_like(y: Any) -> Any:
    return np.random.default_rng(7).standard_normal(y.shape).astype(y.dtype)


def results_and_gradients(row: Row, arguments: list[Any]) -> tuple[list[Any], list[Any]]:
    """All outputs as arrays, and the gradients of the float inputs for random gradients of the outputs."""
    given = tensors(arguments, requires_grad=True)
    outputs = list(flat(row.call(*given)))
    recorded = [y for y in outputs if isinstance(y, tb.Tensor) and y.requires_grad]
    inputs = [x for x in flat(given) if isinstance(x, tb.Tensor) and x.requires_grad]
    gradients: list[Any] = [None] * len(inputs)
    if recorded and inputs:
        gradients = list(tb.grad(recorded, inputs, [random_like(y) for y in recorded], allow_unused=True))
    return (
        [y.data if isinstance(y, tb.Tensor) else y for y in outputs],
        [np.zeros_like(x.data) if g is None else g.data for x, g in zip(inputs, gradients, strict=True)],
    )


def torch_results_and_gradients(row: Row, arguments: list[Any]) -> tuple[list[Any], list[Any]]:
    torch = load_torch()
    given = torch_tensors(arguments, requires_grad=True)
    outputs = list(flat(row.call_torch(*given)))
    recorded = [y for y in outputs if isinstance(y, torch.Tensor) and y.requires_grad]
    inputs = [x for x in flat(given) if isinstance(x, torch.Tensor) and x.requires_grad]
    gradients = [None] * len(inputs)
    if recorded and inputs:
        starts = [to_torch(random_like(to_numpy(y))) for y in recorded]
        gradients = torch.autograd.grad(recorded, inputs, starts, allow_unused=True, materialize_grads=True)
    return (
        [to_numpy(y) if isinstance(y, torch.Tensor) else y for y in outputs],
        [np.zeros_like(to_numpy(x)) if g is None else to_numpy(g) for x, g in zip(inputs, gradients, strict=True)],
    )


def assert_same(row: Row, ours: Any, theirs: Any) -> None:
    for kind, got, expected in zip(("output", "gradient"), ours, theirs, strict=True):
        assert len(got) == len(expected), f"{row}: {len(got)} {kind}s, PyTorch has {len(expected)}"
        for i, (a, b) in enumerate(zip(got, expected, strict=True)):
            if not isinstance(b, np.ndarray):
                assert a == b, f"{row}: {kind} {i}"
                continue
            assert a.dtype == b.dtype, f"{row}: {kind} {i} is {a.dtype}, PyTorch's is {b.dtype}"
            if b.dtype.kind == "f":
                assert_close(a, b, b.dtype, f"{row}: {kind} {i}")
            else:
                np.testing.assert_array_equal(a, b, f"{row}: {kind} {i}", strict=True)


@every_dtype
@every_row
def test_results_and_gradients_equal_pytorch(row, dtype):
    arguments = row.arguments(dtype)
    assert_same(row, results_and_gradients(row, arguments), torch_results_and_gradients(row, arguments))


@pytest.mark.parametrize("row", REFUSED, ids=str)
def test_what_pytorch_refuses_is_refused(row):
    arguments = row.arguments()
    with pytest.raises(Exception, match=row.function) as raised:
        row.call(*tensors(arguments))
    assert isinstance(raised.value, ValueError | TypeError | IndexError | RuntimeError)
    load_torch()
    with pytest.raises(Exception):  # noqa: B017  # whatever type PyTorch has for it
        row.call_torch(*torch_tensors(arguments))


def gradient_case(row: Row) -> tuple[Any, list[Any]]:
    """The row as a function of arrays alone, and these; it returns one tensor, all float outputs in one row."""
    arguments = row.arguments()
    counts = [len(list(flat(a))) for a in arguments]

    def function(*given: Any) -> tb.Tensor:
        parts = iter(given)
        rebuilt = [
            [next(parts) for _ in range(n)] if isinstance(a, list) else next(parts)
            for a, n in zip(arguments, counts, strict=True)
        ]
        outputs = [y for y in flat(row.call(*rebuilt)) if isinstance(y, tb.Tensor) and y.dtype.kind == "f"]
        return tb.cat([y.reshape(y.numel()) for y in outputs])

    return function, [tb.from_numpy(a) if _is_constant(a) else a for a in _leaves(arguments)]


def _leaves(arguments: list[Any]) -> list[Any]:
    return [leaf for a in arguments for leaf in (flat(a) if isinstance(a, list) else [a])]


def _is_constant(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype.kind != "f"


@every_smooth_row
def test_gradients_equal_central_differences(row):
    function, arguments = gradient_case(row)
    if any(isinstance(a, np.ndarray) for a in arguments):
        check_gradients(str(row), function, arguments)


@every_smooth_row
def test_second_gradients_equal_central_differences(row):
    function, arguments = gradient_case(row)
    if any(isinstance(a, np.ndarray) for a in arguments):
        check_second_gradients(str(row), function, arguments)


@every_method_row
def test_method_is_the_function(row):
    first, *rest = tensors(row.arguments())
    method = getattr(first, row.function)
    for a, b in zip(flat(method(*rest, **row.options)), flat(row.call(first, *rest)), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), strict=True)


def _fortran(x: Any) -> Any:
    return np.asfortranarray(x)


def _every_other(x: Any) -> Any:
    wide = np.zeros((*x.shape, 2), x.dtype)
    wide[..., 0] = x
    return wide[..., 0]


def _reversed(x: Any) -> Any:
    return x[(slice(None, None, -1),) * x.ndim].copy()[(slice(None, None, -1),) * x.ndim]


@pytest.mark.parametrize("layout", [_fortran, _every_other, _reversed], ids=["Fortran", "strided", "reversed"])
@every_row
def test_memory_layout_and_read_only_inputs_make_no_difference(row, layout):
    def changed(a: Any) -> Any:
        if isinstance(a, list):
            return [changed(part) for part in a]
        if not isinstance(a, np.ndarray):
            return a
        a = layout(a) if a.ndim else a
        a.flags.writeable = False
        return a

    expected = results_and_gradients(row, row.arguments())
    assert_same(row, results_and_gradients(row, [changed(a) for a in row.arguments()]), expected)


@every_row
def test_inputs_are_not_changed(row):
    arguments = row.arguments()
    results_and_gradients(row, arguments)
    for before, after in zip(flat(row.arguments()), flat(arguments), strict=True):
        np.testing.assert_array_equal(before, after)


@every_row
def test_arrays_are_taken_like_tensors(row):
    expected = [y.data if isinstance(y, tb.Tensor) else y for y in flat(row.call(*tensors(row.arguments())))]
    got = [y.data if isinstance(y, tb.Tensor) else y for y in flat(row.call(*row.arguments()))]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
