"""Rows of ``tinybn/functional/regression_loss.py``."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from function_cases.row import Refused, Row, normal, positive, values

INF, NAN = np.inf, np.nan
REDUCTIONS = ("mean", "sum", "none")

# The options to try.
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "mse_loss": {},
    "l1_loss": {},
    "smooth_l1_loss": {"beta": {"beta": 0.5}, "beta 0": {"beta": 0.0}, "large beta": {"beta": 3.0}},
    "huber_loss": {"delta": {"delta": 0.5}, "large delta": {"delta": 3.0}},
}
WEIGHTED = ("mse_loss", "l1_loss", "huber_loss")


def losses() -> Iterator[Row]:
    for function, options in OPTIONS.items():
        for reduction in REDUCTIONS:
            chosen = {"reduction": reduction}
            yield Row(function, reduction, normal((2, 3), (2, 3)), chosen)
            yield Row(function, f"broadcast, {reduction}", normal((2, 3), (3,)), chosen)
            for name, more in options.items():
                yield Row(function, f"{name}, {reduction}", normal((2, 3), (2, 3)), {**chosen, **more})
        for name, more in {"": {}, **options}.items():
            ends = values([1.0, 0.5, 0.0, INF, 2.0, -1.0, -0.5], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
            yield Row(function, f"kinks {name}", ends, {"reduction": "none", **more}, smooth=False)
        yield Row(function, "0-d", normal((), ()))
        yield Row(function, "empty", normal((0, 3), (0, 3)), smooth=False)
        if function != "huber_loss":  # PyTorch's raises, but only in its backward
            yield Row(function, "integer target", values([0.3, 1.8], [0, 1]))
        yield Row(function, "larger target", normal((3,), (2, 3)))
        yield Refused(function, "shapes", normal((2, 3), (2,)))
        yield Refused(function, "integers", values([1, 2], [1, 3]))
        yield Refused(function, "unknown reduction", normal((2,), (2,)), {"reduction": "batchmean"})
    for function in WEIGHTED:
        for reduction in REDUCTIONS:
            weighted = {"reduction": reduction, "weight": np.array([[1.0, 2.0, 0.5]])}
            yield Row(function, f"weights, {reduction}", normal((1, 3), (1, 3)), weighted)
        yield Refused(function, "shape of weight", normal((2, 3), (2, 3)), {"weight": np.ones(3)})


def others() -> Iterator[Row]:
    yield Row("mse_loss", "NaN", values([NAN, INF], [0.0, INF]), {"reduction": "none"}, smooth=False)
    yield Row("huber_loss", "positional", positive((3,), (3,), "sum", 0.5))
    yield Row("huber_loss", "positional weights", positive((3,), (3,), "mean", 0.5, (3,)))
    yield Refused("smooth_l1_loss", "negative beta", normal((2,), (2,)), {"beta": -1.0})
    for function in ("huber_loss", "smooth_l1_loss"):
        yield Row(function, "NaN", values([NAN, 1.0], [0.0, 3.0]), {"reduction": "none"}, smooth=False)
    yield Row("mse_loss", "bools", values([1.5, 2.0], [True, False]))
    yield Refused("l1_loss", "bools", values([1.5, 2.0], [True, False]))
    yield Refused("huber_loss", "delta 0", normal((2,), (2,)), {"delta": 0.0})


def without_warnings(row: Row) -> Row:
    """PyTorch warns where shapes broadcast; there are no such methods."""

    def call(torch: Any, *arguments: Any, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(torch.nn.functional, row.function)(*arguments, **options)

    return replace(row, torch=call, method=False)


ROWS = [without_warnings(row) for row in (*losses(), *others())]
