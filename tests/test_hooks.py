"""Hooks on tensors and modules, and retain_grad."""

import gc
import weakref
from itertools import pairwise

import numpy as np
import pytest
from helpers import leaf
from oracle import load_torch

import tinybn as tb
from tinybn.errors import GraphError, ShapeError

# --- tensors ----------------------------------------------------------------------------------------------------------


def programs(lib):
    """Gradients after hooks in several places, as lists of numbers."""
    x = lib.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.retain_grad()
    seen = []
    y.register_hook(lambda g: g * 2)
    y.register_hook(lambda g: seen.append(g))
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: seen.append(g))
    (y * y).sum().backward()
    return [t.tolist() for t in (x.grad, y.grad, *seen)]


def test_hooks_and_retained_gradients_equal_pytorch():
    assert programs(tb) == programs(load_torch())


def test_a_hook_sees_the_whole_gradient_once():
    x = leaf(2.0)
    y = x * 1
    calls = []
    y.register_hook(lambda g: calls.append(g.item()))
    (y * 3 + y * 4).backward()
    assert calls == [7.0]


def test_handles():
    x = leaf(1.0)
    handle = x.register_hook(lambda g: g * 10)
    (x * 2).backward()
    handle.remove()
    handle.remove()
    (x * 2).backward()
    assert x.grad.item() == 22
    x.grad = None
    with x.register_hook(lambda g: g * 10):
        (x * 2).backward()
    (x * 2).backward()
    assert x.grad.item() == 22


def test_hooks_when_differentiated_twice():
    x = leaf(3.0)
    y = x * x
    y.register_hook(lambda g: g * x)
    (g,) = tb.grad(y, x, create_graph=True)  # x · 2x
    (h,) = tb.grad(g, x)
    assert (g.item(), h.item()) == (18, 12)


def test_hooks_of_the_gradients_that_grad_returns():
    x = leaf(3.0)
    y = x * x
    y.register_hook(lambda g: g * 5)
    dx, dy = tb.grad(y * 2, [x, y])
    assert (dx.item(), dy.item()) == (60, 10)


def test_what_a_hook_keeps_stays_as_it_was():
    x = leaf(1.0, 2.0)
    kept = []
    x.register_hook(lambda g: kept.append(g))
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    assert kept[0].tolist() == [2, 2] and kept[1].tolist() == [3, 3] and x.grad.tolist() == [5, 5]


def test_a_hook_that_returns_its_own_tensor_keeps_it():
    x, replacement = leaf(1.0), tb.tensor(7.0)
    x.register_hook(lambda g: replacement)
    x.backward()
    x.backward()
    assert x.grad.item() == 14 and replacement.item() == 7 and x.grad.dtype == np.float64


@pytest.mark.parametrize("answer", [tb.ones(3), 2.0, np.ones(2)])
def test_a_hook_that_returns_something_else(answer):
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: answer)
    with pytest.raises(ShapeError, match=r"hook: expected None or a tensor of shape \(2,\)"):
        (x * 2).sum().backward()
    assert x.grad is None


def test_what_has_no_gradient_takes_no_hooks():
    for tensor in (tb.ones(2), leaf(1.0).detach()):
        with pytest.raises(GraphError, match="register_hook: this tensor does not require grad"):
            tensor.register_hook(print)
        with pytest.raises(GraphError, match="retain_grad: this tensor does not require grad"):
            tensor.retain_grad()
    with pytest.raises(TypeError, match="hook: expected a function, got 3"):
        leaf(1.0).register_hook(3)


def test_retain_grad():
    x = leaf(1.0, 2.0)
    y = x * 3
    y.retain_grad()
    x.retain_grad()  # a leaf's is kept anyway
    for _ in range(2):
        (y * y).sum().backward(retain_graph=True)
    assert y.grad.tolist() == [12, 24] and x.grad.tolist() == [36, 72]


def test_a_tensor_that_is_gone_retains_nothing():
    x = leaf(1.0)
    y = x * 3
    y.retain_grad()
    z = y * 2
    gone = weakref.ref(y)
    del y
    assert gone() is None
    z.backward()
    assert x.grad.item() == 6


def test_hooks_make_no_cycles():
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0)
        y = x * 3
        y.register_hook(lambda g: g)
        y.retain_grad()
        gone = weakref.ref(y.node.watch) if hasattr(y.node.watch, "__weakref__") else weakref.ref(y)
        y.backward()
        del y
        assert gone() is None
    finally:
        gc.enable()


# --- modules ----------------------------------------------------------------------------------------------------------


def module_hooks(lib):
    """What the hooks of a layer see, and what they change."""
    layer = lib.nn.Linear(2, 1, bias=False)
    layer.weight.data[...] = lib.tensor([[2.0, 3.0]]).numpy() if lib is tb else lib.tensor([[2.0, 3.0]])
    seen = []
    layer.register_forward_pre_hook(lambda module, args: seen.append(args[0].tolist()))
    layer.register_forward_pre_hook(lambda module, args: args[0] * 10)
    layer.register_forward_hook(lambda module, args, output: seen.append((args[0].tolist(), output.tolist())))
    layer.register_forward_hook(lambda module, args, output: output + 1)
    layer.register_full_backward_hook(
        lambda module, grad_input, grad_output: seen.append(
            ([None if g is None else g.tolist() for g in grad_input], [g.tolist() for g in grad_output])
        )
    )
    layer.register_full_backward_hook(lambda module, grad_input, grad_output: (grad_input[0] * 100,))
    x = lib.tensor([[1.0, 2.0]], requires_grad=True)
    y = layer(x)
    (y * 5).sum().backward()
    return [seen, y.tolist(), x.grad.tolist(), layer.weight.grad.tolist()]


def test_module_hooks_equal_pytorch():
    assert module_hooks(tb) == module_hooks(load_torch())


def first_layer(lib):
    """The input requires no grad: the hook is called all the same."""
    layer = lib.nn.Linear(2, 1)
    seen = []
    layer.register_full_backward_hook(
        lambda module, grad_input, grad_output: seen.append((grad_input, len(grad_output)))
    )
    layer(lib.ones(1, 2)).sum().backward()
    return seen


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # PyTorch's
def test_backward_hook_of_a_first_layer_equals_pytorch():
    assert first_layer(tb) == first_layer(load_torch()) == [((None,), 1)]


def several_walks(lib):
    """Each walk calls the hooks and uses what they return; a second derivative does not come through the output."""
    square, seen = lib.nn.Identity(), []
    square.forward = lambda x: x * x
    square.register_full_backward_hook(lambda module, gi, go: seen.append((gi[0].tolist(), go[0].tolist())))
    square.register_full_backward_hook(lambda module, gi, go: (gi[0] * 10,))
    grad = lib.grad if lib is tb else lib.autograd.grad
    x = lib.tensor(3.0, requires_grad=True)
    y = square(x)
    grads = [grad(y * factor, x, retain_graph=True)[0].tolist() for factor in (1.0, 5.0, 1.0)]
    (dx,) = grad(y, x, create_graph=True)
    return grads, dx.tolist(), grad(dx, x)[0].tolist(), seen


def test_module_hooks_in_several_walks_equal_pytorch():
    assert several_walks(tb) == several_walks(load_torch())


def test_backward_hooks_under_no_grad_are_not_called():
    layer = tb.nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda module, grad_input, grad_output: pytest.fail("there is no backward"))
    with tb.no_grad():
        assert not layer(tb.ones(1, 2, requires_grad=True)).requires_grad
    assert layer.eval()(tb.ones(1, 2)).requires_grad


def test_the_gradients_that_a_hook_gets_are_of_one_walk():
    product, seen = tb.nn.Identity(), []
    product.forward = lambda x, y: x * y
    product.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append([*grad_input]))
    x, y = leaf(2.0), leaf(3.0)
    z = product(x, y)
    for inputs, factor, calls in ((x, 7.0, 0), (y, 7.0, 0), ([x, y], 1.0, 1)):
        tb.grad(z * factor, inputs, retain_graph=True)
        assert len(seen) == calls
    assert [g.item() for g in seen[0]] == [3, 2]


def test_a_module_that_does_not_use_an_input_calls_no_backward_hook():
    first = tb.nn.Identity()
    first.forward = lambda x, y: x * 2
    first.register_full_backward_hook(lambda module, grad_input, grad_output: pytest.fail("y has no gradient"))
    x = leaf(1.0)
    first(x, leaf(1.0)).backward()
    assert x.grad.item() == 2


def test_backward_hooks_keep_no_gradients():
    """Steps that record their backwards leave nothing behind, without the garbage collector."""
    model, first, x = tb.nn.Tanh(), tb.nn.Linear(2, 2), tb.ones(1, 2, requires_grad=True)
    for module in (model, first):
        module.register_full_backward_hook(lambda module, grad_input, grad_output: None)

    def step():
        tb.grad(model(x * x).sum(), x, create_graph=True)
        tb.grad((first(tb.ones(1, 2)) ** 2).sum(), first.weight, create_graph=True)

    gc.collect()
    gc.disable()
    try:
        counts = []
        for _ in range(10):
            step()
            counts.append(len(gc.get_objects()))
        # A step that leaves something leaves it each time; once, some other thread may have made an object.
        assert min(after - before for before, after in pairwise(counts[4:])) <= 0, counts
    finally:
        gc.enable()


def test_module_handles_and_order():
    layer, calls = tb.nn.ReLU(), []
    handles = [layer.register_forward_hook(lambda module, args, output, i=i: calls.append(i)) for i in range(3)]
    layer([1.0])
    handles[1].remove()
    layer([1.0])
    assert calls == [0, 1, 2, 0, 2]


def test_hooks_of_modules_inside_modules():
    model = tb.nn.Sequential(tb.nn.Linear(2, 3), tb.nn.ReLU(), tb.nn.Linear(3, 1))
    order = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda module, args, output, name=name: order.append(name))
        module.register_full_backward_hook(lambda module, gi, go, name=name: order.append(f"d{name}"))
    model(tb.ones(4, 2, requires_grad=True)).sum().backward()
    assert order == ["0", "1", "2", "", "d2", "d1", "d0", "d"]


def test_one_gradient_of_several_cannot_be_replaced():
    class Product(tb.nn.Module):
        def forward(self, x, y):
            return x * y

    product = Product()
    handle = product.register_full_backward_hook(lambda module, grad_input, grad_output: (grad_input[0], None))
    x, y = leaf(2.0), leaf(3.0)
    with pytest.raises(ValueError, match="full backward hook of Product: returned 2 gradients for 2 inputs"):
        product(x, y).backward()
    handle.remove()
    seen = []
    product.register_full_backward_hook(lambda module, grad_input, grad_output: seen.extend(grad_input))
    product(x, y).backward()
    assert [g.item() for g in seen] == [3, 2] and x.grad.item() == 3


def test_what_a_hook_returns_is_copied_under_create_graph():
    w = leaf(3.0, 3.0)
    w.register_hook(lambda g: w)
    (w * 2).sum().backward(create_graph=True)
    assert w.grad.tolist() == [3, 3]
    w.zero_grad(set_to_none=False)
    assert w.tolist() == [3, 3] and not w.grad.requires_grad
