"""Rows of ``tinybn/functional/joining.py``."""

import numpy as np

from function_cases.row import Refused, Row, distinct, followed_by, normal

SCALAR = normal(())

JOINS = [
    Row("cat", "rows", normal([(2, 3), (1, 3)]), method=False),
    Row("cat", "columns", normal([(2, 3), (2, 1), (2, 0)]), {"dim": -1}, method=False),
    Row("cat", "one", normal([(2, 3)]), method=False),
    Row("cat", "a vector without elements", normal([(0,), (2, 3), (1, 3)]), {"dim": 0}, method=False),
    Row("cat", "vectors without elements", normal([(0,), (0,)]), method=False),
    Row("cat", "three dtypes", lambda rng: ([np.array([1]), np.array([True]), np.array([0.5])],), method=False),
    Row("cat", "an empty float", lambda rng: ([np.array([1, 2]), np.zeros(0)],), smooth=False, method=False),
    Row("concat", "rows", normal([(2, 3), (1, 3)]), method=False),
    Row("concatenate", "rows", normal([(2, 3), (1, 3)]), method=False),
    *(
        Refused("cat", name, normal(shapes), options)
        for name, shapes, options in [
            ("none", [], {}),
            ("no list", (2, 3), {}),
            ("scalars", [(), ()], {}),
            ("numbers of axes that differ", [(2, 3), (3,)], {}),
            ("sizes that differ", [(2, 3), (2, 2)], {}),
            ("an empty matrix of another size", [(2, 3), (0, 3)], {"dim": 1}),
            ("no such axis", [(2,), (2,)], {"dim": 1}),
        ]
    ),
    Row("stack", "in front", normal([(2, 3), (2, 3)]), method=False),
    Row("stack", "behind", normal([(2, 3), (2, 3)]), {"dim": -1}, method=False),
    Row("stack", "scalars", normal([(), ()]), method=False),
    Row("stack", "two dtypes", lambda rng: ([np.array([1]), np.array([0.5])],), method=False),
    *(
        Refused("stack", name, normal(shapes), options)
        for name, shapes, options in [
            ("none", [], {}),
            ("no list", (2, 3), {}),
            ("shapes that differ", [(2,), (3,)], {}),
            ("no such axis", [(2,), (2,)], {"dim": 2}),
        ]
    ),
    Row("hstack", "vectors and a scalar", normal([(2,), (3,), ()]), method=False),
    Row("hstack", "matrices", normal([(2, 1), (2, 3)]), method=False),
    Refused("hstack", "a vector and a matrix", normal([(2,), (2, 2)])),
    Refused("hstack", "none", normal([])),
    Row("vstack", "vectors", normal([(2,), (2,)]), method=False),
    Row("vstack", "scalars", normal([(), ()]), method=False),
    Row("vstack", "a vector and a matrix", normal([(2,), (3, 2)]), method=False),
    Refused("vstack", "sizes that differ", normal([(2,), (3,)])),
    Refused("vstack", "none", normal([])),
]

CUTS = [
    Row("split", "one size", followed_by(normal((5, 2)), 2)),
    Row("split", "one size of columns", followed_by(normal((2, 4)), 2), {"dim": -1}),
    Row("split", "sizes", followed_by(normal((2, 5)), (2, 0, 3)), {"dim": 1}),
    Row("split", "nothing", followed_by(normal((0,)), 2)),
    Row("split", "nothing by 0", followed_by(normal((0,)), 0)),
    Row("split", "nothing into none", followed_by(normal((0, 2)), ()), smooth=False),
    *(
        Refused("split", name, followed_by(normal(shape), size), options)
        for name, shape, size, options in [
            ("by 0", (5,), 0, {}),
            ("by −1", (5,), -1, {}),
            ("by a fraction", (5,), 2.5, {}),
            ("sizes that do not add up", (5,), (2, 2), {}),
            ("a negative size", (5,), (6, -1), {}),
            ("a scalar", (), 1, {}),
            ("no such axis", (5,), 2, {"dim": 1}),
        ]
    ),
    Row("chunk", "the last is smaller", followed_by(normal((5, 2)), 3)),
    Row("chunk", "fewer than asked for", followed_by(normal((2, 6)), 4), {"dim": 1}),
    Row("chunk", "nothing", followed_by(normal((0,)), 3)),
    Refused("chunk", "none", followed_by(normal((2,)), 0)),
    Refused("chunk", "a scalar", followed_by(SCALAR, 1)),
    Row("unbind", "rows", normal((2, 3))),
    Row("unbind", "columns", normal((2, 3)), {"dim": -1}),
    Row("unbind", "nothing", normal((0, 3)), smooth=False),
    Refused("unbind", "a scalar", SCALAR),
    Refused("unbind", "no such axis", normal((2, 3)), {"dim": 2}),
    *(
        Row("narrow", name, followed_by(normal((4, 3)), dim, start, length))
        for name, dim, start, length in [
            ("rows", 0, 1, 2),
            ("columns from behind", -1, -2, 2),
            ("nothing", 0, 4, 0),
            ("a start in a tensor", 0, np.array(1), 2),
        ]
    ),
    *(
        Refused("narrow", name, followed_by(normal(shape), dim, start, length))
        for name, shape, dim, start, length in [
            ("too long", (4,), 0, 3, 2),
            ("a negative length", (4,), 0, 1, -1),
            ("a start behind the end", (4,), 0, 5, 0),
            ("a start in front", (4,), 0, -5, 1),
            ("a scalar", (), 0, 0, 1),
            ("no such axis", (4,), 1, 0, 1),
        ]
    ),
    Row("select", "a row", followed_by(distinct((2, 3)), 0, -1)),
    Row("select", "a column", followed_by(distinct((2, 3)), 1, 0)),
    Row("select", "of a vector", followed_by(distinct((3,)), 0, 1)),
    Refused("select", "no such place", followed_by(normal((2, 3)), 0, 2)),
    Refused("select", "no such axis", followed_by(normal((2, 3)), 2, 0)),
    Refused("select", "a scalar", followed_by(SCALAR, 0, 0)),
]

NAMED = [
    *(Row(f, "NumPy's name", normal([(2, 3), (2, 3)]), {"axis": 1}, method=False) for f in ("cat", "concat", "stack")),
    *(Refused(f, "both names", normal([(2, 3), (2, 3)]), {"axis": 1, "dim": 1}) for f in ("cat", "stack")),
]

ROWS = [*NAMED, *JOINS, *CUTS]
