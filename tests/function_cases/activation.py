"""Rows of ``tinybn/functional/activation.py``."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from function_cases.row import Refused, Row, distinct, followed_by, normal, values

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
        torch = _six_lines if function == "hardsigmoid" else None
        for name, shape in {"": (2, 3), "0-d": (), "empty": (0, 3), "4-d": (2, 2, 3, 2)}.items():
            yield Row(function, name, distinct(shape), torch=torch)
        for name, chosen in options.items():
            yield Row(function, name, distinct((3, 4)), chosen)
            yield Row(function, f"{name}, special", values(special), chosen, smooth=False)
        yield Row(function, "special", values(special), torch=torch, smooth=False)
        if function in TAKE_INTEGERS:
            yield Row(function, "integers", values(INTEGERS))
            yield Row(function, "bytes", values(BYTES))
        elif function != "hardtanh":
            yield Refused(function, "integers", values(INTEGERS))
        yield Refused(function, "bools", values(BOOLS))


def over_an_axis() -> Iterator[Row]:
    for function in ("softmax", "log_softmax"):
        for dim in (0, 1, -1, -3):
            yield Row(function, f"dim {dim}", normal((2, 3, 4)), {"dim": dim})
        yield Row(function, "positional", normal((2, 3), 1))
        yield Row(function, "0-d", normal(()), {"dim": 0})
        yield Row(function, "0-d, dim −1", normal(()), {"dim": -1})
        yield Row(function, "empty", normal((0, 3)), {"dim": 1})
        yield Row(function, "of nothing", normal((3, 0)), {"dim": 1})
        yield Row(function, "one class", normal((3, 1)), {"dim": 1})
        yield Row(function, "large", values([[1e4, 0.0, -1e4]]), {"dim": 1}, smooth=False)
        yield Row(function, "−∞", values([[-INF, 0.0, 1.0]]), {"dim": 1}, smooth=False)
        yield Row(function, "NaN", values([[NAN, 0.0], [1.0, 2.0]]), {"dim": 1}, smooth=False)
        yield Row(function, "in float64", normal((2, 3)), {"dim": 1, "dtype": np.float64}, smooth=False)
        yield Row(function, "of integers in float32", values([1, 2]), {"dim": 0, "dtype": np.float32})
        yield Refused(function, "integers", values([1, 2]), {"dim": 0})
        yield Refused(function, "in integers", normal((2,)), {"dim": 0, "dtype": np.int64})
        yield Refused(function, "no such axis", normal((2, 3)), {"dim": 2})
        yield Refused(function, "no axis", normal((2, 3)), torch=lambda torch, x: torch.softmax(x))


ROWS = [
    *activations(),
    *over_an_axis(),
    Row("hardtanh", "integers", values(INTEGERS)),
    Row("hardtanh", "integers, float limits", values(INTEGERS), {"min_val": -1.5, "max_val": 1.5}),
    Row("hardtanh", "bytes", values(BYTES), {"min_val": 0.0, "max_val": 6.0}),
    Row("hardtanh", "equal limits", values([0.0, 1.0, 2.0]), {"min_val": 1.0, "max_val": 1.0}, smooth=False),
    Refused("hardtanh", "crossed limits", normal((3,)), {"min_val": 1.0, "max_val": -1.0}),
    Refused("hardtanh", "bytes with a negative limit", values(BYTES)),
    Refused("celu", "alpha 0", normal((3,)), {"alpha": 0.0}),
    Refused("gelu", "unknown approximation", normal((3,)), {"approximate": "erf"}),
    Row("prelu", "one weight", followed_by(distinct((2, 3)), lambda rng: np.array([0.25]))),
    Row("prelu", "0-d weight", followed_by(distinct((2, 3)), lambda rng: np.array(0.25))),
    Row("prelu", "channels", followed_by(distinct((2, 3)), lambda rng: rng.standard_normal(3))),
    Row("prelu", "channels and space", followed_by(distinct((2, 3, 2, 2)), lambda rng: rng.standard_normal(3))),
    Row("prelu", "one axis", followed_by(distinct((3,)), lambda rng: np.array([0.25]))),
    Row("prelu", "0-d", followed_by(distinct(()), lambda rng: np.array([0.25]))),
    Row("prelu", "empty", followed_by(distinct((0, 3)), lambda rng: rng.standard_normal(3))),
    Row("prelu", "special", values([0.0, 1e3, -1e3, INF], [0.25]), smooth=False),
    Refused("prelu", "channels", normal((2, 3), (2,))),
    Refused("prelu", "weights for one axis", normal((3,), (3,))),
    Refused("prelu", "a weight with axes", normal((2, 3), (1, 3))),
    Refused("prelu", "mixed dtypes", values([1, 2], [0.25])),
]
