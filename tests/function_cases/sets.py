"""Rows of ``tinybn/functional/sets.py``."""

from typing import Any

import numpy as np

from function_cases.row import Refused, Row, followed_by, normal, values

NAN = float("nan")
ROW = values([3, 1, 3, 2, 1, 3])
TABLE = values([[2, 1, 2, 0], [0, 1, 0, 1]])
EVERYTHING = {"return_inverse": True, "return_counts": True}


def detached(torch: Any, x: Any, *arguments: Any, **options: Any) -> Any:
    """PyTorch has no gradient of it."""
    return torch.unique(x.detach(), *arguments, **options)


def bytes_(rng: Any) -> tuple[Any, ...]:
    return (np.array([3, 0, 200, 3], np.uint8),)


def with_constant_weights(torch: Any, x: Any, weights: Any, **options: Any) -> Any:
    """PyTorch has no gradient of it."""
    return torch.bincount(x, weights.detach(), **options)


UNIQUE = [
    *(
        Row("unique", f"{name}, {' and '.join(options) or 'values'}", made, options, torch=detached, smooth=False)
        for name, made in [
            ("a row", ROW),
            ("a table", TABLE),
            ("floats", values([0.5, -1.0, 0.5])),
            ("NaN", values([NAN, 1.0, NAN])),
            ("zeros of both signs", values([0.0, -0.0])),
            ("bools", values([True, False, True])),
            ("bytes", bytes_),
            ("a scalar", values(np.array(3))),
            ("nothing", normal((0,))),
        ]
        for options in ({}, {"return_inverse": True}, {"return_counts": True}, EVERYTHING)
    ),
    *(Row("unique", f"parts along axis {dim}", TABLE, {"dim": dim, **EVERYTHING}) for dim in (0, 1, -1)),
    Row("unique", "positional", followed_by(ROW, True, False, True)),
    Row("unique", "unsorted", values([1, 2, 2]), {"sorted": False}),
    Refused("unique", "no such axis", ROW, {"dim": 1}),
]
ISIN = [
    *(
        Row("isin", name, made, options, method=False)
        for name, made, options in [
            ("a row", values([3, 1, 2], [1, 3]), {}),
            ("a table", values([[3, 1], [2, 0]], [[1], [3]]), {}),
            ("the others", values([3, 1, 2], [1, 3]), {"invert": True}),
            ("told to be unique", values([3, 1, 2], [1, 3]), {"assume_unique": True}),
            ("among nothing", followed_by(values([3, 1]), np.zeros(0, np.int64)), {}),
            ("one number among tensors", values(3, [1, 3]), {}),
            ("among one number", values([1, 3], 3), {}),
        ]
    ),
    *(
        Row(
            "isin", name, made, torch=lambda torch, x, y: torch.isin(x.detach(), y.detach()), method=False, smooth=False
        )
        for name, made in [
            ("NaN", values([NAN, 1.0], [NAN, 1.0])),
            ("floats among integers", values([0.5, 1.0], [1.0])),
        ]
    ),
    Refused("isin", "two numbers", values(1, 2)),
    Refused("isin", "bools", values([True], [True])),
]
BINCOUNT = [
    Row("bincount", "a row", ROW),
    Row("bincount", "bytes", bytes_),
    Row("bincount", "nothing", followed_by(values(), np.zeros(0, np.int64))),
    Row("bincount", "at least 7", ROW, {"minlength": 7}),
    Row("bincount", "at least 2", ROW, {"minlength": 2}),
    Row("bincount", "nothing, at least 2", followed_by(values(), np.zeros(0, np.int64)), {"minlength": 2}),
    Row("bincount", "integer weights", values([3, 1, 3], [5, 6, 7])),
    Row("bincount", "bool weights", values([3, 1, 3], [True, True, False])),
    Row("bincount", "no weights for nothing", followed_by(values(), np.zeros(0, np.int64), np.zeros(0, np.int64))),
    Refused("bincount", "below 0", values([1, -1])),
    Refused("bincount", "floats", values([1.0])),
    Refused("bincount", "bools", values([True])),
    Refused("bincount", "a table", TABLE),
    Refused("bincount", "a scalar", values(np.array(1))),
    Refused("bincount", "too few weights", values([1, 2], [1])),
    Refused("bincount", "fewer than nothing", ROW, {"minlength": -1}),
]

ROWS = [*UNIQUE, *ISIN, *BINCOUNT]
