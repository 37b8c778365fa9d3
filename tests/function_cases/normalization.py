"""Rows of ``tinybn/functional/normalization.py``. What it changes in place is tested in ``tests/test_batchnorm.py``."""

from typing import Any

import numpy as np

from function_cases.row import Refused, Row, followed_by, normal, values


def drawn(*shape: int) -> Any:
    return lambda rng: rng.standard_normal(shape)


def variances(channels: int) -> Any:
    return lambda rng: rng.uniform(0.5, 2, channels)


def functional(torch: Any, x: Any, mean: Any, var: Any, *rest: Any, **options: Any) -> Any:
    """PyTorch's, which refuses running statistics that require grad."""
    mean, var = (None if a is None else a.detach() for a in (mean, var))
    return torch.nn.functional.batch_norm(x, mean, var, *rest, **options)


TRAINING = {"training": True}

ROWS = [
    *(
        Row("batch_norm", f"training, {shape}", normal(shape, None, None), TRAINING, functional, method=False)
        for shape in [(5, 3), (4, 2, 3), (3, 2, 2, 3), (2, 2, 1, 3, 2), (1, 3, 4), (2, 0), (0, 2)]
    ),
    *(
        Row("batch_norm", f"training, {name}", normal((5, 3), None, None, *more), TRAINING, functional, method=False)
        for name, more in [("weight", [(3,)]), ("bias", [None, (3,)]), ("both", [(3,), (3,)])]
    ),
    *(
        Row("batch_norm", f"training, {name}", normal((5, 3), None, None, *more), options, functional, method=False)
        for name, more, options in [
            ("eps", [], {"training": True, "eps": 0.5}),
            ("positional", [(3,), (3,), True, 0.2, 0.1], {}),
        ]
    ),
    Row(
        "batch_norm",
        "training, NaN",
        values([[1.0, 2.0], [np.nan, 3.0], [4.0, 7.0]], None, None),
        TRAINING,
        functional,
        False,
        False,
    ),
    *(
        Row(
            "batch_norm",
            f"evaluation, {name}",
            followed_by(normal(shape), drawn(3), variances(3), *more),
            options,
            torch=functional,
            smooth=False,  # the statistics are constants
            method=False,
        )
        for name, shape, more, options in [
            ("rows", (5, 3), (), {}),
            ("planes", (2, 3, 2, 2), (drawn(3), drawn(3)), {}),
            ("weight", (5, 3), (drawn(3),), {}),
            ("bias", (5, 3), (None, drawn(3)), {}),
            ("eps", (5, 3), (drawn(3), drawn(3)), {"eps": 0.5}),
            ("one row", (1, 3), (), {}),
            ("no rows", (0, 3), (), {}),
        ]
    ),
    *(
        Refused("batch_norm", name, normal(shape, None, None, *more), {"training": training})
        for name, shape, more, training in [
            ("one value per channel", (1, 3), (), True),
            ("one axis", (3,), (), True),
            ("a scalar", (), (), True),
            ("a weight of another size", (5, 3), ((2,),), True),
            ("a bias of another size", (5, 3), (None, (4,)), True),
            ("no statistics", (5, 3), (), False),
        ]
    ),
    Refused("batch_norm", "statistics of another size", normal((5, 3), (2,), (3,))),
    Refused("batch_norm", "integers", values([[1, 2], [3, 4]], None, None), TRAINING),
]
