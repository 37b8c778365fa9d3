"""Rows of ``tinybn/functional/affine.py``."""

import numpy as np

from function_cases.row import Refused, Row, normal, values

ROWS = [
    *(
        Row("linear", f"{name}{' and bias' * bool(bias)}", normal(shape, (4, 3), *bias), method=False)
        for name, shape in [
            ("a row", (3,)),
            ("rows", (2, 3)),
            ("two axes in front", (2, 2, 3)),
            ("no rows", (0, 3)),
            ("nothing in front", (2, 0, 3)),
        ]
        for bias in ([], [(4,)])
    ),
    Row("linear", "no inputs", normal((2, 0), (4, 0), (4,)), method=False),
    Row("linear", "no outputs", normal((2, 3), (0, 3), (0,)), method=False),
    Row("linear", "one output", normal((2, 3), (3,)), method=False),
    Row("linear", "one output and a bias", normal((3,), (3,), ()), method=False),
    Row("linear", "a bias for all", normal((2, 3), (4, 3), ()), method=False),
    Refused("linear", "bools", values([[True, False]], [[True, True]])),
    Row("linear", "integers", values([[1, 2]], [[3, 4], [5, 6]]), method=False),
    *(
        Refused("linear", name, normal(*shapes))
        for name, shapes in [
            ("other features", [(2, 4), (4, 3)]),
            ("a scalar", [(), (4, 3)]),
            ("a bias of another size", [(2, 3), (4, 3), (3,)]),
            ("a bias of two axes", [(2, 3), (4, 3), (4, 1)]),
            ("a weight of three axes", [(2, 3), (1, 4, 3)]),
        ]
    ),
    Refused("linear", "two dtypes", lambda rng: (np.ones((2, 3)), np.ones((4, 3), int))),
]
