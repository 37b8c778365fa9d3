"""ConvBlock and LinearBlock in any order; residual blocks in the five orders of He et al. 2016."""

import copy
import itertools
import pickle
from functools import partial

import numpy as np
import pytest
from oracle import load_torch
from tolerances import assert_close

import tinybn as tb
from tinybn import functional as F
from tinybn import nn
from tinybn.nn.blocks.residual import ORDERS

WORDS = ("weight", "bn", "act", "drop")
# Every order of any of the words that has a weight: 1 + 6 + 18 + 24.
EVERY_ORDER = [order for n in range(1, 5) for order in itertools.permutations(WORDS, n) if "weight" in order]


def normal(shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def with_state(module, seed=0):
    """A module with parameters and running statistics away from their simple initial values."""
    rng = np.random.default_rng(seed)
    for name, value in module.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            value[...] = rng.uniform(0.5, 1.5, value.shape) if "var" in name else rng.standard_normal(value.shape)
    return module


def names(module):
    return [name for name, _ in module.named_children()]


def outcome(function, parameters, x, dy):
    """Output, and the gradients of the input and of all parameters."""
    for parameter in parameters:
        parameter.grad = None
    x = tb.tensor(x, requires_grad=True)
    y = function(x)
    y.backward(tb.tensor(dy))
    return [y.data, x.grad.data, *(parameter.grad.data for parameter in parameters)]


# --- a weight in any order --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", EVERY_ORDER, ids=" ".join)
def test_the_parts_of_a_linear_block_run_in_the_order_of_the_words(order):
    block = with_state(nn.LinearBlock(4, 3, " ".join(order), act=nn.Tanh, dtype="float64")).eval()
    assert names(block) == list(order)
    assert isinstance(block, nn.Sequential)
    steps = {
        "weight": lambda x: F.linear(x, block.weight.weight, block.weight.bias),
        "bn": lambda x: F.batch_norm(x, block.bn.running_mean, block.bn.running_var, block.bn.weight, block.bn.bias),
        "act": F.tanh,
        "drop": lambda x: x,
    }
    x = expected = tb.tensor(normal((5, 4)))
    for word in order:
        expected = steps[word](expected)
    assert_close(block(x).data, expected.data, "float64")


@pytest.mark.parametrize("order", EVERY_ORDER, ids=" ".join)
def test_there_is_no_bias_exactly_where_it_changes_nothing(order):
    """A bias that the normalization takes away moves no output and gets no gradient, in training."""
    block = with_state(nn.LinearBlock(4, 3, order, bias=True, act=nn.Tanh, drop=0.4, dtype="float64"))

    def output():
        for part in block:
            if isinstance(part, nn.Dropout):
                part.generator = np.random.default_rng(0)
        return block(normal((6, 4))).data

    before = output()
    block.weight.bias.data += 1
    moved = np.abs(output() - before).max() > 1e-9
    assert (nn.LinearBlock(4, 3, order, drop=0.4).weight.bias is not None) == moved


@pytest.mark.parametrize(
    ("order", "options", "biased"),
    [
        ("weight bn act", {}, False),
        ("weight bn act", {"bias": True}, True),
        ("weight act", {"bias": False}, False),
        ("weight drop bn", {}, False),  # a rate of 0
        ("weight drop bn", {"drop": 0.1}, True),
        ("weight pool bn", {}, False),
        ("weight pool bn", {"pool": partial(nn.AvgPool2d, 2)}, False),
        ("weight pool bn", {"pool": partial(nn.AvgPool2d, 3, padding=1)}, True),
        ("weight pool bn", {"pool": nn.Flatten, "norm": lambda c: nn.BatchNorm1d(c * 36)}, False),
        ("weight act bn", {}, True),
        ("weight bn", {"norm": partial(nn.GroupNorm, 2)}, True),
        ("weight bn", {"norm": lambda c: nn.GroupNorm(c, c)}, False),
        ("weight bn", {"norm": nn.InstanceNorm2d}, False),
        ("weight bn", {"norm": nn.MeanOnlyBatchNorm2d}, False),
        ("weight bn", {"norm": nn.VarianceOnlyBatchNorm2d}, True),
        ("weight bn", {"norm": lambda c: nn.BatchNorm2d(c).freeze()}, True),
        ("weight bn", {"norm": nn.Identity}, True),
    ],
)
def test_the_bias_of_a_conv_block(order, options, biased):
    block = nn.ConvBlock(2, 4, 3, order, **options)
    assert (block.weight.bias is not None) == biased
    assert block(normal((3, 2, 6, 6), dtype="float32")).shape[1] in (4, 4 * 36)


def test_the_channels_are_those_where_the_normalization_stands():
    for order, channels in (("bn act weight", 2), ("weight act bn", 4)):
        assert nn.ConvBlock(2, 4, 3, order).bn.num_features == channels
        assert nn.LinearBlock(2, 4, order, norm=nn.LayerNorm).bn.normalized_shape == (channels,)


@pytest.mark.parametrize(
    ("kernel", "options", "size"),
    [
        (3, {}, (8, 7)),
        (1, {}, (8, 7)),
        ((5, 3), {}, (8, 7)),
        (3, {"dilation": (2, 1)}, (8, 7)),
        (3, {"padding": 0}, (6, 5)),
    ],
)
def test_a_conv_block_keeps_the_size_by_default(kernel, options, size):
    block = nn.ConvBlock(2, 4, kernel, **options)
    assert names(block) == ["weight", "bn", "act", "drop"]
    assert block(tb.rand(3, 2, 8, 7)).shape == (3, 4, *size)


def test_a_conv_block_takes_what_a_convolution_takes():
    block = nn.ConvBlock(2, 4, 3, "act weight pool", stride=2, groups=2, padding_mode="reflect", act=nn.SiLU)
    expected = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, padding_mode="reflect")
    assert repr(block.weight) == repr(expected)
    assert repr(block.pool) == repr(nn.MaxPool2d(2))
    assert block(tb.rand(3, 2, 8, 8)).shape == (3, 4, 2, 2)


def test_generators_of_weights_and_of_dropout_are_two():
    def block(drop_seed):
        generators = {"generator": np.random.default_rng(1), "drop_generator": np.random.default_rng(drop_seed)}
        return nn.LinearBlock(6, 5, "weight drop", drop=0.5, **generators)

    x = normal((4, 6), dtype="float32")
    first, same, other = block(2), block(2), block(3)
    np.testing.assert_array_equal(
        first.weight.weight.data, nn.Linear(6, 5, generator=np.random.default_rng(1)).weight.data
    )
    np.testing.assert_array_equal(first.weight.weight.data, other.weight.weight.data)
    np.testing.assert_array_equal(first(x).data, same(x).data)
    assert (block(2)(x).data != other(x).data).any()


def test_a_block_is_a_sequential_to_its_users():
    block = nn.LinearBlock(4, 3, "weight bn act", generator=np.random.default_rng(0))
    x = normal((5, 4), dtype="float32")
    y = block(x)
    assert y.node.op.__name__ == "batch_norm"  # with the ReLU in one op
    plain = nn.Sequential(block.weight, block.bn, block.act)
    np.testing.assert_array_equal(plain(x).data, y.data)
    assert list(block.state_dict())[:3] == ["weight.weight", "bn.weight", "bn.bias"]
    assert type(block[:2]) is nn.Sequential
    assert names(block[:2]) == ["weight", "bn"]
    assert block[-1] is block.act
    for other in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert type(other) is nn.LinearBlock
        np.testing.assert_array_equal(other.eval()(x).data, copy.deepcopy(block).eval()(x).data)
    folded = nn.fold_bn(block.eval())
    assert_close(folded(x).data, block(x).data, "float32")


def test_second_derivatives_of_a_block():
    block = with_state(nn.LinearBlock(3, 2, "weight bn act", act=nn.Tanh, dtype="float64"))
    assert tb.gradcheck(block, [tb.tensor(normal((4, 3)), requires_grad=True)])
    assert tb.gradgradcheck(block, [tb.tensor(normal((4, 3)), requires_grad=True)])


@pytest.mark.parametrize("order", ["weight bn act", "bn act weight", ["act", "weight", "bn"]])
def test_layouts_give_the_same(order):
    block = with_state(nn.ConvBlock(4, 3, 3, order, dtype="float64"))
    x = normal((2, 4, 6, 5))
    expected = block(x).data
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    strided = np.repeat(x, 2, axis=-1)[..., ::2]
    x.flags.writeable = False
    for other in (last, strided, x):
        assert_close(block(other).data, expected, "float64")


def test_an_empty_batch_goes_through_every_block():
    assert nn.ConvBlock(2, 4)(tb.zeros(0, 2, 5, 5)).shape == (0, 4, 5, 5)
    assert nn.LinearBlock(2, 4)(tb.zeros(0, 2)).shape == (0, 4)
    for order in ORDERS:
        assert nn.ResidualBlock(2, 4, 2, order)(tb.zeros(0, 2, 6, 6)).shape == (0, 4, 3, 3)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (
            "weight norm act",
            "LinearBlock: order is 'weight norm act', but 'norm' is not one of them; expected the words",
        ),
        ("weight bn bn", "'bn' stands there 2 times"),
        ("bn act", "there is no 'weight'"),
        ("", "there is no 'weight'"),
        (["weight", "pool"], "'pool' is not one of them; expected the words weight, bn, act, drop, each at most once"),
        ("weight weight", "'weight' stands there 2 times"),
    ],
)
def test_wrong_orders_are_refused(order, message):
    with pytest.raises(ValueError, match=message):
        nn.LinearBlock(4, 3, order)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="ConvBlock: bias is 'no'; expected True, False or 'auto'"):
        nn.ConvBlock(1, 2, bias="no")
    with pytest.raises(ValueError, match="Dropout: p is 2"):
        nn.ConvBlock(1, 2, drop=2)
    with pytest.raises(TypeError, match="ConvBlock: 'bn' is 2; expected a Module"):
        nn.ConvBlock(1, 2, norm=lambda channels: channels)
    with pytest.raises(TypeError, match="generator is 3"):
        nn.LinearBlock(1, 2, generator=3)


# --- residual blocks --------------------------------------------------------------------------------------------------


class Parameters:
    """A residual block's convolutions and normalizations as functions, by their names in it."""

    def __init__(self, block):
        self.layers = {}
        for part in (block.before, block.branch, block.after):
            self.layers.update(part.named_children())
        self.shortcut = block.shortcut
        self.training, self.stride = block.training, getattr(block, "stride", None)

    def norm(self, x, layer):
        if isinstance(layer, str):
            layer = self.layers[layer]
        running = (None, None) if self.training else (layer.running_mean, layer.running_var)
        return F.batch_norm(x, *running, layer.weight, layer.bias, self.training)

    def weight(self, x, name):
        layer, stride = self.layers[name], self.stride if name == "weight1" else 1
        if isinstance(layer, nn.Linear):
            return F.linear(x, layer.weight)
        return F.conv2d(x, layer.weight, None, stride, padding=1)

    def projection(self, x, with_norm):
        layer = self.shortcut.weight
        y = F.linear(x, layer.weight) if isinstance(layer, nn.Linear) else F.conv2d(x, layer.weight, None, self.stride)
        return self.norm(y, self.shortcut.bn) if with_norm else y


# Figure 4, read from top to bottom. ``carry`` is what the shortcut makes of its input, the identity or a projection.


def original(x, p, carry):
    y = F.relu(p.norm(p.weight(x, "weight1"), "bn1"))
    return F.relu(p.norm(p.weight(y, "weight2"), "bn2") + carry(x, True))


def bn_after_addition(x, p, carry):
    y = F.relu(p.norm(p.weight(x, "weight1"), "bn1"))
    return F.relu(p.norm(p.weight(y, "weight2") + carry(x, False), "bn2"))


def relu_before_addition(x, p, carry):
    y = F.relu(p.norm(p.weight(x, "weight1"), "bn1"))
    return F.relu(p.norm(p.weight(y, "weight2"), "bn2")) + carry(x, True)


def relu_only_pre_activation(x, p, carry):
    a = F.relu(x)
    y = F.relu(p.norm(p.weight(a, "weight1"), "bn1"))
    return p.norm(p.weight(y, "weight2"), "bn2") + carry(x if p.identity else a, True)


def full_pre_activation(x, p, carry):
    a = F.relu(p.norm(x, "bn1"))
    y = F.relu(p.norm(p.weight(a, "weight1"), "bn2"))
    return p.weight(y, "weight2") + carry(x if p.identity else a, False)


FIGURE = {
    "original": original,
    "bn after addition": bn_after_addition,
    "relu before addition": relu_before_addition,
    "relu-only pre-activation": relu_only_pre_activation,
    "full pre-activation": full_pre_activation,
}

every_order = pytest.mark.parametrize("order", FIGURE)
in_both_modes = pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])

KINDS = {
    "same shape": (lambda **options: nn.ResidualBlock(3, 3, **options), (4, 3, 6, 5), (4, 3, 6, 5)),
    "more channels": (lambda **options: nn.ResidualBlock(3, 5, **options), (4, 3, 6, 5), (4, 5, 6, 5)),
    "stride": (lambda **options: nn.ResidualBlock(3, 3, 2, **options), (4, 3, 6, 5), (4, 3, 3, 3)),
    "both": (lambda **options: nn.ResidualBlock(3, 6, (2, 1), **options), (4, 3, 6, 5), (4, 6, 3, 5)),
    "vectors": (lambda **options: nn.ResidualLinearBlock(6, 6, **options), (8, 6), (8, 6)),
    "more features": (lambda **options: nn.ResidualLinearBlock(6, 9, **options), (8, 6), (8, 9)),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def test_the_orders_are_the_five_of_the_paper():
    assert list(FIGURE) == list(ORDERS)


@every_order
@every_kind
@in_both_modes
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_residual_blocks_compute_what_the_figure_shows(order, kind, training, dtype):
    build, shape, out_shape = KINDS[kind]
    block = with_state(build(order=order, dtype=dtype)).train(training)
    parameters = Parameters(block)
    parameters.identity = shape == out_shape
    oracle = copy.deepcopy(block).double()
    exact = Parameters(oracle)
    exact.identity = shape == out_shape

    def expected(x):
        carry = (lambda x, with_norm: x) if exact.identity else exact.projection
        return FIGURE[order](x, exact, carry)

    x, dy = normal(shape, 1), normal(out_shape, 2)
    got = outcome(block, list(block.parameters()), x.astype(dtype), dy.astype(dtype))
    wanted = outcome(
        expected, list(oracle.parameters()), x.astype(dtype).astype("float64"), dy.astype(dtype).astype("float64")
    )
    assert got[0].shape == out_shape
    for (name, _), a, b in zip([("y", 0), ("x", 0), *block.named_parameters()], got, wanted, strict=True):
        assert str(a.dtype) == dtype
        # A gradient that sums terms of size 1 to nearly 0 carries the rounding of these.
        assert_close(a, b, dtype, name, scale=max(1.0, float(np.abs(b).max())))


@every_order
def test_shortcut_a_pads_with_zeros(order):
    block = with_state(nn.ResidualBlock(2, 5, 2, order, shortcut="A", dtype="float64"))
    x = tb.tensor(normal((3, 2, 6, 5)))
    assert not list(block.shortcut.parameters())
    carried = block.shortcut(x).data
    np.testing.assert_array_equal(carried[:, :2], x.data[:, :, ::2, ::2])
    np.testing.assert_array_equal(carried[:, 2:], 0)
    ready = block.before(x)
    assert_close(block(x).data, block.after(block.branch(ready) + block.shortcut(ready)).data, "float64")
    linear = nn.ResidualLinearBlock(2, 5, order, shortcut="A")
    assert linear.shortcut(tb.ones(1, 2)).tolist() == [[1, 1, 0, 0, 0]]


@in_both_modes
@pytest.mark.parametrize("order", ["relu-only pre-activation", "full pre-activation"])
def test_the_identity_is_the_input_itself(order, training):
    """A branch of zeros leaves the input, bit for bit, and its gradient, through many blocks."""
    blocks = nn.Sequential(*(nn.ResidualBlock(3, 3, order=order) for _ in range(20))).train(training)
    for block in blocks:
        for part in block.branch:
            for parameter in part.parameters():
                parameter.data.fill(0)
    x = tb.tensor(normal((2, 3, 4, 4), dtype="float32"), requires_grad=True)
    y = blocks(x)
    y.backward(np.ones(y.shape, "float32"))
    np.testing.assert_array_equal(y.data, x.data)
    np.testing.assert_array_equal(x.grad.data, 1)


@every_order
def test_residual_blocks_have_the_parameters_of_the_papers_nets(order):
    """Two 3×3 convolutions without biases and two normalizations; a projection where the shape changes."""
    assert sum(p.numel() for p in nn.ResidualBlock(16, 16, order=order).parameters()) == 2 * 9 * 16 * 16 + 2 * 2 * 16
    projected = sum(p.numel() for p in nn.ResidualBlock(16, 32, 2, order).parameters())
    norms = 2 * (16 if order == "full pre-activation" else 32) + 2 * 32
    projection = 16 * 32 + (0 if order in ("full pre-activation", "bn after addition") else 2 * 32)
    assert projected == 9 * 16 * 32 + 9 * 32 * 32 + norms + projection


def test_an_original_block_is_the_basic_block_of_torch():
    torch = load_torch()
    block = with_state(nn.ResidualBlock(3, 5, 2, dtype="float64"))
    parts = {"c1": block.branch.weight1, "c2": block.branch.weight2, "c": block.shortcut.weight}
    norms = {"n1": block.branch.bn1, "n2": block.branch.bn2, "n": block.shortcut.bn}

    def conv(name, x, stride, padding):
        return torch.nn.functional.conv2d(x, torch.tensor(parts[name].weight.data), None, stride, padding)

    def norm(name, x):
        weight, bias = (torch.tensor(p.data) for p in (norms[name].weight, norms[name].bias))
        return torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True)

    x = normal((4, 3, 7, 6))
    t = torch.tensor(x)
    y = torch.relu(norm("n1", conv("c1", t, 2, 1)))
    expected = torch.relu(norm("n2", conv("c2", y, 1, 1)) + norm("n", conv("c", t, 2, 0)))
    assert_close(block(x).data, expected.numpy(), "float64")


@every_order
def test_second_derivatives_of_residual_blocks(order):
    block = with_state(nn.ResidualLinearBlock(2, 3, order, act=nn.Tanh, dtype="float64"))
    x = tb.tensor(normal((4, 2)), requires_grad=True)
    assert tb.gradcheck(block, [x])
    assert tb.gradgradcheck(block, [x])


@every_order
def test_factories_and_bias_of_a_residual_block(order):
    block = nn.ResidualBlock(
        4, 4, order=order, norm=partial(nn.GroupNorm, 2), act=nn.SiLU, bias=True, kernel_size=(1, 5)
    )
    kinds = [type(part).__name__ for part in block.modules()]
    assert (kinds.count("GroupNorm"), kinds.count("SiLU"), kinds.count("Conv2d")) == (2, 2, 2)
    assert all(m.bias is not None and m.padding == (0, 2) for m in block.modules() if isinstance(m, nn.Conv2d))
    assert block(tb.rand(2, 4, 5, 5)).shape == (2, 4, 5, 5)


def test_equal_generators_draw_equal_weights_in_every_order():
    weights = []
    for order in ORDERS:
        block = nn.ResidualBlock(2, 3, order=order, generator=np.random.default_rng(5))
        convs = [m.weight.data.tobytes() for m in block.modules() if isinstance(m, nn.Conv2d)]
        weights.append(convs)
    assert all(drawn == weights[0] for drawn in weights)
    assert len(set(weights[0])) == 3


@every_order
def test_copies_of_residual_blocks(order):
    block = with_state(nn.ResidualBlock(2, 4, 2, order)).eval()
    x = normal((2, 2, 6, 6), dtype="float32")
    expected = block(x).data
    for other in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        np.testing.assert_array_equal(other(x).data, expected)
    fresh = nn.ResidualBlock(2, 4, 2, order).eval()
    fresh.load_state_dict(block.state_dict())
    np.testing.assert_array_equal(fresh(x).data, expected)
    folded = nn.fold_bn(block)
    assert_close(folded(x).data, expected, "float32")


def test_residual_blocks_refuse():
    with pytest.raises(
        ValueError, match="ResidualBlock: order is 'pre'; expected one of 'original', 'bn after addition'"
    ):
        nn.ResidualBlock(2, 2, order="pre")
    with pytest.raises(ValueError, match="ResidualLinearBlock: shortcut is 'C'; expected one of 'A', 'B'"):
        nn.ResidualLinearBlock(2, 2, shortcut="C")
    with pytest.raises(ValueError, match="shortcut 'A' adds channels, and cannot make 2 of 4; shortcut 'B' can"):
        nn.ResidualBlock(4, 2, shortcut="A")
    with pytest.raises(ValueError, match=r"ResidualBlock: kernel_size is \(3, 2\); expected odd numbers"):
        nn.ResidualBlock(4, 4, kernel_size=(3, 2))
    inplace = partial(nn.ReLU, inplace=True)
    with pytest.raises(ValueError, match="works in place, on the input that the shortcut carries"):
        nn.ResidualBlock(4, 4, order="relu-only pre-activation", act=inplace)
    assert nn.ResidualBlock(4, 4, order="full pre-activation", act=inplace)(tb.rand(2, 4, 3, 3)).shape == (2, 4, 3, 3)
