"""Rows of ``tinybn/functional/shape.py``."""

from function_cases.row import Refused, Row, normal

ROWS = [
    Row("flatten", "from 1", normal((2, 3, 4)), {"start_dim": 1}),
    Row("squeeze", "all", normal((1, 3, 1))),
    Row("cat", "rows", normal([(2, 3), (1, 3)]), method=False),
    Refused("flatten", "wrong order", normal((2, 3, 4)), {"start_dim": 2, "end_dim": 1}),
]
