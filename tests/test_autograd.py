"""The engine, by the names of the classic mistakes: the diamond, the shared buffer, the deep chain, the leak."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from helpers import leaf
from numerical import check_second_gradients
from oracle import load_torch, to_numpy, to_torch
from tolerances import assert_close

import tinybn as tb
from tinybn.autograd import Node, apply
from tinybn.errors import DTypeError, GraphError, ShapeError

# --- sums over paths --------------------------------------------------------------------------------------------------


def test_diamond():
    """A node used twice is walked once, after both of its consumers."""
    x = leaf(3.0)
    a = x * x
    b, c = a * 2, a * a
    (b + c * b).backward()  # 2x² + 2x⁶
    assert x.grad.item() == 4 * 3 + 12 * 3**5


def test_diamonds_in_a_row():
    """2³⁰ paths, 30 nodes."""
    x = y = leaf(1.0)
    for _ in range(30):
        y = y + y
    y.backward()
    assert x.grad.item() == 2**30


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x + x, 2.0),
        (lambda x: x - x, 0.0),
        (lambda x: x * x, 6.0),
        (lambda x: x / x, 0.0),
        (lambda x: tb.maximum(x, x), 1.0),
        (lambda x: tb.cat([x.reshape(1), x.reshape(1)]).sum(), 2.0),
    ],
)
def test_one_tensor_as_both_arguments(function, expected):
    x = leaf(3.0)
    function(x).backward()
    assert x.grad.item() == expected


def test_a_short_and_a_long_path():
    x = leaf(2.0)
    y = x
    for _ in range(5):
        y = y * 1.5
    (x * y).backward()
    assert_close(x.grad, 2 * 2 * 1.5**5, np.float64)


def test_gradients_accumulate_over_backwards():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    assert x.grad is first


def test_gradients_accumulate_after_create_graph():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x + y).sum().backward(create_graph=True)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0] and y.grad.tolist() == [1.0, 1.0]


def test_backward_of_a_leaf():
    x = leaf(2.0)
    x.backward()
    x.backward(4.0)
    assert x.grad.item() == 5.0


@pytest.mark.parametrize("source", [(), (1,), (3,), (1, 1), (1, 3), (2, 1), (2, 3)])
def test_broadcast_axes_are_summed_back(source):
    x = tb.tensor(np.ones(source), requires_grad=True)
    weights = np.arange(6.0).reshape(2, 3)
    (x * weights).sum().backward()
    padded = (1,) * (2 - len(source)) + source
    axes = tuple(i for i in (0, 1) if padded[i] == 1)
    np.testing.assert_array_equal(x.grad, weights.sum(axis=axes, keepdims=True).reshape(source))


# --- freed and retained graphs ----------------------------------------------------------------------------------------


def test_second_backward_raises():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(GraphError, match="retain_graph=True"):
        y.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_backward_through_a_part_that_was_freed_raises():
    x = leaf(3.0)
    shared = x * x
    (shared * 2).backward()
    with pytest.raises(GraphError, match=r"multiply.*freed.*retain_graph"):
        (shared * 3).backward()


def test_retain_graph():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_grad_retains_the_graph_when_told():
    x = leaf(3.0)
    y = x * x
    assert tb.grad(y, x, retain_graph=True)[0].item() == tb.grad(y, x)[0].item() == 6
    with pytest.raises(GraphError, match="freed"):
        tb.grad(y, x)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_backward_of_a_vector_needs_a_gradient():
    x = leaf(1.0, 2.0)
    with pytest.raises(GraphError, match=r"shape \(2,\)"):
        (x * 2).backward()
    (x * 2).backward([1.0, 10.0])
    assert x.grad.tolist() == [2.0, 20.0]


@pytest.mark.parametrize("gradient", [np.ones(3), np.ones((1, 2)), 1.0])
def test_gradient_of_another_shape(gradient):
    x = leaf(1.0, 2.0)
    with pytest.raises(ShapeError, match=r"gradient has shape .* the output has \(2,\)"):
        (x * 2).backward(gradient)
    assert x.grad is None


def test_backward_without_a_graph():
    with pytest.raises(GraphError, match="does not require grad"):
        tb.ones(1).backward()
    with tb.no_grad():
        y = leaf(1.0) * 2
    with pytest.raises(GraphError, match="no_grad"):
        y.backward()


def test_grad_of_an_unused_input():
    x, unused = leaf(1.0), leaf(1.0)
    with pytest.raises(GraphError, match="input 1"):
        tb.grad(x * 2, [x, unused])
    dx, nothing = tb.grad(x * 2, [x, unused], allow_unused=True)
    assert dx.item() == 2 and nothing is None


def test_grad_of_an_input_that_does_not_require_it():
    x, constant = leaf(1.0), tb.ones(())
    with pytest.raises(GraphError, match="input 1 does not require grad"):
        tb.grad(x * constant, [x, constant])


def test_grad_outputs_are_one_for_each_output():
    x = leaf(1.0)
    with pytest.raises(GraphError, match="2 outputs but 1 gradient to start from"):
        tb.grad([x * 2, x * 3], x, [1.0])


def test_error_in_a_backward_leaves_every_grad_as_it_was():
    def failing(x: Any) -> Any:
        def backward(dy: Any) -> Any:
            raise ArithmeticError("on purpose")

        return x * 1.0, backward, ()

    x, y, z = leaf(1.0), leaf(2.0), leaf(3.0)
    (x * 5).backward()
    before = x.grad
    with pytest.raises(ArithmeticError, match="on purpose"):
        (z * y + x * apply(failing, y)).backward()
    assert x.grad is before and before.item() == 5
    assert y.grad is None and z.grad is None
    assert tb.is_grad_enabled()


# --- tb.grad ----------------------------------------------------------------------------------------------------------


def test_grad_leaves_grad_alone():
    x, y = leaf(2.0), leaf(3.0)
    (x * 1).backward()
    assert [g.item() for g in tb.grad(x * y, [x, y])] == [3.0, 2.0]
    assert x.grad.item() == 1.0 and y.grad is None


def test_grad_of_intermediate_results():
    x = leaf(2.0)
    y = x * x
    z = y * 3
    w = z + y
    dw, dz, dy, dx = tb.grad(w, [w, z, y, x])
    assert [g.item() for g in (dw, dz, dy, dx)] == [1, 1, 4, 16]


def test_grad_sums_over_outputs():
    x = leaf(2.0, 3.0)
    (dx,) = tb.grad([x * x, x.sum()], x, [[1.0, 10.0], 100.0])
    assert dx.tolist() == [104.0, 160.0]


def test_one_output_may_lead_to_another():
    x = leaf(2.0)
    y = x * x
    (dx,) = tb.grad([y, y * y, y], x)
    assert dx.item() == 4 + 32 + 4


def test_grad_computes_only_what_leads_to_the_inputs():
    counted, calls = counting_multiply()
    x, y = leaf(2.0), leaf(3.0)
    z = apply(counted, x, y)
    tb.grad(z, y)
    assert calls == ["dy"]


# --- ops of one's own -------------------------------------------------------------------------------------------------


def counting_multiply() -> tuple[Any, list[str]]:
    """multiply, and a list of the gradients that it computed."""
    calls: list[str] = []

    def multiply(x: Any, y: Any) -> Any:
        def backward(dz: Any, x: Any, y: Any) -> Any:
            def gradient(name: str, value: Any) -> Any:
                calls.append(name)
                return dz * value

            return lambda: gradient("dx", y), lambda: gradient("dy", x)

        return x * y, backward, (x, y)

    return multiply, calls


def test_gradients_that_nobody_needs_are_not_computed():
    multiply, calls = counting_multiply()
    x, constant = leaf(2.0), tb.ones((), dtype=np.float64)
    apply(multiply, x, constant).backward()
    apply(multiply, constant, x).backward()
    apply(multiply, x, np.array(3.0)).backward()
    assert calls == ["dx", "dy", "dx"]
    with tb.no_grad():
        assert not apply(multiply, x, x).requires_grad


def test_an_op_of_ones_own():
    def cube(x: Any) -> Any:
        out = x**3

        def backward(dy: Any, x: Any) -> Any:
            return (dy * (3 * x * x),)

        return out, backward, (x,)

    x = leaf(2.0, -1.0)
    y = apply(cube, x)
    assert isinstance(y, tb.Tensor) and isinstance(y.grad_fn, Node) and "cube" in repr(y.grad_fn)
    y.sum().backward()
    assert x.grad.tolist() == [12.0, 3.0]
    check_second_gradients("cube", lambda x: apply(cube, x), [np.array([2.0, -1.0])])


def test_saved_outputs_are_found_again():
    """As the tensor that they were, also where a second op saved them as its input."""
    check_second_gradients("exp of exp", lambda x: x.exp().exp() * x.exp(), [np.array([0.5, -0.3])])
    check_second_gradients("product of one", lambda x: (x * x) * (x * x).sigmoid(), [np.array([0.5, -0.3])])


def test_by_products():
    def halves(x: Any, at: int) -> Any:
        def backward(dy: Any) -> Any:
            return (dy * 2,)

        return (x * 2, x > 1, at), backward, ()

    x = leaf(1.0, 2.0)
    y, mask, at = apply(halves, x, at=7)
    assert isinstance(mask, np.ndarray) and mask.tolist() == [False, True] and at == 7
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    assert tb.ops.call(halves, x, 7).requires_grad
    assert isinstance(tb.ops.call(tb.ops.exp, np.ones(2)), np.ndarray)


def test_none_is_a_gradient_of_zero():
    def first_of(x: Any, y: Any) -> Any:
        return x * 1.0, lambda dz: (dz, None), ()

    x, y = leaf(1.0), leaf(2.0)
    (apply(first_of, x, y) * y).backward()
    assert x.grad.item() == 2.0 and y.grad.item() == 1.0


# --- what requires grad -----------------------------------------------------------------------------------------------


def test_only_floats_require_grad():
    for dtype in (np.int64, np.uint8, np.bool_):
        with pytest.raises(DTypeError, match="only floating tensors"):
            tb.tensor([1, 0], dtype=dtype, requires_grad=True)
        with pytest.raises(DTypeError, match="only floating tensors"):
            tb.tensor([1, 0], dtype=dtype).requires_grad_()


def test_requires_grad_spreads():
    x, constant = leaf(1.0, 2.0), tb.ones(2, dtype=np.float64)
    assert (x * constant).requires_grad and not (constant * constant).requires_grad
    assert not (x > 1).requires_grad and not x.argmax().requires_grad
    assert (x * tb.tensor([1, 2])).requires_grad and (tb.tensor([True, False]) * x).requires_grad


def test_requires_grad_can_be_changed_on_leaves_only():
    x = leaf(1.0)
    assert not (x.requires_grad_(False) * 2).requires_grad
    y = leaf(1.0) * 2
    with pytest.raises(GraphError, match="only a leaf"):
        y.requires_grad_(False)
    assert y.requires_grad_() is y


def test_detach_shares_memory_but_not_the_graph():
    x = leaf(1.0, 2.0)
    y = x * 2
    d = y.detach()
    assert np.shares_memory(d.data, y.data) and not d.requires_grad and d.is_leaf
    (y * d).sum().backward()  # d counts as a constant
    assert x.grad.tolist() == [4.0, 8.0]


def test_clone_keeps_the_graph_but_shares_no_memory():
    x = leaf(1.0, 2.0)
    y = x.clone()
    assert not np.shares_memory(x.data, y.data)
    (y * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_gradients_have_the_dtype_of_their_leaf():
    x, y = leaf(1.0, 2.0, dtype=np.float32), leaf(3.0, 4.0)
    (x * y).sum().backward()
    assert x.grad.dtype == np.float32 and y.grad.dtype == np.float64
    z = leaf(1.0, 2.0, dtype=np.float32)
    (z * 2).backward(np.ones(2))
    assert z.grad.dtype == np.float32
    (dz,) = tb.grad(z * 2, z, tb.ones(2, dtype=np.float64), create_graph=True)
    assert dz.dtype == np.float32


# --- higher order -----------------------------------------------------------------------------------------------------


def test_derivatives_of_a_fourth_power():
    for power in (lambda x: x * x * x * x, lambda x: x**4, lambda x: (x * x) ** 2):
        x = leaf(1.5)
        derivatives = []
        y = power(x)
        for _ in range(4):
            (y,) = tb.grad(y, x, create_graph=True)
            derivatives.append(y.item())
        np.testing.assert_allclose(derivatives, [4 * 1.5**3, 12 * 1.5**2, 24 * 1.5, 24], rtol=1e-14)


def test_backward_with_create_graph():
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    dx, x.grad = x.grad, None
    assert dx.item() == 27 and dx.requires_grad
    dx.backward()
    assert x.grad.item() == 18


def test_hessian_vector_product_equals_pytorch():
    torch = load_torch()
    rng = np.random.default_rng(0)
    data, w1, w2, v1, v2 = (rng.standard_normal(s) for s in ((5, 3), (4, 3), (2, 4), (4, 3), (2, 4)))
    labels = np.array([0, 1, 1, 0, 1])

    def product(functional: Any, grad: Any, data: Any, labels: Any, weights: Any, directions: Any) -> Any:
        hidden = functional.batch_norm(functional.linear(data, weights[0]), None, None, training=True).tanh()
        loss = functional.cross_entropy(functional.linear(hidden, weights[1]), labels)
        first = grad(loss, weights, create_graph=True)
        return grad(sum((g * v).sum() for g, v in zip(first, directions, strict=True)), weights)

    leaves = [tb.tensor(w, requires_grad=True) for w in (w1, w2)]
    ours = product(tb.functional, tb.grad, data, labels, leaves, [v1, v2])
    their_leaves = [to_torch(w, requires_grad=True) for w in (w1, w2)]
    theirs = product(
        torch.nn.functional, torch.autograd.grad, to_torch(data), to_torch(labels), their_leaves, to_torch((v1, v2))
    )
    for got, expected in zip(ours, theirs, strict=True):
        assert_close(got, to_numpy(expected), np.float64)


def test_gradient_penalty():
    """A first gradient inside a loss: what trains a WGAN."""
    x = leaf(1.0, 2.0)
    w = leaf(0.5, -0.5)
    (dx,) = tb.grad((x * w).sigmoid().sum(), x, create_graph=True)
    ((dx * dx).sum() - 1).backward()
    s = 1 / (1 + np.exp(-x.data * w.data))
    slope = s * (1 - s)
    expected = 2 * (slope * w.data) * (slope + w.data * slope * (1 - 2 * s) * x.data)
    assert_close(w.grad, expected, np.float64)


def test_a_gradient_that_has_a_graph_is_not_written_over():
    """What was computed from it is still right after a later backward."""
    x = leaf(3.0)
    (x * x * x).backward(create_graph=True)  # 27
    penalty = x.grad * x.grad
    (x * 2.0).backward()
    assert x.grad.item() == 29
    (dx,) = tb.grad(penalty, x)
    assert dx.item() == 2 * 27 * 18


def test_a_parameter_of_a_tensor_is_a_leaf_of_its_own():
    t = leaf(2.0, 3.0)
    p = tb.nn.Parameter(t)
    (dp,) = tb.grad((p * t).sum(), p, create_graph=True)
    (ddt,) = tb.grad(dp.sum(), t)
    assert ddt.tolist() == [1, 1]


@pytest.mark.parametrize("copying", [copy.deepcopy, pickle.dumps])
def test_copies_of_results_are_refused(copying):
    with pytest.raises(GraphError, match="detach"):
        copying(leaf(1.0) * 2)


def test_integers_leave_the_graph():
    x = leaf(1.5)
    assert not x.to("int64").requires_grad


def test_labels_may_change_after_the_loss():
    labels = np.array([0])
    x = leaf(1.0, 2.0).reshape(1, 2)
    loss = tb.functional.cross_entropy(x, labels)
    labels[0] = 1
    (dx,) = tb.grad(loss, x)
    assert dx.data[0, 0] < 0 < dx.data[0, 1]
