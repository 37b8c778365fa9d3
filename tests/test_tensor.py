"""Tensor: operators, indices, reductions and shapes, as in PyTorch."""

import operator
from typing import Any

import numpy as np
import pytest
from helpers import ARITHMETIC
from oracle import load_torch, to_numpy, to_torch
from tolerances import assert_close

import tinybn as tb
from tinybn import functional as F
from tinybn.errors import DTypeError, GraphError, ShapeError

X = np.random.default_rng(0).standard_normal((3, 4, 2))


def assert_same(function: Any, *arrays: np.ndarray) -> None:
    """``function`` gives in tinybn and in PyTorch the same values, shapes and gradients (for tuples: of the first)."""
    load_torch()
    ours = [tb.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    theirs = [to_torch(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    results = [y if isinstance(y, tuple) else (y,) for y in (function(*ours), function(*theirs))]
    for mine, other in zip(*results, strict=True):
        assert_close(mine.detach().numpy(), to_numpy(other), np.float64)
    y, their_y = (result[0] for result in results)
    if their_y.requires_grad:
        dy = np.random.default_rng(1).standard_normal(y.shape)
        y.backward(dy)
        their_y.backward(to_torch(dy))
        for x, their_x in zip(ours, theirs, strict=True):
            if their_x.grad is not None:
                assert_close(x.grad, to_numpy(their_x.grad), np.float64)


# --- operators --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", ARITHMETIC)
@pytest.mark.parametrize("other", [2.0, 3, np.array([2.0, 3.0]), np.array(2.0)], ids=repr)
def test_operators_and_reflected_operators(symbol, other):
    op, data = ARITHMETIC[symbol], np.array([1.5, 0.5])
    x = tb.tensor(data, requires_grad=True)
    for got, expected in ((op(x, other), op(data, other)), (op(other, x), op(other, data))):
        assert isinstance(got, tb.Tensor) and got.requires_grad
        assert_close(got.detach(), expected, np.float64)
    (op(x, other) + op(other, x)).sum().backward()
    assert x.grad is not None


def test_unary_operators():
    assert_same(lambda x: -x, X)
    assert_same(abs, X)
    assert (~tb.tensor([True, False])).tolist() == [False, True]


@pytest.mark.parametrize("op", [operator.add, operator.mul, operator.truediv, operator.pow])
@pytest.mark.parametrize("other", [None, "text", [1.0], {}], ids=repr)
def test_operators_refuse_what_is_not_a_number(op, other):
    for pair in ((tb.ones(1), other), (other, tb.ones(1))):
        with pytest.raises(TypeError):
            op(*pair)


COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons(op):
    a, b = np.array([1.0, 2.0, np.nan]), np.array([2.0, 2.0, np.nan])
    x = tb.tensor(a, requires_grad=True)
    for got, expected in [
        (op(x, tb.tensor(b)), op(a, b)),
        (op(x, b), op(a, b)),
        (op(b, x), op(b, a)),
        (op(x, 2), op(a, 2)),
        (op(2, x), op(2, a)),
        (op(x, np.float64(2)), op(a, 2)),
    ]:
        assert isinstance(got, tb.Tensor) and got.dtype == np.bool_ and not got.requires_grad
        np.testing.assert_array_equal(got, expected)


def test_logic():
    a, b = tb.tensor([True, True, False]), tb.tensor([True, False, False])
    assert (a & b).tolist() == [True, False, False] and (a | b).tolist() == [True, True, False]
    assert bool(a.any()) and not bool(a.all())
    assert a.reshape(1, 3).all(dim=1).tolist() == [False] and a.reshape(1, 3).any(dim=0, keepdim=True).shape == (1, 3)


def test_tensors_can_be_keys():
    a, b = tb.ones(1), tb.ones(1)
    assert {a: 1, b: 2}[a] == 1


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3,)),
        ((3,), (5, 3, 2)),
        ((5, 2, 3), (3, 4)),
        ((5, 1, 2, 3), (4, 3, 2)),
    ],
)
def test_matmul(x, y):
    rng = np.random.default_rng(0)
    assert_same(lambda x, y: x @ y, rng.standard_normal(x), rng.standard_normal(y))


def test_matmul_refuses_shapes():
    with pytest.raises(ShapeError, match=r"the inner sizes of \(2, 3\) and \(2, 3\) differ"):
        tb.ones(2, 3) @ tb.ones(2, 3)
    with pytest.raises(ShapeError, match=r"at least one axis .* use \*"):
        tb.ones(2) @ tb.ones(())


# --- indices ----------------------------------------------------------------------------------------------------------

INDICES = {
    "int": 1,
    "negative": -1,
    "ints": (2, 0),
    "slice": slice(1, None),
    "step": slice(None, None, 2),
    "columns": (slice(None), slice(1, 3)),
    "ellipsis": (..., 1),
    "new axis": (None, slice(None), None, 0),
    "whole": (),
    "list": [2, 0],
    "mask": np.array([True, False, True]),
    "mask of all": X > 0,
    "integers": np.array([2, 0]),
    "repeats": np.array([1, 1, 1, 0]),
    "table": np.array([[0, 1], [1, 2]]),
    "pairs": (np.array([0, 0, 2]), np.array([3, 3, 1])),
    "integers behind a slice": (slice(None), np.array([1, 1])),
    "mask and int": (np.array([True, False, True]), 1),
    "nothing": slice(0, 0),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_indexing(index):
    assert_same(lambda x: x[to_torch(index) if not isinstance(x, tb.Tensor) else index], X)


def test_repeated_indices_accumulate():
    x = tb.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[[0, 0, 2, 0]].backward([1.0, 10.0, 100.0, 1000.0])
    assert x.grad.tolist() == [1011.0, 0.0, 100.0]


def test_tensors_as_indices():
    x = tb.arange(12).reshape(3, 4)
    rows = tb.tensor([2, 0])
    assert x[rows].tolist() == x.data[[2, 0]].tolist()
    assert x[rows, 1].tolist() == [9, 1] and x[:, rows].shape == (3, 2)
    assert x[tb.tensor(1)].tolist() == [4, 5, 6, 7] and x[tb.tensor(1) :].shape == (2, 4)
    assert x[x > 9].tolist() == [10, 11]
    assert ["a", "b"][tb.tensor(1)] == "b"
    with pytest.raises(TypeError, match="only an integer tensor"):
        ["a", "b"][tb.tensor(1.0)]


def test_index_out_of_range():
    with pytest.raises(IndexError):
        tb.ones(3)[3]


def test_rows_are_iterated_over():
    x = tb.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    a, b = x
    (a * b).sum().backward()
    assert x.grad.tolist() == [[3.0, 4.0], [1.0, 2.0]]


# --- reductions -------------------------------------------------------------------------------------------------------

AXES = [0, -1, 1, (0, 2), (-1, 0), (1,)]


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", AXES)
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "var", "std"])
def test_reductions(name, dim, keepdim):
    assert_same(lambda x: getattr(x, name)(dim=dim, keepdim=keepdim), X)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var", "std", "amax", "amin"])
def test_reductions_over_everything(name):
    assert_same(lambda x: getattr(x, name)(), X)


@pytest.mark.parametrize("name", ["sum", "mean"])
def test_numpys_names_of_axes(name):
    assert_same(lambda x: getattr(x, name)(axis=1, keepdims=True), X)
    assert_same(lambda x: getattr(x, name)(axis=(0, 1)), X)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", ["max", "min"])
def test_max_and_min_over_an_axis_give_values_and_indices(name, dim, keepdim):
    def values_and_indices(x: Any) -> tuple[Any, Any]:
        values, indices = getattr(x, name)(dim, keepdim=keepdim)
        return values, indices

    assert_same(values_and_indices, X)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_of_extremes(name):
    for options in ({}, {"dim": 1}, {"dim": -1, "keepdim": True}):
        assert_same(lambda x, options=options: getattr(x, name)(**options), X)


@pytest.mark.parametrize("correction", [0, 1, 2])
def test_correction_of_the_variance(correction):
    assert_same(lambda x: x.var(0, correction=correction), X)
    assert_same(lambda x: x.std(correction=correction), X)


def test_variance_of_too_few_is_nan():
    assert np.isnan(tb.ones(1).var().item()) and tb.ones(1).var(correction=0).item() == 0


def test_sums_of_integers_and_bools():
    assert tb.tensor([True, True]).sum().item() == 2 and tb.tensor([True]).sum().dtype == np.int64
    assert tb.tensor(np.full(300, 255, np.uint8)).sum().item() == 300 * 255


@pytest.mark.parametrize("function", [lambda x: x.sum(2), lambda x: x.mean(-3), lambda x: x.amax((0, 2))])
def test_axis_out_of_range(function):
    with pytest.raises(IndexError, match=r"axis (2|-3) is out of range for a tensor of shape \(2, 3\)"):
        function(tb.ones(2, 3))


# --- shapes and the rest of the methods -------------------------------------------------------------------------------

METHODS = {
    "reshape": lambda x: x.reshape(4, -1),
    "reshape tuple": lambda x: x.reshape((6, 4)),
    "view": lambda x: x.view(2, 12),
    "flatten": lambda x: x.flatten(),
    "flatten behind": lambda x: x.flatten(1),
    "flatten in front": lambda x: x.flatten(0, 1),
    "permute": lambda x: x.permute(2, 0, 1),
    "permute negative": lambda x: x.permute(0, -1, 1),
    "transpose": lambda x: x.transpose(0, -1),
    "mT": lambda x: x.mT,
    "T": lambda x: x[0].T,
    "expand": lambda x: x[:, :1].expand(5, 3, 4, -1),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "unsqueeze behind": lambda x: x.unsqueeze(-1),
    "squeeze": lambda x: x[:1, :, :1].squeeze(),
    "squeeze one": lambda x: x[:1, :, :1].squeeze(0),
    "squeeze none": lambda x: x.squeeze(1),
    "contiguous": lambda x: x.permute(2, 0, 1).contiguous(),
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "clamp below": lambda x: x.clamp(min=0.1),
    "clamp above": lambda x: x.clamp(max=0.1),
    "clamp at a value": lambda x: x.clamp(max=X[0, 0, 0].item()),
    "square": lambda x: x.square(),
    "pow": lambda x: x.pow(3),
    "abs": lambda x: x.abs(),
    "exp": lambda x: x.exp(),
    "log": lambda x: x.abs().log(),
    "sqrt": lambda x: x.abs().sqrt(),
    "tanh": lambda x: x.tanh(),
    "sigmoid": lambda x: x.sigmoid(),
    "relu": lambda x: x.relu(),
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(dim=-1),
    "matmul": lambda x: x[0].matmul(x[1].mT),
    "clone": lambda x: x.clone(),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_methods(method):
    assert_same(method, X)


def test_where_equals_pytorch():
    torch = load_torch()
    y = X[::-1].copy()

    def where(a: Any, b: Any) -> Any:
        chosen = (tb if isinstance(a, tb.Tensor) else torch).where
        return chosen(a > b, a, b) + chosen(a > 0, a, 0.5) + chosen(b > 0, 0.0, b)

    assert_same(where, X, y)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_maximum_and_minimum_equal_pytorch(name):
    torch = load_torch()
    assert_same(lambda a, b: getattr(tb if isinstance(a, tb.Tensor) else torch, name)(a, b), X, X[::-1].copy())


@pytest.mark.parametrize(("name", "dim"), [("cat", 0), ("cat", -1), ("stack", 0), ("stack", 1), ("stack", -1)])
def test_joining_equals_pytorch(name, dim):
    torch = load_torch()
    joined = lambda a, b: getattr(tb if isinstance(a, tb.Tensor) else torch, name)([a, b, a], dim=dim)  # noqa: E731
    assert_same(joined, X, X[::-1].copy())


def test_joining_takes_arrays_and_refuses_nothing():
    assert tb.cat([np.ones(2), tb.zeros(1, dtype=np.float64)]).tolist() == [1, 1, 0]
    for join in (tb.cat, tb.stack):
        with pytest.raises(ShapeError, match="at least one"):
            join([])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.reshape(5, 5),
        lambda x: x.expand(5, 3),
        lambda x: x.view(7),
        lambda x: tb.cat([x, tb.ones(2, 2)]),
    ],
)
def test_shapes_that_cannot_be(function):
    with pytest.raises(ShapeError, match=r"\(2, 3\)"):
        function(tb.ones(2, 3))


# --- to Python and NumPy ----------------------------------------------------------------------------------------------


def test_scalars_to_python():
    x = tb.tensor([[2.5]], requires_grad=True)
    assert (x.item(), float(x), int(x), bool(x), x.tolist()) == (2.5, 2.5, 2, True, [[2.5]])
    assert isinstance(x.item(), float) and isinstance(tb.tensor(3).item(), int)
    assert tb.tensor(3).__index__() == 3 and not tb.tensor(0.0)


def test_only_one_element_is_a_number():
    for function in (float, int, lambda x: x.item()):
        with pytest.raises(ShapeError, match=r"shape \(2,\)"):
            function(tb.ones(2))
    with pytest.raises(ShapeError, match=r"shape \(2,\).*\.any\(\) or \.all\(\)"):
        bool(tb.ones(2))


def test_a_scalar_has_no_length():
    for function in (len, iter):
        with pytest.raises(TypeError, match="0-d tensor"):
            function(tb.tensor(1.0))


def test_sizes():
    x = tb.ones(2, 3)
    assert (x.shape, x.size(), x.size(1), x.size(-1), x.numel(), x.ndim, x.dim(), len(x)) == (
        (2, 3),
        (2, 3),
        3,
        3,
        6,
        2,
        2,
        2,
    )


def test_numpy_is_a_view():
    x = tb.ones(2)
    x.numpy()[0] = 5
    assert x.tolist() == [5, 1] and np.shares_memory(np.asarray(x), x.data)
    assert not np.shares_memory(np.array(x), x.data) and np.asarray(x, np.float64).dtype == np.float64


@pytest.mark.parametrize("convert", [np.asarray, np.array, lambda x: x.numpy(), lambda x: np.asarray(x, np.float64)])
def test_a_tensor_of_a_graph_does_not_turn_into_an_array(convert):
    x = tb.ones(2, requires_grad=True)
    for tensor in (x, x * 2):
        with pytest.raises(GraphError, match=r"detach\(\)"):
            convert(tensor)
    assert convert((x * 2).detach()).tolist() == [2, 2]


# --- repr -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (tb.tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (tb.tensor(3), "tensor(3)"),
        (tb.tensor([True]), "tensor([ True])"),
        (tb.tensor(np.zeros(1)), "tensor([0.], dtype=float64)"),
        (tb.ones(1, requires_grad=True), "tensor([1.], requires_grad=True)"),
        (tb.ones(1, requires_grad=True) * 2, "tensor([2.], grad_fn=<multiply>)"),
        (tb.eye(2), "tensor([[1., 0.],\n        [0., 1.]])"),
        (tb.zeros(0), "tensor([])"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_repr(tensor, text):
    assert repr(tensor) == text


# --- axes and arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.flatten(2),
        lambda x: x.squeeze(4),
        lambda x: x.unsqueeze(4),
        lambda x: x.transpose(0, 4),
        lambda x: x.max(2),
        lambda x: x.argmax(-3),
        lambda x: x.any(2),
        lambda x: x.sum((0, 2)),
        lambda x: x.softmax(2),
        lambda x: x.flip(2),
        lambda x: tb.cat([x, x], 2),
        lambda x: tb.tensor(1.0).max(1),
    ],
)
def test_axes_that_are_not_there(call):
    with pytest.raises(IndexError, match=r"axis -?\d is out of range for a tensor of shape"):
        call(tb.zeros(2, 3))


def test_no_axes_means_all_as_in_pytorch():
    assert tb.ones(2, 3).sum(()).item() == 6


def test_a_new_axis_cannot_keep_its_size():
    with pytest.raises(ShapeError, match="-1"):
        tb.ones(3).expand(-1, 3)


@pytest.mark.parametrize(
    "function", [lambda x: x == x, lambda x: x < 2, lambda x: ~(x > 2), lambda x: (x > 0) & (x < 9)]
)
def test_comparisons_of_scalars_hold_arrays(function):
    assert type(function(tb.tensor(1.0)).data) is np.ndarray


def test_comparison_with_something_else():
    assert (tb.ones(2) == "x") is False
    assert (tb.ones(2) != None) is True  # noqa: E711  # the comparison itself is what is tested


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.softmax(x, 0),
        lambda x: F.dropout(x),
        lambda x: F.cross_entropy(x.reshape(1, 2), [0]),
        lambda x: F.avg_pool2d(x.reshape(1, 1, 2), 1),
    ],
)
def test_what_needs_floats_says_so(function):
    with pytest.raises(DTypeError, match=r"expected a floating tensor, got int64; use \.float\(\)"):
        function(tb.tensor([1, 2]))


def test_functions_take_arrays_and_lists():
    values = [1.0, 3.0]
    for x in (values, np.array(values)):
        assert F.var(x).item() == 2
        assert F.square(x).tolist() == [1, 9]
        assert F.max(x).item() == 3 and F.min(x, 0).indices.item() == 0
        assert F.unsqueeze(x, 0).shape == (1, 2) and F.squeeze(x).shape == (2,)
        assert tb.maximum(x, 2.0).tolist() == [2, 3]
        assert tb.clamp(x, max=2).tolist() == [1, 2]


def test_cat_promotes():
    assert tb.cat([tb.ones(1), tb.ones(1, dtype="int64")]).dtype == np.float32
    assert tb.cat([tb.ones(1), tb.ones(1, dtype="float64"), tb.ones(1)]).dtype == np.float64


def test_format():
    assert f"{tb.tensor(1.23456):.2f}" == "1.23"
    assert f"{tb.tensor([1.0])}" == "tensor([1.])"


def test_flip_equals_pytorch():
    assert_same(lambda x: x.flip((0, -1)), X)
