"""Rows of ``tinybn/functional/padding.py``."""

import math

import numpy as np

from function_cases.row import Refused, Row, followed_by, integers, normal, values


def row(name, inputs, pad, mode="constant", smooth=True, **kwargs):
    return Row("pad", name, inputs, {"pad": pad, "mode": mode, **kwargs}, torch=_pad, smooth=smooth, method=False)


def refused(name, inputs, pad, mode="constant", **kwargs):
    return Refused("pad", name, inputs, {"pad": pad, "mode": mode, **kwargs}, torch=_pad)


def _pad(torch, x, **options):
    return torch.nn.functional.pad(x, **options)


INTEGERS = followed_by(values(), integers(0, 9, (2, 3)))

CONSTANT = [
    row("one axis", normal((2, 3)), (1, 2)),
    row("two axes", normal((2, 3, 2)), (1, 0, 0, 2)),
    row("all axes", normal((2, 3)), (1, 1, 2, 0), value=1.5),
    row("nothing", normal((2, 3)), ()),
    row("a scalar", normal(()), ()),
    row("by 0", normal((2, 3)), (0, 0), value=3),
    row("less", normal((2, 4)), (-1, -2)),
    row("less and more", normal((2, 4)), (-1, 2, 1, -1), value=-0.5),
    row("nothing left", normal((2, 3)), (-2, -1)),
    row("an empty one", normal((0, 3)), (0, 0, 1, 1), value=2),
    row("infinity", normal((3,)), (1, 1), value=-math.inf, smooth=False),
    row("NaN around infinity", values([np.inf, 1.0]), (1, 1), value=math.nan, smooth=False),
    row("integers", INTEGERS, (1, 1), value=2),
    row("integers by a fraction", INTEGERS, (1, 1), value=0.5),
    row("bools", values([True, False]), (1, 1)),
    row("bools by true", values([True, False]), (1, 1), value=1),
    refused("an odd number", normal((3,)), (1,)),
    refused("more axes than there are", normal((3,)), (1, 1, 1, 1)),
    refused("no tuple", normal((3,)), 1),
    refused("a fraction", normal((3,)), (1.5, 1)),
    refused("more taken away than there is", normal((3,)), (-4, 2)),
    refused("less than nothing", normal((3,)), (-2, -2)),
    refused("an unknown mode", normal((3,)), (1, 1), "mirror"),
]

OTHERS = [
    *(
        row(f"{mode}, {name}", normal(shape), pad, mode)
        for mode in ("reflect", "replicate", "circular")
        for name, shape, pad in [
            ("one axis", (2, 3), (1, 2)),
            ("one axis of a batch", (2, 1, 3), (2, 0)),
            ("two axes", (1, 3, 4), (2, 1, 0, 2)),
            ("two axes of a batch", (2, 1, 3, 2), (1, 1, 2, 1)),
            ("three axes", (1, 2, 2, 3), (1, 2, 1, 0, 0, 1)),
            ("three axes of a batch", (2, 1, 2, 2, 2), (1, 1, 1, 0, 0, 1)),
            ("less and more", (2, 3), (-1, 1)),
            ("by 0", (2, 3), (0, 0)),
            ("an empty batch", (0, 2, 3), (1, 1)),
        ]
    ),
    row("replicate, far", normal((1, 2)), (4, 3), "replicate"),
    row("replicate, all taken away in front", normal((1, 3)), (-3, 2), "replicate"),
    row("reflect, all taken away in front", normal((1, 3)), (-3, 2), "reflect"),
    row("circular, round what is left", normal((1, 4)), (-1, 2), "circular"),
    row("circular, once round", normal((1, 3)), (3, 3), "circular"),
    row("circular, nothing left", normal((1, 3)), (-2, -1), "circular"),
    row("circular, nothing there", normal((1, 0)), (0, 0), "circular"),
    *(row(f"{mode}, integers", INTEGERS, (1, 1), mode) for mode in ("reflect", "replicate", "circular")),
    *(
        refused(f"{mode}, {name}", normal(shape), pad, mode)
        for mode in ("reflect", "replicate", "circular")
        for name, shape, pad in [
            ("a vector", (3,), (1, 1)),
            ("one axis of four", (2, 2, 2, 3), (1, 1)),
            ("all axes", (2, 3), (1, 1, 1, 1)),
            ("none", (2, 3), ()),
            ("an odd number", (2, 3), (1,)),
            ("nothing to take from", (2, 0), (1, 1)),
            ("less than nothing", (2, 3), (-2, -2)),
        ]
    ),
    refused("reflect, too far", normal((1, 3)), (1, 3), "reflect"),
    refused("circular, too far", normal((1, 3)), (4, 0), "circular"),
    refused("replicate, nothing left", normal((1, 3)), (-2, -1), "replicate"),
    refused("reflect, nothing left", normal((1, 3)), (-2, -1), "reflect"),
    refused("reflect, with a value", normal((1, 3)), (1, 1), "reflect", value=1.0),
]

ROWS = [*CONSTANT, *OTHERS]
