"""Rows of ``tinybn/functional/creation.py``, ``drawing.py`` and ``new.py``."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import tinybn as tb
from function_cases.row import Refused, Row, flat, values

INF, NAN = float("inf"), float("nan")
MATRIX, INTEGERS, TRUTHS = values([[1.0, 2.0]]), values([3, 4]), values([True, False])


@dataclass(frozen=True)
class Drawn(Row):
    """A call whose shapes and dtypes are compared, but not its values, which are random or arbitrary."""

    def call(self, *arguments: Any) -> Any:
        return [tb.zeros_like(y) for y in flat(super().call(*arguments))]

    def call_torch(self, *arguments: Any) -> Any:
        return [y.new_zeros(y.shape) for y in flat(super().call_torch(*arguments))]


def given(*arguments: Any) -> Any:
    """These, as they are."""
    return lambda rng: arguments


def number(value: Any) -> Any:
    return np.array(value)


def method(name: str) -> Any:
    return lambda torch, x, *arguments, **options: getattr(x, name)(*arguments, **options)


def rows(function: str, *table: tuple[Any, ...], kind: Any = Row) -> list[Any]:
    """Rows from (arguments, options)."""
    return [
        kind(function, f"{arguments} {options or ''}", given(*arguments), options, method=False)
        for arguments, options in table
    ]


def likes(function: str, *more: Any, kind: Any = Row) -> list[Any]:
    """A function of the shape of its first argument, which carries no gradient."""
    return [
        kind(function, name, lambda rng, build=build: (*build(rng), *more), options, smooth=False, method=False)
        for name, build, options in [
            ("floats", MATRIX, {}),
            ("in another dtype", INTEGERS, {"dtype": np.float64}),
            ("nothing", lambda rng: (np.zeros((2, 0)),), {}),
            ("a scalar", values(np.array(1.5)), {}),
        ]
    ]


SHAPES = [((2, 3), {}), (((2, 3),), {}), (((),), {}), ((0,), {}), ((2, 0), {}), (([2],), {})]
IN_DTYPES = [((2,), {"dtype": t}) for t in (np.float64, np.int64, np.uint8, np.bool_)]
BAD_SHAPES = [((-1,), {}), ((2.0,), {}), ((True,), {}), ((), {})]
INT_GRAD = {"dtype": np.int64, "requires_grad": True}

DETERMINISTIC = [
    *(row for f in ("zeros", "ones") for row in rows(f, *SHAPES, *IN_DTYPES)),
    *rows("full", *(((size, v), {}) for size in ((2, 3), (), (0,)) for v in (1, 1.5, True, -2))),
    *rows("full", *((((2,), v), {"dtype": t}) for v, t in [(1, np.float64), (1.5, np.int32), (-1, np.uint8)])),
    Row("full", "a 0-d tensor", given((2,), number(3)), smooth=False, method=False),
    *(row for f in ("zeros_like", "ones_like") for row in likes(f)),
    *likes("full_like", 2),
    *(
        Row(f, name, build, smooth=False, method=False)
        for f in ("zeros_like", "ones_like")
        for name, build in [("integers", INTEGERS), ("bools", TRUTHS)]
    ),
    Row("full_like", "a fraction into integers", lambda rng: (*INTEGERS(rng), 1.5), method=False),
    Row("full_like", "a number into bools", lambda rng: (*TRUTHS(rng), 2), method=False),
    *rows(
        "arange",
        *(((n,), {}) for n in (5, 5.0, 0, 2.5, True)),
        *((a, {}) for a in [(1, 4), (1, 4.5), (4, 1, -1), (0, 1, 0.1), (0.5, 2.5, 0.5), (0, 3, 0.9999), (7, 0, -2)]),
        ((), {"end": 3}),
        ((), {"start": 1, "end": 3}),
        ((0, 5, 2), {"dtype": np.float64}),
        ((0, 5.5), {"dtype": np.int32}),
    ),
    Row("arange", "0-d tensors", given(number(1), number(4)), smooth=False, method=False),
    *rows(
        "linspace",
        *((a, {}) for a in [(0, 1, 5), (0, 1, 1), (0, 1, 0), (3, 3, 3), (1.5, -2, 4)]),
        *((a, {"dtype": t}) for a in [(0, 9, 5), (0, -9, 5)] for t in (np.int64, np.float64)),
    ),
    *rows("logspace", *((a, {}) for a in [(0, 2, 3), (0, 2, 0), (1, -1, 5), (0, 2, 3, 2), (0, 2, 3, -2.0)])),
    *rows("logspace", ((0, 2, 3), {"dtype": np.int64}), ((0, 2, 3), {"base": 3.0, "dtype": np.float64})),
    *rows("eye", *((a, {}) for a in [(3,), (2, 3), (3, 2), (0,), (0, 2)]), ((2,), {"dtype": np.bool_})),
]

DRAWN = [
    *rows("empty", *SHAPES, *IN_DTYPES, kind=Drawn),
    *likes("empty_like", kind=Drawn),
    *(row for f in ("rand", "randn") for row in rows(f, *SHAPES, ((2,), {"dtype": np.float64}), kind=Drawn)),
    *(row for f in ("rand_like", "randn_like") for row in likes(f, kind=Drawn)),
    *rows("randint", *((a, {}) for a in [(5, (2, 3)), (2, 5, (2,)), (-5, 5, ()), (1, (0,))]), kind=Drawn),
    *rows("randint", *(((2, (3,)), {"dtype": t}) for t in (np.float32, np.uint8, np.bool_)), kind=Drawn),
    *rows("randint", ((), {"low": 1, "high": 5, "size": (2,)}), ((), {"high": 5, "size": (2,)}), kind=Drawn),
    *likes("randint_like", 5, kind=Drawn),
    *rows("randperm", *(((n,), {}) for n in (4, 0, 1)), ((3,), {"dtype": np.float32}), kind=Drawn),
    *rows("normal", ((0.0, 1.0, (2, 3)), {}), ((0, 1, ()), {}), ((0.0,), {"std": 1.0, "size": (2,)}), kind=Drawn),
    *(
        Drawn("normal", name, given(*arguments), smooth=False, method=False)
        for name, arguments in [
            ("a tensor of means", (np.array([0.0, 1.0]),)),
            ("a tensor of means and a number", (np.array([0.0, 1.0]), 2.0)),
            ("a tensor of deviations", (0.0, np.array([1.0, 2.0]))),
            ("two tensors", (np.array([0.0, 1.0]), np.array([[1.0], [0.0]]))),
        ]
    ),
    *(
        Drawn("bernoulli", name, given(*arguments), options, smooth=False, method=False)
        for name, arguments, options in [
            ("floats", (np.array([0.0, 0.5, 1.0]),), {}),
            ("a scalar", (np.array(0.5),), {}),
            ("one probability", (np.array([3.0, -2.0]), 0.5), {}),
            ("one probability for integers", (np.array([3, -2]),), {"p": 0.5}),
        ]
    ),
    Row("bernoulli", "certain", given(np.array([0.0, 1.0, 1.0])), smooth=False, method=False),
    Row("normal", "no deviation", given(np.array([0.5, 1.0]), 0.0), smooth=False, method=False),
]

NEW = [
    *(
        Row(f, f"{name}, {size}", lambda rng, b=build, s=size: (*b(rng), *s), options, torch=method(f), smooth=False)
        for f in ("new_zeros", "new_ones")
        for name, build in [("floats", MATRIX), ("integers", INTEGERS), ("bools", TRUTHS)]
        for size in [(2, 3), ((2,),), ((),)]
        for options in [{}]
    ),
    *(
        Row(f, "in another dtype", lambda rng, v=more: (*INTEGERS(rng), (2,), *v), {"dtype": np.float64}, method(f))
        for f, more in [("new_zeros", ()), ("new_ones", ()), ("new_full", (1.5,))]
    ),
    Row("new_full", "floats", lambda rng: (*MATRIX(rng), (2, 1), 3), torch=method("new_full"), smooth=False),
    Row("new_full", "integers", lambda rng: (*INTEGERS(rng), (2,), 1.5), torch=method("new_full")),
    Row("new_tensor", "floats", lambda rng: (*MATRIX(rng), (1, 2)), torch=method("new_tensor"), smooth=False),
    Row("new_tensor", "integers", lambda rng: (*INTEGERS(rng), (1.5, 2.5)), torch=method("new_tensor")),
    Drawn(
        "new_empty", "floats", lambda rng: (*MATRIX(rng), 2, 3), torch=method("new_empty"), smooth=False, method=False
    ),
    Drawn("new_empty", "integers", lambda rng: (*INTEGERS(rng), (2,)), torch=method("new_empty"), method=False),
    *(
        Refused(f, "a negative size", lambda rng: (*INTEGERS(rng), -1), torch=method(f))
        for f in ("new_zeros", "new_ones")
    ),
    Refused("new_full", "NaN into integers", lambda rng: (*INTEGERS(rng), (2,), NAN), torch=method("new_full")),
]

REFUSED = [
    *(row for f in ("zeros", "ones", "empty", "rand", "randn") for row in rows(f, *BAD_SHAPES, kind=Refused)),
    *(row for f in ("zeros", "ones", "empty") for row in rows(f, ((2,), INT_GRAD), kind=Refused)),
    *(row for f in ("rand", "randn") for row in rows(f, ((2,), {"dtype": np.int64}), kind=Refused)),
    *rows("full", (((2,), "a"), {}), (((2,), NAN), {"dtype": np.int64}), (((2,), 1e300), {}), kind=Refused),
    *rows("full", (((2,), 300), {"dtype": np.uint8}), (((2,), 1), {"requires_grad": True}), kind=Refused),
    Refused("full", "a vector", given((2,), np.array([1.0, 2.0]))),
    *(Refused(f, "requires_grad of integers", INTEGERS, {"requires_grad": True}) for f in ("zeros_like", "ones_like")),
    *(Refused(f, "integers", INTEGERS) for f in ("rand_like", "randn_like", "bernoulli")),
    *(
        Refused("full_like", f"{value!r} into {name}", lambda rng, b=build, v=value: (*b(rng), v))
        for name, build, value in [("integers", INTEGERS, NAN), ("integers", INTEGERS, 2**70), ("floats", MATRIX, "a")]
    ),
    *rows("arange", *((a, {}) for a in [(-3,), (4, 1), (1, 4, 0), (NAN,), (INF,), ("a",), ()]), kind=Refused),
    *rows("arange", ((3,), {"dtype": np.bool_}), ((3,), {"requires_grad": True}), kind=Refused),
    *(
        row
        for f in ("linspace", "logspace")
        for row in rows(f, ((0, 1, -1), {}), ((0, 1, 2.5), {}), ((0, 1, 3), {"dtype": np.bool_}), kind=Refused)
    ),
    Refused("linspace", "a vector", given(np.array([0.0]), 1, 3)),
    *rows("eye", ((-1,), {}), ((2, -1), {}), ((2.0,), {}), kind=Refused),
    *rows(
        "randint", *((a, {}) for a in [(5, 5, (2,)), (5, 2, (2,)), (0, (2,)), (5.0, (2,)), (5, (-1,))]), kind=Refused
    ),
    *rows("randint", ((5, (2,)), {"dtype": np.bool_}), ((300, (2,)), {"dtype": np.uint8}), kind=Refused),
    *rows("randint", ((5, (2,)), {"requires_grad": True}), kind=Refused),
    Refused("randint_like", "no numbers", lambda rng: (*INTEGERS(rng), 3, 3)),
    *rows("randperm", ((-1,), {}), ((2.0,), {}), ((3,), {"dtype": np.bool_}), kind=Refused),
    *rows("randperm", ((300,), {"dtype": np.uint8}), ((3,), {"requires_grad": True}), kind=Refused),
    *rows("normal", ((0.0, -1.0, (2,)), {}), ((0.0, 1.0), {}), kind=Refused),
    Refused("normal", "a negative deviation", given(np.array([0.0, 1.0]), np.array([1.0, -1.0]))),
    Refused("normal", "integers", given(np.array([0, 1]), 1.0)),
    Refused("normal", "shapes", given(np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0]))),
    *(Refused("bernoulli", f"{p}", given(np.array([p]))) for p in (2.0, -0.5, NAN)),
    Refused("bernoulli", "p above 1", given(np.array([0.5]), 1.5)),
]

BY_NAME = [
    *(row for f in ("zeros", "ones") for row in rows(f, ((), {"size": (2, 3)}), ((), {"size": ()}))),
    *(row for f in ("empty", "rand", "randn") for row in rows(f, ((), {"size": (2, 3)}), kind=Drawn)),
    *(
        row
        for f in ("zeros", "ones", "empty", "rand", "randn")
        for row in rows(f, ((), {"size": 3}), ((2,), {"size": (2,)}), kind=Refused)
    ),
]

ROWS = [*DETERMINISTIC, *DRAWN, *BY_NAME, *NEW, *REFUSED]
