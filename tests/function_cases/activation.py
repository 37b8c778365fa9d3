"""Rows of ``tinybn/functional/activation.py``, but for relu."""

from collections.abc import Iterator

import numpy as np

from function_cases.row import Refused, Row, distinct, followed_by, normal, values

INF, NAN = np.inf, np.nan


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
    *over_an_axis(),
    Row("prelu", "one weight", followed_by(distinct((2, 3)), lambda rng: np.array([0.25]))),
    Row("prelu", "0-d weight", followed_by(distinct((2, 3)), lambda rng: np.array(0.25))),
    Row("prelu", "channels", followed_by(distinct((2, 3)), lambda rng: rng.standard_normal(3))),
    Row("prelu", "channels and space", followed_by(distinct((2, 3, 2, 2)), lambda rng: rng.standard_normal(3))),
    Row("prelu", "one axis", followed_by(distinct((3,)), lambda rng: np.array([0.25]))),
    Row("prelu", "0-d", followed_by(distinct(()), lambda rng: np.array([0.25]))),
    Row("prelu", "empty", followed_by(distinct((0, 3)), lambda rng: rng.standard_normal(3))),
    Row("prelu", "special", values([0.0, 1e3, -1e3, INF], [0.25]), smooth=False),
    Refused("prelu", "two weights for three channels", normal((2, 3), (2,))),
    Refused("prelu", "weights for one axis", normal((3,), (3,))),
    Refused("prelu", "a weight with axes", normal((2, 3), (1, 3))),
    Refused("prelu", "mixed dtypes", values([1, 2], [0.25])),
    *(Row(f, "∞", values([[INF, 1.0], [-INF, -INF]]), {"dim": 1}, smooth=False) for f in ("softmax", "log_softmax")),
]
