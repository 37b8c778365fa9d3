"""Rows of ``tinybn/functional/linalg.py``."""

from typing import Any

import numpy as np

from function_cases.row import Refused, Row, followed_by, integers, normal, values

MATRICES = followed_by(values(), integers(-5, 5, (2, 3)), integers(-5, 5, (3, 2)))
VECTORS = followed_by(values(), integers(-5, 5, (3,)), integers(-5, 5, (3,)))
TRUTHS = values([[True, False]], [[True], [True]])
MIXED = values([[1.0, 2.0]], [[1], [2]])


def einsum(name, equation, *shapes, **kwargs):
    return Row("einsum", name, followed_by(values(equation), *(_array(s) for s in shapes)), method=False, **kwargs)


def einsum_refused(name, equation, *shapes):
    return Refused("einsum", name, followed_by(values(equation), *(_array(s) for s in shapes)))


def _array(shape):
    return lambda rng: np.asarray(rng.standard_normal(shape))


def _with_constants(torch: Any, x: Any, mat1: Any, mat2: Any, **options: Any) -> Any:
    """PyTorch's addmm, which gives the matrices gradients even where they are left out: 0·∞."""
    return torch.addmm(x, mat1.detach(), mat2.detach(), **options)


PRODUCTS = [
    *(
        Row("matmul", f"{x} @ {y}", normal(x, y))
        for x, y in [
            ((3,), (3,)),
            ((2, 3), (3,)),
            ((3,), (3, 2)),
            ((2, 3), (3, 4)),
            ((5, 2, 3), (3,)),
            ((3,), (2, 1, 3, 4)),
            ((2, 1, 2, 3), (3, 3, 2)),
            ((2, 0), (0, 3)),
            ((0,), (0,)),
            ((0, 3), (3, 2)),
        ]
    ),
    Row("matmul", "integers", MATRICES),
    Refused("matmul", "a scalar", normal((), (3,))),
    Refused("matmul", "inner sizes that differ", normal((2, 3), (2, 3))),
    Refused("matmul", "batches that differ", normal((3, 2, 3), (2, 3, 4))),
    Refused("matmul", "bools", TRUTHS),
    Refused("matmul", "two dtypes", MIXED),
    Row("mm", "two matrices", normal((2, 3), (3, 4))),
    Row("mm", "integers", MATRICES),
    Row("mm", "an inner size of 0", normal((2, 0), (0, 3))),
    Refused("mm", "a vector", normal((2, 3), (3,))),
    Refused("mm", "inner sizes that differ", normal((2, 3), (2, 3))),
    Refused("mm", "bools", TRUTHS),
    Refused("mm", "two dtypes", MIXED),
    Row("bmm", "three pairs", normal((3, 1, 2), (3, 2, 4))),
    Row("bmm", "no pair", normal((0, 1, 2), (0, 2, 4))),
    Refused("bmm", "matrices", normal((1, 2), (2, 4))),
    Refused("bmm", "no broadcasting", normal((3, 1, 2), (1, 2, 4))),
    Refused("bmm", "inner sizes that differ", normal((3, 1, 2), (3, 1, 2))),
    Row("mv", "a matrix and a vector", normal((2, 3), (3,))),
    Row("mv", "an inner size of 0", normal((2, 0), (0,))),
    Refused("mv", "two matrices", normal((2, 3), (3, 1))),
    Refused("mv", "inner sizes that differ", normal((2, 3), (2,))),
    Row("dot", "two vectors", normal((3,), (3,))),
    Row("dot", "nothing", normal((0,), (0,))),
    Row("dot", "integers", VECTORS),
    Refused("dot", "sizes that differ", normal((3,), (1,))),
    Refused("dot", "a matrix", normal((3, 1), (3,))),
    Refused("dot", "two dtypes", values([1.0], [1])),
    Refused("dot", "bools", values([True], [True])),
    Row("inner", "two vectors", normal((3,), (3,))),
    Row("inner", "more axes", normal((2, 1, 3), (4, 3))),
    Row("inner", "a scalar", normal((), (2, 3))),
    Row("inner", "a scalar of another dtype", values(np.array(2), [1.0, 3.0])),
    Row("inner", "an inner size of 0", normal((2, 0), (3, 0))),
    Row("inner", "integers", VECTORS),
    Refused("inner", "last sizes that differ", normal((2, 3), (3, 4))),
    Refused("inner", "two dtypes", values([1.0], [1])),
    Row("outer", "two vectors", normal((3,), (2,))),
    Row("outer", "two dtypes", values([1.5, 2.5], [1, 2, 3])),
    Row("outer", "bools", values([True, False], [True])),
    Row("outer", "nothing", normal((0,), (2,))),
    Row("ger", "two vectors", normal((3,), (2,))),
    Refused("outer", "a matrix", normal((3, 1), (2,))),
    Refused("outer", "a scalar", normal((), (2,))),
    Row("addmm", "plain", normal((2, 4), (2, 3), (3, 4))),
    Row("addmm", "with both factors", normal((2, 4), (2, 3), (3, 4)), {"beta": 0.5, "alpha": -2}),
    Row("addmm", "a vector to be broadcast", normal((4,), (2, 3), (3, 4)), {"beta": 2}),
    Row("addmm", "a scalar to be broadcast", normal((), (2, 3), (3, 4)), {"alpha": 2}),
    Row("addmm", "an input left out", values([[np.nan]], [[2.0]], [[3.0]]), {"beta": 0}, smooth=False),
    Row("addmm", "integers", values([[1, 2]], [[3]], [[4, 5]]), {"beta": 2, "alpha": 3}),
    Row("addmm", "a product left out", values([[1.0]], [[np.inf]], [[0.0]]), {"alpha": 0}, _with_constants, False),
    Row("addmm", "fractions for integers", values([[1, 2]], [[3]], [[4, 5]]), {"beta": 2.5, "alpha": 1.5}),
    Refused("addmm", "an input that does not broadcast", normal((3,), (2, 3), (3, 4))),
    Refused("addmm", "an input with more axes", normal((1, 2, 4), (2, 3), (3, 4))),
    Refused("addmm", "a vector", normal((4,), (3,), (3, 4))),
    Refused("addmm", "inner sizes that differ", normal((4,), (2, 3), (2, 4))),
    Refused("addmm", "two dtypes", values([[1]], [[1.0]], [[1.0]])),
]

EINSUMS = [
    einsum("a matrix product", "ij,jk->ik", (2, 3), (3, 4)),
    einsum("an implicit output", "ij,jk", (2, 3), (3, 4)),
    einsum("an implicit output in alphabetical order", "bA", (2, 3)),
    einsum("spaces", " i j , j k -> k i ", (2, 3), (3, 4)),
    einsum("a transpose", "ijk->kij", (2, 3, 4)),
    einsum("a sum", "ij->", (2, 3)),
    einsum("a sum over one axis", "ij->j", (2, 3)),
    einsum("a trace", "ii", (3, 3)),
    einsum("a diagonal", "ii->i", (3, 3)),
    einsum("a diagonal of three axes", "iji->ji", (2, 3, 2)),
    einsum("a diagonal thrice", "iii->i", (2, 2, 2)),
    einsum("two diagonals", "iijj->ij", (2, 2, 3, 3)),
    einsum("a diagonal in a product", "iij,j->i", (2, 2, 3), (3,)),
    einsum("elementwise", "ij,ij->ij", (2, 3), (2, 3)),
    einsum("outer", "i,j->ji", (2,), (3,)),
    einsum("dot", "i,i", (3,), (3,)),
    einsum("a batch", "bij,bjk->bik", (2, 2, 3), (2, 3, 2)),
    einsum("letters of one operand", "ijx,jky->ik", (2, 3, 2), (3, 4, 2)),
    einsum("three operands", "ij,jk,kl->il", (2, 3), (3, 2), (2, 4)),
    einsum("three operands with one letter", "i,i,i->i", (3,), (3,), (3,)),
    einsum("a bilinear form", "bi,oij,bj->bo", (2, 3), (4, 3, 2), (2, 2)),
    einsum("an ellipsis", "...ij,...jk->...ik", (2, 1, 2, 3), (4, 3, 2)),
    einsum("an ellipsis in the middle", "i...j->j...i", (2, 3, 2, 4)),
    einsum("an implicit ellipsis", "i...j", (2, 5, 3)),
    einsum("an ellipsis that is summed", "...i->i", (2, 3, 4)),
    einsum("an ellipsis of one operand", "...i,ij->...j", (2, 2, 3), (3, 4)),
    einsum("an ellipsis without axes", "...ij->...ji", (2, 3)),
    einsum("an ellipsis for the output alone", "ij,jk->ik...", (2, 3), (3, 4)),
    einsum("axes of size 1", "ij,jk->ik", (2, 1), (3, 4)),
    einsum("axes of size 1, kept", "ij,ij->ij", (2, 1), (1, 3)),
    einsum("a scalar", "i,->i", (2,), ()),
    einsum("scalars", ",", (), ()),
    einsum("one scalar", "", ()),
    einsum("an inner size of 0", "ij,jk->ik", (2, 0), (0, 3)),
    einsum("no rows", "ij,jk->ik", (0, 2), (2, 3)),
    Row("einsum", "a list", normal("ij,jk", [(2, 3), (3, 4)]), method=False),
    Row("einsum", "integers", values("ij,jk->ik", [[1, 2], [3, 4]], [[5, 6], [7, 8]]), method=False),
    Row("einsum", "integers, summed", values("ij->i", [[1, 2], [3, 4]]), method=False),
    Row("einsum", "bools, elementwise", values("i,j->ij", [True, False], [True, True]), method=False),
    Row("einsum", "bools, summed", values("i->", [True, True]), method=False),
    Refused("einsum", "bools, contracted", values("i,i", [True, False], [True, True])),
    Refused("einsum", "two dtypes", values("i,i", [1.0, 2.0], [1, 2])),
    Refused("einsum", "no equation", values(3, [1.0])),
    Refused("einsum", "no operand", values("i")),
    einsum_refused("too few operands", "ij,j", (2, 3)),
    einsum_refused("too many operands", "ij", (2, 3), (3,)),
    einsum_refused("too many letters", "ijk", (2, 3)),
    einsum_refused("too few letters", "i", (2, 3)),
    einsum_refused("too many letters beside an ellipsis", "...ijk", (2, 3)),
    einsum_refused("two ellipses", "...i...", (2, 3)),
    einsum_refused("two dots", "i..j", (2, 3)),
    einsum_refused("dots apart", ". ..i", (2, 3)),
    einsum_refused("a digit", "i1", (2, 3)),
    einsum_refused("two arrows", "ij->i->j", (2, 3)),
    einsum_refused("two outputs", "ij->i,j", (2, 3)),
    einsum_refused("an output letter twice", "ij->ii", (2, 3)),
    einsum_refused("an unknown output letter", "ij->k", (2, 3)),
    einsum_refused("a diagonal that is none", "ii", (3, 2)),
    einsum_refused("a diagonal with size 1", "ii", (1, 2)),
    einsum_refused("sizes that differ", "ij,jk->ik", (2, 2), (3, 4)),
    einsum_refused("ellipses that do not broadcast", "...i,...i", (2, 3), (4, 3)),
]


def _bytes(rng: Any) -> tuple[Any, ...]:
    return np.array([[1], [2]], np.uint8), np.array([[3]], np.uint8)


TENSORDOTS = [
    *(
        Row("tensordot", name, normal(x, y), {"dims": dims}, method=False)
        for name, x, y, dims in [
            ("one axis", (2, 3), (3, 4), 1),
            ("no axis", (2,), (3,), 0),
            ("all axes", (2, 3), (2, 3), 2),
            ("lists", (2, 3, 4), (4, 5, 3), ((1, 2), (2, 0))),
            ("negative axes", (2, 3), (4, 3), ((-1,), (-1,))),
            ("empty lists", (2,), (3,), ((), ())),
            ("an axis of size 1", (2, 3), (1, 4), 1),
            ("scalars", (), (), 0),
            ("an inner size of 0", (2, 0), (0, 3), 1),
        ]
    ),
    Row("tensordot", "two axes by default", normal((4, 2, 3), (2, 3)), method=False),
    Row("tensordot", "integers", MATRICES, {"dims": 1}, method=False),
    *(
        Refused("tensordot", name, normal(x, y), {"dims": dims})
        for name, x, y, dims in [
            ("a negative number", (2, 3), (3, 4), -1),
            ("more axes than there are", (2, 3), (3, 4), 3),
            ("sizes that differ", (2, 3), (3, 4), ((1,), (1,))),
            ("lists of different lengths", (2, 3), (3, 4), ((1, 0), (0,))),
            ("an axis twice", (2, 2), (2, 2), ((1, 1), (0, 1))),
            ("no such axis", (2, 2), (2, 2), ((3,), (0,))),
            ("axes without lists", (2, 2), (2, 2), (1, 0)),
        ]
    ),
    Row("tensordot", "integers, an axis of 1", values([[1], [2]], [[3]]), {"dims": ([0, 1], [0, 1])}, method=False),
    Row("tensordot", "bytes, an axis of 1", _bytes, {"dims": ([0, 1], [0, 1])}, method=False),
    Refused("tensordot", "a scalar has no axis", normal((2,), ()), {"dims": ([0], [0])}),
    Refused("tensordot", "two dtypes", MIXED, {"dims": 1}),
    Refused("tensordot", "bools", TRUTHS, {"dims": 1}),
]

ROWS = [*PRODUCTS, *EINSUMS, *TENSORDOTS]
