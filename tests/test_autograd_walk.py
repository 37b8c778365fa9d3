"""What a walk runs, frees and refuses, and data that is assigned between a forward and its backward."""

import copy
from typing import Any

import numpy as np
import pytest
from helpers import leaf

import tinybn as tb
from tinybn.autograd import apply
from tinybn.errors import GraphError, ShapeError

# --- what runs and what is freed --------------------------------------------------------------------------------------


def test_grad_for_an_intermediate_leaves_what_is_behind_it():
    x = leaf(3.0)
    y = x * x
    z = y * 2
    assert tb.grad(z, y)[0].item() == 2
    y.backward()
    assert x.grad.item() == 6


def test_grad_passes_by_a_side_branch_that_was_freed():
    x, w = leaf(3.0), leaf(2.0)
    side = w * w
    z = x * x + side
    tb.grad(side, w)
    assert tb.grad(z, x)[0].item() == 6
    with pytest.raises(GraphError, match=r"grad: the graph behind <multiply .* was freed"):
        tb.grad(x * side, w)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_to_start_from_stays_the_callers_own(dtype):
    """It is not copied on its way down, so no result may share its memory: not a leaf's, a kept one, or grad's."""
    dy = tb.ones(3, dtype=dtype)
    x, w = tb.ones(3, requires_grad=True), tb.ones(3, requires_grad=True)
    x.backward(dy)
    y = w * 1
    y.retain_grad()
    y.backward(dy)
    (g,) = tb.grad(y, y, dy)
    for made in (x.grad, w.grad, y.grad, g):
        assert made.dtype == np.float32 and not np.shares_memory(made.data, dy.data)
    x.backward(dy)
    np.testing.assert_array_equal(dy.data, np.ones(3))


def test_the_gradient_to_start_from_is_recorded_whatever_the_mode():
    x, dy = leaf(3.0), leaf(1.0)
    y = x * x
    with tb.no_grad():
        (g,) = tb.grad(y, x, dy, create_graph=True)
    assert tb.grad(g, dy)[0].item() == 6


def test_backward_for_some_inputs_fills_retained_gradients_too():
    x, w = leaf(3.0), leaf(2.0)
    y = x * w
    y.retain_grad()
    (y * y).backward(inputs=[x])
    assert (x.grad.item(), y.grad.item(), w.grad) == (24, 12, None)


def test_zeros_for_what_is_not_used():
    x, w = leaf(3.0), leaf(1.0, 2.0)
    assert tb.grad(x * 2, [x, w], allow_unused=True)[1] is None
    assert tb.grad(x * 2, [x, w], materialize_grads=True)[1].tolist() == [0, 0]


def test_a_gradient_that_does_not_fit_names_the_op():
    def wrong(x: Any) -> Any:
        return x * 1, lambda dy: (dy.sum(),), ()

    with pytest.raises(ShapeError, match=r"backward of wrong: a gradient of shape \(\) for an input of shape"):
        apply(wrong, leaf(1.0, 2.0)).sum().backward()


def test_only_what_a_gradient_needs_is_saved():
    x, c = leaf(1.0, 2.0), tb.tensor([3.0, 4.0], dtype=np.float64)
    assert [s is None for s in (x * c).node.saved] == [True, False]
    assert [s is None for s in (c * x).node.saved] == [False, True]
    assert [s is None for s in (x / 2.0).node.saved] == [True, False]


def test_a_shallow_copy_is_another_leaf():
    x = leaf(2.0)
    y = copy.copy(x)
    (g,) = tb.grad(x * y * y, x, create_graph=True)
    assert np.shares_memory(x.data, y.data)
    with pytest.raises(GraphError, match="do not depend on input 0"):
        tb.grad(g, x)


def test_a_freed_branch_is_not_taken_for_a_constant():
    x = leaf(1.0, 2.0)
    h = x * x
    h.sum().backward()
    z = (h * 3 + x).sum()
    for differentiate in (lambda: tb.grad(z, x), lambda: z.backward(inputs=[x])):
        with pytest.raises(GraphError, match="was freed"):
            differentiate()


def test_a_hook_that_frees_what_is_being_walked():
    x = leaf(2.0)
    y = x * x
    z = y * 3
    z.register_hook(lambda g: y.backward())
    with pytest.raises(GraphError, match="was freed"):
        z.backward()


def test_gradients_of_one_for_several_outputs_are_refused():
    x = leaf(1.0)
    with pytest.raises(GraphError, match="backward: 2 outputs but 1 gradient to start from"):
        tb.autograd.backward([x * 1, x * 2], tb.ones(()))


def test_a_leaf_that_stopped_requiring_grad_gets_none():
    x, w = leaf(1.0), leaf(2.0)
    y = x * w
    x.requires_grad_(False)
    y.backward()
    assert x.grad is None and w.grad.item() == 1


GRADS = {
    "a grad has shape": lambda: tb.ones(3),
    "a grad is a ndarray": lambda: np.ones(2),
    "a grad was expanded": lambda: tb.ones(1).expand(2),
}


@pytest.mark.parametrize("message", GRADS)
def test_a_grad_that_nothing_can_be_added_to(message):
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    w.grad = tb.ones(2, dtype=np.float64)
    x.grad = GRADS[message]()
    with pytest.raises((TypeError, ShapeError, GraphError), match=f"backward: {message}"):
        (w + x).sum().backward()
    assert w.grad.tolist() == [1, 1]


def test_huge_gradients_are_no_warning():
    x = tb.ones(1, requires_grad=True)
    x.grad = tb.full((1,), 3e38)
    (x * 3e38).sum().backward()
    assert np.isinf(x.grad.item())


def test_lists_in_indices_may_change_afterwards():
    x, index = leaf(1.0, 2.0, 3.0), [0, 1]
    y = x[index].sum() * 2
    z = tb.zeros(2, 3, dtype=np.float64)
    z[[1], index[:1]] = x[2]
    index[0] = 2
    (y + z.sum()).backward()
    assert x.grad.tolist() == [2, 2, 1]


# --- data that is assigned --------------------------------------------------------------------------------------------


def test_data_takes_arrays_and_tensors():
    x = leaf(1.0, 2.0)
    x.data = x.data - 0.5 * tb.ones(2, dtype=np.float64)
    assert type(x.data) is np.ndarray and x.tolist() == [0.5, 1.5]
    (g,) = tb.grad((x**3).sum(), x, create_graph=True)
    (g**2).sum().backward()
    np.testing.assert_allclose(x.grad.data, 36 * np.array([0.5, 1.5]) ** 3)
    for wrong in (5, [1.0, 2.0], None):
        with pytest.raises(TypeError, match="data: expected an array or a tensor"):
            x.data = wrong
    with pytest.raises(TypeError, match="only floating tensors can require grad"):
        x.data = np.array([1, 2])
    assert x.tolist() == [0.5, 1.5]


def test_leaves_of_one_memory_are_two_leaves():
    a, b = leaf(2.0), leaf(3.0)
    b.data = a.data
    (g,) = tb.grad(a * b, a, create_graph=True)
    assert [t is None or t.item() for t in tb.grad(g, [a, b], allow_unused=True)] == [True, 1]


def test_a_graph_notices_that_data_was_assigned():
    x = leaf(2.0)
    y = x * x * x
    x.data = x.data.copy()
    with pytest.raises(GraphError, match="an assignment to data has changed it"):
        y.backward()


def test_tensor_itself_takes_arrays_only():
    for wrong in (3, [1.0, 2.0], tb.ones(2)):
        with pytest.raises(TypeError, match=r"Tensor: expected an array, got .* tb\.tensor"):
            tb.Tensor(wrong)


def test_what_no_gradient_names_is_kept():
    @tb.needs((1,), (0,))
    def product(x: Any, y: Any, index: Any) -> Any:
        return x * y, lambda dy, x, y, index: (lambda: dy * y, lambda: dy * x), (x, y, index)

    x = leaf(2.0)
    assert apply(product, x, 3.0, "kept").node.saved == (None, 3.0, "kept")
    assert apply(product, 3.0, x, "kept").node.saved == (3.0, None, "kept")


def test_arithmetic_in_place_on_data_is_noticed():
    x = leaf(1.0, 2.0)
    array, y = x.data, x * x
    x.data += 1
    assert x.data is array and x.tolist() == [2, 3]
    with pytest.raises(GraphError, match="an assignment to data has changed it"):
        y.sum().backward()
