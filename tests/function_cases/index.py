"""Rows of ``tinybn/functional/index.py``."""

import warnings
from typing import Any

import numpy as np

from function_cases.row import Refused, Row, followed_by, normal, values

INF, NAN = float("inf"), float("nan")
SQUARE = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def at(numbers: Any, dtype: Any = np.int64) -> Any:
    """An index, or any other array that must not become float, for `followed_by`."""
    return lambda rng: np.array(numbers, dtype)


def of(array: Any, dtype: Any = None) -> Any:
    """One array of any dtype as the first argument."""
    return lambda rng: (np.array(array, dtype),)


def quiet_scatter(torch: Any, *arguments: Any, **options: Any) -> Any:
    """PyTorch's scatter without its warning that it would rather have ``reduce`` in another function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.scatter(*arguments, **options)


def with_src_cut(name: str) -> Any:
    """PyTorch's function with the part of ``src`` that the index covers: it cannot differentiate a larger one."""
    return lambda torch, x, dim, index, src: getattr(torch, name)(x, dim, index, src[tuple(map(slice, index.shape))])


def cases(function: str, table: list[tuple[Any, ...]], kind: Any = Row) -> list[Any]:
    """Rows from (name, first argument, further ones...)."""
    return [kind(function, name, followed_by(first, *rest)) for name, first, *rest in table]


X = normal((2, 3))

ROWS = [
    *cases(
        "take",
        [
            ("a row", X, at([0, 5, -1, -6, 0])),
            ("a matrix", X, at([[0, 5], [2, 2]])),
            ("one", X, at(2)),
            ("none", X, at([])),
            ("none of nothing", normal((0,)), at([])),
            ("of a scalar", normal(()), at([0, 0, -1])),
            ("of integers", of(SQUARE), at([8, 0])),
        ],
    ),
    *cases(
        "take_along_dim",
        [
            ("rows", X, at([[0], [2]]), 1),
            ("negative ones", X, at([[0, -1], [-3, 2]]), -1),
            ("broadcast index", X, at([[0, 1]]), 1),
            ("broadcast input", normal((1, 3)), at([[0, 0], [1, 2]]), 1),
            ("both broadcast", normal((1, 3, 2)), at([[[0], [2]], [[1], [1]]]), 1),
            ("axis 0", X, at([[1, 0, 1], [0, 0, 0], [1, 1, 1]]), 0),
            ("all", X, at([0, 5, 5])),
            ("all, of a matrix", X, at([[1, 2]])),
            ("none", X, at(np.empty((2, 0))), 1),
            ("a scalar", normal(()), at(0)),
            ("of integers", of(SQUARE), at([[0], [1], [-1]]), 1),
        ],
    ),
    *cases(
        "gather",
        [
            ("axis 1", X, 1, at([[0, 0, 2, 1], [2, 2, 2, 2]])),
            ("axis 0", X, 0, at([[0, 1, 0], [1, 1, 1], [0, 0, 0]])),
            ("the last axis", normal((2, 3, 2)), -1, at([[[1], [0], [1]], [[0], [0], [0]]])),
            ("a smaller index", normal((3, 4)), 1, at([[3, 3]])),
            ("int32", X, 1, at([[0], [2]], np.int32)),
            ("a scalar", normal(()), 0, at(0)),
            ("a scalar by a row", normal(()), 0, at([0, 0])),
            ("a row by a scalar", normal((3,)), 0, at(1)),
            ("no rows", X, 1, at(np.empty((0, 2)))),
            ("nothing, of any shape", X, 1, at([])),
            ("of nothing", normal((2, 0)), 1, at(np.empty((2, 0)))),
            ("of integers", of(SQUARE), 1, at([[0, 1]])),
        ],
    ),
    Row("gather", "sparse_grad", followed_by(X, 1, at([[0], [1]])), {"sparse_grad": False}),
    *cases(
        "scatter_add",
        [
            ("axis 1, repeated", X, 1, at([[0, 0], [2, 0]]), lambda rng: rng.standard_normal((2, 2))),
            (
                "axis 0, longer than the input",
                X,
                0,
                at([[0, 0], [1, 0], [0, 0]]),
                lambda rng: rng.standard_normal((3, 2)),
            ),
            ("int32", X, 1, at([[1]], np.int32), lambda rng: rng.standard_normal((1, 1))),
            ("a scalar", normal(()), 0, at(0), lambda rng: rng.standard_normal(())),
            ("a scalar by a row", normal(()), 0, at([0]), lambda rng: rng.standard_normal(1)),
            ("a row by a scalar", normal((2,)), 0, at(1), lambda rng: rng.standard_normal(())),
            ("nothing", X, 1, at([]), lambda rng: rng.standard_normal((0,))),
            ("integers", of(SQUARE), 1, at([[0, 0]]), at([[10, 20]])),
            ("bools", of([[True, False]]), 1, at([[1, 0]]), at([[True, False]], bool)),
        ],
    ),
    *cases(
        "scatter",
        [
            ("axis 1", X, 1, at([[0, 1], [2, 0]]), lambda rng: rng.standard_normal((2, 2))),
            ("a number", X, 1, at([[0, 0], [2, 1]]), 5.5),
            ("a whole number", X, 1, at([[0], [2]], np.int32), 5),
            ("a float into integers", of(SQUARE), -1, at([[0], [1], [2]]), 5.7),
            ("integers", of(SQUARE), 0, at([[2, 0, 1]]), at([[10, 20, 30]])),
            ("the last of several", of(SQUARE), 1, at([[0, 0], [2, 2]]), at([[10, 20], [30, 40]])),
            ("a number into bools", of([[True, False]]), 1, at([[1]]), 2),
            ("a scalar", normal(()), 0, at(0), 5.0),
            ("a scalar by a row", normal(()), 0, at([0]), lambda rng: rng.standard_normal(1)),
            ("a row by a scalar", normal((2,)), 0, at(1), lambda rng: rng.standard_normal(())),
            ("nothing", X, 1, at([]), 1.0),
            ("NaN at other places", values([[NAN, INF, 1.0]]), 1, at([[0, 1]]), lambda rng: np.array([[1.0, 2.0]])),
        ],
    ),
    *(
        Row(
            f,
            "a larger src",
            followed_by(X, dim, at(index), lambda rng: rng.standard_normal((2, 3))),
            torch=with_src_cut(f),
        )
        for f, dim, index in [("scatter", 0, [[1, 0]]), ("scatter_add", -1, [[2, 0]])]
    ),
    Row("scatter", "value", followed_by(X, 1, at([[0, 1], [2, 0]])), {"value": -1.5}),
    *(
        Row(
            "scatter",
            f"{word} a {kind}",
            followed_by(of(SQUARE), 1, at([[0, 0], [2, 1]]), src),
            {"reduce": word},
            torch=quiet_scatter,
        )
        for word in ("add", "multiply")
        for kind, src in [("number", 3), ("tensor", at([[2, 5], [3, 7]]))]
    ),
    *cases(
        "index_select",
        [
            ("axis 1", X, 1, at([0, 2, 0])),
            ("axis 0", X, 0, at([1])),
            ("the last axis", normal((2, 3, 4)), -1, at([3, 0])),
            ("a middle axis", normal((2, 3, 4)), 1, at([2, 2])),
            ("one", X, 0, at(1)),
            ("int32", X, 1, at([2], np.int32)),
            ("none", X, 1, at([])),
            ("a scalar", normal(()), 0, at([0])),
            ("a scalar by a scalar", normal(()), -1, at(0)),
            ("of integers", of(SQUARE), 1, at([1, 1])),
        ],
    ),
    *cases(
        "index_add",
        [
            ("axis 0, repeated", X, 0, at([1, 1, 0]), lambda rng: rng.standard_normal((3, 3))),
            ("axis 1", X, 1, at([0, 2]), lambda rng: rng.standard_normal((2, 2))),
            ("the last axis", normal((2, 2, 3)), -1, at([0, 0]), lambda rng: rng.standard_normal((2, 2, 2))),
            ("one", X, 1, at(0), lambda rng: rng.standard_normal((2, 1))),
            ("int32", X, 1, at([1], np.int32), lambda rng: rng.standard_normal((2, 1))),
            ("none", X, 1, at([]), lambda rng: rng.standard_normal((2, 0))),
            ("a scalar", normal(()), 0, at(0), lambda rng: rng.standard_normal(())),
            ("integers", of(SQUARE), 0, at([0, 0]), at(SQUARE[:2])),
        ],
    ),
    *(
        Row(
            "index_add",
            f"alpha {alpha}",
            followed_by(X, 1, at([0, 0]), lambda rng: rng.standard_normal((2, 2))),
            {"alpha": alpha},
        )
        for alpha in (2, -0.5)
    ),
    Row("index_add", "alpha and integers", followed_by(of(SQUARE), 0, at([0]), at([[1, 2, 3]])), {"alpha": 2.5}),
    *cases(
        "masked_select",
        [
            ("a matrix", X, at([[True, False, True], [False, False, True]], bool)),
            ("columns", X, at([True, False, True], bool)),
            ("rows", X, at([[True], [False]], bool)),
            ("a broadcast input", normal((3,)), at([[True, False, True], [False, True, True]], bool)),
            ("a scalar", normal(()), at(True, bool)),
            ("a scalar by a row", normal(()), at([True, True], bool)),
            ("none", X, at([False, False, False], bool)),
            ("of nothing", normal((0,)), at([], bool)),
            ("of integers", of(SQUARE), at([[True], [False], [True]], bool)),
        ],
    ),
    *(
        Row("nonzero", f"{name}, as_tuple={as_tuple}", made, {"as_tuple": as_tuple}, smooth=False)
        for as_tuple in (False, True)
        for name, made in [
            ("a matrix", values([[0.0, 2.0], [NAN, -0.0]])),
            ("bools", of([[True, False], [True, True]])),
            ("integers", of([0, 3, 0, -1])),
            ("a scalar", values(np.array(2.0))),
            ("a scalar 0", values(np.array(0.0))),
            ("nothing", normal((2, 0))),
        ]
    ),
    # refused
    *cases(
        "take",
        [
            ("beyond the end", X, at([6])),
            ("before the start", X, at([-7])),
            ("floats", X, at([0.0], float)),
            ("int32", X, lambda rng: np.array([0], np.int16)),
            ("of nothing", normal((0,)), at([0])),
        ],
        Refused,
    ),
    *cases(
        "take_along_dim",
        [
            ("beyond the end", X, at([6])),
            ("negative without dim", X, at([-1])),
            ("other axes", X, at([0]), 1),
            ("other sizes", X, at([[0], [0], [0]]), 1),
            ("no such axis", X, at([[0]]), 2),
            ("floats", X, at([[0.0]], float), 1),
            ("a scalar has no axis", normal(()), at(0), 0),
        ],
        Refused,
    ),
    *cases(
        "gather",
        [
            ("beyond the end", X, 1, at([[3]])),
            ("negative", X, 1, at([[-1]])),
            ("other axes", X, 1, at([0])),
            ("too large", X, 0, at([[0, 1, 0, 1]])),
            ("no such axis", X, 2, at([[0]])),
            ("floats", X, 1, at([[0.0]], float)),
            ("beyond a scalar", normal(()), 0, at(1)),
            ("dim is True", X, True, at([[0]])),
        ],
        Refused,
    ),
    *(
        row
        for f in ("scatter", "scatter_add")
        for row in cases(
            f,
            [
                ("beyond the end", X, 1, at([[3]]), at([[1.0]], float)),
                ("negative", X, 1, at([[-1]]), at([[1.0]], float)),
                ("an index of other axes", X, 1, at([1]), at([[1.0]], float)),
                ("an index too large", X, 1, at([[0], [0], [0]]), at([[1.0]] * 3, float)),
                ("a src of other axes", normal((3,)), 0, at([1]), at([[1.0]], float)),
                ("a src too small", X, 1, at([[0, 1]]), at([[1.0]], float)),
                ("a src of another dtype", X, 1, at([[0]]), at([[1]])),
                ("no such axis", X, 2, at([[0]]), at([[1.0]], float)),
                ("floats", X, 1, at([[0.0]], float), at([[1.0]], float)),
                ("a word", X, 1, at([[0]]), "a"),
            ],
            Refused,
        )
    ),
    Refused("scatter", "neither src nor value", followed_by(X, 1, at([[0]]))),
    Refused("scatter", "src and value", followed_by(X, 1, at([[0]]), at([[1.0]], float)), {"value": 1.0}),
    Refused("scatter", "unknown reduce", followed_by(X, 1, at([[0]]), 1.0), {"reduce": "mean"}),
    *cases(
        "index_select",
        [
            ("beyond the end", X, 1, at([0, 3])),
            ("negative", X, 1, at([-1])),
            ("a matrix", X, 1, at([[0]])),
            ("floats", X, 1, at([0.0], float)),
            ("bools", X, 1, at([True, False, True], bool)),
            ("no such axis", X, 2, at([0])),
            ("two of a scalar", normal(()), 0, at([0, 0])),
        ],
        Refused,
    ),
    *cases(
        "index_add",
        [
            ("beyond the end", X, 1, at([3]), at([[1.0], [1.0]], float)),
            ("negative", X, 1, at([-1]), at([[1.0], [1.0]], float)),
            ("a matrix", X, 1, at([[0]]), at([[1.0], [1.0]], float)),
            ("a source too long", X, 1, at([0]), at([[1.0, 2.0], [1.0, 2.0]], float)),
            ("a source of fewer rows", X, 1, at([0]), at([[1.0]], float)),
            ("a source of another dtype", X, 1, at([0]), at([[1], [1]])),
            ("no such axis", X, 2, at([0]), at([[1.0], [1.0]], float)),
            ("a row to a scalar", normal(()), 0, at([0]), at([1.0], float)),
        ],
        Refused,
    ),
    Refused("index_add", "alpha is no number", followed_by(X, 0, at([0]), at([[1.0] * 3], float)), {"alpha": "a"}),
    Refused("masked_select", "numbers", followed_by(X, at([0, 1, 1]))),
    Refused("masked_select", "other sizes", followed_by(X, at([True, False], bool))),
    Row("take_along_dim", "int32 without dim", followed_by(X, at([0, 5], np.int32))),
]
