"""What several test files share."""

import operator
from typing import Any

import numpy as np

import tinybn as tb
from tinybn.study import Run

ARITHMETIC = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow}


def leaf(*values: float, dtype: Any = np.float64) -> tb.Tensor:
    """A vector that requires grad, or a scalar of one value."""
    return tb.tensor(values[0] if len(values) == 1 else values, dtype=dtype, requires_grad=True)


def snapshot(model):
    return {name: value.copy() for name, value in model.state_dict().items()}


def assert_state(model, expected):
    state = model.state_dict()
    assert list(state) == list(expected)
    for name, value in state.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def made_run(placement="none", seed=0, accuracy=0.9, **fields):
    defaults = {
        "test_loss": 0.3,
        "steps_to": {"95%": None, "97%": None},
        "accuracy_running": 0.9,
        "accuracy_batch": 0.9,
        "ms_per_step": 1.0,
        "seconds": 2.0,
        "diverged": False,
        "curve": [(10, 0.5), (20, accuracy)],
    }
    return Run(placement=placement, seed=seed, test_accuracy=accuracy, **{**defaults, **fields})


def with_state(layer, seed=0):
    """A layer whose parameters are normal, the same for each seed."""
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape)
    return layer


def normal(shape, dtype="float64", seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
