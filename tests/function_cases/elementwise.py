"""Rows of ``tinybn/functional/arithmetic.py`` and ``elementwise.py``."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from function_cases.row import Build, Refused, Row, distinct, followed_by, normal, positive, values

INF, NAN = np.inf, np.nan
INTEGERS, BOOLS, BYTES = [-3, 0, 2], [True, False], np.array([1, 2, 3], np.uint8)

# Functions of one tensor: what they are tried on, and what is not smooth but has PyTorch's convention.
UNARY: dict[str, tuple[Any, list[float]]] = {
    "abs": (distinct, [0.0, INF, -INF]),
    "absolute": (distinct, []),
    "ceil": (distinct, [-0.5, 1.0, NAN, INF]),
    "cos": (normal, [0.0, NAN]),
    "erf": (normal, [0.0, INF, -INF, NAN, 30.0]),
    "exp": (normal, [INF, -INF, NAN]),
    "exp2": (normal, [INF, -INF, NAN]),
    "expm1": (normal, [INF, -INF, NAN, 1e-10]),
    "floor": (distinct, [-0.5, 1.0, NAN, INF]),
    "frac": (distinct, [-1.5, 2.25, 3.0]),
    "log": (positive, [0.0, -1.0, INF, NAN]),
    "log1p": (positive, [-1.0, -2.0, INF, NAN, 1e-10]),
    "log2": (positive, [0.0, -1.0, INF, NAN]),
    "log10": (positive, [0.0, -1.0, INF, NAN]),
    "nan_to_num": (normal, [NAN, INF, -INF, 1.0]),
    "neg": (normal, [0.0, INF, NAN]),
    "negative": (normal, []),
    "reciprocal": (positive, [0.0, INF, -INF, NAN]),
    "round": (positive, [0.5, 1.5, -2.5, NAN, INF]),
    "rsqrt": (positive, [0.0, INF, -1.0, NAN]),
    "sigmoid": (normal, [200.0, -200.0, INF, -INF, NAN]),
    "sign": (distinct, [0.0, INF, NAN]),
    "sin": (normal, [0.0, NAN]),
    "sqrt": (positive, [0.0, INF, -1.0, NAN]),
    "square": (normal, [INF, -INF, NAN]),
    "tan": (normal, [0.0, NAN]),
    "tanh": (normal, [200.0, -INF, NAN]),
    "trunc": (distinct, [-0.5, 1.0, NAN, INF]),
}
WITHOUT_INTEGERS = {"frac"}
WITHOUT_BOOLS = {"abs", "absolute", "ceil", "floor", "frac", "neg", "negative", "round", "trunc"}
ALIASES = {"absolute", "clip", "divide", "multiply", "negative", "subtract", "true_divide"}  # errors have the main name
ARITHMETIC = ["add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide"]


def unary() -> Iterator[Row]:
    for function, (build, special) in UNARY.items():
        for name, shape in {"": (2, 3), "0-d": (), "empty": (0, 3), "4-d": (2, 1, 3, 2)}.items():
            yield Row(function, name, build(shape))
        if special:
            yield Row(function, "special values", values(special), smooth=False)
        for name, given in {"integers": INTEGERS, "bools": BOOLS, "bytes": BYTES}.items():
            if function in WITHOUT_INTEGERS or (name == "bools" and function in WITHOUT_BOOLS):
                if function not in ALIASES:
                    yield Refused(function, name, values(given))
            else:
                yield Row(function, name, values(given))


SHAPES = {
    "same": ((2, 3), (2, 3)),
    "row": ((2, 3), (3,)),
    "outer": ((2, 1), (1, 3)),
    "0-d": ((), ()),
    "0-d left": ((), (2, 3)),
    "empty": ((0, 3), (1, 3)),
}


def binary() -> Iterator[Row]:
    for function in [*ARITHMETIC, "pow", "maximum", "minimum", "remainder", "fmod"]:
        build = {"maximum": _apart, "minimum": _apart, "remainder": _uneven, "fmod": _uneven}.get(function, positive)
        for name, shapes in SHAPES.items():
            yield Row(function, name, build(*shapes))
        if function not in ALIASES:
            yield Refused(function, "shapes", normal((2, 3), (2,)))
            yield Refused(function, "text", normal((2, 3), "text"))
        yield Row(function, "float and integers", values([1.5, 2.5], [2, 3]))
        yield Row(function, "integers", values([-3, 2, 7], [2, 3, 2]))
        yield Row(function, "bytes and integers", values(BYTES, [2, 2, 3]))
        yield Row(function, "a 0-d float and integers", values(np.array(1.5), [2, 3]))
        if function not in ("sub", "subtract"):
            yield Row(function, "integers and bools", values([-3, 2], [True, True]))
    for function in [*ARITHMETIC, "pow", "remainder", "fmod", "floor_divide"]:
        build = values([1.3, 2.6, -3.9]) if function in ("remainder", "fmod") else positive((2, 3))
        if function != "floor_divide":
            yield Row(function, "number right", followed_by(build, 2.0))
            yield Row(function, "integer right", followed_by(build, 2))
        yield Row(function, "integers and a float", values([3, 2], 2.0))
        yield Row(function, "integers and an integer", values([3, -2], 2))
        yield Row(function, "bytes and an integer", values(BYTES, 2))
    for function in [*ARITHMETIC, "pow"]:
        if function != "pow":
            yield Row(function, "number left", followed_by(values(2.0), _draw(positive((2, 3)))), method=False)
        yield Row(function, "integer left, integers right", values(2, [1, 3]), method=False)
        yield Row(function, "float left, integers right", values(2.0, [1, 3]), method=False)


def _draw(build: Build) -> Any:
    return lambda rng: build(rng)[0]


def _apart(*shapes: Any) -> Build:
    """No number of the one near one of the other."""

    def build(rng: Any) -> tuple[Any, ...]:
        x, y = distinct(*shapes)(rng)
        return x, np.asarray(y + 0.1)

    return build


def _uneven(*shapes: Any) -> Build:
    """Numbers from 10.5 to 12 and from −3.4 to −3.1, whose quotients are not near a whole number."""
    return lambda rng: (rng.uniform(10.5, 12, shapes[0]), -rng.uniform(3.1, 3.4, shapes[1]))


def clamps() -> Iterator[Row]:
    x, ends = values([-2.0, -1.0, 0.3, 1.0, 2.0]), values([-2.0, -1.0, 0.3, 1.0, 2.0, NAN, INF, -INF])
    for function in ("clamp", "clip"):
        yield Row(function, "numbers", followed_by(normal((2, 3)), -0.5, 0.5))
        yield Row(function, "min", normal((2, 3)), {"min": -0.5})
        yield Row(function, "max", normal((2, 3)), {"max": 0.5})
        yield Row(function, "ends", ends, {"min": -1, "max": 1}, smooth=False)
        yield Row(function, "crossed", x, {"min": 1, "max": -1}, smooth=False)
        yield Row(function, "NaN limit", x, {"min": NAN, "max": 1}, smooth=False)
        yield Row(function, "NaN max", x, {"max": NAN}, smooth=False)
        yield Row(
            function, "tensors", followed_by(normal((2, 3)), _draw(values([-1.0, 0.1, -0.5])), _draw(positive((2, 1))))
        )
        yield Row(function, "min tensor", normal((2, 3), (3,)))
        yield Row(function, "max tensor", normal((2, 3), None, (3,)))
        yield Row(function, "larger limit", normal((3,), (2, 3)))
        yield Row(
            function,
            "tensors, ties",
            values([0.0, 1.0, 2.0, 5.0], [0.0, -1.0, 3.0, 4.0], [1.0, 1.0, 1.0, 3.0]),
            smooth=False,
        )
        yield Row(function, "NaN tensors", values([NAN, 1.0, 0.0], [0.0, NAN, 0.0], [1.0, 2.0, NAN]), smooth=False)
        yield Row(function, "integers", values([-3, 2], 0, 1))
        yield Row(function, "integers and a float", values([-3, 2], 0.5))
        yield Row(function, "integers and float tensors", values([-3, 2], [0.5, 0.5]))
        yield Row(function, "bools and integers", values(BOOLS, 0, 1))
        yield Row(function, "0-d", followed_by(normal(()), 0.0))
        yield Row(function, "empty", followed_by(normal((0, 3)), 0.0))
    yield Refused("clamp", "no limits", normal((3,)))
    yield Refused("clamp", "shapes", normal((3,), (2,)))


WAVES = [
    *(
        Row(f, name, made)
        for f in ("sinh", "cosh")
        for name, made in [
            ("a matrix", normal((2, 3))),
            ("a scalar", normal(())),
            ("nothing", normal((0,))),
            ("integers", values([[-2, 0, 3]])),
            ("bools", values([True, False])),
        ]
    ),
    *(
        Row(f, name, values([x, -x]), smooth=False)
        for f in ("sinh", "cosh")
        for name, x in [
            ("near 0", 1e-6),
            ("at 0", 0.0),
            ("large numbers", 88.0),
            ("20", 20.0),
        ]
    ),
    Row("logit", "a matrix", lambda rng: (rng.uniform(0.05, 0.95, (2, 3)),)),
    Row("logit", "a scalar", values(np.array(0.25))),
    Row("logit", "limited", values([-1.0, 0.05, 0.3, 0.8, 1.5]), {"eps": 0.1}),
    Row("logit", "at the limits", values([0.25, 0.75]), {"eps": 0.25}, smooth=False),
    Row("logit", "at and beyond the ends", values([0.0, 1.0, -0.5, 1.5, NAN]), smooth=False),
    Row("logit", "integers", values([0, 1, 2])),
    Row("logit", "bools", values([True, False])),
    Row("logaddexp", "two matrices", normal((2, 3), (2, 3))),
    Row("logaddexp", "broadcast", normal((2, 3), (3,))),
    Row("logaddexp", "a scalar", normal((), (2,))),
    Row("logaddexp", "nothing", normal((0,), (1,))),
    Row("logaddexp", "large numbers", values([1000.0, -1000.0], [999.0, -1001.0])),
    Row("logaddexp", "infinities", values([INF, -INF, -INF, NAN], [1.0, 1.0, -INF, 1.0]), smooth=False),
    Row("logaddexp", "with integers", followed_by(normal((2,)), np.array([1, 2]))),
    Refused("logaddexp", "integers", values([1], [2])),
    Refused("logaddexp", "shapes", normal((2,), (3,))),
    *(
        Row(f, name, made, smooth=smooth)
        for f in ("clamp_min", "clamp_max")
        for name, made, smooth in [
            ("a number", values([-1.0, 0.2, 0.7], 0.5), True),
            ("a tensor", values([-1.0, 0.2, 0.7], [0.5, 0.1, 0.9]), True),
            ("broadcast", values([[-1.0, 0.2, 0.7]], [[0.5], [-2.0]]), True),
            ("at the limit", values([0.5, 1.0], 0.5), False),
            ("at a tensor", values([0.5, 1.0], [0.5, 0.5]), False),
            ("NaN", values([NAN, 1.0, 2.0], [1.0, NAN, 0.0]), False),
            ("up to NaN", values([1.0, 2.0], NAN), False),
            ("integers", values([1, 5], 3), True),
            ("integers and a fraction", values([1, 5], 2.5), True),
            ("bools and a number", values([True, False], 1), True),
            ("nothing", normal((0,), 1.0), True),
            ("a scalar", values(np.array(0.3), 0.5), True),
        ]
    ),
    *(Refused(f, "bools", values([True], True)) for f in ("clamp_min", "clamp_max")),
    *(Refused(f, "no limit", normal((2,), None)) for f in ("clamp_min", "clamp_max")),
    *(Refused(f, "shapes", normal((2,), (3,))) for f in ("clamp_min", "clamp_max")),
]

ROWS = [
    *WAVES,
    *unary(),
    *binary(),
    Row("add", "alpha", normal((2, 3), (3,)), {"alpha": 0.5}),
    Row("add", "alpha of integers", values([1, 2], [3, 4]), {"alpha": 2}),
    Row("add", "alpha of bools", values(BOOLS, BOOLS), {"alpha": 2}),
    Row("add", "bools", values(BOOLS, [True, True])),
    Row("add", "bools and an integer", values(BOOLS, 2)),
    Row("add", "bools and a bool", values(BOOLS, True)),
    Row("add", "a factor for a number", followed_by(normal((2,)), 3), {"alpha": 0.5}),
    Row("mul", "bools", values(BOOLS, [True, True])),
    Row("sub", "alpha", normal((2, 3), (3,)), {"alpha": -2}),
    Refused("add", "a float alpha of integers", values([1, 2], 1), {"alpha": 0.5}),
    Refused("add", "a bool alpha of integers", values([1, 2], 1), {"alpha": True}),
    Refused("add", "a bool alpha of floats", normal((2,), (2,)), {"alpha": True}),
    Refused("add", "nothing", normal((2,), None)),
    Refused("sub", "bools", values(BOOLS, BOOLS)),
    Refused("sub", "integers and bools", values([1, 2], BOOLS)),
    Refused("sub", "a bool", values([1, 2], True)),
    Row("div", "by zero", values([1.0, 0.0, -1.0], [0.0, 0.0, 0.0]), smooth=False),
    Row("div", "integers by zero", values([1, 0, -1], 0)),
    Refused("div", "unknown rounding", normal((2,), (2,)), {"rounding_mode": "up"}),
    Row("remainder", "signs", values([5.0, -5.0, 5.0, -5.0], [3.0, 3.0, -3.0, -3.0])),
    Row("fmod", "signs", values([5.0, -5.0, 5.0, -5.0], [3.0, 3.0, -3.0, -3.0])),
    Row("remainder", "special", values([INF, 3.0, -3.0, NAN, 1.0, 6.0], [2.0, INF, INF, 1.0, 0.0, 3.0]), smooth=False),
    Row("fmod", "special", values([3.0, -3.0, NAN, 1.0, 6.0], [INF, INF, 1.0, 0.0, 3.0]), smooth=False),
    Row("remainder", "large quotients", values([1e6, 1e5 + 0.7], [0.3, 0.1]), smooth=False),
    Row(
        "remainder",
        "number left",  # PyTorch's has no gradient for it, and raises
        values(7, [2.5, 4.5]),
        torch=lambda torch, x, y: torch.remainder(torch.tensor(x), y),
        method=False,
    ),
    *(
        Row("div", f"{mode}, {name}", build, {"rounding_mode": mode}, smooth=smooth)
        for mode in ("trunc", "floor")
        for name, build, smooth in [
            ("", _uneven((2, 3), (3,)), True),
            ("integers", values([-7, 7, -7], [2, 2, -2]), True),
            ("integers and a number", values([-7, 7], 2), True),
            ("integers and a float", values([-7, 7], 2.0), True),
            ("bytes", values(BYTES, 2), True),
            ("special", values([INF, 3.0, NAN, 1.0, -1.0, 1.0], [2.0, INF, 1.0, 0.0, 0.0, 0.1]), False),
        ]
    ),
    Row("floor_divide", "integers", values([-7, 7, -7], [2, 2, -2])),
    Row("floor_divide", "number left", values(7, [2, -2]), method=False),
    Row(
        "floor_divide",
        "floats",  # PyTorch's own has no gradient, and raises
        _uneven((2, 3), (3,)),
        torch=lambda torch, x, y: torch.div(x, y, rounding_mode="floor"),
    ),
    *(
        Refused(function, name, values(x, y))
        for function in ("remainder", "fmod", "floor_divide")
        for name, x, y in [("bools", BOOLS, BOOLS), ("an integer by 0", [1, 2], 0), ("integers by 0", [1, 2], [1, 0])]
    ),
    *(Refused("div", f"integers by 0, {m}", values([1, 2], 0), {"rounding_mode": m}) for m in ("trunc", "floor")),
    Row("pow", "kinks", values([0.0, 0.0, 4.0, -1.0], [0.0, 2.0, 0.5, 2.0]), smooth=False),
    Row("pow", "to the 0", values([0.0, NAN, INF], 0), smooth=False),
    Row("pow", "number left, special", values(0.0, [0.0, 2.0]), smooth=False, method=False),
    Row("pow", "number left", followed_by(values(2.0), _draw(normal((2, 3)))), method=False),
    Row("pow", "integers to negative ones", values([1, -1, -1, 2, 0], [-1, -2, -3, -1, -1])),
    Row("pow", "bools to an integer", values(BOOLS, 2)),
    Refused("pow", "integers to −1", values([1, 2], -1)),
    Refused("pow", "bools", values(BOOLS, BOOLS)),
    Row("maximum", "ties", values([1.0, 2.0], [1.0, 3.0]), smooth=False),
    Row("minimum", "ties", values([1.0, 2.0], [1.0, 3.0]), smooth=False),
    Row("maximum", "bools", values(BOOLS, [True, True])),
    Row("minimum", "bools", values(BOOLS, [True, True])),
    Row("square", "large", values([1e20]), smooth=False),
    Row("round", "one decimal", values([1.23, -4.56]), {"decimals": 1}, smooth=False),
    Row("round", "three decimals", values([1234.5678, -15.5, NAN, INF]), {"decimals": 3}, smooth=False),
    Row("round", "tens", values([1234.0, -15.0, 25.0, NAN]), {"decimals": -1}, smooth=False),
    Row("round", "two decimals, 0-d", values(np.array(1.234)), {"decimals": 2}),
    Refused("round", "decimals of integers", values([1, 2]), {"decimals": 1}),
    Row("nan_to_num", "all", values([NAN, INF, -INF, 1.0]), {"nan": 1.0, "posinf": 2.0, "neginf": 3.0}, smooth=False),
    Row("nan_to_num", "positional", values([NAN, INF, -INF], 1.0, 2.0), smooth=False),
    Row("nan_to_num", "to infinities", values([NAN, INF, -INF, 1.0]), {"nan": NAN, "posinf": INF}, smooth=False),
    Row("lerp", "number", followed_by(normal((2, 3), (3,)), 0.3)),
    Row("lerp", "large number", followed_by(normal((2, 3), (3,)), 0.7)),
    Row("lerp", "ends", values([1.0, 2.0], [3.0, 0.1], 1), smooth=False),
    Row("lerp", "tensor", followed_by(normal((2, 3), (3,)), lambda rng: np.array([0.2, 0.8, 1.5]))),
    Row("lerp", "0-d", followed_by(normal((), ()), lambda rng: np.array(0.3))),
    Row("lerp", "empty", followed_by(normal((0, 3), (3,)), 0.3)),
    Refused("lerp", "integers", values([1, 2], [3, 4], 0.5)),
    Refused("lerp", "mixed dtypes", values([1.0, 2.0], [3, 4], 0.5)),
    Refused("lerp", "shapes", normal((2,), (3,), 0.5)),
    *(
        row
        for function in ("addcmul", "addcdiv")
        for row in [
            Row(function, "", followed_by(normal((2, 3), (3,)), _draw(positive((2, 1))))),
            Row(function, "value", followed_by(normal((2, 3), (2, 3)), _draw(positive((2, 3)))), {"value": 0.5}),
            Row(function, "broadcast", followed_by(normal((), (3,)), _draw(positive((2, 1))))),
            Refused(function, "shapes", normal((2,), (3,), (2,))),
        ]
    ),
    Row("addcmul", "floats and integers", values([1.0, 2.0], [1.5, 2.5], [2, 3]), {"value": 2}),
    Row(
        "addcdiv",
        "floats and integers",  # for which PyTorch's has no gradient, and raises
        values([1.0, 2.0], [1.5, 2.5], [2, 3]),
        torch=lambda torch, x, y, z: x + y / z,
    ),
    Row("addcmul", "integers", values([1, 2], [3, 4], [5, 6]), {"value": 2}),
    Refused("addcdiv", "integers", values([1.0, 2.0], [3, 4], [5, 6])),
    *clamps(),
    Row("add", "bytes and −1 wrap around", values(BYTES, -1)),
    Row("mul", "bytes and −2 wrap around", values(BYTES, -2)),
    Row("sub", "bytes and 300 wrap around", values(BYTES, 300)),
    Row("div", "bytes and −2", values(BYTES, -2)),
    Row("remainder", "nothing by 0", lambda rng: (np.zeros((0, 2), int), np.array([0, 1]))),
    Row("pow", "bools to a power of two", values(BOOLS, 4)),
    Row("lerp", "infinite weights", values([1.0, 2.0, 3.0], [2.0, 0.0, 3.5], [INF, -INF, 0.2]), smooth=False),
    Row("addcmul", "a fraction for integers", values([1, 2], [3, 4], [5, 6]), {"value": 2.5}),
    Row("addcmul", "True", values([1.0, 2.0], [3.0, 4.0], [5.0, 6.0]), {"value": True}),
    Row("addcdiv", "True", values([1, 2], [3.0, 4.0], [5.0, 6.0]), {"value": True}),
    Refused("addcmul", "bools", values(BOOLS, BOOLS, BOOLS)),
    Row("clamp", "equal tensors", values([0.0, 1.0, 2.0], [1.0, 1.0, 0.0], [1.0, 1.0, 3.0]), smooth=False),
    Row("clamp", "bytes and −1", values(BYTES, -1, 2)),
]
