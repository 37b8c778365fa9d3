"""Schedules: the rates of PyTorch's, also when somebody else changes them, and errors."""

import copy
import functools

import numpy as np
import pytest
from oracle import load_torch

import tinybn as tb
from tinybn.optim import lr_scheduler


class Decay:
    """A function with a state, which a schedule saves."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate**step


SCHEDULES = [
    "StepLR(optimizer, 3)",
    "StepLR(optimizer, step_size=2, gamma=0.5)",
    "CosineAnnealingLR(optimizer, 12)",
    "CosineAnnealingLR(optimizer, T_max=5, eta_min=0.01)",
    "CosineAnnealingLR(optimizer, 1)",
    "LambdaLR(optimizer, lambda step: 0.9**step)",
    "LambdaLR(optimizer, [lambda step: step, lambda step: 1 / (1 + step)])",
    "LambdaLR(optimizer, Decay(0.5))",
    "MultiStepLR(optimizer, [2, 4, 4])",
    "MultiStepLR(optimizer, milestones=[3], gamma=0.3)",
    "ExponentialLR(optimizer, 0.9)",
    "LinearLR(optimizer)",
    "LinearLR(optimizer, start_factor=0.1, end_factor=0.6, total_iters=4)",
    "LinearLR(optimizer, 1.0, 0.0, 3)",
    "ConstantLR(optimizer)",
    "ConstantLR(optimizer, factor=0.5, total_iters=2)",
]
every_schedule = pytest.mark.parametrize("text", SCHEDULES)


def new_optimizer(library):
    parameters = [[library.zeros(2, requires_grad=True)] for _ in range(2)]
    return library.optim.SGD([{"params": parameters[0]}, {"params": parameters[1], "lr": 0.03}], lr=0.2)


def schedule_of(library, text, optimizer):
    return eval(text, {**vars(library.optim.lr_scheduler), "Decay": Decay, "optimizer": optimizer})


def rates_of(library, texts, changes=None):
    """The rates after each of 14 steps of all schedules; ``changes`` sets some by hand, {step: (group, rate)}."""
    optimizer = new_optimizer(library)
    schedules = [schedule_of(library, text, optimizer) for text in texts]
    rates = []
    for step in range(14):
        rates.append([group["lr"] for group in optimizer.param_groups])
        rates.extend(schedule.get_last_lr() for schedule in schedules)
        if step in (changes or {}):
            group, rate = changes[step]
            optimizer.param_groups[group]["lr"] = rate
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    return rates


@every_schedule
@pytest.mark.parametrize("changes", [{}, {0: (0, 1.0)}, {3: (1, 0.7), 6: (0, 0.4), 7: (1, 0.0)}], ids=str)
def test_rates_are_those_of_torch_whoever_changes_them(text, changes):
    ours, theirs = (rates_of(library, [text], changes) for library in (tb, load_torch()))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize("first", ["StepLR(optimizer, 3)", "LinearLR(optimizer)", "CosineAnnealingLR(optimizer, 4)"])
@every_schedule
def test_two_schedules_on_one_optimizer(first, text):
    ours, theirs = (rates_of(library, [first, text]) for library in (tb, load_torch()))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-17)


@every_schedule
def test_going_on_from_a_number(text):
    rates = []
    for library in (tb, load_torch()):
        optimizer = new_optimizer(library)
        for group in optimizer.param_groups:
            group["initial_lr"] = 1.0
        schedule = schedule_of(library, f"{text[:-1]}, last_epoch=3)", optimizer)
        rates.append([schedule.get_last_lr()])
        for _ in range(5):
            optimizer.step()
            schedule.step()
            rates[-1].append(schedule.get_last_lr())
    np.testing.assert_allclose(*rates, rtol=1e-12, atol=1e-17)


@every_schedule
def test_a_state_goes_on_where_it_was_saved(text):
    optimizer = new_optimizer(tb)
    schedule = schedule_of(tb, text, optimizer)
    for _ in range(4):
        schedule.step()
    saved = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
    rates = [(schedule.step(), schedule.get_last_lr())[1] for _ in range(5)]

    other = new_optimizer(tb)
    resumed = schedule_of(tb, text.replace("Decay(0.5)", "Decay(0.1)"), other)
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert resumed.last_epoch == 4
    assert [(resumed.step(), resumed.get_last_lr())[1] for _ in range(5)] == rates


def test_a_partial_function_is_saved_without_attributes():
    optimizer = new_optimizer(tb)
    schedule = lr_scheduler.LambdaLR(optimizer, functools.partial(pow, 0.5))
    schedule.load_state_dict(schedule.state_dict())
    schedule.step()
    assert schedule.get_last_lr() == [0.1, 0.015]


def test_a_group_that_is_added_is_scheduled_from_then_on():
    rates = []
    for library in (tb, load_torch()):
        optimizer = new_optimizer(library)
        schedule = library.optim.lr_scheduler.StepLR(optimizer, 2)
        optimizer.add_param_group({"params": [library.zeros(1, requires_grad=True)], "lr": 8.0})
        optimizer.step()
        for _ in range(3):
            schedule.step()
        rates.append(schedule.get_last_lr())
    np.testing.assert_allclose(*rates)


def test_a_schedule_of_ones_own():
    class Halved(lr_scheduler.LRScheduler):
        def get_lr(self):
            return [initial / 2 for initial in self.base_lrs]

    optimizer = new_optimizer(tb)
    assert Halved(optimizer).get_last_lr() == [0.1, 0.015]
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("StepLR(optimizer, 0)", r"StepLR: step_size is 0; expected a whole number from 1 on"),
        ("StepLR(0.1, 10)", r"StepLR: expected an optimizer, got float"),
        ("LambdaLR(0.1, abs)", r"LambdaLR: expected an optimizer, got float"),
        ("CosineAnnealingLR(optimizer, 0)", r"CosineAnnealingLR: T_max is 0"),
        ("LambdaLR(optimizer, [abs])", r"LambdaLR: expected a function for each of 2 groups, got 1"),
        ("LinearLR(optimizer, 0.0)", r"LinearLR: start_factor is 0.0"),
        ("LinearLR(optimizer, 1.5)", r"LinearLR: start_factor is 1.5"),
        ("LinearLR(optimizer, end_factor=-1.0)", r"LinearLR: end_factor is -1.0"),
        ("ConstantLR(optimizer, 2.0)", r"ConstantLR: factor is 2.0"),
        ("ExponentialLR(optimizer, 0.5, last_epoch=2)", r"ExponentialLR: last_epoch is 2; expected groups with"),
    ],
)
def test_errors(text, message):
    with pytest.raises((ValueError, TypeError, KeyError), match=message):
        schedule_of(tb, text, new_optimizer(tb))
