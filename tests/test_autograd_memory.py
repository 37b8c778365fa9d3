"""Gradients have buffers of their own, and graphs live no longer than somebody needs them."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from helpers import leaf

import tinybn as tb
from tinybn import storage
from tinybn.autograd import apply

# --- buffers ----------------------------------------------------------------------------------------------------------

SHARING = {  # functions of two tensors of shape (2, 3) whose gradients would be one buffer, or views of it
    "add": lambda a, b: a + b,
    "add reshaped": lambda a, b: a.reshape(6) + b.reshape(6),
    "add transposed": lambda a, b: a.T + b.T,
    "add broadcast": lambda a, b: a.expand(4, 2, 3) + b,
    "add indexed": lambda a, b: a[:] + b[:, :],
    "sums": lambda a, b: a.sum() + b.sum(),
    "means": lambda a, b: a.mean(0) + b.mean(0),
    "cat": lambda a, b: tb.cat([a, b]),
    "stack": lambda a, b: tb.stack([a, b]),
    "cast": lambda a, b: a.clone() + b.clone(),
    "where": lambda a, b: tb.where(np.ones((2, 3), bool), a, a) + b,
    "flip": lambda a, b: apply(tb.ops.flip, a, (0,)) + apply(tb.ops.flip, b, (0,)),
    "multiply by each other": lambda a, b: a * b,
}
every_sharing = pytest.mark.parametrize("function", SHARING.values(), ids=SHARING)
every_mode = pytest.mark.parametrize("create_graph", [False, True], ids=["plain", "create_graph"])


def two_leaves() -> tuple[tb.Tensor, tb.Tensor]:
    return tuple(tb.tensor(np.arange(6.0).reshape(2, 3) + 1, requires_grad=True) for _ in range(2))


def assert_separate(gradients: list[tb.Tensor], others: list[Any]) -> None:
    arrays = [g.data for g in gradients]
    for i, g in enumerate(arrays):
        assert g.flags.writeable
        for other in (*arrays[:i], *others):
            assert not np.shares_memory(g, other)


@every_mode
@every_sharing
def test_leaves_do_not_share_gradient_buffers(function, create_graph):
    a, b = two_leaves()
    y = function(a, b)
    dy = tb.ones_like(y)
    y.backward(dy, create_graph=create_graph)
    assert_separate([a.grad, b.grad], [a.data, b.data, y.data, dy.data])
    kept = b.grad.tolist()
    a.grad.data[...] = -1
    assert b.grad.tolist() == kept


@every_mode
@every_sharing
def test_results_of_grad_do_not_share_buffers(function, create_graph):
    a, b = two_leaves()
    middle = a * 1.0
    y = function(middle, b)
    dy = tb.ones_like(y)
    gradients = tb.grad(y, [a, b, middle, y], dy, create_graph=create_graph)
    assert_separate(list(gradients), [a.data, b.data, middle.data, y.data, dy.data])


def test_array_given_as_gradient_is_not_kept():
    x = leaf(1.0, 2.0)
    dy = np.ones(2)
    x.backward(dy)
    dy[:] = 7
    assert x.grad.tolist() == [1.0, 1.0]


def test_gradient_that_is_a_saved_array_is_copied():
    """d(x·y)/dx = dy·y would be y itself for an op that leaves out the product."""

    def first(x: Any, y: Any) -> Any:
        def backward(dy: Any, y: Any) -> Any:
            return y, dy

        return x * y, backward, (y,)

    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    apply(first, x, y).sum().backward()
    assert_separate([x.grad, y.grad], [x.data, y.data])


# --- depth and memory -------------------------------------------------------------------------------------------------

DEPTH = 100_000


def chain(x: tb.Tensor, depth: int = DEPTH) -> tb.Tensor:
    for _ in range(depth):
        x = x * 1.0
    return x


def test_deep_chain():
    x = leaf(2.0)
    first = x * 1.0
    saved_by_the_second = weakref.ref(first.data)
    y = chain(first * first)
    del first
    assert saved_by_the_second() is not None
    y.backward()
    assert x.grad.item() == 4.0
    assert saved_by_the_second() is None


def test_deep_chain_deleted_without_backward():
    first = leaf(2.0) * 1.0
    saved_by_the_second = weakref.ref(first.data)
    y = chain(first * first)
    del first, y
    assert saved_by_the_second() is None


@contextmanager
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def changed_through_a_view(y: tb.Tensor) -> tb.Tensor:
    y[0] *= 3
    y[:, 1] = 0
    return y


def hooked(y: tb.Tensor) -> tb.Tensor:
    y.register_hook(lambda gradient: gradient * 2)
    y.retain_grad()
    return y


FUNCTIONS = {  # with their output saved, with their inputs saved, with nothing saved, with by-products
    "exp": lambda x: x.exp(),
    "sigmoid": lambda x: x.sigmoid(),
    "relu": lambda x: x.relu(),
    "power": lambda x: x**2.5,
    "softmax": lambda x: tb.functional.softmax(x, 1),
    "multiply": lambda x: x * x,
    "matmul": lambda x: x @ x.T,
    "reshape": lambda x: x.reshape(6),
    "max": lambda x: x.max(1)[0],
    "max_pool": lambda x: tb.functional.max_pool2d(x.reshape(1, 1, 2, 3), 2),
    "batch_norm": lambda x: tb.functional.batch_norm(x, None, None, training=True),
    "conv": lambda x: tb.functional.conv2d(x.reshape(1, 1, 2, 3), tb.ones(2, 1, 2, 2, dtype=np.float64)),
    "in place": lambda x: (x * 2).mul_(3).clamp_(max=9),
    "through a view": lambda x: changed_through_a_view(x * 2),
    "hooked": lambda x: hooked(x * 2),
}
every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


@pytest.mark.parametrize("walked", ["no backward", "backward", "create_graph"])
@every_function
def test_no_reference_cycles(function, walked):
    """Without the garbage collector everything dies by its reference count."""
    with no_garbage_collector():
        x = tb.tensor(np.arange(6.0).reshape(2, 3) + 1, requires_grad=True)
        y = function(x)
        dead = [weakref.ref(y), weakref.ref(y.node.backward), weakref.ref(y.data)]
        if walked == "backward":
            y.sum().backward()
        elif walked == "create_graph":
            (dx,) = tb.grad(y.sum(), x, create_graph=True)
            dead += [weakref.ref(dx)]
            del dx
        del y
        assert [ref() for ref in dead] == [None] * len(dead)


def test_activations_are_freed_during_backward():
    alive = []

    def watch(x: Any, refs: list[Any]) -> Any:
        def backward(dy: Any) -> Any:
            alive.append(sum(ref() is not None for ref in refs))
            return (dy,)

        return x * 1.0, backward, ()

    x = leaf(1.0, 2.0)
    refs: list[Any] = []
    y = x
    for _ in range(5):
        y = apply(watch, y, refs).exp()
        refs.append(weakref.ref(y.data))  # saved by exp; the node is all that holds it
    y.sum().backward()
    assert alive == [5, 4, 3, 2, 1]  # y itself is still held here


def test_activations_that_nobody_saved_die_at_once():
    x = leaf(1.0, 2.0)
    y = x + 1
    inner = weakref.ref(y.data)
    y = y + 1
    assert inner() is None and y.requires_grad


def loops() -> dict[str, Any]:
    """Steps that a program repeats for ever."""
    generator = np.random.default_rng(0)
    x, labels = tb.randn(8, 1, 6, 6, generator=generator), generator.integers(0, 3, 8)
    conv, norm, last = tb.nn.Conv2d(1, 2, 3), tb.nn.BatchNorm2d(2), tb.nn.Linear(8, 3)
    model = tb.nn.Sequential(conv, norm, tb.nn.ReLU(), tb.nn.MaxPool2d(2), tb.nn.Flatten(), last)
    watched = tb.nn.Sequential(tb.nn.Linear(8, 3), tb.nn.Tanh())
    watched.register_full_backward_hook(lambda module, grad_input, grad_output: None)
    optimizer = tb.optim.Adam(model.parameters())
    leaves = tb.ones(3, 4, requires_grad=True)

    def train() -> None:
        optimizer.zero_grad()
        tb.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    def differentiate_twice() -> None:
        (g,) = tb.grad((leaves * leaves * leaves).sum(), leaves, create_graph=True)
        (g * g).sum().backward()

    def change_in_place() -> None:
        y = leaves * 2
        for row in y:
            row *= 2
        y[:, 0] = 1.0
        y.sum().backward()

    def fail() -> None:
        y = leaves.exp()
        y += 1
        try:
            y.sum().backward()
        except tb.errors.GraphError:
            return
        pytest.fail("exp's output was changed")

    def hooks() -> None:
        watched(tb.ones(2, 8, requires_grad=True)).sum().backward()

    return {function.__name__: function for function in (train, differentiate_twice, change_in_place, fail, hooks)}


@pytest.mark.parametrize("name", loops())
def test_memory_of_a_loop_is_flat(name):
    """No object more after ten steps than after five, without the garbage collector; nor an entry in the tables.

    In one of three times: once, some other thread may make an object meanwhile.
    """
    step = loops()[name]

    def count() -> tuple[int, int]:
        return len(gc.get_objects()), len(storage._storages) + sum(len(s.views) for s in storage._storages.values())

    with no_garbage_collector():
        for _ in range(5):
            step()
        flat = []  # of truth values, which are no new objects
        for _ in range(3):
            objects, entries = count()
            for _ in range(5):
                step()
            flat.append(count() == (objects, entries))
        assert any(flat)
