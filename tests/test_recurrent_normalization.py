"""Normalizations of recurrent nets against formulas in NumPy: values, statistics, gradients, degenerate batches."""

import copy

import numpy as np
import pytest
from helpers import assert_state, snapshot
from recurrent_helpers import (
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
from tinybn.errors import AnomalyError

# --- normalizations by formula ----------------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def over_batch(term, step):
    return (term - term.mean(0)) / np.sqrt(term.var(0) + 1e-5)


def over_features(*sizes):
    def normalize(term, step):  # the same at each step
        parts = np.split(term, np.cumsum(sizes)[:-1], axis=-1)
        return np.concatenate([over_batch(part.T, step).T for part in parts], axis=-1)

    return normalize


def by_formula(name, p, x, norms):
    """Outputs h of a sequence (T, N, C), where norms are functions (term, step) of W_ih·x, W_hh·h and c."""
    norm_ih, norm_hh, norm_cell = norms
    h = c = np.zeros((x.shape[1], H))
    outputs = []
    products = norm_ih(x @ p["weight_ih_l0"].T) + p["bias_ih_l0"]
    for step, a in enumerate(products):
        b = norm_hh(h @ p["weight_hh_l0"].T, step) + p["bias_hh_l0"]
        if name == "RNN":
            h = np.tanh(a + b)
        elif name == "LSTM":
            i, f, g, o = np.split(a + b, 4, axis=-1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(norm_cell(c, step))
        else:
            (r_a, z_a, n_a), (r_b, z_b, n_b) = np.split(a, 3, axis=-1), np.split(b, 3, axis=-1)
            z = sigmoid(z_a + z_b)
            h = (1 - z) * np.tanh(n_a + sigmoid(r_a + r_b) * n_b) + z * h
        outputs.append(h)
    return np.stack(outputs)


def norms_by_formula(name, normalization, p, normalize_step=over_batch):
    """What `by_formula` needs, with a net's parameters."""
    w_ih, w_hh, w_cell, b_cell = (
        p.get(key, 0) for key in ("norm_ih_l0.weight", "norm_hh_l0.weight", "norm_cell_l0.weight", "norm_cell_l0.bias")
    )
    if normalization == "sequence":

        def whole(term):
            rows = term.reshape(-1, term.shape[-1])
            return (over_batch(rows, 0) * w_ih).reshape(term.shape)

        return whole, lambda term, step: term, lambda c, step: c
    if normalization == "layer":
        gates = {"RNN": (H,), "LSTM": (4 * H,), "GRU": (2 * H, H)}[name]
        w_ih, w_hh = (
            np.concatenate([p[f"{key}.blocks.{i}.weight"] for i in range(len(gates))])
            for key in ("norm_ih_l0", "norm_hh_l0")
        )
        w_cell, b_cell = p.get("norm_cell_l0.blocks.0.weight", 0), p.get("norm_cell_l0.blocks.0.bias", 0)
        normalize, normalize_cell = over_features(*gates), over_features(H)
    else:
        normalize = normalize_cell = normalize_step
    return (
        lambda terms: np.stack([normalize(term, step) * w_ih for step, term in enumerate(terms)]),
        lambda term, step: normalize(term, step) * w_hh,
        lambda c, step: normalize_cell(c, step) * w_cell + b_cell,
    )


@every_layer
@every_normalization
@both_dtypes
def test_normalized_layers_are_their_formula(name, normalization, dtype):
    net = normalized_net(name, normalization, dtype)
    x = drawn(T, N, C)
    p = {key: value.astype("float64") for key, value in net.state_dict().items()}
    expected = by_formula(name, p, x, norms_by_formula(name, normalization, p))
    output, state = net(x.astype(dtype))
    assert str(output.dtype) == dtype
    assert_close(output.detach(), expected, dtype, "output")
    assert_close(tensors(state)[0].detach(), expected[-1:], dtype, "last state")


@every_layer
@pytest.mark.parametrize("normalization", ["step", "layer"])
def test_cells_do_what_layers_do(name, normalization):
    net = normalized_net(name, normalization)
    cell = normalized_net(f"{name}Cell", normalization)
    cell.load_state_dict({key.replace("_l0", "", 1): value for key, value in net.state_dict().items()})
    x, hx, outputs = drawn(T, N, C), None, []
    for step in range(T):
        hx = cell(x[step], hx, step=step)
        outputs.append(tensors(hx)[0])
    output, state = net(x)
    assert_close(tb.stack(outputs).detach(), output.detach(), "float64")
    for a, b in zip(tensors(hx), tensors(state), strict=True):
        assert_close(a.detach(), b[0].detach(), "float64")
    for key, value in cell.state_dict().items():
        theirs = net.state_dict()[key.replace(".", "_l0.", 1) if "." in key else f"{key}_l0"]
        assert_close(value.astype("float64"), theirs.astype("float64"), "float64", key)


@every_layer
@every_normalization
def test_the_reverse_direction_is_a_net_that_reads_backwards(name, normalization):
    both = normalized_net(name, normalization, bidirectional=True)
    alone = normalized_net(name, normalization)
    state = both.state_dict()
    alone.load_state_dict({key: state[key.replace("_l0", "_l0_reverse", 1)] for key in alone.state_dict()})
    x = drawn(T, N, C)
    assert_close(both(x)[0].detach()[..., H:], alone(x[::-1])[0].detach().flip(0), "float64")


@every_layer
@every_normalization
def test_normalized_layers_in_two_layers_and_batch_first(name, normalization):
    net = normalized_net(name, normalization, num_layers=2)
    first = normalized_net(name, normalization)
    second = getattr(tb.nn, name)(H, H, dtype="float64", normalization=normalization, max_length=first.max_length)
    for part, number in ((first, "0"), (second, "1")):
        part.load_state_dict({key: net.state_dict()[key.replace("_l0", f"_l{number}", 1)] for key in part.state_dict()})
    x = drawn(T, N, C)
    between, _ = first(x)
    expected = second(between)[0].detach()
    batch_first = copy.deepcopy(net)
    batch_first.batch_first = True
    assert_close(net(x)[0].detach(), expected, "float64")
    assert_close(batch_first(x.swapaxes(0, 1))[0].transpose(0, 1).detach(), expected, "float64")


# --- statistics -------------------------------------------------------------------------------------------------------


@every_layer
def test_each_step_has_its_own_statistics_in_training_and_uses_them_in_evaluation(name):
    net = normalized_net(name, "step")
    x = drawn(T, N, C) * np.arange(1, T + 1)[:, None, None]
    net(x)
    p = net.state_dict()
    products = x @ p["weight_ih_l0"].T
    for step, norm in enumerate(net.norm_ih_l0.steps):
        assert_close(norm.running_mean, products[step].mean(0), "float64")  # debiased: the first batch's own
        assert_close(norm.running_var, products[step].var(0, ddof=1), "float64")
    for norms in (net.norm_ih_l0, net.norm_hh_l0):
        assert [norm.num_batches_tracked.item() for norm in norms.steps] == [1] * T

    def running(prefix):
        def normalize(term, step):
            mean, var = p[f"{prefix}.steps.{step}.running_mean"], p[f"{prefix}.steps.{step}.running_var"]
            return (term - mean) / np.sqrt(var + 1e-5) * (var > 0)

        return normalize

    norms = [
        norms_by_formula(name, "step", p, running(prefix))[i]
        for i, prefix in enumerate(("norm_ih_l0", "norm_hh_l0", "norm_cell_l0"))
    ]
    before = snapshot(net)
    trained = net(x)[0].detach()
    net.load_state_dict(before)
    evaluated = net.eval()(x)[0].detach()
    assert_close(evaluated, by_formula(name, p, x, norms), "float64")
    assert np.abs(evaluated.numpy() - trained.numpy()).max() > 1e-3
    assert_state(net, before)


@every_layer
def test_sequence_statistics_are_those_of_all_steps(name):
    net = normalized_net(name, "sequence")
    x = drawn(T, N, C)
    trained = net(x)[0].detach().numpy()
    rows = (x @ net.weight_ih_l0.data.T).reshape(T * N, -1)
    statistics = net.norm_ih_l0.statistics
    assert_close(statistics.running_mean, 0.1 * rows.mean(0), "float64")
    assert_close(statistics.running_var, 0.9 + 0.1 * rows.var(0, ddof=1), "float64")
    assert np.abs(net.eval()(x)[0].detach().numpy() - trained).max() > 1e-3


@every_layer
def test_layer_normalization_is_the_same_in_evaluation_and_for_one_example(name):
    net = normalized_net(name, "layer")
    x = drawn(T, N, C)
    trained = net(x)[0].detach()
    np.testing.assert_array_equal(net.eval()(x)[0].detach(), trained)
    assert_close(net.train()(x[:, 0])[0].detach(), trained[:, 0], "float64")
    assert not list(net.named_buffers())


@every_layer
def test_steps_behind_max_length_have_the_last_ones_statistics(name):
    net = normalized_net(name, "step", max_length=3)
    x = drawn(T, N, C)
    net(x)
    counts = [norm.num_batches_tracked.item() for norm in net.norm_hh_l0.steps]
    assert counts == [1, 1, T - 2]
    net.eval()
    longer = normalized_net(name, "step", max_length=T).eval()
    state = net.state_dict()
    longer.load_state_dict(
        {
            key: state[key.replace(".steps.3.", ".steps.2.").replace(".steps.4.", ".steps.2.")]
            for key in longer.state_dict()
        }
    )
    np.testing.assert_array_equal(net(x)[0].detach(), longer(x)[0].detach())


@every_layer
def test_sequences_shorter_than_max_length_leave_the_other_steps_alone(name):
    net = normalized_net(name, "step")
    net(drawn(2, N, C))
    assert [norm.num_batches_tracked.item() for norm in net.norm_ih_l0.steps] == [1, 1, 0, 0, 0]


@every_layer
def test_frozen_statistics_stay_and_serve_in_training(name):
    net = normalized_net(name, "step")
    net(drawn(T, N, C))
    for module in net.modules():
        if isinstance(module, tb.nn.BatchNorm1d):
            module.freeze()
    before = snapshot(net)
    x = drawn(T, N, C, seed=1)
    frozen = net.train()(x)[0].detach()
    assert net.norm_ih_l0.weight.requires_grad  # it stands behind all steps, and is none's own
    np.testing.assert_array_equal(net.eval()(x)[0].detach(), frozen)
    assert_state(net, before)


def test_initial_weights_of_normalizations():
    lstm = {
        norm: tb.nn.LSTM(C, H, normalization=norm, max_length=4 if norm == "step" else None) for norm in NORMALIZATIONS
    }
    assert set(lstm["sequence"].norm_ih_l0.weight.tolist()) == {1.0}
    for part in ("ih", "hh", "cell"):
        weight = getattr(lstm["step"], f"norm_{part}_l0").weight
        np.testing.assert_array_equal(weight.data, np.float32(0.1))
        assert set(getattr(lstm["layer"], f"norm_{part}_l0").blocks[0].weight.tolist()) == {1.0}
    for norm in ("step", "layer"):  # the terms have the layer's biases, the cell state has none other
        biases = [key for key in lstm[norm].state_dict() if key.startswith("norm") and key.endswith("bias")]
        assert len(biases) == 1 and biases[0].startswith("norm_cell_l0")


@every_layer
@every_normalization
def test_reset_parameters_is_a_new_beginning(name, normalization):
    net = normalized_net(name, normalization, "float32")
    net(drawn(T, N, C, dtype="float32"))
    net.reset_parameters(np.random.default_rng(1))
    options = {"max_length": T} if normalization == "step" else {}
    fresh = getattr(tb.nn, name)(C, H, generator=np.random.default_rng(1), normalization=normalization, **options)
    assert_state(net, fresh.state_dict())


# --- gradients --------------------------------------------------------------------------------------------------------


def small_net(name, normalization):
    options = {"max_length": 2} if normalization == "step" else {}
    net = getattr(tb.nn, name)(
        2, 2, dtype="float64", generator=np.random.default_rng(0), normalization=normalization, **options
    )
    for key, parameter in net.named_parameters():
        if key.startswith("weight"):
            parameter.data *= 2  # variances of about 1, so that the differences' step is small beside them
    return net


def results_of(net, names):
    """The net as a function of its input, its initial states and the parameters of these names."""

    def run(x, *values):
        states, parameters = values[: len(values) - len(names)], values[len(values) - len(names) :]
        for name, value in zip(names, parameters, strict=True):
            place = net
            *path, last = name.split(".")
            for part in path:
                place = getattr(place, part)
            vars(place)[last] = value
        result = tensors(net(x, states if len(states) > 1 else states[0]))
        return tuple(result)

    return run


@every_layer
@pytest.mark.parametrize("normalization", [None, *NORMALIZATIONS])
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_are_those_of_differences(name, normalization, order):
    net = small_net(name, normalization)
    names = [key for key, _ in net.named_parameters()]
    x = tb.tensor(drawn(2, 3, 2), requires_grad=True)
    states = [tb.tensor(drawn(1, 3, 2, seed=1 + i), requires_grad=True) for i in range(2 if name == "LSTM" else 1)]
    parameters = [tb.tensor(value.data.copy(), requires_grad=True) for value in net.parameters()]
    check = tb.gradcheck if order == 1 else tb.gradgradcheck
    assert check(results_of(net, names), [x, *states, *parameters])


# --- batches whose examples are alike ---------------------------------------------------------------------------------


def with_constant_beginning(steps, constant, dtype="float32", n=16):
    """A sequence that is 0 in all examples at first, as the pixels of an image's edge are."""
    x = drawn(steps, n, C, dtype=dtype)
    x[:constant] = 0
    return x


def parameter_gradients(net, x):
    net.zero_grad()
    output, _ = net(x)
    (output[-1] ** 2).sum().backward()
    return {key: parameter.grad.numpy().copy() for key, parameter in net.named_parameters()}


@every_layer
def test_a_long_constant_beginning_spoils_no_gradient(name):
    """With the formula alone, each constant step multiplies them: float32 overflows after some 30."""
    net = getattr(tb.nn, name)(C, H, normalization="step", max_length=130, generator=np.random.default_rng(0))
    long = parameter_gradients(net, with_constant_beginning(120, 112))
    largest = max(np.abs(g).max() for g in long.values())
    assert all(np.isfinite(g).all() for g in long.values()) and 1e-4 < largest < 100


class Formula(tb.nn.Module):
    """Batch normalization of each step with the usual derivative, whatever the batch is."""

    def __init__(self, norms):
        self.norms = norms

    def forward(self, term, source, step=0):
        y = self.norms.steps[step](term) * self.norms.weight
        return y if self.norms.bias is None else y + self.norms.bias


@every_cell
def test_a_constant_beginning_gives_the_gradients_of_the_formula(name):
    """In two steps nothing overflows yet, and float64 has digits to spare for what is multiplied."""

    def gradients(cell):
        hx, x = None, with_constant_beginning(T, 2, "float64")
        for step in range(T):
            hx = cell(x[step], hx, step=step)
        (tensors(hx)[0] ** 2).sum().backward()
        return [parameter.grad for parameter in cell.parameters()]

    ours = normalized_net(name, "step")
    formula = copy.deepcopy(ours)
    for key, norms in list(formula.named_children()):
        setattr(formula, key, Formula(norms))
    for a, b in zip(gradients(ours), gradients(formula), strict=True):
        assert_close(a, b, "float64")


def test_weights_of_zero_can_learn_although_their_products_do_not_vary():
    net = normalized_net("RNN", "step")
    net.weight_hh_l0.data.fill(0)
    assert np.abs(parameter_gradients(net, drawn(T, N, C))["weight_hh_l0"]).min() > 0


@every_layer
def test_a_constant_beginning_is_the_same_in_training_and_evaluation(name):
    """Whatever the running means lag behind: there, the gates see the biases alone."""
    net = getattr(tb.nn, name)(C, H, normalization="step", max_length=20, generator=np.random.default_rng(0))
    optimizer = tb.optim.SGD(net.parameters(), lr=0.5)
    for seed in range(5):
        net.zero_grad()
        x = drawn(20, 16, C, dtype="float32", seed=seed)
        x[:15] = 0
        (net(x)[0][-1] ** 2).sum().backward()
        optimizer.step()
    trained = net(x)[0].detach()
    evaluated = net.eval()(x)[0].detach()
    assert_close(evaluated[:15], trained[:15], "float32")
    assert (trained[14] == trained[14, :1]).all()


@every_layer
def test_float32_is_as_float64_behind_a_constant_beginning(name):
    """Rounding of products that should be equal is not taken for what the examples differ in."""
    single = getattr(tb.nn, name)(C, H, normalization="step", max_length=30, generator=np.random.default_rng(0))
    double = copy.deepcopy(single).double()
    x = with_constant_beginning(30, 28)
    x[:28] = 1.7
    assert_close(single(x)[0].detach(), double(x.astype("float64"))[0].detach(), "float32")


# --- what is not finite -----------------------------------------------------------------------------------------------


@every_layer
def test_a_sequence_that_is_not_finite_is_told_once_and_moves_no_statistics_from_there_on(name):
    net = normalized_net(name, "step", "float32")
    x = drawn(T, N, C, dtype="float32")
    net(x)
    before = snapshot(net)
    x[1, 0, 0] = np.nan
    with pytest.warns(RuntimeWarning, match="are not finite") as told:
        net(x)
    assert len(told) == len(list(net.children()))  # one for each normalization
    for norms, unmoved in ((net.norm_ih_l0, [1]), (net.norm_hh_l0, [2, 3, 4])):
        for step, norm in enumerate(norms.steps):
            assert norm.skipped_batches == (step in unmoved)
            assert norm.num_batches_tracked.item() == 2 - (step in unmoved)
    for key in ("norm_ih_l0.steps.1.running_mean", "norm_hh_l0.steps.2.running_var"):
        np.testing.assert_array_equal(net.state_dict()[key], before[key])
    net(x)  # without another warning
    assert [norm.skipped_batches for norm in net.norm_hh_l0.steps] == [0, 0, 2, 2, 2]
    with tb.detect_anomaly(), pytest.raises(AnomalyError):
        net(x)


# --- learning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "normalization"), [("LSTM", "step"), ("GRU", "layer"), ("RNN", "sequence")])
def test_a_net_learns_to_repeat_bits_three_steps_later(name, normalization):
    length, delay = 8, 3
    options = {"max_length": length} if normalization == "step" else {}
    rng = np.random.default_rng(0)
    net = getattr(tb.nn, name)(1, 16, normalization=normalization, generator=rng, **options)
    readout = tb.nn.Linear(16, 1, generator=rng)
    optimizer = tb.optim.Adam([*net.parameters(), *readout.parameters()], lr=0.02)

    def bits(n):
        return rng.integers(0, 2, (length, n, 1)).astype("float32")

    for _ in range(100):
        x = bits(32)
        loss = tb.functional.binary_cross_entropy_with_logits(readout(net(x)[0])[delay:], x[:-delay])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    x = bits(256)
    right = (readout(net(x)[0]).detach().numpy()[delay:] > 0) == (x[:-delay] > 0.5)
    assert right.mean() > 0.98
