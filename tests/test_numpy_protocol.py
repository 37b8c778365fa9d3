"""NumPy's functions, Python's protocols, copying and pickling, on Tensors."""

import copy
import io
import math
import operator
import pickle
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import ARITHMETIC, leaf
from tolerances import NUMERICAL, NUMERICAL_STEP, assert_close

import tinybn as tb
from tinybn.errors import DTypeError, GraphError, ShapeError
from tinybn.functional import numpy_counterparts

_RNG = np.random.default_rng(0)
# No two elements are equal or sum to 0, none is whole, and all lie further apart than the numerical step.
A = _RNG.permutation(np.linspace(-2.05, 2.15, 12)).reshape(3, 4)
B = _RNG.permutation(np.linspace(-1.83, 1.91, 12)).reshape(3, 4)
P = np.abs(A) + 0.5
V = B[0]
CUBE = np.linspace(-1.13, 1.27, 24)[_RNG.permutation(24)].reshape(2, 3, 4)
MASK = A > 0


def numpy_functions(cases: dict[str, tuple[Any, ...]]) -> Any:
    return pytest.mark.parametrize(("function", "arrays"), [(f, a) for f, *a in cases.values()], ids=list(cases))


def parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


# --- functions that are recorded --------------------------------------------------------------------------------------

UFUNCS: dict[str, tuple[Any, ...]] = {
    **{
        ufunc.__name__: (ufunc, A)
        for ufunc in (
            *(np.absolute, np.ceil, np.conjugate, np.cos, np.deg2rad, np.degrees, np.exp, np.exp2, np.expm1, np.fabs),
            *(np.floor, np.negative, np.positive, np.rad2deg, np.radians, np.reciprocal, np.rint, np.sign, np.sin),
            *(np.square, np.tan, np.tanh, np.trunc),
        )
    },
    **{ufunc.__name__: (ufunc, P) for ufunc in (np.log, np.log10, np.log1p, np.log2, np.sqrt)},
    **{
        ufunc.__name__: (ufunc, A, B)
        for ufunc in (
            *(np.add, np.divide, np.divmod, np.floor_divide, np.fmod, np.logaddexp, np.maximum, np.minimum),
            *(np.multiply, np.remainder, np.subtract),
        )
    },
    "power": (np.power, P, B),
    "matmul": (np.matmul, A, B.T),
    "matmul of vectors": (np.matmul, V, V[::-1].copy()),
    "broadcasting": (np.multiply, A, V),
    "a number": (lambda x: np.add(x, 1), A),
    "a number in front": (lambda x: np.subtract(1, x), A),
    "NumPy's numbers": (lambda x: np.float64(2) * x - x / np.float64(3) + np.float64(2) ** x, A),
    "a 0-d array": (lambda x: np.array(2.0) * x, A),
    "a list": (lambda x: np.multiply([1.0, 2.0, 3.0, 4.0], x), A),
    "sum": (np.add.reduce, A),
    "sum over all": (lambda x: np.add.reduce(x, axis=None), A),
    "sum over axes": (lambda x: np.add.reduce(x, (0, 2), keepdims=True), CUBE),
    "product": (np.multiply.reduce, A),
    "largest": (lambda x: np.maximum.reduce(x, axis=1), A),
    "smallest": (lambda x: np.minimum.reduce(x, axis=-1, keepdims=True), A),
    "accumulate": (np.add.accumulate, A),
    "accumulate along": (lambda x: np.add.accumulate(x, 1), A),
    "outer product": (np.multiply.outer, A, V),
    "outer difference": (np.subtract.outer, V, A),
}


def reducing(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    return lambda x: function(x, **options)


REDUCTIONS: dict[str, tuple[Any, ...]] = {
    f"{function.__name__}{options or ''}": (reducing(function, options), CUBE)
    for function in (np.sum, np.mean, np.prod, np.max, np.min, np.amax, np.amin, np.ptp, np.var, np.std)
    for options in (
        *({}, {"axis": None}, {"axis": 1}, {"axis": -1, "keepdims": True}, {"axis": (0, 2)}),
        *({"axis": None, "keepdims": True}, {"axis": (0, -1), "keepdims": True}),
        *({"ddof": 1}, {"ddof": 2, "axis": 2}) * (function in (np.var, np.std)),
        *({"dtype": None},) * (function in (np.sum, np.mean, np.prod)),
    )
}

FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "sum by position": (lambda x: np.sum(x, 0, None), A),
    "append": (np.append, A, V),
    "append along": (lambda x, y: np.append(x, y, axis=0), A, B),
    "around": (lambda x: np.around(x + 0.01, 1), A),
    "array_split": (lambda x: np.array_split(x, 3, axis=1), A),
    "atleast_1d": (np.atleast_1d, np.array(0.5)),
    "atleast_2d": (np.atleast_2d, V),
    "atleast_3d": (np.atleast_3d, A),
    "broadcast_arrays": (np.broadcast_arrays, A, V),
    "broadcast_to": (lambda x: np.broadcast_to(x, (2, 3, 4)), A),
    "clip": (lambda x: np.clip(x, -1, 1), A),
    "clip below": (lambda x: np.clip(x, 0.5, None), A),
    "clip above": (lambda x: np.clip(x, None, 0.5), A),
    "clip by name": (lambda x: np.clip(x, min=-1, max=1), A),
    "clip by arrays": (np.clip, A, B - 1, B + 1),
    "clip of an array": (lambda low: np.clip(A, low, 1), B),
    "column_stack": (lambda x, y: np.column_stack([x, y, x]), A, V[:3]),
    "concatenate": (lambda x, y: np.concatenate([x, y]), A, B),
    "concatenate along": (lambda x, y: np.concatenate((x, y, y), axis=-1), A, B),
    "concatenate flat": (lambda x, y: np.concatenate((x, y), axis=None), A, V),
    "concatenate with an array": (lambda x: np.concatenate([B, x]), A),
    "copy": (np.copy, A),
    "cumsum": (np.cumsum, A),
    "cumsum along": (lambda x: np.cumsum(x, axis=1), A),
    "delete": (lambda x: np.delete(x, 1, axis=1), A),
    "diag of a vector": (lambda x: np.diag(x, 1), V),
    "diag of a matrix": (lambda x: np.diag(x, k=-1), A),
    "diagonal": (lambda x: np.diagonal(x, 1, 0, 2), CUBE),
    "diff": (np.diff, A),
    "diff twice": (lambda x: np.diff(x, 2, axis=0), A),
    "dot": (np.dot, A, B.T),
    "dot of vectors": (np.dot, V, V[::-1].copy()),
    "dot of a number": (lambda x: np.dot(x, 3.0), A),
    "dot of three axes": (np.dot, A, CUBE.swapaxes(1, 2)),
    "dot of an array": (lambda x: np.dot(A, x), V),
    "dstack": (lambda x, y: np.dstack([x, y]), A, B),
    "einsum": (lambda x, y: np.einsum("ij,kj->ik", x, y), A, B),
    "einsum optimized": (lambda x: np.einsum("ij->j", x, optimize=True), A),
    "expand_dims": (lambda x: np.expand_dims(x, 1), A),
    "expand_dims twice": (lambda x: np.expand_dims(x, (0, -1)), A),
    "flip": (np.flip, A),
    "flip along": (lambda x: np.flip(x, axis=1), A),
    "fliplr": (np.fliplr, A),
    "flipud": (np.flipud, A),
    "hsplit": (lambda x: np.hsplit(x, 2), A),
    "hstack": (lambda x, y: np.hstack([x, y]), A, B),
    "inner": (np.inner, A, V),
    "norm": (np.linalg.norm, A),
    "norm of a vector": (lambda x: np.linalg.norm(x, 3), V),
    "norm of rows": (lambda x: np.linalg.norm(x, ord=1, axis=1, keepdims=True), A),
    "norm of matrices": (lambda x: np.linalg.norm(x, axis=(1, 2)), CUBE),
    "Frobenius norm": (lambda x: np.linalg.norm(x, "fro"), A),
    "largest of a vector": (lambda x: np.linalg.norm(x, np.inf), V),
    "matrix_transpose": (np.matrix_transpose, CUBE),
    "mean of an array's neighbour": (lambda x: np.mean(np.stack([A, x]), 0), B),
    "meshgrid": (np.meshgrid, V, A[0]),
    "meshgrid ij": (lambda x, y: np.meshgrid(x, y, indexing="ij"), V, A[0]),
    "moveaxis": (lambda x: np.moveaxis(x, [0, 1], [-1, 0]), CUBE),
    "nan_to_num": (np.nan_to_num, A),
    "outer": (np.outer, A, V),
    "pad": (lambda x: np.pad(x, 1), A),
    "pad with a value": (lambda x: np.pad(x, ((0, 1), (2, 0)), constant_values=7), A),
    "pad edge": (lambda x: np.pad(x, 2, mode="edge"), A),
    "pad reflect": (lambda x: np.pad(x, ((1, 1), (2, 2)), "reflect"), A),
    "pad wrap": (lambda x: np.pad(x, 1, "wrap"), A),
    "ravel": (np.ravel, A.T),
    "repeat": (lambda x: np.repeat(x, 2), A),
    "repeat along": (lambda x: np.repeat(x, [1, 0, 2], axis=0), A),
    "reshape": (lambda x: np.reshape(x, (2, -1)), A),
    "roll": (lambda x: np.roll(x, 5), A),
    "roll along": (lambda x: np.roll(x, (1, -2), axis=(0, 1)), A),
    "rollaxis": (lambda x: np.rollaxis(x, 2), CUBE),
    "rot90": (np.rot90, A),
    "round": (np.round, A),
    "round to tens": (lambda x: np.round(x * 10, -1), A),
    "sort": (np.sort, A),
    "sort along": (lambda x: np.sort(x, 0, kind="stable"), A),
    "sort flat": (lambda x: np.sort(x, axis=None), A),
    "split": (lambda x: np.split(x, [1, 3], axis=1), A),
    "squeeze": (np.squeeze, A[:, None, :1]),
    "squeeze one": (lambda x: np.squeeze(x, axis=1), A[:, None, :1]),
    "stack": (lambda x, y: np.stack([x, y], axis=-1), A, B),
    "swapaxes": (lambda x: np.swapaxes(x, 0, 2), CUBE),
    "take": (lambda x: np.take(x, [3, 3, 0], axis=1), A),
    "take by a tensor": (lambda x: np.take(x, indices=tb.tensor([3, 0]).data), A),
    "take_along_axis": (lambda x: np.take_along_axis(x, np.argsort(B, 1), 1), A),
    "tensordot": (np.tensordot, A, CUBE.transpose(1, 2, 0)),
    "tensordot of axes": (lambda x, y: np.tensordot(x, y, axes=(1, 1)), A, B),
    "tensordot of lists": (lambda x, y: np.tensordot(x, y, ([0, 1], [0, 1])), A, B),
    "tile": (lambda x: np.tile(x, (2, 1, 2)), A),
    "trace": (np.trace, A),
    "trace of axes": (lambda x: np.trace(x, 1, 1, 2), CUBE),
    "transpose": (np.transpose, CUBE),
    "transpose axes": (lambda x: np.transpose(x, (1, -1, 0)), CUBE),
    "tril": (np.tril, A),
    "triu": (lambda x: np.triu(x, k=1), CUBE),
    "vdot": (np.vdot, A, B),
    "vsplit": (lambda x: np.vsplit(x, 3), A),
    "vstack": (lambda x, y: np.vstack([x, y]), V, A),
    "where": (lambda x, y: np.where(MASK, x, y), A, B),
    "where of numbers": (lambda x, y: np.where([1, 0, 2, 0], x, 0.5) + np.where(V > 0, np.float64(2), y), A, B),
}


@numpy_functions(UFUNCS | REDUCTIONS | FUNCTIONS)
def test_recorded_functions(function: Callable[..., Any], arrays: list[np.ndarray]) -> None:
    """NumPy's values, and the derivative that central differences of NumPy's values have."""
    expected = parts(function(*arrays))
    leaves = [tb.tensor(a, requires_grad=True) for a in arrays]
    results = parts(function(*leaves))
    assert len(results) == len(expected)
    for y, y_expected in zip(results, expected, strict=True):
        assert isinstance(y, tb.Tensor) and y.requires_grad
        assert_close(y.detach(), y_expected, np.float64)

    rng = np.random.default_rng(1)
    directions = [rng.standard_normal(a.shape) for a in arrays]
    weights = [rng.standard_normal(y.shape) for y in results]
    sum((y * w).sum() for y, w in zip(results, weights, strict=True)).backward()
    slope = sum((x.grad.data * d).sum() for x, d in zip(leaves, directions, strict=True))

    def moved_by(step: float) -> float:
        values = parts(function(*(a + step * d for a, d in zip(arrays, directions, strict=True))))
        return sum((v * w).sum() for v, w in zip(values, weights, strict=True))

    numerical = (moved_by(NUMERICAL_STEP) - moved_by(-NUMERICAL_STEP)) / (2 * NUMERICAL_STEP)
    assert abs(slope - numerical) <= NUMERICAL * max(1, abs(numerical))


@numpy_functions(UFUNCS | REDUCTIONS | FUNCTIONS)
def test_float32_stays(function: Callable[..., Any], arrays: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("A", "B"):  # what a case mixes in
        monkeypatch.setitem(globals(), name, globals()[name].astype(np.float32))
    for y in parts(function(*(tb.tensor(a, dtype=np.float32) for a in arrays))):
        assert isinstance(y, tb.Tensor) and y.dtype == np.float32


ODD = {
    "not finite": np.array([[1.0, np.nan, -0.0], [np.inf, -np.inf, 2.5]]),
    "ties": np.array([[1.0, 1.0], [2.0, 1.0]]),
    "scalar": np.array(1.5),
    "empty": np.zeros((0, 3)),
    "float16": np.array([1.5, 2.0], np.float16),
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
@pytest.mark.parametrize("function", list(numpy_counterparts.UFUNCS), ids=lambda ufunc: ufunc.__name__)
def test_ufuncs_of_odd_values(function: np.ufunc, data: np.ndarray) -> None:
    assert_same_as_on_arrays(lambda x: function(*[x] * function.nin), data)


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
@pytest.mark.parametrize(
    "function",
    [
        *(np.sum, np.mean, np.prod, np.max, np.min, np.ptp, np.var, np.std, np.linalg.norm, np.cumsum, np.diff),
        *(np.add.reduce, np.multiply.reduce, np.maximum.reduce, np.nan_to_num, np.round, np.ravel, np.trace, np.tril),
    ],
    ids=lambda function: function.__name__,
)
def test_functions_of_odd_values(function: Callable[..., Any], data: np.ndarray) -> None:
    assert_same_as_on_arrays(function, data)
    assert_same_as_on_arrays(lambda x: np.clip(x, 2, 1), data)


def assert_same_as_on_arrays(function: Callable[..., Any], *arrays: Any) -> None:
    """On tensors without a graph: NumPy's values, shapes and dtypes, or both refuse."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of means over nothing
        try:
            expected = parts(function(*arrays))
        except (TypeError, ValueError, IndexError) as refusal:
            with pytest.raises((TypeError, ValueError, IndexError)):
                pytest.fail(f"{refusal} was raised for arrays; for tensors {function(*map(tb.tensor, arrays))}")
            return
        results = parts(function(*map(tb.tensor, arrays)))
    for y, y_expected in zip(results, expected, strict=True):
        assert isinstance(y, tb.Tensor) and y.dtype == np.asarray(y_expected).dtype
        tolerance = 1e-3 if y.dtype == np.float16 else 1e-12
        np.testing.assert_allclose(y.data, y_expected, rtol=tolerance, atol=0)


# --- functions that are not recorded ----------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Any, ...]] = {  # with a graph they raise, without one they run on the arrays
    "np.arctan": (np.arctan, A),
    "np.hypot": (np.hypot, A, B),
    "np.modf": (np.modf, A),
    "np.add: dtype=": (lambda x: np.add(x, 1, dtype=np.float64), A),
    "np.add.reduce: initial=": (lambda x: np.add.reduce(x, initial=1.0), A),
    "np.add.reduce: no axes": (lambda x: np.add.reduce(x, axis=()), A),
    "np.multiply.accumulate": (np.multiply.accumulate, A),
    "np.add.reduceat": (lambda x: np.add.reduceat(x, [0, 2]), A),
    "np.arctan2.outer": (np.arctan2.outer, V, V),
    "np.sum: where=": (lambda x: np.sum(x, where=MASK), A),
    "np.sum: initial=": (lambda x: np.sum(x, initial=1.0), A),
    "np.sum: no axes": (lambda x: np.sum(x, axis=()), A),
    "np.mean: where=": (lambda x: np.mean(x, 0, where=A < 2), A),
    "np.var: dtype=": (lambda x: np.var(x, 0, np.float64), A),
    "np.max: initial=": (lambda x: np.max(x, initial=1.0), A),
    "np.concatenate: dtype=": (lambda x: np.concatenate([x, B], dtype=np.float64), A),
    "np.median": (np.median, A),
    "np.average": (np.average, A),
    "np.percentile": (lambda x: np.percentile(x, [25, 50]), A),
    "np.nansum": (np.nansum, A),
    "np.unique": (lambda x: np.unique(x, return_counts=True), A),
    "np.histogram": (np.histogram, A),
    "np.cross": (np.cross, A[:, :3], B[:, :3]),
    "np.kron": (np.kron, A, B),
    "np.linalg.inv": (np.linalg.inv, A[:, :3]),
    "np.linalg.qr": (np.linalg.qr, A),
    "np.linalg.det": (np.linalg.det, A[:, :3]),
    "np.interp": (lambda x: np.interp(x, [-3.0, 3.0], [0.0, 1.0]), A),
    "np.block": (lambda x, y: np.block([[x], [y]]), A, B),
    "np.insert": (lambda x: np.insert(x, 1, 0.0, axis=0), A),
    "np.apply_along_axis": (lambda x: np.apply_along_axis(np.sum, 0, x), A),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded(name: str) -> None:
    function, *arrays = REFUSED[name]
    start = re.escape(name.partition(":")[0] + ": ")
    with pytest.raises(GraphError, match=rf"^{start}.*requires grad was given; pass tensor\.detach\(\)"):
        function(*(tb.tensor(a, requires_grad=True) for a in arrays))
    assert_same_as_on_arrays(function, *arrays)
    with tb.no_grad():
        for y in parts(function(*(tb.tensor(a, requires_grad=True) for a in arrays))):
            assert isinstance(y, tb.Tensor) and not y.requires_grad


@pytest.mark.parametrize(
    ("function", "start"),
    [
        (lambda x: np.linalg.norm(x, 2), "np.linalg.norm: ord=2 of matrices"),
        (lambda x: np.pad(x, 1, "linear_ramp"), "np.pad: mode 'linear_ramp'"),
        (lambda x: np.dot(x, np.ones(4, np.float32)), "matmul: expected numbers of one dtype"),
        (lambda x: np.squeeze(x, 0), "cannot select an axis"),
        (lambda x: np.clip(x, None, None), "clamp: expected min, max or both"),
    ],
)
def test_what_a_counterpart_refuses(function: Callable[..., Any], start: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{start}"):
        function(tb.tensor(A, requires_grad=True))


def test_arrays_do_what_pytorch_refuses() -> None:
    integers = np.array([[3, 1, 2], [4, 5, 9]])
    for function in (np.mean, np.var, lambda x: np.linalg.norm(x, 2), lambda x: np.clip(x, None, None), np.max):
        assert_same_as_on_arrays(function, integers)
    with pytest.raises(ShapeError, match=r"^stack: expected tensors of one shape"):  # NumPy refuses too: our message
        np.stack([tb.ones(2), tb.ones(3)])
    with tb.strict_float32(), pytest.raises(DTypeError, match=r"^strict_float32: "):
        np.where(V > 0, tb.ones(4), V)


@pytest.mark.parametrize(
    "function",
    [
        *(np.isnan, np.signbit, np.isfinite, np.logical_not, np.logical_and.reduce, np.argmax, np.argsort, np.nonzero),
        *(np.count_nonzero, np.all, np.any, np.zeros_like, np.ones_like, np.isposinf, np.where, np.argwhere),
        *(lambda x: np.isclose(x, 1), lambda x: np.searchsorted(V, x), lambda x: np.logical_or(x, 0)),
    ],
)
def test_what_has_no_gradient(function: Callable[..., Any]) -> None:
    for y, expected in zip(parts(function(tb.tensor(A, requires_grad=True))), parts(function(A)), strict=True):
        assert isinstance(y, tb.Tensor) and not y.requires_grad
        np.testing.assert_array_equal(y, expected)
        assert y.dtype == np.asarray(expected).dtype


def test_questions() -> None:
    x = tb.tensor(A, requires_grad=True)
    assert (np.shape(x), np.ndim(x), np.size(x), np.size(x, 0)) == ((3, 4), 2, 12, 3)
    assert np.allclose(x, A) is True and np.array_equal(x, A + 1) is False
    assert np.result_type(x, np.float32) == np.float64 and np.shares_memory(x, x.data) and np.iscomplexobj(x) is False
    assert np.array2string(x) == np.array2string(A)


def test_complex_results_are_arrays() -> None:
    assert type(np.fft.fft(tb.tensor(V))) is np.ndarray


def test_other_classes_may_answer() -> None:
    class Other:
        def __array_ufunc__(self, ufunc: Any, method: Any, *inputs: Any, **options: Any) -> str:
            return "the other's"

        def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> str:
            return "the other's"

    assert np.concatenate([tb.ones(2), Other()]) == np.add(tb.ones(2), Other()) == "the other's"
    for what in (None, "text", {}, object()):
        with pytest.raises(TypeError, match="Tensor"):
            np.add(tb.ones(2), what)


# --- operators and dtypes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_array_on_the_left(dtype: Any) -> None:
    x, array = tb.tensor(np.eye(2, dtype=dtype) + 1, requires_grad=True), np.full((2, 2), 2.0, dtype)
    for op in (*ARITHMETIC.values(), operator.floordiv, operator.mod, operator.matmul, divmod):
        for y, expected in zip(parts(op(array, x)), parts(op(array, x.detach().numpy())), strict=True):
            assert isinstance(y, tb.Tensor) and y.requires_grad and y.dtype == dtype
            np.testing.assert_allclose(y.detach(), expected)
    for op in (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge):
        for y, expected in ((op(array, x), op(array, x.data)), (op(x, array), op(x.data, array))):
            assert isinstance(y, tb.Tensor) and y.dtype == np.bool_ and y.tolist() == expected.tolist()


@pytest.mark.parametrize("number", [np.float64(0.1), np.float32(0.1), np.int64(2), np.array(0.1), 0.1, 2], ids=repr)
def test_scalars_promote_nothing(number: Any) -> None:
    x = tb.ones(2, requires_grad=True)
    for y in (number * x, np.add(x, number), np.maximum(number, x), np.where([True, False], x, number), x**number):
        assert y.dtype == np.float32 and y.requires_grad
    assert np.arctan2(x.detach(), 0.1).dtype == np.float32
    assert (np.float64(0.1) == tb.tensor([0.1])).tolist() == [True]


# --- out= and in place ------------------------------------------------------------------------------------------------


def test_out_tensor_joins_the_graph() -> None:
    x = leaf(1.0, 2.0)
    out = tb.zeros(2, dtype=np.float64)
    assert np.multiply(x, x, out=out) is out and out.tolist() == [1, 4]
    (out * 2).sum().backward()
    assert x.grad.tolist() == [4, 8]
    y = x * 1
    np.exp(y, out=y)
    np.sum(y * np.ones((3, 2)), axis=0, out=y)
    np.add.reduce(tb.stack([y, y]), out=y)
    (gradient,) = tb.grad(y.sum(), x)
    assert_close(gradient, 6 * np.exp([1, 2]), np.float64)


def test_out_tensor_without_a_graph() -> None:
    out = tb.zeros(3)
    assert np.arctan(np.ones(3, np.float32), out=out) is out and out.tolist() == [np.arctan(np.float32(1))] * 3
    np.add(tb.ones(3), 1, out=out, where=np.array([True, False, True]))
    assert out.tolist() == [2, np.arctan(np.float32(1)), 2]
    np.negative(np.ones(3), out=out)
    assert out.tolist() == [-1, -1, -1] and out.dtype == np.float32
    np.clip(tb.tensor([1.0, 5.0, 9.0]), 2, 6, out=out)
    assert out.tolist() == [2, 5, 6]


def test_out_array() -> None:
    array, x = np.ones(2), tb.ones(2, requires_grad=True)
    for write in (
        lambda: operator.iadd(array, x),
        lambda: np.exp(x, out=array),
        lambda: np.sum(tb.stack([x, x]), axis=0, out=array),
        lambda: np.add(array, array, out=array, where=x),
    ):
        with pytest.raises(GraphError, match=r"^np\.(add|exp|sum): an array cannot hold the graph"):
            write()
    assert array.tolist() == [1, 1]
    array += x.detach()
    assert np.exp(tb.zeros(2), out=array) is array and array.tolist() == [1, 1]
    fraction, whole = np.zeros(2), np.zeros(2)
    np.modf(tb.tensor([1.5, 2.25]), out=(fraction, whole))
    assert fraction.tolist() == [0.5, 0.25] and whole.tolist() == [1, 2]


def test_out_that_does_not_fit() -> None:
    x = tb.ones(2, requires_grad=True)
    before = tb.zeros(3), tb.zeros(2, dtype=np.int64)
    with pytest.raises(ShapeError, match=r"^np\.exp: .*\(2,\).*\(3,\)"):
        np.exp(x, out=before[0])
    with pytest.raises(DTypeError, match=r"^np\.exp: .*float32.*int64"):
        np.exp(x, out=before[1])
    with pytest.raises(GraphError, match=r"^np\.exp: a leaf that requires grad"):
        np.exp(np.ones(2), out=x)
    with pytest.raises(GraphError, match=r"^np\.arctan: "):
        np.arctan(np.ones(2, np.float32), out=x)
    with pytest.raises(GraphError, match=r"^np\.exp: it cannot be recorded with these arguments"):
        np.exp(x, out=tb.zeros(2), where=np.array([True, False]))
    with pytest.raises(TypeError, match=r"^np\.modf: expected one tensor"):
        np.modf(np.ones(2), out=(before[0], np.ones(2)))
    assert before[0].tolist() == [0, 0, 0] and before[1].tolist() == [0, 0] and x.tolist() == [1, 1]


CHANGES: dict[str, Callable[[Any], Any]] = {
    "np.copyto": lambda x: np.copyto(x, [5.0, 6.0], where=[True, False]),
    "np.put": lambda x: np.put(x, [0], 7.0),
    "np.putmask": lambda x: np.putmask(x, [False, True], 9.0),
    "np.place": lambda x: np.place(x, [False, True], [9.0]),
    "np.put_along_axis": lambda x: np.put_along_axis(x, np.array([1]), 3.0, 0),
    "np.add.at": lambda x: np.add.at(x, [0, 0], 1.0),
    "np.negative.at": lambda x: np.negative.at(x, slice(None)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_functions_that_change_their_first_argument(name: str) -> None:
    change, array = CHANGES[name], np.array([1.0, 2.0])
    x, w = tb.tensor(array), leaf(3.0, 4.0)
    y = x * w
    change(array)
    assert change(x) is None and x.tolist() == array.tolist()
    with pytest.raises(GraphError, match=f"{name} has changed it in place"):  # the graph had saved x
        y.sum().backward()
    with pytest.raises(GraphError, match=f"^{name}: "):
        change(w)
    assert w.tolist() == [3, 4]


# --- arrays from tensors ----------------------------------------------------------------------------------------------


def test_arrays_from_tensors() -> None:
    x = tb.ones(2)
    assert np.shares_memory(np.asarray(x), x.data) and not np.shares_memory(np.asarray(x, copy=True), x.data)
    assert np.asarray(x, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="Unable to avoid copy"):
        np.asarray(x, np.float64, copy=False)
    assert np.array([x, x]).tolist() == [[1, 1], [1, 1]]
    scalars = np.array([tb.tensor(1.0), tb.tensor(2.0)])
    assert scalars.dtype == np.float32 and scalars.tolist() == [1, 2]
    np.testing.assert_allclose(x, [1, 1])
    assert np.arange(4)[tb.tensor([2, 0])].tolist() == [2, 0] and np.arange(2)[tb.tensor([True, False])].tolist() == [0]


@pytest.mark.parametrize(
    "convert",
    [
        *(np.asarray, np.array, lambda x: x.numpy(), lambda x: np.array([x, x]), lambda x: np.mean([x, x])),
        *(lambda x: np.array([x[0], x[1]]), lambda x: np.zeros(2).__setitem__(..., x), lambda x: np.ones(2).dot(x)),
        *(lambda x: np.testing.assert_allclose(x, x), lambda x: np.full(2, x), lambda x: np.arange(3)[x]),
        *(lambda x: np.save(io.BytesIO(), x), lambda x: np.random.default_rng(0).normal(x)),
    ],
)
def test_arrays_from_a_graph_are_refused(convert: Callable[..., Any]) -> None:
    x = tb.ones(2, requires_grad=True)
    for tensor in (x, x * 2):
        with pytest.raises(GraphError, match=r"detach\(\)"):
            convert(tensor)


def test_save_and_load() -> None:
    file = io.BytesIO()
    np.save(file, tb.tensor(A, requires_grad=True).detach())
    file.seek(0)
    np.testing.assert_array_equal(np.load(file), A)


# --- Python's protocols -----------------------------------------------------------------------------------------------


def test_python_functions_of_one_element() -> None:
    x = tb.tensor([2.5], requires_grad=True)
    assert (float(x), int(x), bool(x), complex(x)) == (2.5, 2, True, 2.5 + 0j)
    assert (math.sqrt(x), math.floor(x), math.ceil(x), f"{x:.2f}") == (math.sqrt(2.5), 2, 3, "2.50")
    assert operator.index(tb.tensor([3])) == 3 and list(range(tb.tensor(2))) == [0, 1]
    with pytest.raises(TypeError, match="only an integer tensor"):
        operator.index(x)


def test_iteration() -> None:
    x = leaf(3.0, 1.0, 2.0)
    a, *others = x
    assert a.requires_grad and [y.item() for y in others] == [1, 2] and len(x) == 3
    assert [y.item() for y in sorted(x)] == [1, 2, 3] and [y.item() for y in reversed(x)] == [2, 1, 3]
    assert max(x).item() == 3 and min(x).item() == 1 and 2.0 in x and 7.0 not in x
    sum(row * row for row in x).backward()
    assert x.grad.tolist() == [6, 2, 4]


def test_hash_is_the_identity() -> None:
    x, y = tb.ones(2), tb.ones(2)
    assert {x: 1, y: 2}[y] == 2 and len({x, y, x}) == 2


# --- copies -----------------------------------------------------------------------------------------------------------

COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda x, protocol=protocol: pickle.loads(pickle.dumps(x, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}
copies = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


@copies
@pytest.mark.parametrize("made", [tb.tensor, tb.nn.Parameter])
def test_copies_of_leaves(copied: Callable[..., Any], made: Any) -> None:
    x = made(A.astype(np.float32), requires_grad=True)
    (x * x).sum().backward()
    y = copied(x)
    assert type(y) is type(x) and y.requires_grad and y.is_leaf and y.dtype == np.float32
    pairs = [(y, x), (y.grad, x.grad)]
    if made is tb.nn.Parameter:  # a copy of a parameter begins without a gradient
        assert pairs.pop()[0] is None
    for mine, other in pairs:
        np.testing.assert_array_equal(mine.data, other.data)
        assert not np.shares_memory(mine.data, other.data)
    (y * 3).sum().backward()
    assert x.grad.tolist() == (2 * x.detach()).tolist() != y.grad.tolist()
    assert not copied(x.detach()).requires_grad and not copied(made(A, requires_grad=False)).requires_grad


@copies
def test_copies_keep_what_is_shared(copied: Callable[..., Any]) -> None:
    x = leaf(1.0, 2.0)
    a, b = copied([x, x])
    assert a is b and a is not x


@copies
def test_copies_of_a_module_and_its_optimizer(copied: Callable[..., Any]) -> None:
    model = tb.nn.Sequential(tb.nn.Linear(3, 4), tb.nn.BatchNorm1d(4), tb.nn.ReLU(), tb.nn.Linear(4, 1))
    optimizer = tb.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    data = tb.tensor(CUBE[0].T.astype(np.float32))

    def step(model: Any, optimizer: Any) -> None:
        optimizer.zero_grad()
        (model(data) ** 2).mean().backward()
        optimizer.step()

    step(model, optimizer)
    twin, its_optimizer = copied((model, optimizer))
    assert [id(p) for p in its_optimizer.param_groups[0]["params"]] == [id(p) for p in twin.parameters()]
    step(model, optimizer)
    assert not np.array_equal(twin[0].weight.data, model[0].weight.data)
    step(twin, its_optimizer)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(twin.state_dict()[name], value, err_msg=name)


def test_a_shallow_copy_shares_the_memory() -> None:
    x = leaf(1.0, 2.0)
    y = copy.copy(x)
    assert y is not x and y.requires_grad and np.shares_memory(x.data, y.data)


@pytest.mark.parametrize("copied", [copy.copy, *COPIES.values()], ids=["copy", *COPIES])
def test_copies_of_a_graph_are_refused(copied: Callable[..., Any]) -> None:
    y = leaf(1.0, 2.0) * 2
    for what in (y, [y], {"y": y}, y.grad_fn):
        with pytest.raises(GraphError, match=r"detach\(\)"):
            copied(what) if copied is not copy.copy else copied(y)
    with tb.no_grad():
        assert copied(leaf(1.0, 2.0) * 2).tolist() == [2, 4]
