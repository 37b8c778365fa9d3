"""`fold_bn`: the same outputs without BatchNorm."""

import numpy as np
import pytest
from helpers import assert_state, snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import load_torch
from tolerances import assert_close

import tinybn as tb
from tinybn.nn import fold_bn

both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def settled(model, seed=0, spread=1.0):
    """With statistics, weights and biases of BatchNorm that are not the initial ones."""
    rng = np.random.default_rng(seed)
    for module in model.modules():
        if hasattr(module, "running_mean"):
            draws = {
                "running_mean": spread * rng.standard_normal(module.num_features),
                "running_var": spread**2 * rng.uniform(0.5, 2, module.num_features),
                "weight": rng.uniform(-2, 2, module.num_features),
                "bias": rng.standard_normal(module.num_features),
            }
            for name, values in draws.items():
                if getattr(module, name) is not None:
                    getattr(module, name).data[...] = values
    return model


def normal(shape, dtype="float32", seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def norms_in(model):
    return [m for m in model.modules() if isinstance(m, tb.nn.BatchNorm1d | tb.nn.BatchNorm2d)]


def assert_folds(model, x, pairs=None, norms_left=0):
    """Equal outputs, an original as it was, and so many BatchNorms left."""
    state, modes = snapshot(model), [m.training for m in model.modules()]
    folded = fold_bn(model, pairs)
    assert_state(model, state)
    assert [m.training for m in model.modules()] == modes
    assert not any(m.training for m in folded.modules())
    assert not {id(p) for p in model.parameters()} & {id(p) for p in folded.parameters()}
    assert len(norms_in(folded)) == norms_left
    before = [m.training for m in model.modules()]
    expected = model.eval()(x)
    for module, mode in zip(model.modules(), before, strict=True):
        module.training = mode
    got = folded(x)
    assert got.dtype == expected.dtype
    assert_close(got.detach(), expected.detach(), x.dtype)
    return folded


# --- equal ------------------------------------------------------------------------------------------------------------

LAYERS = {  # layer, BatchNorm, input
    "Linear(5, 6)": ("BatchNorm1d", (4, 5)),
    "Linear(5, 6, bias=False)": ("BatchNorm1d", (4, 5)),
    "Conv1d(3, 6, 3, padding=1)": ("BatchNorm1d", (4, 3, 9)),
    "Conv1d(4, 6, 3, groups=2, bias=False)": ("BatchNorm1d", (4, 4, 9)),
    "Conv2d(3, 6, 3, padding=1)": ("BatchNorm2d", (4, 3, 7, 6)),
    "Conv2d(6, 6, 3, stride=2, groups=6)": ("BatchNorm2d", (4, 6, 7, 6)),
    "Conv2d(4, 6, (3, 1), dilation=2, groups=2, bias=False)": ("BatchNorm2d", (4, 4, 7, 6)),
    "Conv2d(3, 6, 3, padding=1, padding_mode='reflect')": ("BatchNorm2d", (4, 3, 7, 6)),
    "Conv2d(3, 6, 3, padding='same', padding_mode='circular')": ("BatchNorm2d", (4, 3, 7, 6)),
    "ConvTranspose1d(3, 6, 3, stride=2)": ("BatchNorm1d", (4, 3, 5)),
    "ConvTranspose1d(4, 6, 3, groups=2, bias=False)": ("BatchNorm1d", (4, 4, 5)),
    "ConvTranspose2d(3, 6, 3, stride=2, output_padding=1)": ("BatchNorm2d", (4, 3, 5, 4)),
    "ConvTranspose2d(4, 6, 2, groups=2, bias=False)": ("BatchNorm2d", (4, 4, 5, 4)),
    "ConvTranspose2d(6, 6, 3, groups=6, dilation=2)": ("BatchNorm2d", (4, 6, 5, 4)),
}
each_layer = pytest.mark.parametrize("layer", LAYERS)


def pair_of(layer, **options):
    norm, shape = LAYERS[layer]
    nn = tb.nn
    return nn.Sequential(eval(layer, dict(vars(nn))), getattr(nn, norm)(6, **options)), shape


@each_layer
@both_dtypes
@pytest.mark.parametrize("affine", [True, False])
def test_each_layer(layer, dtype, affine):
    model, shape = pair_of(layer, affine=affine)
    assert_folds(settled(model).to(dtype), normal(shape, dtype))


@each_layer
@both_dtypes
@pytest.mark.parametrize(("mean", "var"), [(0.0, 1e-12), (0.0, 0.0), (1e3, 1e8), (1e3, 1e-6), (-1e-8, 1e12)])
def test_extreme_statistics(layer, dtype, mean, var):
    model, shape = pair_of(layer)
    model.to(dtype)
    model[1].running_mean.data.fill(mean)
    model[1].running_var.data.fill(var)
    assert_folds(model, normal(shape, dtype))


@each_layer
def test_equal_to_torchs_own(layer):
    """Its Linear, Conv and ConvTranspose, evaluated with BatchNorm in float64."""
    torch = load_torch()
    model, shape = pair_of(layer)
    theirs = torch.nn.Sequential(
        eval(layer, dict(vars(torch.nn))), getattr(torch.nn, LAYERS[layer][0])(6)
    ).double()  # fmt: skip
    settled(model).double()
    theirs.load_state_dict({name: torch.from_numpy(np.asarray(v)) for name, v in model.state_dict().items()})
    x = normal(shape, "float64")
    assert_close(fold_bn(model)(x).detach(), theirs.eval()(torch.from_numpy(x)).detach(), "float64")


@settings(deadline=None, max_examples=40)
@given(
    groups=st.integers(1, 4),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    bias=st.booleans(),
    transposed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_convolution(groups, inputs, outputs, kernel, stride, padding, bias, transposed, seed):
    kind = tb.nn.ConvTranspose2d if transposed else tb.nn.Conv2d
    conv = kind(groups * inputs, groups * outputs, kernel, stride, padding, groups=groups, bias=bias, dtype="float64")
    model = tb.nn.Sequential(conv, tb.nn.BatchNorm2d(groups * outputs, dtype="float64"))
    assert_folds(settled(model, seed), normal((2, groups * inputs, 6, 7), "float64", seed))


@pytest.mark.parametrize(
    "norm",
    [
        "BatchRenorm1d(6)",
        "GhostBatchNorm1d(6, ghost_size=2)",
        "MeanOnlyBatchNorm1d(6)",
        "VarianceOnlyBatchNorm1d(6)",
        "VarianceOnlyBatchNorm1d(6, affine=False)",
        "BatchNorm1d(6, convention='keras')",
        "BatchNorm1d(6, momentum=None)",
        "BatchNorm1d(6).freeze()",
        "type('Mine', (BatchNorm1d,), {})(6)",
    ],
)
@both_dtypes
def test_each_kind_of_batch_norm(norm, dtype):
    model = tb.nn.Sequential(tb.nn.Linear(5, 6), eval(norm, dict(vars(tb.nn))))
    folded = assert_folds(settled(model).to(dtype), normal((4, 5), dtype))
    assert list(folded.state_dict()) == ["0.weight", "0.bias"]


def test_a_weight_in_another_memory_order():
    model = settled(tb.nn.Sequential(tb.nn.Conv2d(3, 6, 3), tb.nn.BatchNorm2d(6)))
    model[0].weight.data = np.asfortranarray(model[0].weight.data)
    assert_folds(model, normal((2, 3, 5, 5)))


# --- where ------------------------------------------------------------------------------------------------------------


def conv_net(nn=tb.nn):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)), nn.ReLU(),
        nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 3))), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * 16, 5, bias=False), nn.Sequential(nn.BatchNorm1d(5), nn.Tanh()), nn.Linear(5, 3),
    )  # fmt: skip


@both_dtypes
def test_nested_sequentials(dtype):
    assert_folds(settled(conv_net()).to(dtype), normal((3, 1, 8, 8), dtype))


def test_in_a_sequential_a_batch_norm_leaves_a_gap():
    """Names stay, so that a state goes from one folded model to another, and a ReLU stands right behind its layer."""
    model = settled(conv_net())
    folded = fold_bn(model)
    assert [name for name, _ in folded.named_children()] == ["0", "2", "3", "4", "5", "7", "8", "9", "10", "11"]
    assert [type(m).__name__ for m in folded][:2] == ["Conv2d", "ReLU"]
    assert folded[0].fusing([folded[1]]) == (1, {"relu": True})
    left = {name for name, _ in model.named_parameters()} - {name for name, _ in folded.named_parameters()}
    assert left == {f"{name}.{part}" for name in ("1", "3.1", "6", "10.0") for part in ("weight", "bias")}
    other = fold_bn(settled(conv_net(), seed=5))
    other.load_state_dict(folded.state_dict())
    x = normal((2, 1, 8, 8))
    np.testing.assert_array_equal(other(x).data, folded(x).data)


def test_named_modules_of_a_sequential():
    nn = tb.nn
    model = nn.Sequential({"fc": nn.Linear(4, 3), "norm": nn.BatchNorm1d(3), "act": nn.ReLU()})
    assert list(assert_folds(settled(model), normal((5, 4)))._parts())[1][0] == "act"


def test_the_same_modules_several_times():
    nn = tb.nn
    block = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU())
    assert len(assert_folds(settled(block * 3), normal((5, 4)))) == 6
    assert_folds(nn.Sequential(block, block), normal((5, 4)))


@pytest.mark.parametrize(
    ("block", "shape", "norms_left"),
    [
        ("LinearBlock(4, 3)", (5, 4), 0),
        ("LinearBlock(4, 3, 'weight act bn')", (5, 4), 1),
        ("LinearBlock(4, 3, 'bn act weight')", (5, 4), 1),
        ("ConvBlock(2, 3, 3, 'weight bn act pool drop')", (2, 2, 6, 6), 0),
        ("ResidualBlock(2, 4)", (2, 2, 6, 6), 0),
    ],
)
def test_blocks(block, shape, norms_left):
    model = settled(eval(block, dict(vars(tb.nn))))
    assert_folds(model, normal(shape), norms_left=norms_left)


class Residual(tb.nn.Module):
    def __init__(self, channels=4):
        nn = tb.nn
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.shortcut = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


@both_dtypes
def test_pairs_in_modules_of_ones_own(dtype):
    x = normal((2, 4, 6, 6), dtype)
    model = settled(Residual()).to(dtype)
    assert_folds(model, x, norms_left=2)
    folded = assert_folds(model, x, [("conv1", "bn1"), ("conv2", "bn2")])
    assert type(folded.bn1) is type(folded.bn2) is tb.nn.Identity
    nested = settled(tb.nn.Sequential(Residual(), Residual())).to(dtype)
    pairs = [[f"{block}.conv{i}", f"{block}.bn{i}"] for block in (0, 1) for i in (1, 2)]
    assert_folds(nested, x, pairs)
    assert_folds(nested, x, pairs[:3], norms_left=1)


def test_pairs_that_are_folded_without_being_named_may_be_named():
    assert_folds(settled(Residual()), normal((2, 4, 6, 6)), [("shortcut.0", "shortcut.1")] * 2, norms_left=2)


def test_a_pair_at_the_end_of_a_sequential():
    class Model(tb.nn.Module):
        def __init__(self):
            nn = tb.nn
            self.features = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4))
            self.norms = nn.ModuleDict({"last": nn.BatchNorm1d(4)})

        def forward(self, x):
            return self.norms["last"](self.features(x))

    folded = assert_folds(settled(Model()), normal((5, 3)), [("features.2", "norms.last")])
    assert type(folded.norms["last"]) is tb.nn.Identity


def test_tied_weights():
    """The other layer keeps the weight that both had."""
    nn = tb.nn
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    assert_folds(settled(model), normal((5, 4)))


def test_gradients_of_the_input_and_what_is_trained():
    model = settled(tb.nn.Sequential(tb.nn.Linear(4, 3), tb.nn.BatchNorm1d(3))).eval()
    model[0].requires_grad_(False)
    x, other = (tb.tensor(normal((5, 4)), requires_grad=True) for _ in range(2))
    folded = fold_bn(model)
    (model(x) ** 2).sum().backward()
    (folded(other) ** 2).sum().backward()
    assert_close(other.grad.data, x.grad.data, "float32")
    assert [p.requires_grad for p in folded.parameters()] == [False, False]


@pytest.mark.parametrize("model", [tb.nn.Linear(3, 2), tb.nn.BatchNorm1d(3), tb.nn.Sequential()], ids=repr)
def test_with_nothing_to_fold_it_is_a_copy_in_evaluation_mode(model):
    folded = fold_bn(model)
    assert folded is not model and type(folded) is type(model)
    assert model.training and not folded.training
    assert_state(folded, snapshot(model))


# --- left alone -------------------------------------------------------------------------------------------------------


def test_pre_activation_is_left_alone():
    """Zeros of the padding do not go through a BatchNorm in front of the convolution."""
    nn = tb.nn
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(3))
    assert_folds(settled(model), normal((2, 3, 5, 5)), norms_left=2)
    assert_folds(
        settled(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, padding=1))), normal((2, 3, 5, 5)), None, 1
    )


class OwnForward(tb.nn.Linear):
    def forward(self, input):
        return super().forward(input) ** 2


class OwnEvaluation(tb.nn.BatchNorm1d):
    def _with_running(self, x, relu):
        return x


def with_hook(module, register="register_forward_hook"):
    getattr(module, register)(lambda *_: None)
    return module


def test_a_hook_that_was_removed_is_no_hook():
    model = tb.nn.Sequential(tb.nn.Linear(3, 3), tb.nn.BatchNorm1d(3))
    model[0].register_forward_hook(lambda *_: None).remove()
    assert_folds(settled(model), normal((4, 3)))


def shared_layer():
    model = tb.nn.Sequential(tb.nn.Linear(3, 3), tb.nn.BatchNorm1d(3), tb.nn.Tanh())
    return model.append(model[0])


def shared_norm():
    model = tb.nn.Sequential(tb.nn.Linear(3, 3), tb.nn.BatchNorm1d(3), tb.nn.Tanh())
    return model.append(model[1])


def overridden(module):
    module.forward = lambda x: x * 2
    return module


def with_computed_bias(layer):
    class Doubled(tb.nn.Module):
        def forward(self, bias):
            return bias * 2

    return tb.nn.utils.parametrize.register_parametrization(layer, "bias", Doubled())


def spied_sequential():
    nn = tb.nn
    return nn.Sequential(with_hook(nn.Sequential(nn.Linear(3, 3))), nn.BatchNorm1d(3))


LEFT_ALONE = {  # a model with the reason in the message when the pair is named
    "no running statistics": lambda nn: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)),
    "Linear has hooks": lambda nn: nn.Sequential(with_hook(nn.Linear(3, 3)), nn.BatchNorm1d(3)),
    "BatchNorm1d has hooks": lambda nn: nn.Sequential(
        nn.Linear(3, 3), with_hook(nn.BatchNorm1d(3), "register_full_backward_hook")
    ),
    "OwnForward has a forward of its own": lambda nn: nn.Sequential(OwnForward(3, 3), nn.BatchNorm1d(3)),
    "OwnEvaluation has a forward of its own": lambda nn: nn.Sequential(nn.Linear(3, 3), OwnEvaluation(3)),
    "Linear has a forward of its own": lambda nn: nn.Sequential(overridden(nn.Linear(3, 3)), nn.BatchNorm1d(3)),
    "InstanceNorm1d has a forward of its own": lambda nn: nn.Sequential(
        nn.Conv1d(1, 3, 1), nn.InstanceNorm1d(3, track_running_stats=True)
    ),
    "weight or bias of ParametrizedLinear is computed from other parameters": lambda nn: nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), nn.BatchNorm1d(3)
    ),
    "computed from other parameters": lambda nn: nn.Sequential(with_computed_bias(nn.Linear(3, 3)), nn.BatchNorm1d(3)),
    "other neighbours": lambda nn: shared_layer(),
    "one of them has other neighbours, too": lambda nn: shared_norm(),
}


@pytest.mark.parametrize("reason", LEFT_ALONE)
def test_what_cannot_be_folded_is_left_alone_unless_it_is_named(reason):
    model = settled(LEFT_ALONE[reason](tb.nn))
    x = normal((4, 1, 5) if "Instance" in reason else (4, 3))
    norms = len(norms_in(model))
    state = snapshot(model)
    assert_folds(model, x, norms_left=norms)
    with pytest.raises(ValueError, match=f"fold_bn: '1' cannot be folded into '0': .*{reason}"):
        fold_bn(model, [("0", "1")])
    assert_state(model, state)


def test_a_hook_between_the_two_sees_what_it_saw():
    assert_folds(settled(spied_sequential()), normal((4, 3)), norms_left=1)


def test_a_sequential_with_a_forward_of_its_own_is_not_followed():
    class Doubling(tb.nn.Sequential):
        def forward(self, input):
            return self[1](self[0](input) ** 2)

    model = settled(Doubling(tb.nn.Linear(3, 3), tb.nn.BatchNorm1d(3)))
    assert_folds(model, normal((4, 3)), norms_left=1)


def test_module_lists_have_no_order_of_their_own():
    class Reversed(tb.nn.Module):
        def __init__(self):
            self.parts = tb.nn.ModuleList([tb.nn.Linear(3, 3), tb.nn.BatchNorm1d(3)])

        def forward(self, x):
            return self.parts[0](self.parts[1](x))

    assert_folds(settled(Reversed()), normal((4, 3)), norms_left=1)


def test_a_linear_over_another_axis_is_left_alone():
    """BatchNorm's channels are the axis behind the batch, Linear's features the last one."""
    model = settled(tb.nn.Sequential(tb.nn.Linear(3, 5), tb.nn.BatchNorm1d(4)))
    assert_folds(model, normal((2, 4, 3)), norms_left=1)


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        ([("conv1", "bn3")], ValueError, "fold_bn: Residual has no module 'bn3'"),
        ([("nothing.conv1", "bn1")], ValueError, "fold_bn: Residual has no module 'nothing.conv1'"),
        ([("conv1.weight", "bn1")], ValueError, "fold_bn: Residual has no module 'conv1.weight'"),
        ([("bn1", "conv1")], ValueError, "'conv1' cannot be folded into 'bn1': BatchNorm2d is none of Linear, Conv1d"),
        ([("conv1", "relu")], ValueError, "'relu' cannot be folded into 'conv1': ReLU is no BatchNorm"),
        ([("conv1", "bn1"), ("conv1", "bn2")], ValueError, "one of them has other neighbours"),
        ([("conv1", "bn1"), ("conv2", "bn1")], ValueError, "one of them has other neighbours"),
        (("conv1", "bn1"), TypeError, "expected pairs of two names, such as .*, got 'conv1' among them"),
        ([("shortcut.0", "bn2")], ValueError, "'bn2' cannot be folded into 'shortcut.0': one of them has other"),
        ([("conv1", "bn1", "relu")], TypeError, "expected pairs of two names"),
    ],
)
def test_pairs_that_cannot_be(pairs, error, message):
    with pytest.raises(error, match=message):
        fold_bn(Residual(), pairs)


def test_a_pair_of_other_channels():
    model = Residual()
    model.bn1 = tb.nn.BatchNorm2d(5)
    with pytest.raises(ValueError, match=r"BatchNorm2d\(5, .*\) does not take what Conv2d\(4, 4, .*\) gives"):
        fold_bn(model, [("conv1", "bn1")])
    model.bn1 = tb.nn.BatchNorm1d(4)
    with pytest.raises(ValueError, match=r"BatchNorm1d\(4, .*\) does not take what Conv2d"):
        fold_bn(model, [("conv1", "bn1")])


def test_something_else_than_a_module():
    with pytest.raises(TypeError, match="fold_bn: expected a Module, got a dict"):
        fold_bn({})
