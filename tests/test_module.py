"""What every Module can do: its parts, modes, state, text, errors, copies, and initial weights."""

import copy
import pickle

import numpy as np
import pytest
from helpers import assert_state, snapshot
from oracle import load_torch

import tinybn as tb
from tinybn import nn
from tinybn.errors import DTypeError, GraphError, ShapeError

WEIGHTED = ["Linear(4, 6)", "Conv2d(4, 6, 3)"]


def cnn(library=nn):
    """Every kind of state: parameters, buffers, nesting."""
    return library.Sequential(
        library.Conv2d(1, 2, 3, padding=1, bias=False),
        library.BatchNorm2d(2),
        library.ReLU(),
        library.Sequential(library.Flatten(), library.Linear(32, 4), library.BatchNorm1d(4, affine=False)),
        library.Linear(4, 3),
    )


class Scale(nn.Module):
    """A user's module: without super().__init__(), with everything an attribute can be."""

    def __init__(self):
        self.note = "not a part"
        self.factor = nn.Parameter(tb.ones(2))
        self.register_buffer("offset", tb.zeros(2))
        self.register_buffer("nothing", None)
        self.missing = None
        self.inner = nn.Linear(2, 2)

    def forward(self, x):
        return self.inner(x) * self.factor + self.offset


# --- parts ------------------------------------------------------------------------------------------------------------

CNN_NAMES = [
    "0.weight",
    *("1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"),
    *("3.1.weight", "3.1.bias", "3.2.running_mean", "3.2.running_var", "3.2.num_batches_tracked"),
    *("4.weight", "4.bias"),
]


def test_names_of_parameters_buffers_and_children():
    model = cnn()
    buffers = [name for name in CNN_NAMES if "running" in name or "num_batches" in name]
    assert list(model.state_dict()) == CNN_NAMES
    assert [name for name, _ in model.named_buffers()] == buffers
    assert [name for name, _ in model.named_parameters()] == [name for name in CNN_NAMES if name not in buffers]
    assert [name for name, _ in model.named_children()] == ["0", "1", "2", "3", "4"]
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "2", "3", "3.0", "3.1", "3.2", "4"]
    assert list(model.children()) == list(model)
    assert next(model.modules()) is model
    for named, plain in (("named_parameters", "parameters"), ("named_buffers", "buffers")):
        pairs = zip(getattr(model, named)(), getattr(model, plain)(), strict=True)
        assert all(value is same for (_, value), same in pairs)


def test_state_dict_has_the_order_of_torch():
    torch = load_torch()
    assert list(cnn().state_dict()) == list(cnn(torch.nn).state_dict())


def test_a_module_of_ones_own():
    model = Scale()
    assert list(model.state_dict()) == ["factor", "offset", "inner.weight", "inner.bias"]
    assert [name for name, _ in model.named_parameters()] == ["factor", "inner.weight", "inner.bias"]
    assert [name for name, _ in model.named_buffers()] == ["offset"]
    assert model.nothing is None
    assert model(tb.ones(3, 2)).shape == (3, 2)


def test_a_buffer_registered_again_takes_the_place_of_the_first():
    model = Scale()
    model.register_buffer("offset", tb.ones(2))
    assert [(name, value.tolist()) for name, value in model.named_buffers()] == [("offset", [1.0, 1.0])]


def test_what_is_shared_counts_once_and_has_every_name_in_the_state():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    norm = nn.BatchNorm1d(3)
    model = nn.Sequential(first, norm, second, norm)
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "2.bias"]
    assert [name for name, _ in model.named_parameters()] == names
    assert [name for name, _ in model.named_buffers()] == [
        *("1.running_mean", "1.running_var", "1.num_batches_tracked"),
    ]
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "2"]
    assert {"2.weight", "3.weight", "3.running_mean"} <= set(model.state_dict())
    assert len(list(model.parameters())) == 5
    tb.optim.SGD(model.parameters(), lr=0.1)  # would refuse a parameter given twice
    other = copy.deepcopy(model)
    assert other[0].weight is other[2].weight and other[1] is other[3]


def test_shared_names_are_those_of_torch():
    torch = load_torch()

    def build(library):
        layer, norm = library.Linear(3, 3), library.BatchNorm1d(3)
        return library.Sequential(layer, norm, layer, norm)

    ours, theirs = build(nn), build(torch.nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for method in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        assert [name for name, _ in getattr(ours, method)()] == [name for name, _ in getattr(theirs, method)()], method


def test_apply_visits_children_first_and_returns_the_module():
    visited = []
    model = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh())
    assert model.apply(lambda module: visited.append(type(module).__name__)) is model
    assert visited == ["ReLU", "Sequential", "Tanh", "Sequential"]


def test_sequential_is_a_sequence():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Tanh())
    assert len(model) == 3
    assert model[1] is list(model)[1]
    assert model[-1] is model[2]
    assert list(model[:2]) == [model[0], model[1]]
    with pytest.raises(IndexError):
        model[3]
    last = nn.Sigmoid()
    assert model.append(last) is model
    assert model[3] is last
    named = nn.Sequential({"first": nn.Linear(2, 2), "act": nn.ReLU()})
    assert [name for name, _ in named.named_children()] == ["first", "act"]
    assert named.act is named[1]


def test_append_to_a_slice_keeps_every_layer():
    part = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU())[1:]
    part.append(nn.Tanh()).append(nn.Sigmoid())
    assert [type(module).__name__ for module in part] == ["Linear", "ReLU", "Tanh", "Sigmoid"]


@pytest.mark.parametrize("wrong", [3, None, "relu", nn.ReLU, tb.functional.relu])
def test_sequential_takes_only_modules(wrong):
    with pytest.raises(TypeError, match=r"Sequential: '1' is .*expected a Module"):
        nn.Sequential(nn.ReLU(), wrong)


# --- modes ------------------------------------------------------------------------------------------------------------


def test_train_and_eval_reach_every_module():
    model = cnn()
    assert all(module.training for module in model.modules())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    model[3].train()
    assert [name for name, module in model.named_modules() if module.training] == ["3", "3.0", "3.1", "3.2"]
    assert model.train() is model
    assert all(module.training for module in model.modules())


def test_requires_grad_and_zero_grad():
    model = cnn()
    x = tb.randn(4, 1, 4, 4)
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    assert model.requires_grad_(False) is model
    assert not model(x).requires_grad
    model[4].requires_grad_(True)
    model(x).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["4.weight", "4.bias"]


@pytest.mark.parametrize("cast", ["double", "to"])
def test_dtype_casts_reach_every_floating_part_in_place(cast):
    model = cnn()
    model(tb.randn(4, 1, 4, 4)).sum().backward()
    before = list(model.parameters())
    result = model.double() if cast == "double" else model.to("float64")
    assert result is model
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))
    dtypes = {name: str(value.dtype) for name, value in model.state_dict().items()}
    assert all(dtype == ("int64" if "num_batches" in name else "float64") for name, dtype in dtypes.items())
    assert all(str(p.grad.dtype) == "float64" for p in model.parameters())
    assert str(model(tb.randn(4, 1, 4, 4, dtype="float64")).dtype) == "float64"
    assert str(model.float()(tb.randn(4, 1, 4, 4)).dtype) == "float32"


def test_a_cast_to_the_same_dtype_keeps_the_arrays():
    model = cnn()
    loss = model(tb.randn(4, 1, 4, 4)).sum()
    state = model.state_dict()
    model.float().to("float32")
    assert all(value is state[name] for name, value in model.state_dict().items())
    loss.backward()  # nothing that it needs has changed


def test_a_cast_is_noticed_by_graphs_from_before():
    layer = nn.Linear(2, 1)
    loss = layer(tb.ones(1, 2, requires_grad=True)).sum()
    layer.double()
    with pytest.raises(GraphError, match=r"Module\.to has changed it"):
        loss.backward()


@pytest.mark.parametrize("dtype", ["int64", bool])
def test_a_cast_to_what_is_no_float_is_refused(dtype):
    model = cnn()
    with pytest.raises(DTypeError, match=r"Sequential\.to: expected a floating dtype, got (int64|bool)"):
        model.to(dtype)
    assert model[0].weight.dtype == np.float32


@pytest.mark.parametrize(
    "make",
    [lambda d: nn.Linear(2, 3, dtype=d), lambda d: nn.Conv2d(2, 3, 1, dtype=d), lambda d: nn.BatchNorm1d(2, dtype=d)],
)
def test_dtype_argument(make):
    dtypes = {str(value.dtype) for name, value in make("float64").state_dict().items() if "num_batches" not in name}
    assert dtypes == {"float64"}


def test_integer_parameters_are_refused():
    with pytest.raises(DTypeError):
        nn.Parameter([1, 2])
    assert nn.Parameter([1, 2], requires_grad=False).dtype == np.int64


# --- state ------------------------------------------------------------------------------------------------------------


def other_state():
    """A state with other numbers in every entry."""
    return {name: value + 1 for name, value in cnn().state_dict().items()}


def test_load_state_dict_refuses_read_only_memory_and_writes_nothing():
    constant = np.zeros(2, np.float32)
    constant.flags.writeable = False
    module = nn.Module()
    module.first, module.second = nn.Parameter(tb.zeros(2)), nn.Parameter(tb.from_numpy(constant))
    with pytest.raises(GraphError, match="load_state_dict: second: in read-only memory"):
        module.load_state_dict({"first": np.ones(2, np.float32), "second": np.ones(2, np.float32)})
    assert module.first.tolist() == [0, 0]


def test_load_state_dict_copies():
    model, state = cnn(), other_state()
    arrays = {id(value) for value in model.state_dict().values()}
    assert model.load_state_dict(state) == ([], [])
    assert_state(model, state)
    assert {id(value) for value in model.state_dict().values()} == arrays  # written in place
    expected = snapshot(model)
    for value in state.values():
        value += 1
    assert_state(model, expected)


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


WRONG_STATES = {
    "missing": (lambda s: without(s, "4.bias"), KeyError, r"missing \['4.bias'\], unexpected \[\]"),
    "unexpected": (lambda s: {**s, "5.bias": s["4.bias"]}, KeyError, r"missing \[\], unexpected \['5.bias'\]"),
    "both": (
        lambda s: {**without(s, "4.bias"), "4.b": s["4.bias"]},
        KeyError,
        r"Sequential: missing \['4.bias'\], unexpected \['4.b'\]",
    ),
    "shape": (lambda s: {**s, "4.bias": np.ones(4)}, ShapeError, r"4.bias: expected \(3,\), got \(4,\)"),
    "shape that would broadcast": (
        lambda s: {**s, "4.bias": np.ones(1)},
        ShapeError,
        r"4.bias: expected \(3,\), got \(1,\)",
    ),
    "two shapes": (
        lambda s: {**s, "0.weight": np.ones(1), "4.bias": np.ones(4)},
        ShapeError,
        r"0.weight: expected \(2, 1, 3, 3\), got \(1,\); 4.bias: expected \(3,\), got \(4,\)",
    ),
    "dtype": (
        lambda s: {**s, "3.2.num_batches_tracked": np.array(1.5)},
        DTypeError,
        r"3.2.num_batches_tracked: expected int64, got float64",
    ),
    "complex": (lambda s: {**s, "4.bias": np.ones(3, complex)}, DTypeError, r"complex128"),
}


@pytest.mark.parametrize("name", WRONG_STATES)
def test_a_wrong_state_is_refused_and_changes_nothing(name):
    make, error, message = WRONG_STATES[name]
    model = cnn()
    before = snapshot(model)
    with pytest.raises(error, match=message):
        model.load_state_dict(make(other_state()))
    assert_state(model, before)


def test_strict_false_loads_what_fits_by_name():
    model, state = cnn(), other_state()
    before = snapshot(model)
    given = {**without(state, "4.bias"), "head.bias": np.ones(3)}
    result = model.load_state_dict(given, strict=False)
    assert result.missing_keys == ["4.bias"]
    assert result.unexpected_keys == ["head.bias"]
    assert_state(model, {**state, "4.bias": before["4.bias"]})


def test_strict_false_still_refuses_wrong_shapes():
    model = cnn()
    before = snapshot(model)
    with pytest.raises(ShapeError, match=r"4.bias: expected \(3,\), got \(4,\)"):
        model.load_state_dict({"0.weight": np.ones((2, 1, 3, 3)), "4.bias": np.ones(4)}, strict=False)
    assert_state(model, before)


def test_a_float64_state_loads_into_a_float32_module():
    model = cnn()
    state = cnn().double().state_dict()
    model.load_state_dict(state)
    assert_state(model, {name: value.astype(model.state_dict()[name].dtype) for name, value in state.items()})
    assert str(model[4].weight.dtype) == "float32"


def test_copies_are_equal_and_independent():
    model = cnn()
    model(tb.randn(4, 1, 4, 4)).sum().backward()
    model[1].eval()
    x = tb.randn(4, 1, 4, 4)
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert repr(made) == repr(model)
        assert_state(made, snapshot(model))
        assert [module.training for module in made.modules()] == [module.training for module in model.modules()]
        assert all(type(p) is nn.Parameter and p.requires_grad and p.is_leaf for p in made.parameters())
        assert all(p.grad is None for p in made.parameters())  # as in PyTorch
        before = snapshot(model)
        (made.train()(x) ** 2).sum().backward()
        tb.optim.SGD(made.parameters(), lr=1.0).step()
        assert_state(model, before)
        assert not np.array_equal(made[0].weight.data, model[0].weight.data)


def test_a_copied_dropout_draws_the_same_numbers():
    layer = nn.Dropout(0.5, generator=np.random.default_rng(3))
    other = pickle.loads(pickle.dumps(layer))
    x = tb.ones(64)
    assert layer(x).tolist() == other(x).tolist()


# --- text -------------------------------------------------------------------------------------------------------------


def test_repr_of_a_model():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2),
        nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3)),
        nn.Linear(8, 3),
    )
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Conv2d(1, 2, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False)\n"
        "  (1): BatchNorm2d(2, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)\n"
        "  (2): Sequential(\n"
        "    (0): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)\n"
        "    (1): Flatten(start_dim=1, end_dim=-1)\n"
        "    (2): Dropout(p=0.3, inplace=False)\n"
        "  )\n"
        "  (3): Linear(in_features=8, out_features=3, bias=True)\n"
        ")"
    )


REPRS = {
    "ReLU()": "ReLU()",
    "Sequential()": "Sequential()",
    "Conv2d(4, 8, (3, 1), padding='same', dilation=2, groups=4)": (
        "Conv2d(4, 8, kernel_size=(3, 1), stride=(1, 1), padding=same, dilation=(2, 2), groups=4)"
    ),
    "BatchNorm1d(3, momentum=None, affine=False)": (
        "BatchNorm1d(3, eps=1e-05, momentum=None, affine=False, bias=False, track_running_stats=True)"
    ),
    "AvgPool2d(3, 2, 1)": "AvgPool2d(kernel_size=3, stride=2, padding=1)",
    "AvgPool2d(3, 2, 1, count_include_pad=False, divisor_override=7)": (
        "AvgPool2d(kernel_size=3, stride=2, padding=1)"
    ),
    "CrossEntropyLoss(label_smoothing=0.1)": "CrossEntropyLoss()",
}


class Described(nn.Module):
    def __init__(self, text, *children):
        self.text, self.children_here = text, nn.Sequential(*children)

    def extra_repr(self):
        return self.text


@pytest.mark.parametrize("text", ["", "3, size=4", "3,\nsize=4"])
@pytest.mark.parametrize("nested", [False, True])
def test_repr_has_the_arguments_in_front_of_the_children_as_in_torch(text, nested):
    torch = load_torch()

    class Theirs(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.children_here = inner

        def extra_repr(self):
            return text

    Theirs.__name__ = "Described"
    ours, theirs = Described(text, nn.ReLU()), Theirs(torch.nn.Sequential(torch.nn.ReLU()))
    if nested:
        ours, theirs = Described(text, ours, nn.Tanh()), Theirs(torch.nn.Sequential(theirs, torch.nn.Tanh()))
    assert repr(ours) == repr(theirs)
    del ours.children_here, theirs.children_here
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("layer", REPRS)
def test_repr_of_a_layer(layer):
    assert repr(eval(layer, dict(vars(nn)))) == REPRS[layer]


# --- errors -----------------------------------------------------------------------------------------------------------

# layer, input shape, what the message must say
WRONG_INPUTS = [
    ("Linear(5, 3)", (4, 6), r"Linear\(in_features=5.*weight of shape \(3, 5\).*\(\.\.\., 5\), got \(4, 6\)"),
    ("Linear(5, 3)", (), r"Linear\(in_features=5.*got \(\)"),
    ("Conv2d(3, 4, 3)", (2, 1, 8, 8), r"Conv2d\(3, 4.*expected|needs.*\(N, 3, H, W\), got \(2, 1, 8, 8\)"),
    ("Conv2d(3, 4, 3)", (2, 3, 8), r"Conv2d\(3, 4.*\(N, 3, H, W\), got"),
    ("Conv2d(3, 4, 3)", (3, 8), r"Conv2d\(3, 4.*\(N, 3, H, W\), got \(3, 8\)"),
    ("Conv2d(4, 4, 3, groups=2)", (2, 2, 8, 8), r"Conv2d\(4, 4.*groups=2.*\(N, 4, H, W\), got \(2, 2, 8, 8\)"),
    ("Conv2d(3, 4, 5)", (2, 3, 4, 8), r"Conv2d\(3, 4.*\(4, 8\).*smaller than the kernel \(5, 5\)"),
    ("BatchNorm1d(3)", (4, 5), r"BatchNorm1d\(3.*\(N, 3\) or \(N, 3, L\), got \(4, 5\)"),
    ("BatchNorm1d(3)", (4, 3, 2, 2), r"BatchNorm1d\(3.*\(N, 3\) or \(N, 3, L\), got \(4, 3, 2, 2\)"),
    ("BatchNorm1d(3)", (3,), r"BatchNorm1d\(3.*\(N, 3\) or \(N, 3, L\), got \(3,\)"),
    ("BatchNorm2d(3)", (4, 5, 2, 2), r"BatchNorm2d\(3.*\(N, 3, H, W\), got \(4, 5, 2, 2\)"),
    ("BatchNorm2d(3)", (4, 3), r"BatchNorm2d\(3.*\(N, 3, H, W\), got \(4, 3\)"),
    ("BatchNorm2d(3)", (1, 3, 1, 1), r"BatchNorm2d\(3.*one value per channel.*\(1, 3, 1, 1\)"),
    ("MaxPool2d(2)", (4, 4), r"MaxPool2d\(kernel_size=2.*\(N, C, H, W\) or \(C, H, W\), got \(4, 4\)"),
    ("MaxPool2d(5)", (1, 1, 4, 4), r"MaxPool2d\(kernel_size=5.*\(4, 4\).*smaller than the kernel \(5, 5\)"),
    ("AvgPool2d(5)", (1, 1, 4, 4), r"AvgPool2d\(kernel_size=5.*\(4, 4\).*smaller than the kernel \(5, 5\)"),
    ("Flatten(2, 1)", (2, 3, 4), r"Flatten\(start_dim=2.*start_dim 2 lies behind end_dim 1 in shape \(2, 3, 4\)"),
]


@pytest.mark.parametrize(("layer", "shape", "message"), WRONG_INPUTS)
def test_an_error_names_the_layer_what_was_given_and_what_was_expected(layer, shape, message):
    module = eval(layer, dict(vars(nn)))
    with pytest.raises(ShapeError, match=message) as raised:
        module(tb.zeros(shape))
    assert str(raised.value).startswith(f"{module!r}: ")


@pytest.mark.parametrize(("layer", "shape", "message"), WRONG_INPUTS)
def test_inside_of_containers_the_innermost_layer_is_named_once(layer, shape, message):
    module = eval(layer, dict(vars(nn)))
    model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Sequential(module)), nn.Tanh())
    with pytest.raises(ShapeError, match=message) as raised:
        model(tb.zeros(shape))
    assert str(raised.value).startswith(f"{module!r}: ")
    assert str(raised.value).count(repr(module)) == 1
    assert "Sequential" not in str(raised.value)


def test_a_wrong_dtype_names_the_layer():
    with pytest.raises(DTypeError, match=r"Linear\(in_features=2.*input float64, weight float32.*\.to\(\)"):
        nn.Sequential(nn.Linear(2, 2))(np.zeros((1, 2)))
    with pytest.raises(DTypeError, match=r"BatchNorm1d\(2.*floating.*int64.*\.float\(\)"):
        nn.BatchNorm1d(2)(np.zeros((4, 2), np.int64))


def test_a_failed_forward_leaves_running_statistics_alone():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    before = snapshot(model)
    with pytest.raises(ShapeError):
        model(tb.zeros(1, 2))
    assert_state(model, before)


def test_a_module_without_forward_says_so():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty does not define forward"):
        Empty()(1)


BAD_ARGUMENTS = [
    ("Conv2d(3, 4, 3, groups=2)", r"Conv2d: 3 input and 4 output channels cannot be split into 2 groups"),
    ("Conv2d(4, 4, 3, groups=0)", r"0 groups"),
    ("Conv2d(3, 4, 0)", r"kernel_size is 0; expected a whole number from 1 on"),
    ("Conv2d(3, 4, (3, 3, 3))", r"kernel_size is \(3, 3, 3\)"),
    ("Conv2d(3, 4, 3, stride=0)", r"stride is 0"),
    ("Conv2d(3, 4, 3, dilation=1.5)", r"dilation is 1.5"),
    ("Conv2d(3, 4, 3, padding=-1)", r"padding is -1"),
    ("Conv2d(3, 4, 3, padding='full')", r"Conv2d: padding is 'full'; expected numbers, 'same' or 'valid'"),
    ("Conv2d(3, 4, 3, padding='same', stride=2)", r"padding='same' needs stride 1, got \(2, 2\)"),
    ("Dropout(-0.1)", r"Dropout: p is -0.1; expected a probability from 0 to 1"),
    ("Dropout(1.5)", r"Dropout: p is 1.5"),
    ("Dropout(float('nan'))", r"Dropout: p is nan"),
    ("CrossEntropyLoss(reduction='avg')", r"CrossEntropyLoss: reduction is 'avg'; expected one of .*'mean'"),
    ("CrossEntropyLoss(label_smoothing=1.5)", r"label_smoothing is 1.5; expected a number from 0 to 1"),
    ("MaxPool2d(0)", r"kernel_size is 0"),
    ("MaxPool2d(2, padding=2)", r"padding \(2, 2\) is more than half of the kernel \(2, 2\)"),
    ("AvgPool2d(2, divisor_override=0)", r"divisor_override is 0"),
]


@pytest.mark.parametrize(("layer", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused(layer, message):
    # PyTorch refuses some of these at construction and some at the first call.
    with pytest.raises(ValueError, match=message):
        eval(layer, dict(vars(nn)))(tb.zeros(1, 3, 8, 8), *([tb.zeros(1, 8, 8)] if "Loss" in layer else []))


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ([0, 3], IndexError, r"label 3 at position 1 is out of range; 3 classes have labels 0 to 2"),
        ([-1, 0], IndexError, r"label -1 at position 0"),
        ([0.0, 1.0], DTypeError, r"integer class labels, got float32"),
        ([0, 1, 2], ShapeError, r"\(2, 3\).*labels of shape \(2,\), got \(3,\)"),
        ([[0], [1]], ShapeError, r"labels of shape \(2,\), got \(2, 1\)"),
    ],
)
def test_wrong_labels_are_refused(target, error, message):
    with pytest.raises(error, match=message):
        nn.CrossEntropyLoss()(tb.zeros(2, 3), target)


@pytest.mark.parametrize("name", ["", "a.b", "train", "forward"])
def test_sequential_refuses_names_that_cannot_be(name):
    with pytest.raises(ValueError, match="cannot name a module"):
        nn.Sequential({name: nn.ReLU()})


def test_append_takes_only_modules():
    with pytest.raises(TypeError, match="expected a Module"):
        nn.Sequential(nn.ReLU()).append(3)


def test_an_error_in_a_model_of_many_parts_names_it_by_its_class():
    class Net(nn.Module):
        def __init__(self):
            self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return x @ tb.ones(3, 3)

    with pytest.raises(ShapeError, match=r"^Net: matmul"):
        Net()(tb.ones(1, 2))


@pytest.mark.parametrize(
    "make", [lambda: nn.MaxPool2d(0), lambda: nn.MaxPool2d(2, padding=2), lambda: nn.AvgPool2d(2, 0)]
)
def test_pooling_is_checked_when_it_is_made(make):
    with pytest.raises(ValueError, match=r"^(Max|Avg)Pool2d: "):
        make()


def test_class_weights_are_a_buffer():
    loss = nn.CrossEntropyLoss([1.0, 3.0])
    assert list(loss.state_dict()) == ["weight"]
    torch = load_torch()
    theirs = torch.nn.CrossEntropyLoss(torch.tensor([1.0, 3.0]), label_smoothing=0.2)
    ours = nn.CrossEntropyLoss([1.0, 3.0], label_smoothing=0.2)
    logits, labels = np.array([[0.5, 1.0], [2.0, -1.0], [0.0, 0.0]], np.float32), np.array([0, 1, -100])
    expected = theirs(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    assert ours(logits, labels).item() == pytest.approx(expected, rel=1e-6)


def test_a_parameter_is_replaced_by_parameters_alone():
    layer = tb.nn.Linear(2, 1)
    for wrong in (tb.ones(1, 2), 3, np.ones((1, 2))):
        with pytest.raises(TypeError, match="Linear: weight is a Parameter and cannot become a"):
            layer.weight = wrong
    layer.weight, layer.bias = tb.nn.Parameter(tb.ones(1, 2)), None
    assert layer(tb.ones(1, 2)).item() == 2 and len(list(layer.parameters())) == 1
