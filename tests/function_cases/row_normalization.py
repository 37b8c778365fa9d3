"""Rows of ``tinybn/functional/row_normalization.py``."""

from typing import Any

from function_cases.normalization import drawn, variances
from function_cases.row import Refused, Row, followed_by, normal, values


def instance_norm(torch: Any, x: Any, mean: Any, var: Any, *rest: Any, **options: Any) -> Any:
    """PyTorch's, which refuses running statistics that require grad."""
    mean, var = (None if a is None else a.detach() for a in (mean, var))
    return torch.nn.functional.instance_norm(x, mean, var, *rest, **options)


def group_norm(torch: Any, x: Any, groups: int, weight: Any = None, bias: Any = None, **options: Any) -> Any:
    """``torch.group_norm``, which would be taken else, checks less; and none has a gradient for a bias alone."""
    weight = torch.ones_like(bias) if weight is None and bias is not None else weight
    return torch.nn.functional.group_norm(x, groups, weight, bias, **options)


ROWS = [
    *(
        Row("layer_norm", f"{shape} over {last}", followed_by(normal(shape), last), method=False)
        for shape, last in [
            ((4, 5), (5,)),
            ((5,), (5,)),
            ((2, 3, 4), (4,)),
            ((2, 3, 4), (3, 4)),
            ((2, 3, 4), (2, 3, 4)),
            ((0, 4), (4,)),
        ]
    ),
    *(
        Row("layer_norm", name, followed_by(normal((4, 5)), (5,), *more), options, method=False)
        for name, more, options in [
            ("weight", (drawn(5),), {}),
            ("bias", (None, drawn(5)), {}),
            ("both", (drawn(5), drawn(5)), {}),
            ("eps", (drawn(5), drawn(5)), {"eps": 0.5}),
            ("positional", (drawn(5), drawn(5), 0.1), {}),
        ]
    ),
    *(
        Row("rms_norm", f"{shape} over {last}", followed_by(normal(shape), last), method=False)
        for shape, last in [((4, 5), (5,)), ((5,), (5,)), ((2, 3, 4), (3, 4)), ((0, 4), (4,))]
    ),
    *(
        Row("rms_norm", name, followed_by(normal((4, 5)), (5,), *more), options, method=False)
        for name, more, options in [("weight", (drawn(5),), {}), ("eps", (drawn(5),), {"eps": 0.5})]
    ),
    *(
        Row("group_norm", f"{shape} in {groups}", followed_by(normal(shape), groups), method=False)
        for shape, groups in [
            ((3, 6), 2),
            ((3, 6), 1),
            ((2, 6, 3), 3),
            ((2, 4, 2, 3), 4),
            ((2, 4, 2, 3), 1),
            ((2, 4, 2, 1, 2), 2),
            ((0, 6, 3), 3),
        ]
    ),
    *(
        Row("group_norm", name, followed_by(normal((2, 6, 4)), 3, *more), options, group_norm, method=False)
        for name, more, options in [
            ("weight", (drawn(6),), {}),
            ("bias", (None, drawn(6)), {}),
            ("both", (drawn(6), drawn(6)), {"eps": 0.5}),
        ]
    ),
    *(
        Row("instance_norm", f"{shape}", normal(shape, None, None), torch=instance_norm, method=False)
        for shape in [(2, 3, 4), (1, 3, 4), (2, 3, 3, 2), (2, 2, 2, 1, 3)]
    ),
    Row(
        "instance_norm",
        "both",
        followed_by(normal((2, 3, 4)), None, None, drawn(3), drawn(3)),
        {"eps": 0.5},
        torch=instance_norm,
        method=False,
    ),
    Row(
        "instance_norm",
        "running statistics",
        followed_by(normal((2, 3, 4)), drawn(3), variances(3), drawn(3), drawn(3)),
        {"use_input_stats": False},
        torch=instance_norm,
        smooth=False,  # the statistics are constants
        method=False,
    ),
    *(
        Refused(
            name, what, inputs, torch={"instance_norm": instance_norm, "group_norm": group_norm}.get(name), method=False
        )
        for name, what, inputs in [
            ("layer_norm", "other axes", followed_by(normal((4, 5)), (4,))),
            ("layer_norm", "too few axes", followed_by(normal((5,)), (4, 5))),
            ("layer_norm", "no axes", followed_by(normal((4, 5)), ())),
            ("layer_norm", "a weight of another size", followed_by(normal((4, 5)), (5,), drawn(4))),
            ("layer_norm", "a bias of another size", followed_by(normal((4, 5)), (5,), None, drawn(4))),
            ("layer_norm", "integers", values([[1, 2], [3, 4]], (2,))),
            ("rms_norm", "other axes", followed_by(normal((4, 5)), (4,))),
            ("rms_norm", "a weight of another size", followed_by(normal((4, 5)), (5,), drawn(4))),
            ("group_norm", "groups that do not divide the channels", followed_by(normal((2, 6, 4)), 4)),
            ("group_norm", "one value in all", followed_by(normal((1, 1)), 1)),
            ("group_norm", "one axis", followed_by(normal((6,)), 2)),
            ("group_norm", "a weight of another size", followed_by(normal((2, 6, 4)), 2, drawn(5))),
            ("instance_norm", "one value per channel", normal((2, 3, 1), None, None)),
            ("instance_norm", "a weight of another size", followed_by(normal((2, 3, 4)), None, None, drawn(5))),
        ]
    ),
]
