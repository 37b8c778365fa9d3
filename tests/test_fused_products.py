"""Convolutions and linear layers with ReLU in one op: the same bits as the two, wherever a Sequential has both."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
from kernel_helpers import MEMORY, channels_last, every_dtype
from oracle import load_torch
from tolerances import assert_close

import tinybn as tb
from tinybn import kernels
from tinybn.errors import GraphError
from tinybn.functional import conv2d, linear, relu
from tinybn.kernels.windows import scratch

# x, weight and options: each way that the kernels take.
CONVOLUTIONS = {
    "1×1": ((2, 5, 4, 6), (7, 5, 1, 1), {}),
    "3×3": ((3, 9, 7, 8), (5, 9, 3, 3), {"padding": 1}),
    "steps and holes": ((2, 10, 9, 11), (4, 10, 2, 3), {"stride": (2, 3), "padding": (2, 0), "dilation": (3, 1)}),
    "few channels": ((3, 3, 9, 8), (5, 3, 5, 5), {"padding": 2}),
    "many channels": ((2, 70, 6, 5), (65, 70, 2, 3), {}),
    "groups": ((2, 10, 6, 7), (6, 5, 3, 3), {"groups": 2}),
    "a group for each channel": ((2, 20, 6, 7), (20, 1, 3, 3), {"padding": 1, "groups": 20}),
    "same": ((2, 9, 6, 7), (5, 9, 3, 3), {"padding": "same"}),
    "same, cut in front": ((2, 9, 6, 7), (5, 9, 2, 4), {"padding": "same"}),
    "Winograd": ((2, 32, 8, 10), (48, 32, 3, 3), {"padding": 1}),
    "Winograd, odd": ((1, 48, 7, 9), (32, 48, 3, 3), {"padding": (1, 0)}),
    "one image without a batch": ((9, 7, 8), (5, 9, 3, 3), {}),
    "no images": ((0, 9, 7, 8), (5, 9, 3, 3), {}),
}
# K is cut into pieces of 256, of which the last alone may close the ReLU.
PRODUCTS = {
    "a vector": ((5,), (3, 5)),
    "one row of weights": ((4, 5), (5,)),
    "rows": ((13, 17), (33, 17)),
    "a batch of rows": ((2, 3, 17), (5, 17)),
    "pieces": ((13, 600), (40, 600)),
    "whole pieces": ((7, 512), (5, 512)),
    "no inputs": ((4, 0), (3, 0)),
    "no rows": ((0, 5), (3, 5)),
}
FUNCTIONS = {
    **{name: (partial(conv2d, **options), x, weight) for name, (x, weight, options) in CONVOLUTIONS.items()},
    **{name: (linear, x, weight) for name, (x, weight) in PRODUCTS.items()},
}
every_function = pytest.mark.parametrize("case", FUNCTIONS)
with_and_without_bias = pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])

# What each layer takes.
LAYERS = {"conv2d": (lambda: tb.nn.Conv2d(3, 5, 3), (2, 3, 6, 7)), "linear": (lambda: tb.nn.Linear(7, 5), (4, 7))}
every_layer = pytest.mark.parametrize("name", LAYERS)


def drawn(case, dtype, biased, seed=0):
    """x, weight and bias, or None."""
    _, x, weight = FUNCTIONS[case]
    rng = np.random.default_rng(seed)
    shapes = [x, weight, *([weight[:1] if len(weight) > 1 else ()] if biased else [])]
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


def step(function, arrays, seed=9):
    """The output and the gradients of all arguments, as arrays."""
    leaves = [tb.tensor(array, requires_grad=True) for array in arrays]
    y = function(*leaves)
    y.backward(np.random.default_rng(seed).standard_normal(y.shape).astype(y.dtype))
    return [y.data, *(leaf.grad.data for leaf in leaves)]


def assert_same_bits(got, expected):
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a), np.signbit(b), "a zero of another sign")


def layer(name):
    """The layer with parameters that are the same for each, and an input."""
    make, shape = LAYERS[name]
    rng, made = np.random.default_rng(0), make()
    for parameter in made.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape)
    return made, tb.tensor(rng.standard_normal(shape), dtype="float32", requires_grad=True)


# --- functions --------------------------------------------------------------------------------------------------------


@every_dtype
@with_and_without_bias
@every_function
def test_no_bit_of_output_and_gradients_changes(case, biased, dtype):
    function, arrays = FUNCTIONS[case][0], drawn(case, dtype, biased)
    fused = step(partial(function, relu=True), arrays)
    assert_same_bits(fused, step(lambda *leaves: relu(function(*leaves)), arrays))


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_channels_last_stays_so_and_no_bit_changes(case):
    function, (x, *rest) = FUNCTIONS[case][0], drawn(case, "float32", True)
    if x.ndim == 4:
        x = channels_last(x)
    y = function(x, *rest, relu=True)
    expected = relu(function(x, *rest))
    assert y.data.strides == function(x, *rest).data.strides
    assert_same_bits([y.data], [expected.data])


@pytest.mark.parametrize("case", ["3×3", "few channels", "Winograd", "rows"])
@pytest.mark.parametrize("memory", MEMORY)
def test_any_memory(memory, case):
    function, arrays = FUNCTIONS[case][0], drawn(case, "float32", True)
    for place in (0, 1):
        laid = MEMORY[memory](arrays[place])
        given = [laid if i == place else array for i, array in enumerate(arrays)]
        assert_same_bits([function(*given, relu=True).data], [relu(function(*given)).data])


@every_dtype
@pytest.mark.parametrize("case", ["1×1", "steps and holes", "same", "Winograd", "pieces"])
def test_pytorch_says_the_same(case, dtype):
    torch, (function, *_) = load_torch(), FUNCTIONS[case]
    x, weight, bias = drawn(case, dtype, True)
    options = function.keywords if isinstance(function, partial) else {}
    theirs = torch.nn.functional.conv2d if x.ndim == 4 else torch.nn.functional.linear
    leaves = [torch.tensor(a.astype("float64"), requires_grad=True) for a in (x, weight, bias)]
    y = theirs(*leaves, **options).relu()
    dy = np.random.default_rng(9).standard_normal(tuple(y.shape)).astype(dtype)
    y.backward(torch.tensor(dy.astype("float64")))
    got = step(partial(function, relu=True), [x, weight, bias])
    for a, b in zip(got, [y.detach(), *(leaf.grad for leaf in leaves)], strict=True):
        assert_close(a, b.numpy(), dtype, case)


@every_dtype
@pytest.mark.parametrize("case", ["1×1", "few channels", "same, cut in front", "Winograd", "rows", "pieces"])
def test_what_is_not_finite_is_as_with_the_two(case, dtype):
    """NaN stays NaN, -∞ becomes 0, and behind a closed ReLU an infinite gradient gives NaN: 0·∞."""
    function, rng = FUNCTIONS[case][0], np.random.default_rng(1)
    bad = np.array([np.nan, np.inf, -np.inf], dtype)
    arrays = drawn(case, dtype, True)
    for array in arrays:
        array.flat[rng.integers(0, array.size, 3)] = bad
    leaves = {}
    for fused in (True, False):
        leaves[fused] = [tb.tensor(array, requires_grad=True) for array in arrays]
        with np.errstate(all="ignore"):
            y = function(*leaves[fused], relu=True) if fused else relu(function(*leaves[fused]))
            dy = np.random.default_rng(2).standard_normal(y.shape).astype(dtype)
            dy.flat[::7] = np.inf
            y.backward(dy)
        leaves[fused].append(y)
    assert np.isnan(leaves[True][-1].data).any()
    for got, expected in zip(leaves[True][:-1], leaves[False][:-1], strict=True):
        np.testing.assert_array_equal(got.grad.data, expected.grad.data)
    np.testing.assert_array_equal(leaves[True][-1].data, leaves[False][-1].data)


@pytest.mark.parametrize("dtype", ["float16", "int32", "longdouble"])
def test_dtypes_that_the_kernels_do_not_take(dtype):
    x, weight = np.array([[-1, 0, 3]], dtype), np.array([[1, 2, 3], [1, 0, 0]], dtype)
    y = linear(x, weight, relu=True)
    assert y.dtype == np.dtype(dtype) and y.tolist() == [[8, 0]]
    y = conv2d(x.reshape(1, 1, 1, 3), np.array([[[[1]]], [[[-2]]]], dtype), relu=True)
    assert y.dtype == np.dtype(dtype) and y.tolist() == [[[[0, 0, 3]], [[2, 0, 0]]]]


@pytest.mark.parametrize("which", ["compiled", "twin"])
@every_dtype
def test_the_kernels_themselves(dtype, which):
    """With nothing to add up, the sums are the bias: ReLU of each kind of number, in each of the three kernels."""

    def raw(name):
        compiled, twin = kernels.KERNELS[name]
        if which == "compiled" and compiled is None:
            pytest.skip("the kernels are not compiled")
        return compiled if which == "compiled" else twin

    numbers = np.array([-0.0, 0.0, np.nan, -1.5, 2.5, -np.inf, np.inf, -1e-40], dtype)
    bias, expected = np.tile(numbers, 4), np.tile(np.array([0, 0, np.nan, 0, 2.5, 0, np.inf, 0], dtype), 4)
    x, rows = np.zeros((1, 3, 3, 32), dtype), np.empty((3, 32), dtype)
    plain, fast = np.full_like(x, np.nan), np.full_like(x, np.nan)
    raw("multiply")(rows, np.empty((3, 0), dtype), np.empty((0, 32), dtype), bias, np.empty(32, dtype), 1, True)
    matrix, window = np.zeros((1, 32, 32), dtype), (1, 1, 0, 0, 3, 3, 3)
    raw("correlate")(plain, x, matrix, bias[None], np.zeros(1, np.intp), 32, None, window, 1, True)
    memory = scratch(1, raw("winograd_scratch")(3, 3, 32, 32), x)
    raw("winograd")(fast, x, np.zeros((16, 32, 32), dtype), bias, memory, 1, 1, 1, True)
    for made in (*rows, *plain.reshape(-1, 32), *fast.reshape(-1, 32)):
        np.testing.assert_array_equal(made, expected)
        assert not np.signbit(made[~np.isnan(made)]).any()


@pytest.mark.skipif(not kernels.COMPILED, reason="BLAS, which the twins use, does not promise it")
@pytest.mark.parametrize("case", ["3×3", "few channels", "groups", "Winograd", "pieces"])
def test_threads_change_no_bit(case):
    function, arrays = FUNCTIONS[case][0], drawn(case, "float32", True)
    before, made = tb.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            tb.set_num_threads(threads)
            made.append(step(partial(function, relu=True), arrays))
    finally:
        tb.set_num_threads(before)
    for other in made[1:]:
        assert_same_bits(other, made[0])


@pytest.mark.parametrize(
    "function, shapes",
    [
        (partial(conv2d, padding=1), [(1, 2, 4, 4), (3, 2, 3, 3), (3,)]),
        (partial(conv2d, padding="same"), [(1, 2, 3, 4), (2, 2, 2, 2), (2,)]),
        (partial(conv2d, groups=2), [(1, 4, 3, 3), (2, 2, 2, 2)]),
        (linear, [(3, 4), (2, 4), (2,)]),
        (linear, [(2, 2, 3), (3,), ()]),
    ],
    ids=["conv2d", "conv2d, same", "conv2d, groups", "linear", "linear to a number"],
)
def test_gradients_of_both_orders(function, shapes):
    rng = np.random.default_rng(2)
    inputs = [tb.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    assert tb.gradcheck(partial(function, relu=True), inputs)
    assert tb.gradgradcheck(partial(function, relu=True), inputs)


@pytest.mark.parametrize("case", ["3×3", "same, cut in front", "rows"])
@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)], ids=str)
def test_gradients_of_some_arguments_alone(wanted, case):
    function, arrays = FUNCTIONS[case][0], drawn(case, "float32", True)
    expected = step(partial(function, relu=True), arrays)[1:]
    given = [tb.tensor(a, requires_grad=i in wanted) for i, a in enumerate(arrays)]
    y = function(*given, relu=True)
    y.backward(np.random.default_rng(9).standard_normal(y.shape).astype("float32"))
    for i, tensor in enumerate(given):
        if i in wanted:
            np.testing.assert_array_equal(tensor.grad.data, expected[i])
        else:
            assert tensor.grad is None


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,)], ids=["x", "weight", "bias"])
@pytest.mark.parametrize("case", ["3×3", "same, cut in front", "rows", "a batch of rows"])
def test_an_output_that_has_been_changed_in_place_is_found_out(case, wanted):
    """Whichever gradient is asked for, it needs to know where the output was 0."""
    function, arrays = FUNCTIONS[case][0], drawn(case, "float32", True)
    given = [tb.tensor(a, requires_grad=i in wanted) for i, a in enumerate(arrays)]
    y = function(*given, relu=True)
    y.mul_(2)
    with pytest.raises(GraphError, match="needs its output"):
        y.sum().backward()


def test_inputs_stay_as_they_are():
    for case in FUNCTIONS:
        arrays = drawn(case, "float32", True)
        before = [a.tobytes() for a in arrays]
        step(partial(FUNCTIONS[case][0], relu=True), arrays)
        assert before == [a.tobytes() for a in arrays], case


# --- layers -----------------------------------------------------------------------------------------------------------


def outcome(model, module, x):
    """Everything that a step computes, and the name of the op that made the output."""
    x.grad = None
    module.zero_grad()
    y = model(x)
    y.backward(np.random.default_rng(3).standard_normal(y.shape).astype("float32"))
    return [y.data, x.grad.data.copy(), *(p.grad.data.copy() for p in module.parameters())], y.node.op.__name__


@every_layer
def test_a_sequential_fuses_the_two_and_no_bit_changes(name):
    module, x = layer(name)
    activation = tb.nn.ReLU()
    fused, op = outcome(tb.nn.Sequential(module, activation), module, x)
    assert op == name
    apart, op = outcome(lambda value: activation(module(value)), module, x)
    assert op == "relu"
    assert_same_bits(fused, apart)


@every_layer
@pytest.mark.parametrize(
    "change",
    [
        lambda module, activation: module.register_forward_hook(lambda module, args, out: None),
        lambda module, activation: module.register_forward_pre_hook(lambda module, args: None),
        lambda module, activation: module.register_full_backward_hook(lambda module, given, made: None),
        lambda module, activation: activation.register_forward_pre_hook(lambda module, args: None),
        lambda module, activation: activation.register_forward_hook(lambda module, args, out: None),
        lambda module, activation: setattr(activation, "forward", lambda x: relu(x)),
        lambda module, activation: setattr(module, "forward", partial(type(module).forward, module)),
    ],
    ids=[
        "a forward hook on the layer",
        "a pre-hook on the layer",
        "a backward hook on the layer",
        "a pre-hook on the ReLU",
        "a hook on the ReLU",
        "a forward of the ReLU's own",
        "a forward of the layer's own",
    ],
)
def test_what_would_see_the_difference_keeps_the_two_apart(name, change):
    module, x = layer(name)
    activation = tb.nn.ReLU()
    change(module, activation)
    assert tb.nn.Sequential(module, activation)(x).node.op.__name__ != name


@every_layer
def test_a_hook_sees_what_is_in_front_of_the_relu(name):
    module, x = layer(name)
    seen, model = [], tb.nn.Sequential(module, tb.nn.ReLU())
    with_hook = module.register_forward_hook(lambda module, args, out: seen.append(out.data.copy()))
    model(x)
    with_hook.remove()
    np.testing.assert_array_equal(seen[0], module(x).data)
    assert seen[0].min() < 0


class DoubledConv2d(tb.nn.Conv2d):
    def forward(self, input):
        return 2 * super().forward(input)


class DoubledLinear(tb.nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


class NamedLinear(tb.nn.Linear):
    """A subclass that leaves the forward as it is."""


class OtherReLU(tb.nn.ReLU):
    def forward(self, input):
        return super().forward(input) + 1


def test_subclasses_and_other_activations():
    image, rows = tb.randn(2, 3, 5, 5), tb.randn(4, 3)
    for module, activation, x in [
        (DoubledConv2d(3, 4, 3), tb.nn.ReLU(), image),
        (DoubledLinear(3, 4), tb.nn.ReLU(), rows),
        (tb.nn.Conv2d(3, 4, 3), tb.nn.ReLU6(), image),
        (tb.nn.Linear(3, 4), OtherReLU(), rows),
    ]:
        y = tb.nn.Sequential(module, activation)(x)
        assert y.node.op.__name__ not in ("conv2d", "linear")
        np.testing.assert_array_equal(y.data, activation(module(x)).data)
    assert tb.nn.Sequential(NamedLinear(3, 4), tb.nn.ReLU())(rows).node.op.__name__ == "linear"


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_every_padding_mode(mode):
    module, activation = tb.nn.Conv2d(3, 4, 3, padding=(1, 2), padding_mode=mode), tb.nn.ReLU()
    x = tb.randn(2, 3, 5, 6)
    y = tb.nn.Sequential(module, activation)(x)
    assert y.node.op.__name__ == "conv2d"
    assert_same_bits([y.data], [activation(module(x)).data])


def test_what_stands_between_or_around_runs_by_itself():
    """ReLU in front, two ReLUs behind, BatchNorm between: each product takes the one ReLU that follows it."""
    module, activation, norm = tb.nn.Linear(3, 4), tb.nn.ReLU(), tb.nn.BatchNorm1d(4).eval()
    x = tb.randn(5, 3)
    model = tb.nn.Sequential(activation, module, activation, activation)
    np.testing.assert_array_equal(model(x).data, relu(module(relu(x))).data)
    model = tb.nn.Sequential(module, norm, activation)
    np.testing.assert_array_equal(model(x).data, relu(norm(module(x))).data)
    model = tb.nn.Sequential(tb.nn.Sequential(module), activation)
    y = model(x)
    assert y.node.op.__name__ == "relu"
    np.testing.assert_array_equal(y.data, relu(module(x)).data)


@every_layer
def test_copies_fuse_as_well(name):
    module, x = layer(name)
    model = tb.nn.Sequential(module, tb.nn.ReLU())
    expected = model(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        y = other(x)
        assert y.node.op.__name__ == name
        assert_same_bits([y.data], [expected.data])


@every_layer
def test_without_gradients_nothing_is_recorded(name):
    module, x = layer(name)
    model = tb.nn.Sequential(module, tb.nn.ReLU())
    expected = model(x)
    with tb.no_grad():
        y = model(x)
    assert y.node is None
    np.testing.assert_array_equal(y.data, expected.data)
