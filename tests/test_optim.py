"""Optimizers and schedules: the steps of PyTorch's, exact resume, and errors before anything changes."""

import copy

import numpy as np
import pytest
from oracle import load_torch

import tinybn as tb
from tinybn import nn, optim
from tinybn.errors import GraphError, ShapeError
from tinybn.optim import lr_scheduler

# Of the largest value, after twenty steps.
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}

# What a user would write after ``optim.``, without the parameters.
OPTIMIZERS = [
    "SGD(lr=0.1)",
    "SGD(lr=0.1, momentum=0.9)",
    "SGD(lr=0.1, momentum=0.9, dampening=0.5)",
    "SGD(lr=0.1, momentum=0.9, nesterov=True)",
    "SGD(lr=0.1, weight_decay=0.1)",
    "SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)",
    "SGD(lr=0.0)",
    "Adam()",
    "Adam(lr=0.05)",
    "Adam(lr=0.05, betas=(0.5, 0.9), eps=1e-3)",
    "Adam(lr=0.05, betas=(0.0, 0.0))",
    "Adam(lr=0.05, weight_decay=0.1)",
    "AdamW()",
    "AdamW(lr=0.05)",
    "AdamW(lr=0.05, weight_decay=0.5)",
    "AdamW(lr=0.05, weight_decay=0.0)",
]
SCHEDULES = [
    "StepLR(optimizer, 3)",
    "StepLR(optimizer, step_size=2, gamma=0.5)",
    "CosineAnnealingLR(optimizer, 12)",
    "CosineAnnealingLR(optimizer, T_max=7, eta_min=0.01)",
]

every_optimizer = pytest.mark.parametrize("text", OPTIMIZERS)


def make(library, text, params):
    """``text`` with the parameters as its first argument."""
    return eval(text.replace("(", "(params, ", 1), {**vars(library), "params": params})


def initial(dtype="float64"):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((3, 4)).astype(dtype), rng.standard_normal(4).astype(dtype)]


def loss(weight, bias):
    """Curved differently in each direction, with a gradient that changes sign on the way; in either library."""
    wave = (weight * weight * 0.3 + bias * 1.7) ** 2
    return wave.sum() * 0.1 + ((weight - 0.5) ** 2).sum() + (bias * bias * bias * bias).sum() * 0.01


def parameters(dtype="float64"):
    return [nn.Parameter(array) for array in initial(dtype)]


def take_steps(optimizer, params, n, schedule=None):
    for _ in range(n):
        optimizer.zero_grad()
        loss(*params).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()


def assert_equal_to(ours, theirs, dtype):
    for got, expected in zip(ours, theirs, strict=True):
        expected = expected.detach().numpy()
        assert got.data.dtype == expected.dtype == dtype
        assert np.abs(got.data - expected).max() <= TOLERANCE[dtype] * np.abs(expected).max()


# --- equal to PyTorch's -----------------------------------------------------------------------------------------------


@every_optimizer
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_twenty_steps_are_those_of_torch(text, dtype):
    torch = load_torch()
    ours, theirs = parameters(dtype), [torch.tensor(a, requires_grad=True) for a in initial(dtype)]
    take_steps(make(optim, text, ours), ours, 20)
    take_steps(make(torch.optim, text, theirs), theirs, 20)
    assert_equal_to(ours, theirs, dtype)
    if "lr=0.0" not in text:
        assert all(np.abs(p.data - a).max() > 1e-3 for p, a in zip(ours, initial(dtype), strict=True))


@pytest.mark.parametrize("text", ["SGD(lr=0.1, momentum=0.9)", "Adam(lr=0.05)", "AdamW(lr=0.05)"])
def test_parameter_groups_are_those_of_torch(text):
    torch = load_torch()

    def groups(weight, bias):
        return [{"params": [weight], "weight_decay": 0.2}, {"params": bias, "lr": 0.01}]

    ours, theirs = parameters(), [torch.tensor(a, requires_grad=True) for a in initial()]
    our_optimizer, their_optimizer = make(optim, text, groups(*ours)), make(torch.optim, text, groups(*theirs))
    for n in (6, 6):
        take_steps(our_optimizer, ours, n)
        take_steps(their_optimizer, theirs, n)
        assert_equal_to(ours, theirs, "float64")
        for optimizer in (our_optimizer, their_optimizer):  # groups are free to change between steps
            optimizer.param_groups[0]["lr"] = 0.02
            optimizer.param_groups[1]["weight_decay"] = 0.3


@pytest.mark.parametrize("text", SCHEDULES)
@pytest.mark.parametrize("optimizer_text", ["SGD(lr=0.2, momentum=0.9)", "Adam(lr=0.05)"])
def test_schedules_are_those_of_torch(text, optimizer_text):
    torch = load_torch()
    ours, theirs = parameters(), [torch.tensor(a, requires_grad=True) for a in initial()]
    rates = []
    for library, params in ((optim, ours), (torch.optim, theirs)):
        groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.03}]
        optimizer = make(library, optimizer_text, groups)
        schedule = eval(text, {**vars(library.lr_scheduler), "optimizer": optimizer})
        rates.append([schedule.get_last_lr()])
        for _ in range(12):
            take_steps(optimizer, params, 1, schedule)
            rates[-1].append(schedule.get_last_lr())
    np.testing.assert_allclose(*rates, rtol=1e-12, atol=1e-17)
    assert_equal_to(ours, theirs, "float64")


# --- what a step touches ----------------------------------------------------------------------------------------------


@every_optimizer
def test_a_parameter_without_gradient_is_left_alone(text):
    weight, bias = parameters()
    other = nn.Parameter(np.ones(3))
    optimizer = make(optim, text, [weight, other, bias])
    take_steps(optimizer, (weight, bias), 5)
    assert other.tolist() == [1, 1, 1]  # weight decay too
    assert 1 not in optimizer.state
    alone = parameters()
    take_steps(make(optim, text, alone), alone, 5)
    assert [p.tolist() for p in (weight, bias)] == [p.tolist() for p in alone]


@every_optimizer
def test_a_step_writes_in_place_and_leaves_the_gradient_alone(text):
    params = parameters("float32")
    arrays = [p.data for p in params]
    optimizer = make(optim, text, params)
    for _ in range(3):
        optimizer.zero_grad()
        loss(*params).backward()
        gradients = [p.grad.data.copy() for p in params]
        optimizer.step()
        for p, array, gradient in zip(params, arrays, gradients, strict=True):
            assert p.data is array and array.dtype == np.float32
            assert p.grad_fn is None
            np.testing.assert_array_equal(p.grad.data, gradient)


def test_zero_grad_drops_or_clears():
    params = parameters()
    optimizer = optim.SGD(params, lr=0.1)
    loss(*params).backward()
    optimizer.zero_grad(set_to_none=False)
    assert all((p.grad.data == 0).all() for p in params)
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)
    optimizer.zero_grad(set_to_none=False)
    assert all(p.grad is None for p in params)


def test_a_single_tensor_that_requires_grad_can_be_a_group():
    w = tb.tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([{"params": w}], lr=0.5)
    (w * 2).sum().backward()
    optimizer.step()
    assert w.tolist() == [0.0]


def test_add_param_group_takes_the_defaults():
    weight, bias = parameters()
    optimizer = optim.SGD([weight], lr=0.1, momentum=0.9)
    optimizer.add_param_group({"params": [bias], "lr": 0.2})
    assert [(g["lr"], g["momentum"]) for g in optimizer.param_groups] == [(0.1, 0.9), (0.2, 0.9)]


def test_an_optimizer_follows_a_module_that_is_cast():
    layer = nn.Linear(2, 1)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    layer.double()
    before = layer.weight.data.copy()
    layer(np.ones((1, 2))).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(layer.weight.data, before - 0.1, rtol=1e-15)


@pytest.mark.parametrize(
    "make_last",
    [lambda: tb.ones(1).expand(3), lambda: np.frombuffer(bytes(12), np.float32)],
    ids=["expanded", "read-only"],
)
def test_a_parameter_that_cannot_be_written_stops_the_step_before_it_begins(make_last):
    first, last = nn.Parameter(tb.ones(2)), nn.Parameter(make_last())
    optimizer = optim.Adam([{"params": [first]}, {"params": [last]}])
    for _ in range(2):
        (first.sum() + last.sum()).backward()
        with pytest.raises(GraphError, match=r"parameter 1, of shape \(3,\), was expanded.* make it of a clone\(\)"):
            optimizer.step()
        assert first.tolist() == [1, 1] and not optimizer.state
    last.grad = None
    optimizer.step()  # it would not move


# --- resume -----------------------------------------------------------------------------------------------------------


@every_optimizer
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_resuming_from_state_dict_gives_the_same_bits(text, dtype):
    params = parameters(dtype)
    optimizer = make(optim, text, params)
    take_steps(optimizer, params, 7)
    state, values = copy.deepcopy(optimizer.state_dict()), [p.data.copy() for p in params]
    take_steps(optimizer, params, 7)

    resumed = [nn.Parameter(value) for value in values]
    other = make(optim, text.split("(")[0] + "(lr=123.0)", resumed)  # every option comes with the state
    other.load_state_dict(state)
    take_steps(other, resumed, 7)
    assert [p.data.tobytes() for p in resumed] == [p.data.tobytes() for p in params]


def test_a_state_dict_is_a_copy_in_both_directions():
    params = parameters()
    optimizer = optim.Adam(params, lr=0.1)
    take_steps(optimizer, params, 2)
    state = optimizer.state_dict()
    kept = copy.deepcopy(state)
    take_steps(optimizer, params, 1)
    optimizer.param_groups[0]["lr"] = 7
    np.testing.assert_equal(state, kept)
    other = optim.Adam(parameters())
    other.load_state_dict(state)
    take_steps(other, params, 1)
    np.testing.assert_equal(state, kept)


def test_the_state_dict_has_the_form_of_torch():
    torch = load_torch()
    ours, theirs = parameters(), [torch.tensor(a, requires_grad=True) for a in initial()]
    states = []
    for library, params in ((optim, ours), (torch.optim, theirs)):
        optimizer = library.Adam(params, lr=0.1)
        take_steps(optimizer, params, 3)
        states.append(optimizer.state_dict())
    assert set(states[0]) == set(states[1])
    assert [g["params"] for g in states[0]["param_groups"]] == [g["params"] for g in states[1]["param_groups"]]
    assert states[0]["state"].keys() == states[1]["state"].keys()
    for position, entry in states[0]["state"].items():
        assert entry.keys() == states[1]["state"][position].keys()
        for name, value in entry.items():
            np.testing.assert_allclose(value, np.asarray(states[1]["state"][position][name]), rtol=1e-12)


@pytest.mark.parametrize("text", SCHEDULES)
def test_resuming_a_schedule_gives_the_same_rates(text):
    def start():
        params = parameters()
        optimizer = optim.SGD(params, lr=0.2, momentum=0.9)
        return params, optimizer, eval(text, {**vars(lr_scheduler), "optimizer": optimizer})

    params, optimizer, schedule = start()
    take_steps(optimizer, params, 5, schedule)
    saved = copy.deepcopy((optimizer.state_dict(), schedule.state_dict())), [p.data.copy() for p in params]
    take_steps(optimizer, params, 5, schedule)

    resumed, other, other_schedule = start()
    for p, value in zip(resumed, saved[1], strict=True):
        p.data[...] = value
    other.load_state_dict(saved[0][0])
    other_schedule.load_state_dict(saved[0][1])
    take_steps(other, resumed, 5, other_schedule)
    assert other_schedule.get_last_lr() == schedule.get_last_lr()
    assert [p.data.tobytes() for p in resumed] == [p.data.tobytes() for p in params]


WRONG_STATES = {
    "fewer parameters": (
        lambda s: s["param_groups"][0]["params"].pop(),
        ValueError,
        r"expected groups of \[2\] parameters, got \[1\]",
    ),
    "more groups": (
        lambda s: s["param_groups"].append(s["param_groups"][0]),
        ValueError,
        r"expected groups of \[2\] parameters, got \[2, 2\]",
    ),
    "another shape": (
        lambda s: s["state"][1].update(exp_avg=np.zeros(5)),
        ShapeError,
        r"exp_avg of parameter 1: expected \(4,\), got \(5,\)",
    ),
    "a parameter that does not exist": (
        lambda s: s["state"].update({2: s["state"].pop(1)}),
        ValueError,
        r"state of parameter 2; there are 2",
    ),
    "another optimizer": (
        lambda s: s["state"].update({1: {"momentum_buffer": np.zeros(4)}}),
        ValueError,
        r"parameter 1.*expected .*exp_avg.*got .*momentum_buffer",
    ),
    "an unknown option": (
        lambda s: s["param_groups"][0].update(momentum=0.9),
        ValueError,
        r"unknown options \['momentum'\]",
    ),
    "a missing option": (lambda s: s["param_groups"][0].pop("lr"), ValueError, r"missing options \['lr'\]"),
    "a negative rate": (lambda s: s["param_groups"][0].update(lr=-1.0), ValueError, r"lr is -1.0"),
}


@pytest.mark.parametrize("name", WRONG_STATES)
def test_a_wrong_state_is_refused_and_changes_nothing(name):
    change, error, message = WRONG_STATES[name]
    params = parameters()
    optimizer = optim.Adam(params, lr=0.1)
    take_steps(optimizer, params, 3)
    before = copy.deepcopy(optimizer.state_dict())
    state = copy.deepcopy(before)
    state["param_groups"][0]["lr"] = 0.5
    for entry in state["state"].values():
        entry["exp_avg"] += 1
    change(state)
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(state)
    np.testing.assert_equal(optimizer.state_dict(), before)


def test_the_state_of_another_kind_of_optimizer_is_refused():
    states = {}
    for text in ("SGD(lr=0.1, momentum=0.9)", "Adam(lr=0.1)"):
        params = parameters()
        optimizer = make(optim, text, params)
        take_steps(optimizer, params, 1)
        states[text[:3]] = optimizer.state_dict()
    for cls, state in ((optim.Adam, states["SGD"]), (optim.SGD, states["Ada"])):
        optimizer = cls(parameters())
        with pytest.raises(ValueError, match=f"{cls.__name__}: unknown options"):
            optimizer.load_state_dict(state)
        assert optimizer.state == {} and optimizer.param_groups[0]["lr"] == 1e-3


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [optim.SGD, optim.Adam, optim.AdamW])
def test_errors_of_parameters(cls):
    weight, bias = parameters()
    product = weight * 2
    name = cls.__name__
    for params, error, message in [
        ([], ValueError, f"{name}: got no parameters; pass model.parameters"),
        (iter(()), ValueError, f"{name}: got no parameters"),
        ([weight, bias, weight], ValueError, rf"{name}: a parameter of shape \(3, 4\) was given twice"),
        ([{"params": [weight]}, {"params": [bias, weight]}], ValueError, "given twice"),
        ([weight, np.ones(3)], TypeError, f"{name}: expected leaf tensors such as model.parameters"),
        ([product], TypeError, f"{name}: expected leaf tensors"),
        (
            [{"params": [weight], "learning_rate": 0.1}],
            ValueError,
            r"unknown options \['learning_rate'\]; expected .*'lr'",
        ),
        ([{"lr": 0.1}], ValueError, f"{name}: .*'params'"),
        (nn.Linear(2, 2), TypeError, "parameters"),
        (weight, TypeError, "parameters"),
    ]:
        with pytest.raises(error, match=message):
            cls(params)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SGD(lr=-0.1)", r"SGD: lr is -0.1; expected a number from 0 on"),
        ("SGD(lr=float('nan'))", r"SGD: lr is nan"),
        ("SGD(momentum=-0.1)", r"SGD: momentum is -0.1"),
        ("SGD(weight_decay=-1)", r"SGD: weight_decay is -1"),
        ("SGD(nesterov=True)", r"SGD: nesterov needs a momentum above 0 and a dampening of 0"),
        ("SGD(momentum=0.9, dampening=0.1, nesterov=True)", r"nesterov needs"),
        ("Adam(lr=-1e-3)", r"Adam: lr is -0.001"),
        ("Adam(eps=-1e-8)", r"Adam: eps is -1e-08"),
        ("Adam(betas=(0.9, 1.0))", r"Adam: betas are \(0.9, 1.0\); expected two numbers in \[0, 1\)"),
        ("Adam(betas=(-0.1, 0.9))", r"Adam: betas are"),
        ("Adam(betas=(0.9,))", r"Adam: betas are \(0.9,\)"),
        ("AdamW(weight_decay=-0.1)", r"AdamW: weight_decay is -0.1"),
    ],
)
def test_errors_of_options(text, message):
    with pytest.raises(ValueError, match=message):
        make(optim, text, parameters())
    option = text.split("(", 1)[1][:-1]
    with pytest.raises(ValueError, match=message):  # in a group, too
        make(optim, text.split("(")[0] + "()", [{"params": parameters(), **eval(f"dict({option})")}])


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="learning_rate"):
        optim.SGD(parameters(), learning_rate=0.1)


def test_a_group_that_is_refused_is_not_added():
    weight, bias = parameters()
    optimizer = optim.SGD([weight], lr=0.1)
    for group in ({"params": [bias], "lr": -1}, {"params": [weight]}, {"params": [bias], "beta": 1}):
        with pytest.raises(ValueError):
            optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("StepLR(optimizer, 0)", r"StepLR: step_size is 0; expected a whole number from 1 on"),
        ("CosineAnnealingLR(optimizer, 0)", r"CosineAnnealingLR: T_max is 0"),
    ],
)
def test_errors_of_schedules(text, message):
    with pytest.raises(ValueError, match=message):
        eval(text, {**vars(lr_scheduler), "optimizer": optim.SGD(parameters())})


def test_repr_shows_the_options():
    text = repr(optim.SGD(parameters(), lr=0.1, momentum=0.9))
    assert text.startswith("SGD(") and "'lr': 0.1" in text and "'momentum': 0.9" in text and "2 tensors" in text


# --- arguments --------------------------------------------------------------------------------------------------------


def test_numpy_scalars_among_the_options_leave_float32_alone():
    w = tb.nn.Parameter(tb.ones(2))
    optimizer = tb.optim.SGD([w], lr=np.float64(0.1), momentum=np.float64(0.9), weight_decay=np.float64(0.1))
    w.sum().backward()
    optimizer.step()
    assert w.dtype == np.float32 and optimizer.state[0]["momentum_buffer"].dtype == np.float32


@pytest.mark.parametrize(("grad", "error"), [(np.ones(2, np.float32), TypeError), (tb.ones(3), ShapeError)])
def test_a_wrong_gradient_moves_nothing(grad, error):
    first, second = tb.nn.Parameter(tb.ones(2)), tb.nn.Parameter(tb.ones(2))
    optimizer = tb.optim.SGD([first, second], lr=0.1)
    first.grad, second.grad = tb.ones(2), grad
    with pytest.raises(error, match=r"SGD: a grad"):
        optimizer.step()
    assert first.tolist() == [1, 1]


def test_step_runs_a_closure():
    w = tb.nn.Parameter(tb.ones(1))
    optimizer = tb.optim.SGD([w], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with tb.no_grad():
        assert optimizer.step(closure).item() == 1
    assert w.item() == 0
