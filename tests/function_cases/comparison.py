"""Rows of ``tinybn/functional/comparison.py``."""

from collections.abc import Iterator

import numpy as np

from function_cases.row import Refused, Row, followed_by, normal, values

INF, NAN = np.inf, np.nan
BOOLS, BYTES = [True, False], np.array([1, 3], np.uint8)
MIXED = [INF, -INF, NAN, 0.0, 1.0]


def comparisons() -> Iterator[Row]:
    for function in ("eq", "ne", "lt", "le", "gt", "ge"):
        yield Row(function, "ties", values([1.0, 2.0, NAN, INF], [1.0, 3.0, NAN, INF]), smooth=False)
        yield Row(function, "broadcast", normal((2, 1), (3,)), smooth=False)
        yield Row(function, "0-d", normal((), ()), smooth=False)
        yield Row(function, "empty", normal((0, 3), (3,)), smooth=False)
        yield Row(function, "a number", values([0.1, 2.0], 0.1), smooth=False)  # in the dtype of the tensor
        yield Row(function, "a 0-d tensor of integers", values([1.0, 2.0], np.array(2)), smooth=False)
        yield Row(function, "integers and a float", values([1, 2, 16777217], 16777216.0), smooth=False)
        yield Row(function, "integers and floats", values([1, 2], [1.0, 2.5]), smooth=False)
        yield Row(function, "bytes and integers", values(BYTES, [1, -3]), smooth=False)
        yield Row(function, "bools", values(BOOLS, [True, True]), smooth=False)
        yield Row(function, "bools and a bool", values(BOOLS, True), smooth=False)
        yield Refused(function, "shapes", normal((2,), (3,)))
        yield Refused(function, "text", normal((2,), "text"))
    for function in ("logical_and", "logical_or", "logical_xor"):
        yield Row(function, "bools", values([True, True, False, False], [True, False, True, False]), smooth=False)
        yield Row(function, "floats and integers", values([0.0, 2.0, NAN], [1, 0, 1]), smooth=False)
        yield Row(function, "broadcast", normal((2, 1), (3,)), smooth=False)
        yield Row(function, "0-d", normal((), ()), smooth=False)
        yield Refused(function, "shapes", normal((2,), (3,)))
    for function in ("isnan", "isfinite", "isinf", "logical_not"):
        yield Row(function, "special", values(MIXED), smooth=False)
        yield Row(function, "0-d", normal(()), smooth=False)
        yield Row(function, "empty", normal((0, 3)), smooth=False)
        yield Row(function, "integers", values([0, 1]), smooth=False)
        yield Row(function, "bools", values(BOOLS), smooth=False)


def closeness() -> Iterator[Row]:
    near = values([1.0, 2.0, 0.0, 1e6], [1.0 + 1e-6, 2.1, 1e-9, 1e6 + 1])
    for function in ("isclose", "allclose"):
        yield Row(function, "near", near, smooth=False)
        yield Row(function, "tolerances", near, {"rtol": 0.0, "atol": 0.5}, smooth=False)
        yield Row(function, "rtol", near, {"rtol": 0.1}, smooth=False)
        yield Row(function, "exact", near, {"rtol": 0, "atol": 0}, smooth=False)
        yield Row(function, "special", values([NAN, INF, INF, 1.0], [NAN, INF, -INF, INF]), smooth=False)
        yield Row(function, "equal NaN", values([NAN, INF, 1.0], [NAN, INF, 1.0]), {"equal_nan": True}, smooth=False)
        yield Row(function, "one NaN", values([NAN], [1.0]), {"equal_nan": True}, smooth=False)
        yield Row(function, "integers", values([1, 2], [2, 2]), {"atol": 1}, smooth=False)
        yield Row(function, "bytes", values(BYTES, BYTES[::-1].copy()), {"equal_nan": True}, smooth=False)
        yield Row(function, "bools", values(BOOLS, BOOLS), smooth=False)
        yield Row(function, "broadcast", normal((2, 1), (3,)), smooth=False)
        yield Row(function, "empty", normal((0, 3), (3,)), smooth=False)
        yield Refused(function, "shapes", normal((2,), (3,)))
        yield Refused(function, "negative rtol", normal((2,), (2,)), {"rtol": -1.0})
        yield Refused(function, "negative atol", normal((2,), (2,)), {"atol": -1.0})
        yield Refused(function, "mixed dtypes", values([1.0], [1]))


ROWS = [
    *comparisons(),
    *closeness(),
    Row("equal", "the same", values([1.0, 2.0], [1.0, 2.0]), smooth=False),
    Row("equal", "other elements", values([1.0, 2.0], [1.0, 3.0]), smooth=False),
    Row("equal", "another shape", normal((2,), (2, 1)), smooth=False),
    Row("equal", "another dtype", values([1.0, 2.0], [1, 2]), smooth=False),
    Row("equal", "NaN", values([NAN], [NAN]), smooth=False),
    Row("equal", "empty", normal((0, 3), (0, 3)), smooth=False),
    Row("where", "same", values([True, False, True], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), method=False),
    Row("where", "broadcast", values([[True], [False]], [1.0, 2.0, 3.0], np.array(4.0)), method=False),
    Row("where", "number right", values(BOOLS, [1.0, 2.0], 0.0), method=False),
    Row("where", "number left", values(BOOLS, 0.0, [1.0, 2.0]), method=False),
    Row("where", "integers and a float", values(BOOLS, [1, 2], 0.5), method=False),
    Row("where", "integers and floats", values(BOOLS, [1, 2], [0.5, 1.5]), method=False),
    Row("where", "floats and a 0-d integer", values(BOOLS, [0.5, 1.5], np.array(2)), method=False),
    Row("where", "two floats", values(BOOLS, 1.0, 0.0), method=False),
    Row("where", "two integers", values(BOOLS, 1, 0), method=False),
    Row("where", "two numbers", values(BOOLS, 1, 0.5), method=False),
    Row("where", "two bools", values(BOOLS, True, False), method=False),
    Row("where", "empty", followed_by(values(np.zeros((0, 3), bool)), lambda rng: np.zeros((0, 3)), 1.0), method=False),
    Row("where", "NaN is not taken", values(BOOLS, [1.0, NAN], [NAN, 2.0]), smooth=False, method=False),
    Row("where", "the condition alone", values([[True, False], [True, True]]), smooth=False, method=False),
    Row("where", "a 0-d condition alone", values(np.array(True)), method=False),
    Row("where", "numbers alone", values([[0.0, 2.0]]), smooth=False, method=False),
    Refused("where", "a condition of integers", values([1, 0], [1.0, 2.0], 0.0)),
    Refused("where", "a condition of floats", values([1.0, 0.0], [1.0, 2.0], 0.0)),
    Refused("where", "no other", values(BOOLS, [1.0, 2.0])),
    Refused("where", "shapes", values([True, False, True], [1.0, 2.0], 0.0)),
    Row("masked_fill", "number", values([1.0, 2.0, 3.0], [True, False, True], 7.0)),
    Row("masked_fill", "integer", values([1.0, 2.0], BOOLS, 7)),
    Row("masked_fill", "−∞", values([1.0, 2.0], BOOLS, -INF), smooth=False),
    Row("masked_fill", "0-d tensor", values([1.0, 2.0], BOOLS, np.array(7.0))),
    Row("masked_fill", "0-d integer tensor", values([1.0, 2.0], BOOLS, np.array(7))),
    Row("masked_fill", "broadcast mask", values([[1.0, 2.0], [3.0, 4.0]], BOOLS, 0.0)),
    Row("masked_fill", "broadcast tensor", values([1.0, 2.0], [[True, False], [False, True]], 0.0)),
    Row("masked_fill", "0-d", values(np.array(1.0), np.array(True), 0.5)),
    Row("masked_fill", "integers", values([1, 2], BOOLS, 7)),
    Row("masked_fill", "integers, by a float", values([1, 2], BOOLS, 1.5)),
    Row("masked_fill", "bools", values(BOOLS, BOOLS, 0)),
    Row("masked_fill", "empty", values(np.zeros((0, 3)), np.zeros((0, 3), bool), 0.0)),
    Refused("masked_fill", "a mask of integers", values([1.0, 2.0], [1, 0], 0.0)),
    Refused("masked_fill", "a value with axes", values([1.0, 2.0], BOOLS, [1.0])),
    Refused("masked_fill", "too large a value", values(BYTES, BOOLS, 300)),
    Refused("masked_fill", "shapes", values([1.0, 2.0], [True, False, True], 0.0)),
    Row(
        "where",
        "a mask of bytes",
        lambda rng: (np.array([0, 2], np.uint8), np.array([1.0, 2.0]), 3.0),
        torch=lambda torch, mask, x, y: torch.where(mask != 0, x, y),  # its own warns
        method=False,
    ),
    Row("masked_fill", "−1 into bytes", lambda rng: (np.array([1, 2], np.uint8), np.array([True, False]), -1)),
    Refused("masked_fill", "300 into bytes", lambda rng: (np.array([1, 2], np.uint8), np.array([True, False]), 300)),
]
