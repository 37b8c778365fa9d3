"""Rows of ``tinybn/functional/nonlinearity.py``, and of relu."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from function_cases.row import Refused, Row, distinct, normal, values

INF, NAN = np.inf, np.nan
INTEGERS, BOOLS, BYTES = [-3, 0, 2], [True, False], np.array([1, 9], np.uint8)

# The options to try, and where a derivative is a convention or nothing is finite.
ACTIVATIONS: dict[str, tuple[dict[str, dict[str, Any]], list[float]]] = {
    "celu": ({"alpha": {"alpha": 2.0}, "negative alpha": {"alpha": -2.0}}, [0.0, 1e3, -1e3, INF, NAN]),
    "elu": ({"alpha": {"alpha": 2.0}, "alpha 0": {"alpha": 0.0}}, [0.0, 1e3, -1e3, INF, -INF, NAN]),
    "gelu": ({"tanh": {"approximate": "tanh"}}, [0.0, 30.0, -30.0, NAN]),
    "hardsigmoid": ({}, [-3.0, 3.0, INF, -INF]),
    "hardswish": ({}, [-3.0, 3.0, 0.0, 100.0, -100.0]),
    "hardtanh": ({"limits": {"min_val": -0.6, "max_val": 0.6}}, [-1.0, 1.0, INF, -INF, NAN]),
    "leaky_relu": ({"slope": {"negative_slope": 0.3}, "negative": {"negative_slope": -0.5}}, [0.0, INF, -INF, NAN]),
    "logsigmoid": ({}, [0.0, 1e3, -1e3, INF, -INF, NAN]),
    "mish": ({}, [0.0, 30.0, -30.0, INF, NAN]),
    "relu": ({}, [0.0, INF, -INF, NAN]),
    "relu6": ({}, [0.0, 6.0, INF, -INF, NAN]),
    "selu": ({}, [0.0, 1e3, -1e3, INF, -INF, NAN]),
    "silu": ({}, [0.0, 1e3, -1e3, INF, NAN]),
    "softplus": (
        {"beta": {"beta": 2.0}, "threshold": {"threshold": 0.4}, "negative beta": {"beta": -1.0}},
        [0.0, 1e3, -1e3, INF, -INF, NAN],
    ),
    "softsign": ({}, [0.0, 1e3, -1e3]),
}
TAKE_INTEGERS = {"relu", "relu6", "softsign"}


def _six_lines(torch: Any, x: Any) -> Any:
    """PyTorch's hardsigmoid differentiates with a sixth in float32."""
    return torch.nn.functional.relu6(x + 3) / 6


def activations() -> Iterator[Row]:
    for function, (options, special) in ACTIVATIONS.items():
        method = function == "relu"
        torch = _six_lines if function == "hardsigmoid" else None
        for name, shape in {"": (2, 3), "0-d": (), "empty": (0, 3), "4-d": (2, 2, 3, 2)}.items():
            yield Row(function, name, distinct(shape), torch=torch, method=method)
        for name, chosen in options.items():
            yield Row(function, name, distinct((3, 4)), chosen, method=method)
            yield Row(function, f"{name}, special", values(special), chosen, smooth=False, method=method)
        yield Row(function, "special", values(special), torch=torch, smooth=False, method=method)
        if function in TAKE_INTEGERS:
            yield Row(function, "integers", values(INTEGERS), method=method)
            yield Row(function, "bytes", values(BYTES), method=method)
        elif function != "hardtanh":
            yield Refused(function, "integers", values(INTEGERS))
        yield Refused(function, "bools", values(BOOLS))


ROWS = [
    *activations(),
    Row("hardtanh", "integers", values(INTEGERS), method=False),
    Row("hardtanh", "integers, float limits", values(INTEGERS), {"min_val": -1.5, "max_val": 1.5}, method=False),
    Row("hardtanh", "bytes", values(BYTES), {"min_val": 0.0, "max_val": 6.0}, method=False),
    Row(
        "hardtanh",
        "equal limits",
        values([0.0, 1.0, 2.0]),
        {"min_val": 1.0, "max_val": 1.0},
        smooth=False,
        method=False,
    ),
    Refused("hardtanh", "crossed limits", normal((3,)), {"min_val": 1.0, "max_val": -1.0}),
    Refused("hardtanh", "bytes with a negative limit", values(BYTES)),
    Refused("celu", "alpha 0", normal((3,)), {"alpha": 0.0}),
    Refused("gelu", "unknown approximation", normal((3,)), {"approximate": "erf"}),
]
