"""Every layer of ``layer_cases`` against PyTorch's: names, outputs, gradients, running statistics."""

import copy

import numpy as np
import pytest
from layer_cases import CASES
from oracle import load_torch
from tolerances import assert_close

import tinybn as tb

# PyTorch says that it is about to copy the input.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")

MODES = ["train", "eval"]
all_cases = pytest.mark.parametrize("case", CASES, ids=str)
batch_norms = pytest.mark.parametrize("case", [c for c in CASES if c.layer.startswith("BatchNorm")], ids=str)
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
    rng = np.random.default_rng(2)
    for name, value in layer.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value.fill_(3)
        else:  # multiples of 1/64 are exact in float32; a variance is positive
            low = 32 if name.endswith("running_var") else -48
            value.copy_(torch.from_numpy(rng.integers(low, 64, tuple(value.shape)) / 64))
    return layer


def as_arrays(state):
    return {name: value.numpy().copy() for name, value in state.items()}


def gradient_for(shape):
    return np.random.default_rng(3).standard_normal(shape).astype("float32")


def leaf(torch, x):
    """An input for PyTorch: float64, in memory as ``x`` lies there."""
    return torch.from_numpy(x.astype(np.float64)).requires_grad_()


def test_every_layer_is_in_the_table():
    exported = {name for name in tb.nn.__all__ if isinstance(vars(tb.nn)[name], type)}
    exported -= {"Module", "Parameter"}  # they are test_module.py's
    for case in CASES:
        exported -= {type(module).__name__ for module in case.build(tb.nn).modules()}
    assert not exported, "no row in layer_cases.CASES"


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

    x, labels = case.input(dtype), case.labels()
    their_x, our_x = leaf(torch, x), tb.from_numpy(x.copy("K")).requires_grad_()
    assert our_x.data.strides == x.strides or case.layout == "strided"
    their_y = theirs(their_x, *map(torch.from_numpy, labels))
    our_y = ours(our_x, *labels)
    dy = gradient_for(tuple(their_y.shape))
    their_y.backward(torch.from_numpy(dy.astype(np.float64)))
    our_y.backward(dy.astype(dtype))

    assert str(our_y.dtype) == str(our_x.grad.dtype) == dtype
    close(our_y, their_y, "output")
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
    y = layer(tb.from_numpy(x).requires_grad_(), *labels)
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
    c for c in CASES if c.layer.startswith(("Linear", "Conv2d", "BatchNorm")) and "affine" not in c.layer
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
        ("Conv2d(3, 4, 3)", (0, 3, 8, 8)),
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


# --- BatchNorm's buffers ----------------------------------------------------------------------------------------------


@batch_norms
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
            assert buffer.item() == expected[name].item() == 10
        else:
            close(buffer, expected[name], name)
    x = case.input(dtype, seed=11)
    close(ours.eval()(x), theirs.eval()(leaf(torch, x)), "output in eval")


@batch_norms
def test_eval_before_any_training(torch, case):
    theirs, ours = case.build(torch.nn).double().eval(), case.build(tb.nn).double().eval()
    x = case.input("float64")
    close(ours(x), theirs(leaf(torch, x)), "output")
    if ours.track_running_stats:
        np.testing.assert_allclose(ours(x).data, x / np.sqrt(1 + ours.eps), rtol=1e-14)
        assert ours.num_batches_tracked.item() == 0


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


def test_dropout_with_p_1_gives_zeros_and_zero_gradients():
    x = tb.randn(3, 4).requires_grad_()
    y = tb.nn.Dropout(1.0)(x)
    y.sum().backward()
    assert (y.data == 0).all() and (x.grad.data == 0).all()


# --- more of single layers --------------------------------------------------------------------------------------------


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
