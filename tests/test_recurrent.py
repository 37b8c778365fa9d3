"""Recurrent nets against PyTorch's; copies, state and errors, with normalizations and without."""

import copy
import inspect
import pickle

import numpy as np
import pytest
from helpers import assert_state, snapshot
from oracle import load_torch
from recurrent_helpers import (
    CELLS,
    LAYERS,
    NORMALIZATIONS,
    C,
    H,
    N,
    T,
    both_dtypes,
    drawn,
    every_cell,
    every_layer,
    every_normalization,
    normalized_net,
    tensors,
)
from tolerances import assert_close

import tinybn as tb
from tinybn.errors import DTypeError, ShapeError, StateError


@pytest.fixture
def torch():
    return load_torch()


# --- as PyTorch -------------------------------------------------------------------------------------------------------

OPTIONS = [
    {},
    {"bias": False},
    {"batch_first": True},
    {"bidirectional": True},
    {"num_layers": 2},
    {"num_layers": 2, "bidirectional": True, "bias": False, "batch_first": True},
]
LAYER_CASES = [(name, options) for name in LAYERS for options in OPTIONS]
LAYER_CASES += [("RNN", {"nonlinearity": "relu"}), ("RNN", {"nonlinearity": "relu", "bidirectional": True})]
LAYER_CASES += [("LSTM", {"proj_size": 2}), ("LSTM", {"proj_size": 2, "bidirectional": True, "num_layers": 2})]
layer_cases = pytest.mark.parametrize(("name", "options"), LAYER_CASES, ids=str)


def pair_of(torch, name, options, dtype):
    """Our layer in a dtype and PyTorch's in float64, with the same weights."""
    ours = getattr(tb.nn, name)(C, H, dtype=dtype, generator=np.random.default_rng(1), **options)
    theirs = getattr(torch.nn, name)(C, H, dtype=torch.float64, **options)
    theirs.load_state_dict({key: torch.from_numpy(value.astype("float64")) for key, value in ours.state_dict().items()})
    return ours, theirs


batches_and_states = pytest.mark.parametrize(
    ("batch", "with_state"),
    [((N,), False), ((N,), True), ((), True)],
    ids=["batch", "batch and states", "one example and its states"],
)


def states_for(name, options, batch):
    """h0, of an LSTM (h0, c0), as arrays of float32 numbers."""
    places = (
        () if name.endswith("Cell") else (options.get("num_layers", 1) * (1 + options.get("bidirectional", False)),)
    )
    h = drawn(*places, *batch, options.get("proj_size") or H, seed=5)
    return (h, drawn(*places, *batch, H, seed=6)) if name.startswith("LSTM") else h


def compare(torch, ours, theirs, x, hx, dtype):
    """Outputs, last states, and all gradients, of both."""

    def leaves(make, value):
        return tuple(make(part) for part in value) if isinstance(value, tuple) else make(value)

    def our_leaf(array):
        return tb.tensor(array, dtype=dtype, requires_grad=True)

    def their_leaf(array):
        return torch.tensor(array, dtype=torch.float64, requires_grad=True)

    our_x, their_x = our_leaf(x), their_leaf(x)
    our_hx, their_hx = (None, None) if hx is None else (leaves(our_leaf, hx), leaves(their_leaf, hx))
    our_results, their_results = tensors(ours(our_x, our_hx)), tensors(theirs(their_x, their_hx))
    gradients = [drawn(*tensor.shape, seed=10 + i) for i, tensor in enumerate(their_results)]
    tb.autograd.backward(our_results, [tb.tensor(g, dtype=dtype) for g in gradients])
    torch.autograd.backward(their_results, [torch.from_numpy(g) for g in gradients])
    for i, (a, b) in enumerate(zip(our_results, their_results, strict=True)):
        assert str(a.dtype) == dtype
        assert_close(a.detach(), b.detach(), dtype, f"result {i}")
    assert_close(our_x.grad, their_x.grad, dtype, "gradient of the input")
    if hx is not None:
        for a, b in zip(tensors(our_hx), tensors(their_hx), strict=True):
            assert_close(a.grad, b.grad, dtype, "gradient of a state")
    theirs_by_name = dict(theirs.named_parameters())
    for key, parameter in ours.named_parameters():
        assert_close(parameter.grad, theirs_by_name[key].grad, dtype, f"gradient of {key}")


@layer_cases
@both_dtypes
@batches_and_states
def test_layers_are_those_of_torch(torch, name, options, dtype, batch, with_state):
    ours, theirs = pair_of(torch, name, options, dtype)
    shape = (*batch, T, C) if options.get("batch_first") else (T, *batch, C)
    compare(torch, ours, theirs, drawn(*shape), states_for(name, options, batch) if with_state else None, dtype)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 8])
def test_sequences_of_all_lengths(torch, steps):
    ours, theirs = pair_of(torch, "LSTM", {"num_layers": 2}, "float64")
    compare(torch, ours, theirs, drawn(steps, N, C), None, "float64")


CELL_CASES = [(name, options) for name in CELLS for options in ({}, {"bias": False})]
CELL_CASES += [("RNNCell", {"nonlinearity": "relu"})]


@pytest.mark.parametrize(("name", "options"), CELL_CASES, ids=str)
@both_dtypes
@batches_and_states
def test_cells_are_those_of_torch(torch, name, options, dtype, batch, with_state):
    ours, theirs = pair_of(torch, name, options, dtype)
    compare(torch, ours, theirs, drawn(*batch, C), states_for(name, options, batch) if with_state else None, dtype)


@pytest.mark.parametrize(("name", "options"), LAYER_CASES + CELL_CASES, ids=str)
def test_names_shapes_text_and_attributes_are_those_of_torch(torch, name, options):
    ours, theirs = getattr(tb.nn, name)(C, H, **options), getattr(torch.nn, name)(C, H, **options)
    described = [(key, value.shape, value.dtype.name) for key, value in ours.state_dict().items()]
    assert described == [(key, tuple(value.shape), "float32") for key, value in theirs.state_dict().items()]
    assert repr(ours) == repr(theirs)
    for key, value in vars(theirs).items():
        if key[0] != "_":
            assert getattr(ours, key) == value, key


@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_arguments_are_those_of_torch(torch, name):
    """In PyTorch's order; those of the layers stand in the docstrings alone there."""
    documented = {
        "RNN": "input_size hidden_size num_layers nonlinearity bias batch_first dropout bidirectional",
        "LSTM": "input_size hidden_size num_layers bias batch_first dropout bidirectional proj_size",
        "GRU": "input_size hidden_size num_layers bias batch_first dropout bidirectional",
    }
    ours = inspect.signature(getattr(tb.nn, name)).parameters
    positional = [p.name for p in ours.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    assert [p.name for p in ours.values() if p.kind == p.KEYWORD_ONLY] == ["normalization", "max_length"]
    if name in documented:
        assert positional == [*documented[name].split(), "dtype", "generator"]
    else:
        theirs = inspect.signature(getattr(torch.nn, name)).parameters
        assert positional == [*(key for key in theirs if key not in ("device", "dtype")), "dtype", "generator"]
        for key in positional[:-2]:
            assert ours[key].default == theirs[key].default


@pytest.mark.parametrize("layout", ["fortran", "strided"])
@every_layer
def test_layout_and_writability_of_the_input_are_of_no_matter(name, layout):
    net = getattr(tb.nn, name)(C, H, dtype="float64")
    x = drawn(T, N, C)
    other = np.asfortranarray(x) if layout == "fortran" else np.repeat(x, 2, axis=2)[..., ::2]
    other.flags.writeable = False
    for a, b in zip(tensors(net(other)), tensors(net(x)), strict=True):
        assert_close(a.detach(), b.detach(), "float64")
    np.testing.assert_array_equal(other, x)


@every_layer
def test_initial_weights_are_uniform_and_reproducible(name):
    def made():
        return getattr(tb.nn, name)(C, 100, num_layers=2, generator=np.random.default_rng(3)).state_dict()

    first, second = made(), made()
    values = np.concatenate([value.ravel() for value in first.values()])
    assert np.abs(values).max() <= 0.1
    assert abs(values.std() - 0.1 / np.sqrt(3)) < 1e-3  # √(1/12) of the width; some 40,000 values
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key])


@every_layer
@pytest.mark.parametrize("normalization", [None, *NORMALIZATIONS])
def test_an_empty_batch_gives_an_empty_result(name, normalization):
    net = normalized_net(name, normalization, "float32")
    before = snapshot(net)
    x = tb.zeros(T, 0, C, requires_grad=True)
    output, state = net(x)
    assert output.shape == (T, 0, H)
    assert all(part.shape == (1, 0, H) for part in tensors(state))
    output.sum().backward()
    assert x.grad.shape == x.shape
    assert all((p.grad is None or (p.grad.data == 0).all()) for p in net.parameters())
    assert_state(net, before)


@every_layer
def test_dropout_acts_between_layers_in_training_alone(name):
    def output(dropout, training=True):
        net = getattr(tb.nn, name)(C, H, num_layers=2, dropout=dropout, generator=np.random.default_rng(4))
        net.train(training)
        return net(drawn(T, N, C, dtype="float32"))[0].detach().numpy()

    np.testing.assert_array_equal(output(0.5), output(0.5))  # the generator that drew the weights draws the masks too
    assert (output(0.5) != output(0.0)).any()
    np.testing.assert_array_equal(output(0.5, training=False), output(0.0))
    everything = getattr(tb.nn, name)(C, H, num_layers=2, dropout=1.0, generator=np.random.default_rng(4))
    first, second = (everything(drawn(T, N, C, dtype="float32", seed=seed))[0].detach() for seed in (0, 1))
    np.testing.assert_array_equal(first, second)  # nothing of the input comes through


# --- state ------------------------------------------------------------------------------------------------------------


@every_layer
@pytest.mark.parametrize("normalization", [None, *NORMALIZATIONS])
@pytest.mark.parametrize("copied", ["state_dict", "deepcopy", "pickle"])
def test_copies_go_on_as_the_original(name, normalization, copied):
    net = normalized_net(name, normalization, "float32", num_layers=2, bidirectional=True)
    x = drawn(T, N, C, dtype="float32")
    net(x)
    if copied == "deepcopy":
        other = copy.deepcopy(net)
    elif copied == "pickle":
        other = pickle.loads(pickle.dumps(net))
    else:
        other = normalized_net(name, normalization, "float32", num_layers=2, bidirectional=True)
        other.load_state_dict(snapshot(net))
    for mode in (True, False):
        for a, b in zip(tensors(net.train(mode)(x)), tensors(other.train(mode)(x)), strict=True):
            np.testing.assert_array_equal(a.detach(), b.detach())
    assert_state(other, net.state_dict())


def test_names_in_the_state_of_normalizations():
    net = tb.nn.LSTM(C, H, normalization="step", max_length=1, bias=False, bidirectional=True)
    per_norm = ["weight", "steps.0.running_mean", "steps.0.running_var", "steps.0.num_batches_tracked"]
    expected = [f"weight_{part}_l0{end}" for end in ("", "_reverse") for part in ("ih", "hh")]
    for end in ("", "_reverse"):
        for part in ("ih", "hh", "cell"):
            names = per_norm if part != "cell" else ["weight", "bias", *per_norm[1:]]
            expected += [f"norm_{part}_l0{end}.{name}" for name in names]
    assert list(net.state_dict()) == expected
    plain = tb.nn.LSTM(C, H, bias=False, bidirectional=True)
    with pytest.raises(StateError, match="norm_ih_l0"):
        plain.load_state_dict(net.state_dict())
    plain.load_state_dict(net.state_dict(), strict=False)
    np.testing.assert_array_equal(plain.weight_hh_l0.data, net.weight_hh_l0.data)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"normalization": "batch"},
            ValueError,
            "normalization is 'batch'; expected None, 'sequence', 'step' or 'layer'",
        ),
        ({"normalization": "step"}, ValueError, "needs max_length"),
        ({"normalization": "step", "max_length": 0}, ValueError, "at least one step"),
        ({"normalization": "step", "max_length": 2.5}, TypeError, "max_length is 2.5; expected a whole number"),
        ({"max_length": 3}, ValueError, "max_length is 3, which means nothing with normalization=None"),
        ({"generator": 3}, TypeError, "expected a NumPy generator"),
        ({"input_size": 0}, ValueError, "input_size is 0"),
        ({"hidden_size": -1}, ValueError, "hidden_size is -1"),
        ({"hidden_size": 2.0}, TypeError, "hidden_size is 2.0; expected a whole number"),
    ],
)
@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_options_that_do_not_exist(name, options, error, message):
    with pytest.raises(error, match=message):
        getattr(tb.nn, name)(**{"input_size": C, "hidden_size": H, **options})


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_layers": 0}, ValueError),
        ({"dropout": 1.5}, ValueError),
        ({"dropout": True}, ValueError),
        ({"dropout": "0.5"}, ValueError),
        ({"bias": 1}, TypeError),
        ({"batch_first": "yes"}, TypeError),
    ],
)
@every_layer
def test_options_that_layers_refuse_as_torch(torch, name, options, error):
    for nn in (tb.nn, torch.nn):
        with pytest.raises(error, match=next(iter(options))):
            getattr(nn, name)(C, H, **options)


@pytest.mark.parametrize("proj_size", [-1, H])
def test_projections_are_smaller_than_the_state(torch, proj_size):
    for nn in (tb.nn, torch.nn):
        with pytest.raises(ValueError, match="proj_size"):
            nn.LSTM(C, H, proj_size=proj_size)


@pytest.mark.parametrize("name", ["RNN", "RNNCell"])
@pytest.mark.parametrize("nonlinearity", ["sigmoid", "TANH", None])
def test_other_nonlinearities_are_refused(name, nonlinearity):
    with pytest.raises(ValueError, match=f"{name}: nonlinearity is {nonlinearity!r}; expected 'tanh' or 'relu'"):
        getattr(tb.nn, name)(C, H, nonlinearity=nonlinearity)


@every_cell
def test_cells_refuse_what_needs_a_sequence(name):
    with pytest.raises(ValueError, match="expected None, 'step' or 'layer': a cell sees one step alone"):
        getattr(tb.nn, name)(C, H, normalization="sequence")


@every_cell
@pytest.mark.parametrize("step", [None, -1])
def test_cells_with_steps_need_the_number_of_the_step(name, step):
    cell = getattr(tb.nn, name)(C, H, normalization="step", max_length=2)
    with pytest.raises(ValueError, match=f"step is {step}; .* from 0 on"):
        cell(tb.zeros(2, C), step=step)
    with pytest.raises(TypeError, match=r"step is 0\.5; expected a whole number"):
        cell(tb.zeros(2, C), step=0.5)


@every_layer
def test_dropout_without_a_second_layer_is_warned_of_as_in_torch(torch, name):
    for nn in (tb.nn, torch.nn):
        with pytest.warns(UserWarning, match="num_layers=1") as told:
            getattr(nn, name)(C, H, dropout=0.5)
        assert len(told) == 1
    with pytest.warns(UserWarning) as told:
        getattr(tb.nn, name)(C, H, dropout=0.5)
    assert told[0].filename == __file__


@every_layer
@pytest.mark.parametrize("normalization", [None, *NORMALIZATIONS])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((T, N, C + 1), rf"\(T, N, {C}\) or \(T, {C}\), got \({T}, {N}, {C + 1}\)"),
        ((C,), rf"got \({C},\)"),
        ((1, T, N, C), rf"got \(1, {T}, {N}, {C}\)"),
        ((0, N, C), "at least one step"),
        ((0, C), "at least one step"),
    ],
)
def test_inputs_of_the_wrong_shape_change_nothing(name, normalization, shape, message):
    net = normalized_net(name, normalization, "float32")
    before = snapshot(net)
    with pytest.raises(ShapeError, match=message) as raised:
        net(tb.zeros(shape))
    assert str(raised.value).startswith(name)
    assert_state(net, before)


@every_layer
@every_normalization
def test_states_that_do_not_fit_change_nothing(name, normalization):
    net = normalized_net(name, normalization, "float32", num_layers=2, bidirectional=True)
    before = snapshot(net)
    x = drawn(T, N, C, dtype="float32")

    def states(*shape, dtype="float32"):
        return (tb.zeros(shape, dtype=dtype),) * 2 if name == "LSTM" else tb.zeros(shape, dtype=dtype)

    for shape in ((2, N, H), (4, N + 1, H), (4, N, H + 1), (4, H)):
        with pytest.raises(ShapeError, match=rf"initial h of shape \(4, {N}, {H}\)"):
            net(x, states(*shape))
    with pytest.raises(ShapeError, match=rf"initial h of shape \(4, {H}\)"):
        net(x[:, 0], states(4, N, H))
    with pytest.raises(DTypeError, match="h float64"):
        net(x, states(4, N, H, dtype="float64"))
    with pytest.raises(DTypeError, match="input float64"):
        net(x.astype("float64"))
    with pytest.raises(DTypeError, match="input int64"):
        net(np.zeros((T, N, C), np.int64))
    assert_state(net, before)


def test_an_lstm_needs_two_states():
    x = tb.zeros(T, N, C)
    for net, state in ((tb.nn.LSTM(C, H), tb.zeros(1, N, H)), (tb.nn.LSTMCell(C, H), tb.zeros(N, H))):
        for given in (state, (state,), (state,) * 3):
            with pytest.raises(TypeError, match=r"expected a tuple \(h, c\)"):
                net(x if type(net) is tb.nn.LSTM else x[0], given)


@every_cell
def test_cells_refuse_what_does_not_fit(name):
    cell = getattr(tb.nn, name)(C, H)
    for shape in ((N, C + 1), (1, N, C), ()):
        with pytest.raises(ShapeError, match=rf"expected an input of shape \(N, {C}\) or \({C},\)"):
            cell(tb.zeros(shape))
    state = tb.zeros(N + 1, H)
    with pytest.raises(ShapeError, match=rf"initial h of shape \({N}, {H}\)"):
        cell(tb.zeros(N, C), (state, state) if name == "LSTMCell" else state)


@every_layer
@pytest.mark.parametrize("normalization", ["sequence", "step"])
def test_one_value_per_feature_in_training_is_refused(name, normalization):
    net = normalized_net(name, normalization, "float32")
    before = snapshot(net)
    with pytest.raises(ShapeError, match="one value per channel in training"):
        net(tb.zeros(1, 1, C) if normalization == "sequence" else tb.zeros(T, C))
    assert_state(net, before)
    assert net.eval()(tb.zeros(T, C))[0].shape == (T, H)
