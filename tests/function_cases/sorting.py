"""Rows of ``tinybn/functional/sorting.py``."""

from typing import Any

import numpy as np

from function_cases.row import Refused, Row, distinct, normal, values

INF, NAN = float("inf"), float("nan")
WITH_NAN = [[2.0, NAN, 1.0, INF], [NAN, NAN, 0.0, -INF], [1.0, 4.0, 3.0, 2.0]]
TIES = [[1, 3, 1, 3, 2, 1], [2, 2, 2, 2, 2, 2]]
ORDERS: list[tuple[str, dict[str, Any]]] = [
    ("default", {}),
    ("the first axis", {"dim": 0}),
    ("a middle axis, down", {"dim": -2, "descending": True}),
    ("down", {"descending": True}),
    ("stable", {"stable": True}),
]
CHOICES: list[tuple[str, dict[str, Any]]] = [
    ("default", {}),
    ("the first axis", {"dim": 0}),
    ("the smallest", {"dim": -1, "largest": False}),
    ("a middle axis", {"dim": -2, "largest": True, "sorted": True}),
]


def bools(rng: Any) -> tuple[Any, ...]:
    return (np.array([[True, False, True], [False, False, True]]),)


ROWS = [
    *(Row(f, name, distinct((2, 3, 4)), o, smooth=f == "sort") for f in ("sort", "argsort") for name, o in ORDERS),
    *(
        Row(f, f"{name}, {'down' if down else 'up'}", inputs, {"descending": down, "stable": True}, smooth=False)
        for f in ("sort", "argsort")
        for name, inputs in [("NaN", values(WITH_NAN)), ("ties", values(TIES)), ("bools", bools)]
        for down in (False, True)
    ),
    Row("sort", "positional", distinct((3, 2), 0, True)),
    Row("sort", "floats with ties", values([[1.0, 0.5, 1.0, 0.5]]), {"stable": True, "descending": True}, smooth=False),
    *(Row(f, "a scalar", normal(()), smooth=False) for f in ("sort", "argsort")),
    *(Row(f, "a scalar, dim 0", normal(()), {"dim": 0, "descending": True}, smooth=False) for f in ("sort", "argsort")),
    *(
        Row(f, f"shape {s}", normal(s), smooth=False)
        for f in ("sort", "argsort")
        for s in ((0,), (2, 0), (0, 2), (2, 1))
    ),
    # topk
    *(Row("topk", f"{k}, {name}", distinct((3, 3, 4), k), o) for k in (1, 3) for name, o in CHOICES),
    Row("topk", "all", distinct((2, 5), 5), {"dim": 1, "largest": False}),
    Row("topk", "none", distinct((2, 5), 0), smooth=False),
    Row("topk", "positional", distinct((2, 5), 2, 1, False, True)),
    *(Row("topk", f"a scalar, {k}", normal((), k), smooth=False) for k in (0, 1)),
    *(
        Row(
            "topk",
            f"NaN, largest {way}",
            values([WITH_NAN[2], [NAN, 2.0, 3.0, 1.0]], 2),
            {"largest": way},
            smooth=False,
        )
        for way in (True, False)
    ),
    Row("topk", "integers", values([[1, 5, 2], [4, 3, 6]], 2)),
    Row("topk", "another axis empty", normal((2, 0), 1), {"dim": 0}, smooth=False),
    # kthvalue
    *(
        Row("kthvalue", f"{k} of axis {dim}", distinct((2, 3, 4), k), {"dim": dim})
        for k in (1, 2)
        for dim in (0, 1, -1)
    ),
    Row("kthvalue", "default", distinct((2, 5), 3)),
    Row("kthvalue", "kept", distinct((2, 5), 5, 1, True)),
    Row("kthvalue", "integers", values([[1, 5, 2], [4, 3, 6]], 2)),
    *(Row("kthvalue", f"{k}, NaN", values([[NAN, 1.0, 3.0]], k), smooth=False) for k in (1, 2, 3)),
    Row("kthvalue", "a scalar", normal((), 1)),
    Row("kthvalue", "a scalar, kept", normal((), 1), {"dim": 0, "keepdim": True}),
    Row("kthvalue", "another axis empty", normal((2, 0), 1), {"dim": 0}, smooth=False),
    # median
    *(Row("median", f"all of {shape}", distinct(shape)) for shape in ((), (1,), (4,), (5,), (2, 3), (3, 2, 2))),
    *(Row("median", f"axis {dim}", distinct((2, 3, 4)), {"dim": dim}) for dim in (0, 1, -1)),
    Row("median", "kept", distinct((2, 5)), {"dim": 1, "keepdim": True}),
    Row("median", "positional", distinct((2, 5), 0, True)),
    Row("median", "a scalar, dim 0", normal(()), {"dim": 0}),
    Row("median", "ties share", values([1.0, 2.0, 2.0, 2.0, 3.0]), smooth=False),
    Row("median", "NaN share", values([1.0, NAN, 2.0, NAN]), smooth=False),
    Row("median", "NaN, one axis", values(WITH_NAN[1:]), {"dim": 1}, smooth=False),
    Row("median", "infinities", values([[INF, -INF, INF], [-INF, 1.0, INF]]), smooth=False),
    Row("median", "of nothing", normal((0,)), smooth=False),
    Row("median", "another axis empty", normal((2, 0)), {"dim": 0}, smooth=False),
    *(Row("median", f"integers, {o}", values([[1, 5, 2], [4, 3, 6]]), o) for o in ({}, {"dim": 1}, {"dim": 0})),
    # refused
    *(Refused(f, "no such axis", normal((2, 3)), {"dim": 2}) for f in ("sort", "argsort", "median")),
    *(Refused(f, "no such axis", normal((2, 3), 1), {"dim": -3}) for f in ("topk", "kthvalue")),
    *(Refused(f, "a scalar has no axis 1", normal(()), {"dim": 1}) for f in ("sort", "argsort", "median")),
    *(Refused(f, "dim is True", normal((2, 3), True)) for f in ("sort", "median")),
    *(Refused("topk", f"k = {k}", normal((2, 3), k)) for k in (4, -1, 1.5, True)),
    *(Refused("kthvalue", f"k = {k}", normal((2, 3), k)) for k in (4, 0, -1, 1.5, True)),
    *(Refused(f, "two of a scalar", normal((), 2)) for f in ("topk", "kthvalue")),
    *(Refused(f, "one of nothing", normal((2, 0), 1)) for f in ("topk", "kthvalue")),
    *(Refused(f, "bools", lambda rng: (*bools(rng), 1)) for f in ("topk", "kthvalue")),
    *(Refused("median", f"bools, {o}", bools, o) for o in ({}, {"dim": 0})),
    Refused("median", "an empty axis", normal((2, 0)), {"dim": 1}),
    Refused("median", "keepdim without dim", normal((2, 3)), {"keepdim": True}),
]
