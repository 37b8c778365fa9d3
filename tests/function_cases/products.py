"""Rows of ``tinybn/functional/products.py``."""

import numpy as np

from function_cases.row import Refused, Row, followed_by, integers, normal, values

INF = float("inf")
VECTOR = ((2,), (2, 3), (3,))
STACKS = ((2, 2, 4), (2, 2, 3), (2, 3, 4))
BOTH = [("addmv", VECTOR), ("baddbmm", STACKS)]


def whole(*shapes):
    return followed_by(values(), *(integers(-5, 5, shape) for shape in shapes))


ADDED = [
    *(
        Row(f, name, normal(*shapes), options)
        for f, shapes in BOTH
        for name, options in [
            ("plain", {}),
            ("scaled", {"beta": 0.5, "alpha": -2}),
            ("the input left out", {"beta": 0}),
        ]
    ),
    *(Row(f, "the product left out", normal(*shapes), {"alpha": 0}) for f, shapes in BOTH),
    *(Row(f, "a scalar added", normal((), *shapes[1:])) for f, shapes in BOTH),
    *(Row(f, "integers", whole(*shapes), {"beta": 2, "alpha": 3}) for f, shapes in BOTH),
    Row("addmv", "integers and fractions", whole(*VECTOR), {"beta": 1.5, "alpha": 0.5}),
    Row("addmv", "nothing", normal((2,), (2, 0), (0,))),
    Row("baddbmm", "nothing", normal((1, 4), (0, 2, 3), (0, 3, 4))),
    Row("baddbmm", "a row added", normal((4,), *STACKS[1:])),
    *(
        Refused("addmv", f"shapes {shapes}", normal(*shapes))
        for shapes in [
            ((2, 1), (2, 3), (3,)),
            ((3,), (2, 3), (3,)),
            ((2,), (2, 3), (2,)),
            ((2,), (3,), (3,)),
            ((2,), (2, 3), (3, 1)),
        ]
    ),
    *(
        Refused("baddbmm", f"shapes {shapes}", normal(*shapes))
        for shapes in [
            ((1, 1, 2, 4), *STACKS[1:]),
            ((3,), *STACKS[1:]),
            ((4,), (2, 3), (2, 3, 4)),
            ((4,), (2, 2, 3), (3, 3, 4)),
            ((4,), (2, 2, 3), (2, 2, 4)),
        ]
    ),
    Refused("addmv", "two dtypes", followed_by(normal((2,), (2, 3)), integers(0, 3, (3,)))),
    Refused("addmv", "bools", values([True], [[True]], [True])),
    Refused("baddbmm", "two dtypes", followed_by(normal((4,), (2, 2, 3)), integers(0, 3, (2, 3, 4)))),
]
KRON = [
    *(
        Row("kron", f"shapes {shapes}", normal(*shapes))
        for shapes in [
            ((2,), (3,)),
            ((2, 3), (4, 1)),
            ((2,), (2, 2)),
            ((2, 2), (3,)),
            ((), (2, 3)),
            ((2,), ()),
            ((), ()),
            ((0, 2), (3, 2)),
            ((2, 1, 2), (2, 2)),
        ]
    ),
    Row("kron", "integers", whole((2,), (2, 2))),
    Row("kron", "with integers", followed_by(normal((2,)), integers(0, 3, (2, 2)))),
    Row("kron", "bools", values([True, False], [True])),
]
ROWS_OF_TWO = normal((3, 4), (2, 4))
CDIST = [
    *(Row("cdist", f"p {p}", ROWS_OF_TWO, {"p": p}, method=False) for p in (2.0, 1, 0.0, 1.5, 3, INF)),
    *(
        Row("cdist", f"shapes {shapes}", normal(*shapes), method=False)
        for shapes in [((2, 3, 4), (2, 2, 4)), ((2, 3, 4), (2, 4)), ((1, 2, 2), (3, 2, 2))]
    ),
    *(
        Row("cdist", f"shapes {shapes}", normal(*shapes), method=False)
        for shapes in [((0, 2), (3, 2)), ((2, 2), (0, 2))]
    ),
    *(Row("cdist", f"no columns, p {p}", normal((2, 0), (3, 0)), {"p": p}, method=False) for p in (2, INF)),
    *(
        Row(
            "cdist",
            f"equal rows, p {p}",
            values([[1.0, 2.0], [0.0, 1.0]], [[1.0, 2.0]]),
            {"p": p},
            smooth=False,
            method=False,
        )
        for p in (2.0, 1.0, 3.0)
    ),
    *(
        Row("cdist", mode, ROWS_OF_TWO, {"compute_mode": mode}, method=False)
        for mode in ("use_mm_for_euclid_dist_if_necessary", "donot_use_mm_for_euclid_dist")
    ),
    *(
        Refused("cdist", name, made, options)
        for name, made, options in [
            ("a vector", normal((3, 4), (4,)), {}),
            ("other columns", normal((3, 4), (3, 3)), {}),
            ("other stacks", normal((2, 3, 4), (3, 3, 4)), {}),
            ("p below 0", ROWS_OF_TWO, {"p": -1.0}),
            ("integers", whole((2, 3), (2, 3)), {}),
            ("two dtypes", followed_by(normal((2, 3)), np.ones((2, 3), np.int64)), {}),
            ("another mode", ROWS_OF_TWO, {"compute_mode": "fast"}),
        ]
    ),
]

ROWS = [*ADDED, *KRON, *CDIST]
