"""Every layer of ``layer_cases`` against PyTorch's: names, outputs, gradients, running statistics."""

import copy
import inspect

import numpy as np
import pytest
from layer_cases import CASES
from oracle import load_torch
from tolerances import assert_close

import tinybn as tb
from tinybn.errors import ShapeError

# PyTorch says that it is about to copy the input, and that a mean of KLDivLoss is not the divergence.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning"),
]

MODES = ["train", "eval"]
all_cases = pytest.mark.parametrize("case", CASES, ids=str)
with_buffers = pytest.mark.parametrize(
    "case", [c for c in CASES if c.layer.startswith(("BatchNorm", "InstanceNorm"))], ids=str
)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture
def torch():
    return load_torch()


def close(actual, expected, what):
    """In the tolerance of our dtype. ``expected`` is float64 always: PyTorch's own float32 BatchNorm is less exact."""
    assert_close(actual.detach(), expected.detach(), actual.dtype, what)


def reference(torch, case):
    """PyTorch's layer in float64, with parameters and buffers away from their simple initial values."""
    layer = case.build(torch.nn).double()
    if isinstance(layer, torch.nn.Hardsigmoid):  # PyTorch's own differentiates with a sixth in float32
        layer.forward = lambda x: torch.nn.functional.relu6(x + 3) / 6
    rng = np.random.default_rng(2)
    for name, value in layer.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value.fill_(3)
        else:  # multiples of 1/64 are exact in float32; a variance and a loss's weights are positive
            low = 32 if name.endswith("running_var") or "Loss" in case.layer else -48
            value.copy_(torch.from_numpy(rng.integers(low, 64, tuple(value.shape)) / 64))
    return layer


def as_arrays(state):
    return {name: value.numpy().copy() for name, value in state.items()}


def gradient_for(shape):
    return np.random.default_rng(3).standard_normal(shape).astype("float32")


def leaf(torch, x):
    """An input for PyTorch: float64 if it is floating, in memory as ``x`` lies there."""
    return torch.from_numpy(x.astype(np.float64)).requires_grad_() if x.dtype.kind == "f" else torch.from_numpy(x)


def our_leaf(x):
    """An input for tinybn that shares x's memory, differentiated if it is floating."""
    return tb.from_numpy(x).requires_grad_(x.dtype.kind == "f")


def test_every_layer_is_in_the_table():
    exported = {name for name in tb.nn.__all__ if isinstance(vars(tb.nn)[name], type)}
    exported -= {"Module", "Parameter"}  # they are test_module.py's
    exported -= {"ModuleList", "ModuleDict", "ParameterList", "ParameterDict"}  # they are test_containers.py's
    exported -= NOT_IN_TORCH | RECURRENT  # they have tests of their own
    for case in CASES:
        exported -= {type(module).__name__ for module in case.build(tb.nn).modules()}
    assert not exported, "no row in layer_cases.CASES"


BATCH_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
NOT_IN_TORCH = {
    *("ConvBlock", "LinearBlock", "ResidualBlock", "ResidualLinearBlock"),
    *("BatchNormMomentum", "BatchRenorm1d", "BatchRenorm2d", "GhostBatchNorm1d", "GhostBatchNorm2d"),
    *("MeanOnlyBatchNorm1d", "MeanOnlyBatchNorm2d", "VarianceOnlyBatchNorm1d", "VarianceOnlyBatchNorm2d"),
}
RECURRENT = {"RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"}  # in test_recurrent.py
EXPORTED = {name for name in tb.nn.__all__ if isinstance(vars(tb.nn)[name], type)} - NOT_IN_TORCH - RECURRENT
NOT_HERE = {"device", "size_average", "reduce", "min_value", "max_value"}  # devices, and what PyTorch has deprecated
ONLY_HERE = {"generator", "convention", "debias"}


@pytest.mark.parametrize("name", sorted(EXPORTED - {"Module", "Parameter"}))
def test_constructors_take_the_arguments_of_torch(torch, name):
    def described(layer, left_out):
        parameters = inspect.signature(layer).parameters.values()
        left_out = {*left_out, "dtype"}
        return [(p.name, p.default) for p in parameters if "VAR" not in p.kind.name and p.name not in left_out]

    assert described(getattr(tb.nn, name), ONLY_HERE) == described(getattr(torch.nn, name), NOT_HERE)


@all_cases
def test_attributes_and_text_are_those_of_torch(torch, case):
    ours, theirs = case.build(tb.nn), case.build(torch.nn)
    assert repr(ours) == repr(theirs)
    for name, value in vars(theirs).items():
        if name[0] != "_":
            assert getattr(ours, name) == value, name


@pytest.mark.parametrize(
    "layer",
    [
        *("ReLU(True)", "LeakyReLU(0.2, True)", "ELU(2.0, True)", "Hardtanh(-2.0, 2.0, True)", "Hardsigmoid(True)"),
        *("Dropout(0.3, True)", "Dropout2d()", "MaxPool2d(2, return_indices=True)", "Embedding(3, 4, sparse=True)"),
        *("Softmax()", "AdaptiveMaxPool2d((2, None), True)", "Unflatten(1, [2, 3])"),
    ],
)
def test_text_of_arguments_without_a_row(torch, layer):
    assert repr(eval(layer, dict(vars(tb.nn)))) == repr(eval(layer, dict(vars(torch.nn))))


@all_cases
def test_state_dict_has_the_names_order_shapes_and_dtypes_of_torch(torch, case):
    def described(state):
        return [(name, tuple(value.shape), str(value.dtype).removeprefix("torch.")) for name, value in state.items()]

    assert described(case.build(tb.nn).state_dict()) == described(case.build(torch.nn).state_dict())


@pytest.mark.parametrize(
    ("case", "mode"), [(c, m) for c in CASES for m in MODES if m == "eval" or not c.random], ids=str
)
@both_dtypes
def test_outputs_gradients_and_buffers_are_those_of_torch(torch, case, mode, dtype):
    theirs = getattr(reference(torch, case), mode)()
    ours = getattr(case.build(tb.nn).to(dtype), mode)()
    ours.load_state_dict(theirs.state_dict() if dtype == "float64" else as_arrays(theirs.state_dict()))

    x, labels = case.input(dtype), case.labels(dtype)
    their_x, our_x = leaf(torch, x), our_leaf(x.copy("K"))
    assert our_x.data.strides == x.strides or case.layout == "strided"
    their_y = theirs(their_x, *(leaf(torch, a).detach() for a in labels))
    our_y = ours(our_x, *labels)
    dy = gradient_for(tuple(their_y.shape))
    their_y.backward(torch.from_numpy(dy.astype(np.float64)))
    our_y.backward(dy.astype(dtype))

    assert str(our_y.dtype) == dtype
    close(our_y, their_y, "output")
    if our_x.requires_grad:
        assert str(our_x.grad.dtype) == dtype
        close(our_x.grad, their_x.grad, "input gradient")
    their_parameters = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert str(parameter.grad.dtype) == dtype
        close(parameter.grad, their_parameters[name].grad, f"gradient of {name}")
    their_buffers = dict(theirs.named_buffers())
    for name, buffer in ours.named_buffers():
        if name.endswith("num_batches_tracked"):
            assert buffer.item() == their_buffers[name].item()
        else:
            close(buffer, their_buffers[name], name)


@all_cases
@pytest.mark.parametrize("mode", MODES)
def test_input_labels_and_output_gradient_are_not_changed(case, mode):
    layer = getattr(case.build(tb.nn), mode)()
    x, labels = case.input("float32"), case.labels()
    for array in (x, *labels):
        array.flags.writeable = False
    before = x.copy(), [a.copy() for a in labels]
    y = layer(our_leaf(x), *labels)
    dy = gradient_for(y.shape)
    dy_before = dy.copy()
    y.backward(tb.from_numpy(dy))
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(dy, dy_before)
    for given, kept in zip(labels, before[1], strict=True):
        np.testing.assert_array_equal(given, kept)


@all_cases
def test_an_array_gives_what_a_tensor_gives(case):
    layer = case.build(tb.nn).eval()
    x, labels = case.input("float32"), case.labels()
    from_array, from_tensor = layer(x, *labels), layer(tb.from_numpy(x), *map(tb.from_numpy, labels))
    assert getattr(from_array, "data", from_array).tobytes() == from_tensor.data.tobytes()


@all_cases
def test_state_goes_to_torch_and_back(torch, case):
    ours, theirs = case.build(tb.nn), case.build(torch.nn)
    state = ours.state_dict()
    theirs.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in state.items()})
    other = case.build(tb.nn)
    other.load_state_dict(theirs.state_dict())
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)


@pytest.mark.parametrize("case", [c for c in CASES if c.layout == "channels last" and len(c.shape) == 4], ids=str)
def test_channels_last_stays_channels_last(case):
    y = case.build(tb.nn)(case.input("float32"), *case.labels())
    if y.ndim == 4:  # padding="same" may cut a row or a column: the rest is not contiguous
        assert list(np.argsort(y.data.strides)) == [1, 3, 2, 0]


WITH_PARAMETERS = [
    c for c in CASES if c.layer.startswith(("Linear", "Conv", "BatchNorm", "PReLU")) and "affine" not in c.layer
]


@pytest.mark.parametrize("case", WITH_PARAMETERS, ids=str)
def test_a_float32_layer_refuses_float64(case):
    layer = case.build(tb.nn)
    with pytest.raises(tb.errors.DTypeError, match=r"float32.*float64|float64.*float32") as raised:
        layer(case.input("float64"))
    assert str(raised.value).startswith(repr(layer))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("Linear(5, 3)", (0, 5)),
        ("Linear(5, 3)", (2, 0, 5)),
        ("Conv1d(3, 4, 3)", (0, 3, 8)),
        ("Conv2d(3, 4, 3)", (0, 3, 8, 8)),
        ("Conv2d(3, 4, 3, padding=1, padding_mode='reflect')", (0, 3, 8, 8)),
        ("ConvTranspose1d(3, 4, 3)", (0, 3, 8)),
        ("ConvTranspose2d(3, 4, 3)", (0, 3, 8, 8)),
        ("PReLU(3)", (0, 3)),
        ("Softmax(1)", (0, 3)),
        ("ReflectionPad2d(1)", (0, 3, 4, 4)),
        ("AdaptiveAvgPool2d(1)", (0, 3, 4, 4)),
        ("AdaptiveMaxPool1d(2)", (0, 3, 4)),
        ("BatchNorm1d(3)", (0, 3)),
        ("BatchNorm2d(3)", (0, 3, 4, 4)),
        ("ReLU()", (0, 3)),
        ("Dropout(0.5)", (0, 3)),
        ("MaxPool2d(2)", (0, 3, 4, 4)),
        ("AvgPool2d(2)", (0, 3, 4, 4)),
        ("Flatten()", (0, 3, 4)),
        ("CrossEntropyLoss(reduction='sum')", (0, 4)),
    ],
)
def test_an_empty_batch_gives_an_empty_result(torch, layer, shape):
    labels = (np.zeros(0, np.int64),) if "Loss" in layer else ()
    ours, theirs = eval(layer, dict(vars(tb.nn))), eval(layer, dict(vars(torch.nn)))
    x = tb.zeros(shape, requires_grad=True)
    y = ours(x, *labels)
    assert y.shape == tuple(theirs.eval()(torch.zeros(shape), *map(torch.from_numpy, labels)).shape)
    y.sum().backward()
    assert x.grad.shape == shape
    assert all((p.grad.data == 0).all() for p in ours.parameters())


# --- running statistics -----------------------------------------------------------------------------------------------


@with_buffers
@both_dtypes
def test_buffers_after_ten_training_steps(torch, case, dtype):
    theirs, ours = case.build(torch.nn).double(), case.build(tb.nn).to(dtype)
    for step in range(10):
        x = (case.input(dtype, seed=step) * (step + 1) + step).astype(dtype)
        close(ours(x), theirs(leaf(torch, x)), f"output of step {step}")
    expected = dict(theirs.named_buffers())
    assert [name for name, _ in ours.named_buffers()] == list(expected)
    for name, buffer in ours.named_buffers():
        if name == "num_batches_tracked":
            assert buffer.item() == expected[name].item() == (10 if case.layer.startswith("BatchNorm") else 0)
        else:
            close(buffer, expected[name], name)
    x = case.input(dtype, seed=11)
    close(ours.eval()(x), theirs.eval()(leaf(torch, x)), "output in eval")


@with_buffers
def test_eval_before_any_training(torch, case):
    theirs, ours = case.build(torch.nn).double().eval(), case.build(tb.nn).double().eval()
    x = case.input("float64")
    close(ours(x), theirs(leaf(torch, x)), "output")
    if ours.track_running_stats:
        np.testing.assert_allclose(ours(x).data, x / np.sqrt(1 + ours.eps), rtol=1e-14)
        assert ours.num_batches_tracked.item() == 0


@pytest.mark.parametrize(
    ("layer", "shape"),
    [("BatchNorm1d(3)", (4, 3)), ("LayerNorm(3)", (4, 3)), ("RMSNorm(3)", (4, 3)), ("GroupNorm(3, 3)", (4, 3, 2))],
)
def test_new_parameters_are_noticed_by_a_graph_that_needs_the_old_ones(layer, shape):
    made = eval(layer, dict(vars(tb.nn)))
    y = made(tb.randn(*shape).requires_grad_())
    made.reset_parameters()
    with pytest.raises(tb.errors.GraphError, match="as it was, but an initialization has changed it"):
        y.sum().backward()


# --- dropout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_drops_a_share_of_p_and_keeps_the_mean(p):
    n = 100_000
    x = tb.ones(n, requires_grad=True)
    y = tb.nn.Dropout(p, generator=np.random.default_rng(0))(x)
    dropped = (y.data == 0).mean()
    assert abs(dropped - p) < 4 * np.sqrt(p * (1 - p) / n)
    np.testing.assert_allclose(y.data[y.data != 0], 1 / (1 - p), rtol=1e-6)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.data, y.data)  # the same mask


def test_dropout_draws_each_element_by_itself():
    y = tb.nn.Dropout(0.5, generator=np.random.default_rng(0))(tb.ones(200, 300)).data > 0
    for axis in (0, 1):
        neighbours = np.corrcoef(
            y.take(range(1, y.shape[axis]), axis).ravel(), y.take(range(y.shape[axis] - 1), axis).ravel()
        )
        assert abs(neighbours[0, 1]) < 4 / np.sqrt(y.size)


def test_dropout_is_reproducible_by_generator_and_by_seed():
    x = tb.ones(50)

    def by_generator():
        layer = tb.nn.Dropout(0.5, generator=np.random.default_rng(7))
        return [layer(x).tolist() for _ in range(2)]

    def by_seed():
        tb.manual_seed(7)
        layer = tb.nn.Dropout(0.5)
        return [layer(x).tolist() for _ in range(2)]

    for draw in (by_generator, by_seed):
        first, second = draw(), draw()
        assert first == second
        assert first[0] != first[1]  # a new mask each time


def test_dropout_in_eval_gives_its_input():
    x = tb.randn(3, 4)
    assert tb.nn.Dropout(0.9).eval()(x) is x


@pytest.mark.parametrize(
    ("layer", "shape"), [("Dropout1d", (50, 4, 6)), ("Dropout1d", (200, 6)), ("Dropout2d", (50, 4, 2, 3))]
)
def test_whole_channels_are_dropped(layer, shape):
    y = getattr(tb.nn, layer)(0.5, generator=np.random.default_rng(0))(tb.ones(shape)).data.reshape(200, 6)
    assert (y == y[:, :1]).all()
    assert set(y.ravel()) == {0.0, 2.0}
    assert abs((y[:, 0] == 0).mean() - 0.5) < 4 * np.sqrt(0.25 / 200)


def test_dropout_with_p_1_gives_zeros_and_zero_gradients():
    x = tb.randn(3, 4).requires_grad_()
    y = tb.nn.Dropout(1.0)(x)
    y.sum().backward()
    assert (y.data == 0).all() and (x.grad.data == 0).all()


# --- in place ---------------------------------------------------------------------------------------------------------

INPLACE = [
    *("ReLU", "ReLU6", "LeakyReLU", "ELU", "SELU", "CELU", "SiLU", "Mish", "Hardtanh", "Hardsigmoid", "Hardswish"),
    *("Dropout", "Dropout1d", "Dropout2d"),
]


@pytest.mark.parametrize("name", INPLACE)
def test_inplace_changes_the_input_and_nothing_else(name):
    def run(inplace):
        tb.manual_seed(0)
        leaf = tb.tensor(np.linspace(-4.1, 4.3, 24).reshape(2, 3, 4), requires_grad=True)
        x = leaf * 1.0
        y = getattr(tb.nn, name)(inplace=inplace)(x)
        assert (y is x) == inplace
        (y * y).sum().backward()
        return y.tolist(), leaf.grad.tolist()

    assert run(inplace=True) == run(inplace=False)


@pytest.mark.parametrize("name", INPLACE)
def test_inplace_leaves_arrays_alone(name):
    x = np.linspace(-4.1, 4.3, 24).reshape(2, 3, 4)
    before = x.copy()
    getattr(tb.nn, name)(inplace=True)(x)
    np.testing.assert_array_equal(x, before)


def test_inplace_refuses_a_leaf_and_changes_nothing():
    x = tb.tensor([-1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        tb.nn.ReLU(inplace=True)(x)
    assert x.tolist() == [-1.0, 2.0]
    assert tb.nn.Dropout(0.5, inplace=True).eval()(x) is x


# --- more of single layers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("MaxPool1d(2, return_indices=True)", (2, 3, 7)),
        ("MaxPool2d(2, return_indices=True, ceil_mode=True)", (2, 3, 7, 5)),
        ("AdaptiveMaxPool1d(3, True)", (3, 7)),
        ("AdaptiveMaxPool2d((3, 2), return_indices=True)", (2, 3, 7, 5)),
    ],
)
def test_pooling_also_returns_places(torch, layer, shape):
    x = np.random.default_rng(0).standard_normal(shape)
    ours, theirs = eval(layer, dict(vars(tb.nn)))(x), eval(layer, dict(vars(torch.nn)))(torch.from_numpy(x))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.data, b.numpy())
    assert str(ours[1].dtype) == "int64"


@pytest.mark.parametrize(
    ("layer", "shape", "size"),
    [
        ("ConvTranspose1d(3, 4, 3, stride=2)", (2, 3, 5), (12,)),
        ("ConvTranspose2d(3, 4, 3, stride=(2, 3), padding=1)", (2, 3, 5, 4), (10, 11)),
        ("ConvTranspose2d(3, 4, 3, stride=(2, 3), padding=1)", (2, 3, 5, 4), [2, 4, 9, 12]),
        ("ConvTranspose2d(3, 4, 3, stride=2, dilation=2)", (3, 5, 4), (3, 14, 11)),
    ],
)
def test_transposed_convolution_to_a_size(torch, layer, shape, size):
    ours, theirs = eval(layer, dict(vars(tb.nn))).double(), eval(layer, dict(vars(torch.nn))).double()
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal(shape)
    close(ours(x, output_size=size), theirs(torch.from_numpy(x), output_size=size), "output")


@pytest.mark.parametrize("size", [(8, 9), (11, 9), (9,), (1, 4, 9, 9, 9)])
def test_transposed_convolution_refuses_sizes_out_of_reach(torch, size):
    with pytest.raises(ValueError):
        torch.nn.ConvTranspose2d(3, 4, 3, stride=2)(torch.zeros(2, 3, 4, 4), output_size=size)
    with pytest.raises(ValueError, match=r"output_size"):
        tb.nn.ConvTranspose2d(3, 4, 3, stride=2)(tb.zeros(2, 3, 4, 4), output_size=size)


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (2, 3, 4), (2, 3, 4, 5)])
def test_softmax_without_an_axis_takes_that_of_torch_and_warns(torch, name, shape):
    x = np.random.default_rng(0).standard_normal(shape)
    with pytest.warns(UserWarning, match=f"^{name}: no dim was given"):
        ours = getattr(tb.nn, name)()(tb.tensor(x))
    with pytest.warns(UserWarning, match="Implicit dimension"):
        theirs = getattr(torch.nn, name)()(torch.tensor(x))
    close(ours, theirs, "output")


def test_initial_embeddings_are_normal_and_that_of_the_padding_is_0():
    weight = tb.nn.Embedding(400, 50, padding_idx=-2, generator=np.random.default_rng(0)).weight.data
    assert (weight[398] == 0).all()
    others = np.delete(weight, 398, axis=0)
    assert abs(others.mean()) < 4 / np.sqrt(others.size)
    assert abs(others.std() - 1) < 4 / np.sqrt(2 * others.size)


def test_a_pretrained_embedding_is_shared_and_frozen():
    table = tb.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    frozen = tb.nn.Embedding.from_pretrained(table, padding_idx=1)
    assert (frozen.num_embeddings, frozen.embedding_dim, frozen.padding_idx) == (3, 2, 1)
    assert frozen([1]).tolist() == [[3.0, 4.0]]  # what is given stays as it is
    assert np.shares_memory(frozen.weight.data, table.data)
    assert not frozen.weight.requires_grad
    trained = tb.nn.Embedding.from_pretrained(table, freeze=False, padding_idx=1)
    trained([0, 1, 0]).sum().backward()
    assert trained.weight.grad.tolist() == [[2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    "name", ["Conv1d(8, 6, 5, groups=2)", "ConvTranspose1d(6, 8, 5, groups=2)", "ConvTranspose2d(4, 8, (5, 2))"]
)
def test_initial_convolutions_are_uniform_up_to_the_bound_of_torch(torch, name):
    ours, theirs = eval(name, dict(vars(tb.nn))), eval(name, dict(vars(torch.nn)))
    bound = 1 / np.sqrt(np.prod(theirs.weight.shape[1:]))
    for made in (ours.weight.data, theirs.weight.detach().numpy(), ours.bias.data, theirs.bias.detach().numpy()):
        assert np.abs(made).max() <= bound
    for made in (ours.weight.data, theirs.weight.detach().numpy()):
        assert np.abs(made).max() > 0.9 * bound


# layer, input shape, error, what the message must say: PyTorch refuses these too, at construction or at the call
REFUSED = [
    ("PReLU(3)", (2, 4), ShapeError, r"PReLU\(num_parameters=3\): prelu: "),
    ("Hardtanh(1.0, 1.0)", (2,), ValueError, r"Hardtanh: min_val is 1.0"),
    ("GELU('sigmoid')", (2,), ValueError, r"gelu: approximate is 'sigmoid'"),
    ("Softmax(2)", (2, 3), IndexError, r"softmax: axis 2"),
    ("Unflatten(1, (2, 4))", (2, 6), ShapeError, r"Unflatten\(dim=1.*unflatten: sizes \(2, 4\)"),
    ("Unflatten(1, 6)", (2, 6), TypeError, r"Unflatten: unflattened_size is 6"),
    ("Unflatten(1, (2.0, 3))", (2, 6), TypeError, r"Unflatten: unflattened_size is \(2.0, 3\)"),
    ("Embedding(3, 2)", (2,), TypeError, r"embedding: "),
    ("Embedding(3, 2, padding_idx=3)", (2,), IndexError, r"Embedding: padding_idx 3"),
    ("Embedding(3, 2, padding_idx=-4)", (2,), IndexError, r"Embedding: padding_idx -4"),
    ("Embedding(3, 2, _weight=tensor([[1.0]]))", (2,), ShapeError, r"Embedding: .*\(3, 2\).*\(1, 1\)"),
    ("Embedding.from_pretrained(tensor([1.0]))", (2,), ShapeError, r"from_pretrained: .*\(1,\)"),
    ("Conv1d(3, 4, 3)", (2, 4, 8), ShapeError, r"Conv1d\(3, 4.*\(N, 3, L\), got \(2, 4, 8\)"),
    ("Conv1d(3, 4, 3, groups=2)", (2, 3, 8), ValueError, r"Conv1d: 3 input and 4 output channels"),
    ("Conv1d(3, 4, 3, padding_mode='mirror')", (2, 3, 8), ValueError, r"Conv1d: padding_mode is 'mirror'"),
    ("Conv1d(3, 4, 3, stride=2, padding='same')", (2, 3, 8), ValueError, r"Conv1d: padding='same' needs stride 1"),
    ("Conv2d(3, 4, 3, padding=8, padding_mode='reflect')", (2, 3, 8, 8), ShapeError, r"Conv2d\(3, 4.*pad: to reflect"),
    ("ConvTranspose1d(3, 4, 3)", (2, 4, 8), ShapeError, r"ConvTranspose1d\(3, 4.*got \(2, 4, 8\)"),
    ("ConvTranspose2d(4, 3, 3, groups=2)", (2, 4, 8, 8), ValueError, r"ConvTranspose2d: 4 input and 3 output channels"),
    ("ConvTranspose2d(3, 4, 3, padding='same')", (2, 3, 8, 8), ValueError, r"ConvTranspose2d: padding is 'same'"),
    ("ConvTranspose2d(3, 4, 3, padding_mode='reflect')", (2, 3, 8, 8), ValueError, r"ConvTranspose2d: padding_mode"),
    ("ConvTranspose2d(3, 4, 3, output_padding=1)", (2, 3, 8, 8), ValueError, r"conv_transpose2d: .*padding"),
    ("MaxPool1d(0)", (2, 3, 8), ValueError, r"MaxPool1d: kernel_size is 0"),
    ("MaxPool1d(2, padding=2)", (2, 3, 8), ValueError, r"MaxPool1d: padding"),
    ("AvgPool1d(2, 0)", (2, 3, 8), ValueError, r"AvgPool1d: stride is 0"),
    ("AvgPool1d(2)", (8,), ShapeError, r"AvgPool1d\(kernel_size=\(2,\).*got \(8,\)"),
    ("AdaptiveAvgPool2d(-1)", (2, 3, 8, 8), ValueError, r"adaptive_avg_pool2d: output_size is -1"),
    ("ReflectionPad1d(5)", (2, 3, 5), ShapeError, r"ReflectionPad1d\(\(5, 5\)\): pad: to reflect"),
    ("ReplicationPad2d(1)", (5, 4), ShapeError, r"ReplicationPad2d\(.*pad: mode 'replicate'"),
    ("CircularPad1d(6)", (2, 3, 5), ShapeError, r"CircularPad1d\(.*pad: to go round once"),
    ("Dropout1d(0.5)", (2, 3, 4, 5), ShapeError, r"Dropout1d\(p=0.5.*got \(2, 3, 4, 5\)"),
    ("Dropout1d(1.5)", (2, 3), ValueError, r"Dropout1d: p is 1.5"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("layer", "shape", "error", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_torch_refuses_is_refused(torch, layer, shape, error, message):
    with pytest.raises(Exception):  # noqa: B017  # PyTorch raises AssertionError, RuntimeError, ValueError, TypeError
        eval(layer, {**vars(torch.nn), "tensor": torch.tensor})(torch.zeros(shape))
    with pytest.raises(error, match=message):
        eval(layer, {**vars(tb.nn), "tensor": tb.tensor})(tb.zeros(shape))


def test_more_is_refused_than_torch_does():
    with pytest.raises(ValueError, match=r"ReflectionPad2d: padding is \(1, 2\); expected a whole number or 4 of them"):
        tb.nn.ReflectionPad2d((1, 2))
    with pytest.raises(ValueError, match=r"Embedding: max_norm is 1.0"):
        tb.nn.Embedding(3, 2, max_norm=1.0)
    with pytest.raises(ValueError, match=r"MSELoss: reduction is 'batchmean'; expected one of"):
        tb.nn.MSELoss(reduction="batchmean")
    with pytest.raises(TypeError, match=r"generator is 0"):
        tb.nn.Dropout2d(generator=0)


def test_relu_and_pooling_let_nan_through():
    x = np.ones((1, 1, 2, 2), np.float32)
    x[0, 0, 1, 1] = np.nan
    for layer in (tb.nn.ReLU(), tb.nn.MaxPool2d(2), tb.nn.AvgPool2d(2)):
        assert np.isnan(layer(x).data).any(), layer


def test_max_pool_gives_the_gradient_of_a_tie_to_the_first_as_torch_does(torch):
    x = tb.ones(1, 1, 4, 4, requires_grad=True)
    theirs = torch.ones(1, 1, 4, 4, requires_grad=True)
    tb.nn.MaxPool2d(2)(x).sum().backward()
    torch.nn.MaxPool2d(2)(theirs).sum().backward()
    np.testing.assert_array_equal(x.grad.data, theirs.grad.numpy())


def test_cross_entropy_of_huge_logits_is_finite():
    logits = tb.tensor([[1e4, -1e4, 0.0], [1e38, 0.0, -1e38]], requires_grad=True)
    loss = tb.nn.CrossEntropyLoss(reduction="none")(logits, [0, 1])
    assert loss.tolist() == [0.0, np.float32(1e38)]
    loss.sum().backward()
    assert np.isfinite(logits.grad.data).all()


def test_parameter_gradients_accumulate_over_two_passes():
    case = next(c for c in CASES if c.layer.startswith("Sequential(Conv2d"))
    once = case.build(tb.nn).double()
    twice = copy.deepcopy(once)
    x = case.input("float64")
    once(x).sum().backward()
    twice(x).sum().backward()
    twice(x).sum().backward()
    for (name, a), b in zip(once.named_parameters(), twice.parameters(), strict=True):
        np.testing.assert_allclose(b.grad.data, 2 * a.grad.data, rtol=1e-10, atol=1e-12, err_msg=name)
