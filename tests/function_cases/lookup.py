"""Rows of ``tinybn/functional/lookup.py``."""

from typing import Any

import numpy as np

from function_cases.index import INF, NAN, SQUARE, at, of
from function_cases.row import Refused, Row, followed_by

NOTHING = np.empty(0, np.int64)


def functional(name: str) -> Any:
    """PyTorch's function of ``torch.nn.functional``, where ``torch`` has another one of that name."""
    return lambda torch, *arguments, **options: getattr(torch.nn.functional, name)(*arguments, **options)


ROWS = [
    *(
        Row("one_hot", f"{name}, {o}", of(numbers), o, method=False)
        for name, numbers, o in [
            ("a row", [0, 2], {}),
            ("a row", [0, 2], {"num_classes": 4}),
            ("a scalar", 1, {}),
            ("a matrix", [[0, 1]], {"num_classes": 3}),
            ("nothing", NOTHING, {"num_classes": 3}),
        ]
    ),
    *(
        Row(
            "embedding",
            f"{name}, {o}",
            followed_by(of(numbers), table),
            o,
            torch=functional("embedding"),
            smooth=not o,
            method=False,
        )
        for name, numbers, table in [
            ("a row", [0, 1, 0], lambda rng: rng.standard_normal((3, 2))),
            ("a matrix", [[0], [2]], lambda rng: rng.standard_normal((3, 2))),
            ("a scalar", 1, lambda rng: rng.standard_normal((3, 2))),
            ("nothing", NOTHING, lambda rng: rng.standard_normal((3, 2))),
        ]
        for o in ({}, {"padding_idx": 0}, {"padding_idx": -1})
    ),
    Row(
        "embedding",
        "int32",
        followed_by(of([1, 0], np.int32), lambda rng: rng.standard_normal((2, 2))),
        torch=functional("embedding"),
        method=False,
    ),
    Row("embedding", "integers", followed_by(of([1, 0]), at(SQUARE)), torch=functional("embedding"), method=False),
    # With these options the gradient is not the derivative, by design.
    Row(
        "embedding",
        "scale_grad_by_freq",
        followed_by(of([0, 0, 2, 0]), lambda rng: rng.standard_normal((3, 2))),
        {"scale_grad_by_freq": True},
        torch=functional("embedding"),
        smooth=False,
        method=False,
    ),
    # refused
    Refused("one_hot", "too few classes", of([0, 2]), {"num_classes": 2}),
    Refused("one_hot", "negative", of([0, -1])),
    Refused("one_hot", "nothing to count", of(NOTHING)),
    Refused("one_hot", "floats", of([0.0])),
    Refused("one_hot", "bools", of([True])),
    *(Refused("one_hot", f"{n} classes", of([0]), {"num_classes": n}) for n in (0, -2, 2.5, True)),
    *(
        Refused("embedding", name, followed_by(of(numbers), table), o, torch=functional("embedding"))
        for name, numbers, table, o in [
            ("beyond the end", [3], at(SQUARE, float), {}),
            ("negative", [-1], at(SQUARE, float), {}),
            ("floats", [0.0], at(SQUARE, float), {}),
            ("a weight with one axis", [0], at([1.0, 2.0], float), {}),
            ("padding beyond the end", [0], at(SQUARE, float), {"padding_idx": 3}),
            ("padding before the start", [0], at(SQUARE, float), {"padding_idx": -4}),
            ("padding of 0.5", [0], at(SQUARE, float), {"padding_idx": 0.5}),
        ]
    ),
    Row(
        "embedding",
        "scale_grad_by_freq of infinities",
        followed_by(of([0, 0, 1]), at([[INF, 1.0], [-INF, NAN]], float)),
        {"scale_grad_by_freq": True},
        torch=functional("embedding"),
        smooth=False,
        method=False,
    ),
    Row(
        "embedding",
        "scale_grad_by_freq of integers",
        followed_by(of([0, 0, 1]), at(SQUARE)),
        {"scale_grad_by_freq": True},
        torch=functional("embedding"),
        method=False,
    ),
]
