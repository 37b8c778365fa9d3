"""In-place changes: what they compute, what their gradients are, what is refused and what the errors say.

Most programs run with tinybn and with PyTorch alike: ``program(lib)`` uses what both have.
"""

import pickle
import threading
from typing import Any

import numpy as np
import pytest
from helpers import leaf
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import load_torch

import tinybn as tb
from tinybn.errors import DTypeError, GraphError, ShapeError


def make(lib: Any, values: Any) -> Any:
    return lib.tensor(values, requires_grad=True)


def arithmetic(lib):
    x = make(lib, [1.0, 2.0, 3.0])
    y = x * 2
    y += 1
    y -= x
    y *= 3
    y /= 2
    y.sum().backward()
    return x.grad, y


def power(lib):
    x = make(lib, [1.0, 2.0, 3.0])
    y = x * 2
    y **= 3
    (y * x).sum().backward()
    return x.grad, y


def by_a_tensor(lib):
    x, w = make(lib, [1.0, 2.0]), make(lib, [3.0, 4.0])
    y = x * 1
    y *= w
    y.sum().backward()
    return x.grad, w.grad


def of_a_view(lib):
    x = make(lib, [[1.0, 2.0], [3.0, 4.0]])
    y = x * 2
    row = y[0]
    row *= 3
    (y * y).sum().backward()
    return x.grad, y, row


def of_a_row(lib):
    x = make(lib, [[1.0, 2.0], [3.0, 4.0]])
    y = x * 2
    y[0] *= 3
    (y * y).sum().backward()
    return x.grad, y


def seen_by_views(lib):
    x = make(lib, [[1.0, 2.0], [3.0, 4.0]])
    y = x * 2
    flat, turned, corner = y.reshape(4), y.T, y[1:, 1:]
    y[1] = 5.0
    y *= x
    (flat.sum() + (turned * turned).sum() + corner.sum()).backward()
    return x.grad, flat, turned, corner


def seen_by_a_view_of_a_view(lib):
    x = make(lib, [1.0, 2.0, 3.0, 4.0])
    y = x * 1
    inner = y[1:].reshape(3, 1)[:2]
    y *= 10
    inner += 1
    (y * y).sum().backward()
    return x.grad, y, inner


def of_a_buffer(lib):
    w = make(lib, [1.0, 2.0])
    buffer = lib.zeros(3, 2)
    for i in range(3):
        buffer[i] = w * (i + 1)
    assert buffer.requires_grad
    (buffer * buffer).sum().backward()
    return w.grad, buffer


def of_a_row_of_a_buffer(lib):
    w = make(lib, [1.0, 2.0])
    buffer = lib.zeros(2, 2)
    row = buffer[0]
    row += w
    (buffer * buffer).sum().backward()
    return w.grad, buffer


def item_assignment(lib):
    x, v = make(lib, [1.0, 2.0, 3.0]), make(lib, 5.0)
    y = x * 1
    y[1] = v
    y[2] = 0
    (y * y).sum().backward()
    return x.grad, v.grad


def by_a_mask(lib):
    x = make(lib, [1.0, 2.0, 3.0])
    y = x * x
    y[y > 2] = 0
    y.sum().backward()
    return x.grad, y


def by_integers(lib):
    x, v = make(lib, [1.0, 2.0, 3.0]), make(lib, [[7.0, 8.0]])
    y = x * 1
    y[lib.tensor([2, 0])] = v
    (y * y).sum().backward()
    return x.grad, v.grad, y


def of_a_diagonal(lib):
    x = make(lib, [[1.0, 2.0], [3.0, 4.0]])
    y = x * 1
    y.diagonal().fill_(0)
    y.T.diagonal(1).mul_(5)
    (y * y).sum().backward()
    return x.grad, y


def broadcast_values(lib):
    x, v = make(lib, [[1.0, 2.0], [3.0, 4.0]]), make(lib, [5.0])
    y = x * 1
    y[:, 0] = v
    (y * y).sum().backward()
    return x.grad, v.grad


def named_methods(lib):
    x = make(lib, [-1.0, 2.0, 3.0])
    y = x * 2
    y.add_(1).mul_(2).clamp_(-1, 9).sub_(x, alpha=2).neg_()
    y.masked_fill_(y > 10, 4.0)
    y.sum().backward()
    return x.grad, y


def fill_zero_copy(lib):
    x, v = make(lib, [1.0, 2.0, 3.0]), make(lib, [4.0, 5.0, 6.0])
    y, z, c = x * 1, x * 1, x * 1
    y.fill_(3)
    z.zero_()
    c.copy_(v)
    (y.sum() + (z * x).sum() + (c * c).sum()).backward()
    return x.grad, v.grad, y, z


def differentiated_twice(lib):
    x = make(lib, [1.0, 2.0])
    y = x * x
    y *= x
    (g,) = lib.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    return g, x.grad


def what_is_not_needed_may_change(lib):
    x, c = make(lib, [1.0, 2.0]), lib.tensor([3.0, 4.0])
    y = x * 2
    z = y * c  # needs c, not y
    y += 1
    z.sum().backward()
    return x.grad, y


def an_input_whose_op_saved_the_output(lib):
    x = make(lib, [1.0, 2.0])
    y = x.exp()
    with lib.no_grad():
        x += 1
    y.sum().backward()
    return x.grad, x


def without_recording(lib):
    x = make(lib, [1.0, 2.0])
    y = x * 1
    with lib.no_grad():
        y *= 5
        x += 1
        x[0] = 7
    y.sum().backward()
    return x.grad, x, y


def the_same_tensor_on_both_sides_of_plus(lib):
    x = make(lib, [1.0, 2.0])
    y = x * 3
    y += y
    y.sum().backward()
    return x.grad, y


def a_detached_view_changes_values_alone(lib):
    x = make(lib, [1.0, 2.0])
    y = x * 2
    d = y.detach()
    d += 1
    (y * 3).sum().backward()
    return x.grad, y


PROGRAMS = [
    arithmetic,
    power,
    by_a_tensor,
    of_a_view,
    of_a_row,
    seen_by_views,
    seen_by_a_view_of_a_view,
    of_a_buffer,
    of_a_row_of_a_buffer,
    item_assignment,
    by_a_mask,
    by_integers,
    of_a_diagonal,
    broadcast_values,
    named_methods,
    fill_zero_copy,
    differentiated_twice,
    what_is_not_needed_may_change,
    an_input_whose_op_saved_the_output,
    without_recording,
    the_same_tensor_on_both_sides_of_plus,
    a_detached_view_changes_values_alone,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_values_and_gradients_equal_pytorch(program):
    for ours, theirs in zip(program(tb), program(load_torch()), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-6)


# --- any program ------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["slice", "reverse", "reshape", "add", "multiply", "add another", "assign", "assign another"]),
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    max_size=9,
)


def run_program(lib: Any, steps: Any) -> Any:
    """Views of views of y and in-place changes of all of them; a loss of all; the gradient of the leaf behind y."""
    x = lib.tensor([0.5, 1.0, 1.5, 2.0, 2.5, 3.0], dtype=lib.float64, requires_grad=True)
    live = [x * 2]
    for step, a, b in steps:
        t, other = live[a % len(live)], live[b % len(live)]
        if step == "slice" and t.shape[0] > 1:
            live.append(t[b % 2 : b % 2 + 1 + (t.shape[0] > 2)])
        elif step == "reverse" and len(t.shape) == 2:
            live.append(t.permute(1, 0))
        elif step == "reshape" and t.is_contiguous() and t.numel() % 2 == 0:
            live.append(t.reshape(2, t.numel() // 2))
        elif step == "add":
            t += b
        elif step == "multiply":
            t *= b
        elif step == "add another":
            t += other.clone().reshape(-1)[:1].reshape(())
        elif step == "assign":
            t[b % t.shape[0]] = 3.0
        elif step == "assign another":
            t[b % t.shape[0]] = other.clone().reshape(-1)[-1] * 2
    loss = sum((t * t).sum() * (i + 1) for i, t in enumerate(live))
    (gradient,) = lib.autograd.grad(loss, x)
    return [gradient, *live]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(STEPS)
def test_any_program_of_views_and_changes(steps):
    torch = load_torch()
    for ours, theirs in zip(run_program(tb, steps), run_program(torch, steps), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12)


# --- where PyTorch raises and this is right ---------------------------------------------------------------------------


def test_a_tensor_times_itself_in_place():
    x = leaf(1.0, 2.0, 3.0)
    y = x * 2
    y *= y
    y.sum().backward()
    assert x.grad.tolist() == [8, 16, 24]


def test_overlapping_assignment():
    x, v = leaf(1.0, 2.0, 3.0), leaf(5.0)
    y = x * 1
    y[1] = v
    y[0:2] = y[1:3]  # 5, 3, 3
    (y * y).sum().backward()
    assert x.grad.tolist() == [0, 0, 12] and v.grad.item() == 10


# --- what is refused before it happens --------------------------------------------------------------------------------

LEAF_CHANGES = {
    "+=": lambda x: x.__iadd__(1),
    "*=": lambda x: x.__imul__(2),
    "item": lambda x: x.__setitem__(0, 5.0),
    "method": lambda x: x.clamp_(0, 1),
    "fill": lambda x: x.zero_(),
    "view": lambda x: x[1:].__iadd__(1),
    "view item": lambda x: x.reshape(1, 2).__setitem__((0, 0), 5.0),
    "ufunc": lambda x: np.add(x, 1, out=x),
}


@pytest.mark.parametrize("change", LEAF_CHANGES.values(), ids=LEAF_CHANGES)
def test_a_leaf_that_requires_grad_is_not_changed_while_recording(change):
    x = leaf(1.0, 2.0)
    with pytest.raises(GraphError, match=r"leaf.*that requires grad.*no_grad\(\)"):
        change(x)
    assert x.tolist() == [1, 2] and x.requires_grad and x.is_leaf
    with tb.no_grad():
        change(x)
    assert x.tolist() != [1, 2] and x.requires_grad and x.is_leaf


def test_what_does_not_fit():
    for x in (tb.tensor([1.0, 2.0]), leaf(1.0, 2.0) * 1):
        before = x.tolist()
        with pytest.raises(ShapeError, match=r"\+=: the result has shape \(2, 2\)"):
            x += tb.ones(2, 2)
        with pytest.raises(ShapeError, match="put"):
            x[0] = tb.ones(3)
        with pytest.raises((IndexError, ShapeError)):
            x[5] = 1.0
        assert x.tolist() == before
    n = tb.tensor([1, 2])
    with pytest.raises(DTypeError, match="the result is float32, which does not fit into a tensor of int64"):
        n += 0.5
    assert n.tolist() == [1, 2]


def test_a_failed_change_leaves_the_graph_as_it_was():
    x = leaf(1.0, 2.0)
    y = x.exp()
    with pytest.raises(ShapeError):
        y += tb.ones(3, dtype=np.float64)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.data, np.exp([1.0, 2.0]))


def test_expanded_and_read_only_memory():
    expanded = tb.ones(2, 1).expand(2, 3)
    array = np.ones(2)
    array.flags.writeable = False
    for x in (expanded, tb.from_numpy(array)):
        with pytest.raises(GraphError, match=r"clone\(\) it first"):
            x += 1
        with pytest.raises(GraphError, match=r"clone\(\) it first"):
            x[0] = 1


# --- memory -----------------------------------------------------------------------------------------------------------


def test_the_object_and_its_memory_stay():
    x = tb.tensor([1.0, 2.0])
    same, array = x, x.data
    x += 1
    x *= 2
    x[0] = 9
    assert x is same and x.data is array and array.tolist() == [9, 6]


def test_dtype_stays():
    x = tb.ones(2)
    x += np.float64(0.5)
    x += tb.ones(2, dtype=np.float64)
    assert x.dtype == np.float32
    n = tb.tensor([1, 2])
    n[0] = 7.9  # as in PyTorch and NumPy
    assert n.dtype == np.int64 and n.tolist() == [7, 2]


def test_views_that_are_gone_are_forgotten():
    y = tb.zeros(1000, requires_grad=True) * 1
    for i in range(1000):
        y[i]
        y[i : i + 1]
    from tinybn.storage import relatives

    assert list(relatives(y)) == []


def test_a_changed_tensor_is_pickled_as_its_values():
    x = tb.tensor([1.0, 2.0])
    x += 1
    assert pickle.loads(pickle.dumps(x)).tolist() == [2, 3]


# --- relatives --------------------------------------------------------------------------------------------------------


def test_a_single_element_is_a_view_too():
    x = leaf(1.0, 2.0)
    y = x * 2
    element = y[0]
    element *= 3
    assert y.tolist() == [6, 4]
    y.sum().backward()
    assert x.grad.tolist() == [6, 2]


def test_relatives_without_axes():
    x = leaf(1.0, 2.0)
    y = x * 2
    a, b = y[0:1].reshape(()), y[1:2]
    b *= 2
    a *= 5
    assert (a.item(), b.item(), y.tolist()) == (10, 8, [10, 8])
    (y.sum() + a).backward()
    assert x.grad.tolist() == [20, 4]


def test_a_view_made_without_recording_is_not_changed_while_recording():
    x = leaf(1.0, 2.0)
    y = x * 2
    with tb.no_grad():
        view = y[:1]
    with pytest.raises(GraphError, match=r"made under no_grad\(\)"):
        view *= 2
    with tb.no_grad():
        view *= 2
    assert y.tolist() == [4, 4]


def test_a_retained_gradient_is_that_of_the_new_value():
    x = leaf(1.0, 2.0)
    y = x * 3
    y.retain_grad()
    y *= 2
    (y * y).sum().backward()
    assert y.grad.tolist() == [12, 24] and x.grad.tolist() == [72, 144]


def test_a_constant_written_over_a_graph():
    x = leaf(1.0, 2.0)
    y = x * 2
    np.add(np.ones(2), 1, out=y)
    (y * x).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_a_detached_tensor_is_in_no_graph_whatever_views_there_are():
    for viewed in (False, True):
        x = leaf(1.0, 2.0)
        y = x * 1
        view = y[1:] if viewed else None
        y.detach()[0] = 5.0
        y.sum().backward()
        assert x.grad.tolist() == [1, 1] and (view is None or view.tolist() == [2])
    p = leaf(1.0, 1.0)
    view = p[:1]
    p.detach().mul_(2)
    assert p.tolist() == [2, 2] and view.tolist() == [2]


def test_tensors_without_axes():
    x = leaf(2.0)
    y = x * 1
    y.fill_(3.0)
    (y * 2).backward()
    assert x.grad.item() == 0
    s = leaf(1.0, 1.0)
    total = s.sum()
    total.reshape(1).mul_(3)
    (total * 2).backward()
    assert s.grad.tolist() == [6, 6]


def test_changes_in_two_threads_are_both_seen():
    for _ in range(300):
        x = leaf(1.0, 2.0)
        y = x * 1
        z = (y * y).sum()
        d = y.detach()
        barrier = threading.Barrier(2)

        def change(d: Any = d, barrier: Any = barrier) -> None:
            barrier.wait()
            d[0] = 5.0

        def look(y: Any = y, barrier: Any = barrier) -> None:
            barrier.wait()
            y[:1]

        threads = [threading.Thread(target=target) for target in (change, look)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with pytest.raises(GraphError, match="item assignment has changed it"):
            z.backward()


def test_rows_are_changed_one_by_one_without_looking_at_the_others(monkeypatch):
    calls = []
    original = tb.inplace._common_elements
    monkeypatch.setattr("tinybn.inplace._common_elements", lambda a, b: calls.append(1) or original(a, b))
    rows = (tb.ones(20, 3, requires_grad=True) * 1).unbind()
    for row in rows:
        row *= 2
    assert len(calls) <= 20
