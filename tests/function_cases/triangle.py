"""Rows of ``tinybn/functional/triangle.py``."""

import numpy as np

from function_cases.index import INF, NAN, SQUARE, of
from function_cases.row import Refused, Row, normal, values

INDICES = [
    *(
        Row(f, f"{arguments} {options}", values(*arguments), options, method=False)
        for f in ("tril_indices", "triu_indices")
        for arguments, options in [
            *(((2, 3, k), {}) for k in (0, 1, -1, 5, -5)),
            ((3, 2), {"offset": 1}),
            ((0, 2), {}),
            ((2, 2), {"dtype": np.int32}),
        ]
    ),
    *(
        Refused(f, f"{arguments} {options}", values(*arguments), options)
        for f in ("tril_indices", "triu_indices")
        for arguments, options in [((-1, 2), {}), ((2.0, 3), {}), ((2, 3), {"dtype": np.float32}), ((2, 3, 0.5), {})]
    ),
]

ROWS = [
    *INDICES,
    *(
        Row(f, f"diagonal {k} of {shape}", normal(shape), {"diagonal": k})
        for f in ("tril", "triu")
        for shape in ((3, 3), (2, 4))
        for k in (0, 1, -1, 5, -5)
    ),
    *(
        Row(f, name, made)
        for f in ("tril", "triu")
        for name, made in [
            ("a stack", normal((2, 3, 2))),
            ("nothing", normal((2, 0))),
            ("bools", of([[True, True], [True, True]])),
            ("integers", of(SQUARE)),
            ("bytes", of(SQUARE, np.uint8)),
        ]
    ),
    *(Row(f, "positional", normal((3, 3), -1)) for f in ("tril", "triu")),
    *(Row(f, "infinities", values([[INF, INF], [NAN, 1.0]]), smooth=False) for f in ("tril", "triu")),
    *(Row("diagonal", f"offset {k}", normal((3, 4)), {"offset": k}) for k in (0, 1, -1, 3, 4, -9)),
    *(
        Row("diagonal", f"offset {k} of axes {i} and {j}", normal((2, 3, 4)), {"offset": k, "dim1": i, "dim2": j})
        for k, i, j in [(0, 0, 2), (1, -1, -2), (-1, 1, 2), (0, 2, 0)]
    ),
    Row("diagonal", "positional", normal((2, 3, 4), 1, 1, 2)),
    Row("diagonal", "nothing", normal((2, 0))),
    Row("diagonal", "integers", of(SQUARE)),
    *(
        Row("diag", f"{k} of {shape}", normal(shape), {"diagonal": k})
        for shape in ((3,), (3, 4), (0,), (2, 0))
        for k in (0, 2, -1)
    ),
    Row("diag", "integers", of([1, 2])),
    Row("diag", "bools", of([True, False])),
    Row("trace", "a square", normal((3, 3))),
    Row("trace", "a wide matrix", normal((2, 3))),
    Row("trace", "nothing", normal((0, 3))),
    Row("trace", "integers", lambda rng: (np.arange(4, dtype=np.int64).reshape(2, 2),)),
    # refused
    *(Refused(f, "a row", normal((3,))) for f in ("tril", "triu", "diagonal")),
    *(Refused(f, "a scalar", normal(())) for f in ("tril", "triu", "diagonal", "diag")),
    *(Refused(f, "a diagonal of 0.5", normal((3, 3), 0.5)) for f in ("tril", "triu", "diagonal", "diag")),
    Refused("diagonal", "an axis twice", normal((3, 3)), {"dim1": 0, "dim2": -2}),
    Refused("diagonal", "no such axis", normal((3, 3)), {"dim2": 2}),
    Refused("diag", "three axes", normal((2, 2, 2))),
    Refused("trace", "a vector", normal((3,))),
    Refused("trace", "three axes", normal((2, 2, 2))),
    Refused("trace", "bools", of([[True]])),
]
