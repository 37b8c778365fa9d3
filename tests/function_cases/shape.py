"""Rows of ``tinybn/functional/shape.py``."""

import numpy as np

from function_cases.row import Refused, Row, followed_by, integers, normal, values

SHAPE, EMPTY, SCALAR = normal((2, 3, 4)), normal((2, 0, 3)), normal(())
INTEGERS, BOOLS = followed_by(values(), integers(0, 9, (2, 3))), values([[True, False], [False, True]])


def _slanted(rng):
    """A matrix whose rows cannot be seen as one vector without a copy."""
    return rng.standard_normal((3, 2)).T, (6,)


RESHAPES = [
    Row("reshape", "a tuple", followed_by(SHAPE, (4, 6))),
    Row("reshape", "sizes one by one", followed_by(SHAPE, 4, 6), torch=lambda torch, x, *sizes: x.reshape(*sizes)),
    Row("reshape", "what is left", followed_by(SHAPE, (3, -1, 2))),
    Row("reshape", "an empty one", followed_by(EMPTY, (3, -1))),
    Row("reshape", "to a scalar", followed_by(normal((1, 1)), ())),
    Row("reshape", "integers", followed_by(INTEGERS, (6,))),
    *(
        Refused(f, f"to {sizes}", followed_by(SHAPE, *sizes), torch=lambda torch, x, *s: x.reshape(*s))
        for f in ("reshape", "view")
        for sizes in [((24.0,),), (True, 24), ((-1, 5),), ((0, -1),), ((-2, 12),), ((-1, -1),)]
    ),
    Refused("reshape", "a wrong size", followed_by(SHAPE, (5, 5))),
    Refused("reshape", "two unknown sizes", followed_by(SHAPE, (-1, -1))),
    Refused("reshape", "a size below −1", followed_by(SHAPE, (-2, 12))),
    Refused("reshape", "what is left of nothing", followed_by(EMPTY, (0, -1))),
    Row("view", "an axis split", followed_by(normal((4, 3)), (2, 2, 3)), torch=lambda torch, x, s: x.view(s)),
    Row("view", "sizes one by one", followed_by(normal((4,)), 2, -1), torch=lambda torch, x, *s: x.view(*s)),
    Row("view", "an empty one", followed_by(EMPTY, (3, 0)), torch=lambda torch, x, s: x.view(s)),
    Refused("view", "a copy would be needed", _slanted, torch=lambda torch, x, s: x.T.contiguous().T.view(s)),
    Row("flatten", "all", SHAPE),
    Row("flatten", "from 1", SHAPE, {"start_dim": 1}),
    Row("flatten", "to −2", SHAPE, {"end_dim": -2}),
    Row("flatten", "a scalar", SCALAR),
    Row("flatten", "an empty one", EMPTY, {"start_dim": 1}),
    Refused("flatten", "wrong order", SHAPE, {"start_dim": 2, "end_dim": 1}),
    Refused("flatten", "no such axis", SHAPE, {"start_dim": 3}),
    Row("ravel", "a matrix", normal((2, 3))),
    Row("ravel", "a scalar", SCALAR),
    Row("unflatten", "all sizes", normal((6, 2)), {"dim": 0, "sizes": (3, 2)}),
    Row("unflatten", "what is left", normal((2, 6)), {"dim": -1, "sizes": (2, -1)}),
    Row("unflatten", "nothing", normal((0, 2)), {"dim": 0, "sizes": (3, -1)}),
    *(
        Refused("unflatten", name, normal(shape), {"dim": dim, "sizes": sizes})
        for name, shape, dim, sizes in [
            ("a wrong product", (6, 2), 0, (2, 2)),
            ("no sizes", (6, 2), 0, ()),
            ("two unknown sizes", (6, 2), 0, (-1, -1)),
            ("what is left of nothing", (0, 2), 0, (0, -1)),
            ("a scalar", (), 0, (1,)),
            ("no such axis", (6, 2), 2, (6,)),
        ]
    ),
    Row("squeeze", "all", normal((1, 3, 1))),
    Row("squeeze", "one axis", normal((1, 3, 1)), {"dim": -1}),
    Row("squeeze", "an axis that is longer", normal((1, 3, 1)), {"dim": 1}),
    Row("squeeze", "two axes", normal((1, 3, 1)), {"dim": (0, 1)}),
    Row("squeeze", "no axis", normal((1, 3, 1)), {"dim": ()}),
    Row("squeeze", "a scalar", SCALAR, {"dim": 0}),
    Refused("squeeze", "no such axis", normal((1, 3)), {"dim": 2}),
    Refused("squeeze", "an axis twice", normal((1, 3)), {"dim": (0, -2)}),
    Row("unsqueeze", "in front", normal((2, 3)), {"dim": 0}),
    Row("unsqueeze", "behind", normal((2, 3)), {"dim": -1}),
    Row("unsqueeze", "in between", normal((2, 3)), {"dim": -2}),
    Row("unsqueeze", "a scalar", SCALAR, {"dim": 0}),
    Refused("unsqueeze", "no such place", normal((2, 3)), {"dim": 3}),
]

ORDERS = [
    Row("permute", "three axes", followed_by(SHAPE, (2, 0, 1))),
    Row("permute", "one by one", followed_by(SHAPE, -1, 1, 0), torch=lambda torch, x, *dims: x.permute(*dims)),
    Row("permute", "a scalar", followed_by(SCALAR, ())),
    Refused("permute", "an axis twice", followed_by(SHAPE, (0, 1, -2))),
    Refused("permute", "too few", followed_by(SHAPE, (1, 0))),
    Refused("permute", "no such axis", followed_by(SHAPE, (0, 1, 3))),
    Row("transpose", "the last two", SHAPE, {"dim0": -1, "dim1": 1}),
    Row("transpose", "one with itself", SHAPE, {"dim0": 1, "dim1": 1}),
    Row("transpose", "a scalar", SCALAR, {"dim0": 0, "dim1": -1}),
    Refused("transpose", "no such axis", SHAPE, {"dim0": 0, "dim1": 3}),
    Row("swapdims", "two", SHAPE, {"dim0": 0, "dim1": 2}),
    Row("swapaxes", "two", SHAPE, {"axis0": 0, "axis1": 2}),
    Row("t", "a matrix", normal((2, 3))),
    Row("t", "a vector", normal((3,))),
    Row("t", "a scalar", SCALAR),
    Refused("t", "three axes", SHAPE, torch=lambda torch, x: x.t()),
    Row("movedim", "one", SHAPE, {"source": 0, "destination": -1}),
    Row("movedim", "two", SHAPE, {"source": (0, 2), "destination": (1, 0)}),
    Row("movedim", "none", SHAPE, {"source": (), "destination": ()}),
    Row("movedim", "a scalar", SCALAR, {"source": 0, "destination": 0}),
    Row("moveaxis", "one", SHAPE, {"source": 1, "destination": 0}),
    Refused("movedim", "two to one place", SHAPE, {"source": (0, 1), "destination": (2,)}),
    Refused("movedim", "an axis twice", SHAPE, {"source": (0, 0), "destination": (1, 2)}),
    Row("flip", "one axis", followed_by(SHAPE, (1,))),
    Row("flip", "two axes, one by one", followed_by(SHAPE, 0, -1), torch=lambda torch, x, *dims: x.flip(*dims)),
    Row("flip", "none", followed_by(SHAPE, ())),
    Row("flip", "a scalar", followed_by(SCALAR, (0,))),
    Row("flip", "an empty one", followed_by(EMPTY, (0, 1))),
    Refused("flip", "an axis twice", followed_by(SHAPE, (0, -3))),
    Refused("flip", "no such axis", followed_by(SHAPE, (3,))),
    Row("roll", "all elements", SHAPE, {"shifts": 5}),
    Row("roll", "all elements, by a tuple", SHAPE, {"shifts": (-5,)}),
    Row("roll", "along an axis", SHAPE, {"shifts": -1, "dims": 1}),
    Row("roll", "along two", SHAPE, {"shifts": (1, 6), "dims": (0, -1)}),
    Row("roll", "twice along one", SHAPE, {"shifts": (1, 1), "dims": (1, 1)}),
    Row("roll", "a scalar", SCALAR, {"shifts": 1}),
    Row("roll", "an empty one", EMPTY, {"shifts": 1, "dims": 1}),
    Row("roll", "integers", INTEGERS, {"shifts": 1}),
    Refused("roll", "two shifts along one axis", SHAPE, {"shifts": (1, 1), "dims": 0}),
    Refused("roll", "two shifts of all", SHAPE, {"shifts": (1, 1)}),
    Refused("roll", "no shift", SHAPE, {"shifts": (), "dims": ()}),
    Refused("roll", "no such axis", SHAPE, {"shifts": 1, "dims": 3}),
    Refused("roll", "a scalar's axis", SCALAR, {"shifts": 1, "dims": 0}),
]

COPIES = [
    Row("clone", "a tensor", SHAPE),
    Row("clone", "bools", BOOLS),
    Row("contiguous", "a tensor", SHAPE, torch=lambda torch, x: x.contiguous()),
    *(
        Row(name, what, followed_by(build, size), torch=lambda torch, x, size: x.expand(size))
        for name in ("expand", "broadcast_to")
        for what, build, size in [
            ("an axis", normal((2, 1)), (2, 3)),
            ("new axes in front", normal((3,)), (2, 1, 3)),
            ("an axis left as it is", normal((2, 1)), (4, -1, 3)),
            ("to nothing", normal((1,)), (0,)),
            ("a scalar", SCALAR, (2, 2)),
            ("a scalar to itself", SCALAR, ()),
            ("bools", values([True]), (3,)),
        ]
    ),
    Row("expand", "one by one", followed_by(normal((3,)), 2, 3), torch=lambda torch, x, *size: x.expand(*size)),
    *(
        Refused(name, what, followed_by(normal(shape), size), torch=lambda torch, x, size: x.expand(size))
        for name in ("expand", "broadcast_to")
        for what, shape, size in [
            ("an axis that is longer", (2, 3), (2, 4)),
            ("too few sizes", (2, 3), (3,)),
            ("−1 for a new axis", (3,), (-1, 3)),
            ("a size below −1", (1,), (-2,)),
        ]
    ),
    Row("expand_as", "a larger one", normal((2, 1), (3, 2, 4)), torch=lambda torch, x, y: x.expand_as(y)),
    Refused("expand_as", "a smaller one", normal((2, 3), (3,)), torch=lambda torch, x, y: x.expand_as(y)),
    Row("broadcast_tensors", "three", normal((2, 1), (3,), ()), method=False),
    Refused("broadcast_tensors", "sizes that differ", normal((2,), (3,))),
    Row("repeat", "one axis", followed_by(normal((3,)), 2), torch=lambda torch, x, *n: x.repeat(*n)),
    Row("repeat", "two axes", followed_by(normal((2, 3)), (2, 3)), torch=lambda torch, x, n: x.repeat(n)),
    Row("repeat", "more axes", followed_by(normal((2, 1)), (3, 1, 2)), torch=lambda torch, x, n: x.repeat(n)),
    Row("repeat", "once", followed_by(normal((2, 3)), (1, 1)), torch=lambda torch, x, n: x.repeat(n)),
    Row("repeat", "never", followed_by(normal((2, 3)), (0, 2)), torch=lambda torch, x, n: x.repeat(n)),
    Row("repeat", "a scalar", followed_by(SCALAR, (2, 2)), torch=lambda torch, x, n: x.repeat(n)),
    Row("repeat", "integers", followed_by(INTEGERS, (2, 2)), torch=lambda torch, x, n: x.repeat(n)),
    Refused("repeat", "too few numbers", followed_by(normal((2, 3)), (2,)), torch=lambda torch, x, n: x.repeat(n)),
    Refused("repeat", "a negative number", followed_by(normal((3,)), (-1,)), torch=lambda torch, x, n: x.repeat(n)),
    Row("tile", "the last axis", followed_by(normal((2, 3)), (2,))),
    Row("tile", "all axes", followed_by(normal((2, 3)), (2, 2))),
    Row("tile", "more axes", followed_by(normal((2,)), (2, 3))),
    Row("tile", "not at all", followed_by(normal((2,)), ())),
    Refused("tile", "a negative number", followed_by(normal((2,)), (-1,))),
    Row("repeat_interleave", "all elements", followed_by(normal((2, 3)), 2)),
    Row("repeat_interleave", "an axis", followed_by(normal((2, 3)), 2), {"dim": -1}),
    Row("repeat_interleave", "each its own number", followed_by(normal((2, 3)), np.array([2, 0, 1])), {"dim": 1}),
    Row("repeat_interleave", "one number in an array", followed_by(normal((2, 3)), np.array([2])), {"dim": 1}),
    Row("repeat_interleave", "the size told", followed_by(normal((3,)), 2), {"output_size": 6}),
    Row("repeat_interleave", "never", followed_by(normal((3,)), 0)),
    Row("repeat_interleave", "a scalar", followed_by(SCALAR, 3)),
    *(
        Refused("repeat_interleave", name, followed_by(normal((2, 3)), repeats), options)
        for name, repeats, options in [
            ("a negative number", -1, {}),
            ("too few numbers", np.array([1, 2]), {"dim": 1}),
            ("one negative number", np.array([1, 2, -1]), {"dim": 1}),
            ("a fraction", np.array([1.5, 1, 1]), {"dim": 1}),
            ("a wrong size", 2, {"output_size": 5}),
            ("no such axis", 2, {"dim": 2}),
        ]
    ),
    Row("meshgrid", "ij", normal((2,), (3,), (4,)), {"indexing": "ij"}, method=False),
    Row("meshgrid", "xy", normal((2,), (3,), (4,)), {"indexing": "xy"}, method=False),
    Row("meshgrid", "xy of one", normal((2,)), {"indexing": "xy"}, method=False),
    Row("meshgrid", "a list with a scalar", normal([(), (3,)]), {"indexing": "ij"}, method=False),
    Refused("meshgrid", "none", normal(), {"indexing": "ij"}),
    Refused("meshgrid", "a matrix", normal((2, 2), (3,)), {"indexing": "ij"}),
    Refused("meshgrid", "two dtypes", values([1.0], [1]), {"indexing": "ij"}),
    Refused("meshgrid", "another indexing", normal((2,), (3,)), {"indexing": "yx"}),
]


def method(name):
    return lambda torch, x, *arguments, **options: getattr(x, name)(*arguments, **options)


BY_NAME = [
    *(
        Row(f, f"{name} by name, {sizes}", normal(shape), {name: sizes}, torch=method(f))
        for f, name, shape, sizes in [
            ("reshape", "shape", (2, 3), (3, -1)),
            ("reshape", "shape", (1,), ()),
            ("view", "size", (6,), (3, 2)),
            ("permute", "dims", (2, 3), (1, 0)),
            ("flip", "dims", (2, 3), (1,)),
            ("expand", "size", (3,), (2, -1)),
            ("broadcast_to", "size", (3,), (2, 3)),
            ("repeat", "repeats", (2,), (2, 2)),
            ("tile", "dims", (2, 2), (2,)),
        ]
    ),
    *(
        Refused(f, f"{name} by name, no tuple", normal(shape), {name: 2}, torch=method(f))
        for f, name, shape in [
            ("reshape", "shape", (2,)),
            ("view", "size", (2,)),
            ("flip", "dims", (2, 3, 4)),
            ("expand", "size", (1,)),
            ("repeat", "repeats", (2,)),
        ]
    ),
    Refused("reshape", "sizes twice", normal((2,), 2), {"shape": (2,)}),
    Row("squeeze", "NumPy's name", normal((2, 1)), {"axis": 1}),
    Row("unsqueeze", "NumPy's name", normal((2, 1)), {"axis": 1}),
    Refused("unsqueeze", "both names", normal((2, 1)), {"axis": 1, "dim": 1}),
    Row("reshape_as", "of another", normal((2, 3), (3, 2)), torch=method("reshape_as")),
    *(Row(f, "with more axes", normal((6,), (3, 1, 2)), torch=method(f)) for f in ("view_as", "reshape_as")),
    *(Refused(f, "another size", normal((2, 3), (3,)), torch=method(f)) for f in ("view_as", "reshape_as")),
    *(Row(f, f"shape {shape}", normal(shape)) for f in ("fliplr", "flipud") for shape in [(2, 3), (2, 0), (2, 3, 2)]),
    Row("flipud", "a vector", normal((3,))),
    *(Refused("fliplr", f"shape {shape}", normal(shape)) for shape in [(3,), ()]),
    Refused("flipud", "a scalar", normal(())),
    *(Row("rot90", f"{k} turns", normal((2, 3)), {"k": k}) for k in (1, 2, 3, 4, 0, -1, -6, 9)),
    *(
        Row("rot90", f"axes {dims}", normal((2, 3, 4)), {"k": -1, "dims": dims})
        for dims in [(1, 0), (0, 2), (-1, 1), [2, -2]]
    ),
    Row("rot90", "nothing", normal((0, 3))),
    Row("rot90", "integers", values([[1, 2], [3, 4]])),
    Refused("rot90", "a vector", normal((3,))),
    *(
        Refused("rot90", f"no plane of axes {dims}", normal((2, 3)), {"dims": dims})
        for dims in [(0, 0), (0, -2), (0,), (0, 1, 0), (0, 2), (0, 1.0)]
    ),
    *(Refused("rot90", f"{k} turns", normal((2, 3)), {"k": k}) for k in (1.5, True)),
    *(
        Row("broadcast_shapes", f"{shapes}", values(*shapes), method=False)
        for shapes in [((2, 1), (3,)), (), ((),), (2, (3, 1)), ((0,), (1,)), ((4, 1, 2), (3, 1), ())]
    ),
    *(
        Refused("broadcast_shapes", f"{shapes}", values(*shapes))
        for shapes in [((2,), (3,)), ((-1,), (3,)), ((0,), (2,))]
    ),
]

ROWS = [*RESHAPES, *ORDERS, *COPIES, *BY_NAME]
