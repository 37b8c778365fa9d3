"""Rows of ``tinybn/functional/reduction.py`` and ``extremes.py``."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from function_cases.row import Refused, Row, distinct, followed_by, normal, positive, values

INF, NAN = float("inf"), float("nan")


NOT_DIFFERENTIABLE = {"any", "all", "argmax", "argmin", "count_nonzero"}


def quiet(name: str) -> Callable[..., Any]:
    """PyTorch's function without its warning that there are too few elements."""

    def call(torch: Any, *arguments: Any, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(torch, name)(*arguments, **options)

    return call


def detached(name: str) -> Callable[..., Any]:
    """PyTorch's function outside the graph, where it refuses to make integers of what requires grad."""
    return lambda torch, x, **options: getattr(torch, name)(x.detach(), **options)


def bools(rng: Any) -> tuple[Any, ...]:
    return (np.array([[True, False, False], [True, True, False]]),)


def bytes_(rng: Any) -> tuple[Any, ...]:
    return (np.array([[0, 200], [100, 0], [3, 4]], np.uint8),)


def small_integers(rng: Any) -> tuple[Any, ...]:
    return (np.array([[0, 2, 5], [7, 2, 1]]),)


# --- over one axis, several, all, none: every reduction, with keepdim ---------------------------------------------

AXES: list[tuple[str, dict[str, Any]]] = [
    ("all", {}),
    ("one axis", {"dim": 1}),
    ("the last axis, kept", {"dim": -1, "keepdim": True}),
    ("two axes", {"dim": (0, -1)}),
    ("two axes, kept", {"dim": (-3, 1), "keepdim": True}),
    ("no axes mean all", {"dim": ()}),
]
VARIANCES = ["var", "std", "var_mean", "std_mean"]

# --- over NaN, products so far, differences ---------------------------------------------------------------------

HOLES = values([[1.0, NAN, 3.0], [NAN, 2.0, NAN]])
ZEROS = values([[2.0, 0.0, 3.0, 0.5, -1.0], [1.0, 0.0, 0.0, 2.0, 4.0]])


SEQUENCES = [
    *(Row(f, name, positive((2, 3, 4)), options) for f in ("nansum", "nanmean") for name, options in AXES),
    *(
        Row(f, f"of holes, {name}", HOLES, o, smooth=False)
        for f in ("nansum", "nanmean")
        for name, o in [
            ("all", {}),
            ("rows", {"dim": 1}),
            ("columns, kept", {"dim": 0, "keepdim": True}),
            ("NumPy's names", {"axis": 1, "keepdims": True}),
            ("in float64", {"dtype": np.float64}),
        ]
    ),
    *(Row(f, "of a scalar", normal(())) for f in ("nansum", "nanmean")),
    *(Row(f, "of nothing", normal((0, 2)), {"dim": 0}, smooth=False) for f in ("nansum", "nanmean")),
    *(
        Row("nansum", f"of {kind}", made, {"dim": 1})
        for kind, made in [("integers", small_integers), ("bools", bools), ("bytes", bytes_)]
    ),
    Row("nansum", "of integers into floats", small_integers, {"dtype": np.float32}),
    Refused("nansum", "no such axis", normal((2, 3)), {"dim": 2}),
    *(Refused("nanmean", name, made) for name, made in [("of integers", small_integers), ("of bools", bools)]),
    *(Row("cumprod", f"axis {dim}", positive((2, 3, 5)), {"dim": dim}) for dim in (0, 1, -1)),
    Row("cumprod", "of zeros", ZEROS, {"dim": 1}),
    *(Row("cumprod", f"shape {shape}", positive(shape), {"dim": 0}) for shape in [(), (0,), (1,), (7,), (8,), (3, 0)]),
    *(
        Row("cumprod", f"of {kind}", made, {"dim": 1})
        for kind, made in [("integers", small_integers), ("bools", bools), ("bytes", bytes_)]
    ),
    Row("cumprod", "in float64", small_integers, {"dim": 1, "dtype": np.float64}),
    Row("cumprod", "NumPy's name", positive((2, 3)), {"axis": 1}),
    Refused("cumprod", "no such axis", positive((2, 3)), {"dim": 2}),
    Refused("cumprod", "without dim", positive((2, 3)), {"dim": None}),
    *(Row("diff", f"{n} times", normal((2, 4)), {"n": n}) for n in (0, 1, 2, 4, 7)),
    *(Row("diff", f"axis {dim}", normal((2, 3, 4)), {"dim": dim}) for dim in (0, 1, -3)),
    Row("diff", "NumPy's name", normal((3, 2)), {"axis": 0}),
    Row("diff", "of nothing", normal((2, 0))),
    Row("diff", "of one", normal((1,))),
    *(
        Row("diff", f"of {kind}", made)
        for kind, made in [("integers", small_integers), ("bools", bools), ("bytes", bytes_)]
    ),
    Row("diff", "twice of bools", bools, {"n": 2}),
    Row("diff", "with more on both sides", normal((2, 3), 1, -1, (2, 1), (2, 2))),
    Row("diff", "not at all, with more in front", normal((2, 3), 0, -1, (2, 1))),
    Row("diff", "with integers in front", followed_by(normal((2, 3), 1, -1), np.array([[1], [2]]))),
    *(
        Refused("diff", name, made, options)
        for name, made, options in [
            ("of a scalar", normal(()), {}),
            ("fewer than no times", normal((3,)), {"n": -1}),
            ("no such axis", normal((2, 3)), {"dim": 2}),
            ("with fewer axes in front", normal((2, 3), 1, -1, (3,)), {}),
            ("with a scalar behind", normal((2, 3), 1, -1, None, ()), {}),
            ("with other rows in front", normal((2, 3), 1, -1, (3, 1)), {}),
        ]
    ),
]

ROWS = [
    *SEQUENCES,
    *(Row(f, name, positive((2, 3, 4)), options) for f in ("sum", "mean", "amax", "amin") for name, options in AXES),
    # PyTorch's variances over no axes have infinite gradients: it counts one element.
    *(Row(f, name, positive((2, 3, 4)), options) for f in VARIANCES for name, options in AXES[:-1]),
    *(Row("norm", name, distinct((2, 3, 4)), options) for name, options in AXES),
    *(Row("logsumexp", name, normal((2, 3, 4)), options) for name, options in AXES[1:5]),
    *(Row(function, name, distinct((2, 3, 4)), o) for function in ("prod", "max", "min") for name, o in AXES[:3]),
    *(
        Row(function, name, distinct((2, 3, 4)), options, smooth=False)
        for function in ("argmax", "argmin")
        for name, options in AXES[:3]
    ),
    *(
        Row(function, f"bools, {name}", bools, options)
        for function in ("any", "all", "count_nonzero")
        for name, options in [
            ("all", {}),
            ("one axis", {"dim": 0}),
            ("two axes", {"dim": (-1, 0)}),
            ("()", {"dim": ()}),
        ]
    ),
    *(Row(function, "kept", bools, {"dim": -1, "keepdim": True}) for function in ("any", "all")),
    *(Row(function, "all kept", bools, {"keepdim": True}) for function in ("any", "all")),
    *(
        Row(f, "of numbers", values([[0.0, 2.0], [NAN, -0.0]]), {"dim": 0}, smooth=False)
        for f in ("any", "all", "count_nonzero")
    ),
    *(Row(f, "of integers", small_integers, {"dim": 1}) for f in ("any", "all", "count_nonzero")),
    *(Row(f, "of bytes", bytes_, {"dim": 1}) for f in ("any", "all", "count_nonzero", "sum", "prod", "cumsum")),
    # NumPy's names
    *(
        Row(f, "NumPy's names", positive((2, 3)), {"axis": 0, "keepdims": True}, smooth=f not in NOT_DIFFERENTIABLE)
        for f in ("sum", "mean", "prod", "var", "std", "var_mean", "std_mean", "max", "min", "argmax", "argmin")
    ),
    *(Row(f, "NumPy's names", bools, {"axis": 0, "keepdims": True}) for f in ("any", "all")),
    Row("cumsum", "NumPy's name", normal((2, 3)), {"axis": 1}),
    # scalars
    *(
        Row(f, f"of a scalar, dim {dim}", positive(()), {"dim": dim}, smooth=f not in NOT_DIFFERENTIABLE)
        for f in ("sum", "mean", "prod", "amax", "max", "min", "argmax", "norm", "logsumexp", "cumsum", "any")
        for dim in (0, -1)
    ),
    *(Row(f, "of a scalar", positive(())) for f in ("sum", "mean", "prod", "amin", "max", "norm")),
    *(Row(f, "of a scalar", positive(()), smooth=False) for f in ("argmin", "count_nonzero")),
    *(Row(f, "of a scalar, kept", positive(()), {"dim": 0, "keepdim": True}) for f in ("sum", "prod", "max")),
    Row("argmax", "of a scalar, kept", positive(()), {"dim": 0, "keepdim": True}, smooth=False),
    *(Row(f, "of a scalar is 0/0", positive(()), torch=quiet(f), smooth=False) for f in ("var", "std")),
    Row("var", "of a scalar, not corrected", positive(()), {"correction": 0}),
    # empties
    *(
        Row(f, "of nothing", normal((0,)), torch=quiet(f), smooth=False)
        for f in ("sum", "mean", "prod", "var", "std", "norm", "any", "all", "count_nonzero")
    ),
    *(
        Row(f, f"of an empty axis, {name}", normal(shape), {"dim": 1}, torch=quiet(f), smooth=False)
        for f in ("sum", "mean", "prod", "var", "std_mean", "norm", "logsumexp", "cumsum", "any", "count_nonzero")
        for name, shape in [("reduced", (2, 0)), ("left", (0, 2))]
    ),
    *(
        Row(f, "with another axis empty", normal((2, 0)), {"dim": 0}, smooth=False)
        for f in ("amax", "amin", "max", "min", "argmax", "argmin")
    ),
    *(
        Refused(f, f"of nothing, {name}", normal(shape), options)
        for f in ("amax", "amin", "max", "min", "argmax", "argmin")
        for name, shape, options in [("all", (0,), {}), ("one axis", (2, 0), {"dim": 1}), ("all of two", (2, 0), {})]
    ),
    # dtypes
    *(Row(f, "of integers", small_integers, {"dim": 0}) for f in ("sum", "prod", "cumsum", "amax", "max", "argmin")),
    *(Row(f, "of bools", bools, {"dim": 1}) for f in ("sum", "prod", "cumsum", "amax", "amin", "max", "min")),
    *(Row(f, "of all bools", bools) for f in ("sum", "prod", "amax", "max", "min")),
    *(
        Row(f, f"integers into {dtype.__name__}", small_integers, {"dim": 0, "dtype": dtype})
        for f in ("sum", "prod", "cumsum")
        for dtype in (np.float32, np.float64, np.int64, np.int32)
    ),
    *(
        Row(
            f,
            f"floats into {t.__name__}",
            values([[1.5, 2.5], [3.25, -1.75]]),
            {"dim": 0, "dtype": t},
            detached(f),
            False,
        )
        for f in ("sum", "prod", "cumsum")
        for t in (np.int64, np.int32)
    ),
    *(
        Row(f, "floats into float64", normal((2, 3)), {"dim": 1, "dtype": np.float64})
        for f in ("sum", "prod", "cumsum")
    ),
    *(Row("mean", f"integers into {t.__name__}", small_integers, {"dtype": t}) for t in (np.float32, np.float64)),
    Row("mean", "floats into float64", normal((2, 3)), {"dim": 1, "dtype": np.float64}),
    Row("sum", "into bool", small_integers, {"dtype": np.bool_}),
    Row("logsumexp", "of integers", small_integers, {"dim": 0}),
    Row("logsumexp", "of bools", bools, {"dim": 0}),
    # what is special
    *(Row(f, "a NumPy integer", positive((2, 3)), {"dim": np.int64(1)}) for f in ("sum", "prod", "cumsum")),
    Row("any", "a NumPy integer", bools, {"dim": np.int64(0)}),
    *(
        Row("prod", f"with {zeros} zeros", values([[0.0] * zeros + [1.5, -2.0, 0.5, 3.0, 1.25]]), {"dim": 1})
        for zeros in (0, 1, 2)
    ),
    *(Row("prod", f"of {n}", positive((n,))) for n in (1, 2, 3, 5, 8)),
    Row("prod", "of one, kept", positive((2, 1)), {"dim": 1, "keepdim": True}),
    Row("prod", "of a middle axis", positive((2, 3, 2)), {"dim": 1}),
    Row("var", "unbiased, positional", normal((2, 3), 1, False)),
    Row("var", "unbiased first", normal((2, 3), False)),
    Row("var", "unbiased by name", normal((2, 3)), {"unbiased": False}),
    Row("var", "unbiased and kept", followed_by(normal((2, 3)), (0, 1), True, True)),
    Row("var", "None and unbiased", normal((2, 3), None, False)),
    *(Row("var", f"correction {c}", normal((2, 5)), {"dim": 1, "correction": c}) for c in (0, 2, 2.5, -1, None)),
    Row("var", "of NaN", values([NAN, 1.0]), smooth=False),
    Row("std", "unbiased, positional", normal((2, 3), 0, False, True)),
    Row("std", "correction 0, kept", normal((2, 3)), {"dim": 1, "correction": 0, "keepdim": True}),
    Row("std", "of equal numbers", values([[2.0, 2.0], [1.0, 4.0]]), {"dim": 1}, smooth=False),
    Row("var_mean", "unbiased first", normal((2, 3), False)),
    Row("var_mean", "correction 0, kept", normal((2, 3)), {"dim": 0, "correction": 0, "keepdim": True}),
    Row("std_mean", "unbiased, positional", normal((2, 3), 0, False)),
    *(
        Row("norm", f"p={p!r}, {name}", normal((2, 5)) if p in (INF, -INF) else distinct((2, 5)), {"p": p, **options})
        for p in (1, 2, 3, 1.5, 0.5, -1, -2.5, INF, -INF, "fro", None)
        for name, options in [("all", {}), ("kept", {"dim": -1, "keepdim": True}), ("two", {"dim": (0, 1)})]
    ),
    *(
        Row("norm", f"p={p!r} at 0", values([[0.0, 0.0], [0.0, -2.0]]), {"p": p, "dim": 1}, smooth=False)
        for p in (0, 1, 2, 3, 1.5, 0.5, -1, INF, -INF)
    ),
    Row("norm", "the largest twice", values([2.0, -2.0, 1.0]), {"p": INF}, smooth=False),
    *(Row("norm", f"p={p} of infinity", values([2.0, INF]), {"p": p}, smooth=False) for p in (1, 2, 3)),
    *(Row("norm", f"p={p} of NaN", values([2.0, NAN]), {"p": p}, smooth=False) for p in (0, 2)),
    Row("norm", "p=0", distinct((2, 5)), {"p": 0, "dim": 1, "keepdim": True}, smooth=False),
    Row("norm", "three axes", normal((2, 2, 2)), {"p": 2, "dim": (0, 1, 2)}),
    *(
        Row("logsumexp", f"of {name}", values(numbers), {"dim": 0}, smooth=False)
        for name, numbers in [
            ("-inf", [-INF, -INF]),
            ("inf", [INF, 1.0]),
            ("inf and -inf", [INF, -INF]),
            ("one -inf", [-INF, 1.0]),
            ("NaN", [NAN, 1.0]),
        ]
    ),
    Row("logsumexp", "of large numbers", values([90.0, 91.0, -90.0]), {"dim": 0}),
    *(Row("cumsum", f"axis {dim}", normal((2, 3, 4)), {"dim": dim}) for dim in (0, 1, -1)),
    *(Row(f, "ties, all", values([[3.0, 1.0], [3.0, 1.0]]), smooth=False) for f in ("amax", "amin", "max", "min")),
    *(
        Row(f, "ties, one axis", values([[3.0, 1.0, 3.0], [0.5, 0.5, 0.5]]), {"dim": 1}, smooth=False)
        for f in ("amax", "amin", "max", "min", "argmax", "argmin")
    ),
    *(Row(f, "NaN, all", values([3.0, NAN, 1.0, NAN]), smooth=False) for f in ("max", "min", "argmax", "argmin")),
    *(
        Row(f, "NaN, one axis", values([[3.0, NAN, NAN], [3.0, 1.0, 5.0]]), {"dim": 1}, smooth=False)
        for f in ("max", "min", "argmax", "argmin")
    ),
    *(Row(f, "infinite", values([[INF, 1.0, -INF]]), {"dim": 1}, smooth=False) for f in ("max", "min", "sum", "mean")),
    *(Row(f, "kept, all", normal((2, 3)), {"keepdim": True}) for f in ("amax", "amin", "norm")),
    *(Row(f, "kept, all", normal((2, 3)), {"keepdim": True}, smooth=False) for f in ("argmax", "argmin")),
    *(Row(f, "of two", normal((2, 3), (3,))) for f in ("max", "min")),
    *(
        Row(f, "other", lambda rng: (), {"input": np.array([1.0, 3.0]), "other": np.array([2.0, 2.0])}, method=False)
        for f in ("max", "min")
    ),
    *(Row(f, "of an integer and a float", values([1, 3], [[2.5], [-1.0]]), smooth=False) for f in ("max", "min")),
    # refused
    *(
        Refused(f, f"{name}", positive((2, 3)), {"dim": dim})
        for f in ("sum", "mean", "amax", "amin", "norm", "logsumexp", "var", "std_mean", "any", "all", "count_nonzero")
        for name, dim in [("no such axis", 2), ("an axis twice", (0, -2)), ("an axis of 0.5", 0.5)]
    ),
    *(
        Refused(f, f"{name}", positive((2, 3)), {"dim": dim})
        for f in ("prod", "max", "min", "argmax", "argmin", "cumsum")
        for name, dim in [("no such axis", -3), ("two axes", (0, 1)), ("an axis of 0.5", 0.5), ("True", True)]
    ),
    *(
        Refused(f, "a scalar has no axis 1", positive(()), {"dim": 1})
        for f in ("sum", "prod", "max", "argmax", "cumsum")
    ),
    *(Refused(f, "keepdim without dim", positive((2, 3)), {"keepdim": True}) for f in ("prod", "max", "min")),
    *(Refused(f, "dim and axis", positive((2, 3)), {"dim": 0, "axis": 0}) for f in ("sum", "max", "any")),
    *(Refused(f, "of integers", small_integers, {"dim": 0}) for f in ("mean", "var", "std", "var_mean", "norm")),
    *(Refused(f, "of bools", bools) for f in ("mean", "argmax", "argmin", "std_mean")),
    Refused("mean", "into integers", positive((2, 3)), {"dtype": np.int64}),
    Refused("cumsum", "without dim", positive((2, 3)), {"dim": None}),
    Refused("logsumexp", "without dim", positive((2, 3)), {"dim": None}),
    Refused("var", "unbiased is no bool", positive((2, 3), 0, 2)),
    Refused("var", "unbiased twice", positive((2, 3), False, True)),
    Refused("var", "unbiased and correction", positive((2, 3)), {"unbiased": True, "correction": 1}),
    Refused("var", "correction is no number", positive((2, 3)), {"correction": "a"}),
    Refused("norm", "unknown word", positive((2, 3)), {"p": "inf"}),
    Refused("norm", "a matrix norm over three axes", positive((2, 2, 2)), {"p": "fro", "dim": (0, 1, 2)}),
    *(
        Refused("norm", f"p={p} of nothing, {name}", normal(shape), {"p": p, **options})
        for p in (INF, -INF, -1)
        for name, shape, options in [("all", (0,), {}), ("one axis", (2, 0), {"dim": 1})]
    ),
    *(Refused(f, "of two and dim", positive((2, 3), (2, 3), 0)) for f in ("max", "min")),
    *(Refused(f, "of two shapes", positive((2,), (3,))) for f in ("max", "min")),
    Row("norm", "p=0 has gradient 0", distinct((2, 3)), {"p": 0}),
    *(
        Row(f, f"correction {c} of {n}", normal((2, n)), {"dim": 1, "correction": c}, torch=quiet(f), smooth=False)
        for f in ("var", "std", "var_mean")
        for c, n in [(2, 2), (5, 2), (2, 1)]
    ),
    Row("var", "of nothing, correction −1", normal((0,)), {"correction": -1}, torch=quiet("var"), smooth=False),
]
