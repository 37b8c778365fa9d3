"""Products of vectors and matrices, and sums of products over named axes."""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn.autograd import apply
from tinybn.errors import DTypeError, ShapeError
from tinybn.functional.arguments import axis_to_cut
from tinybn.functional.shape import broadcast_checked, permute, reshape, squeeze

__all__ = [
    "addmm",
    "bmm",
    "dot",
    "einsum",
    "ger",
    "inner",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
]


# --- products of two --------------------------------------------------------------------------------------------------


def matmul(input: Any, other: Any) -> Tensor:
    """The matrix product, with PyTorch's rules for vectors and for axes in front.

    >>> import tinybn as tb
    >>> tb.matmul(tb.ones(2, 3), tb.ones(3)).shape
    (2,)
    """
    x, y = as_tensor(input), as_tensor(other)
    if not x.ndim or not y.ndim:
        raise ShapeError(
            f"matmul: expected at least one axis each, got shapes {x.shape} and {y.shape}; use * for scalars"
        )
    return _product("matmul", x, y)


def mm(input: Any, mat2: Any) -> Tensor:
    """The product of two matrices."""
    return _product("mm", *_with_axes("mm", (input, 2), (mat2, 2)))


def bmm(input: Any, mat2: Any) -> Tensor:
    """The products of matrices, pair by pair: (N, n, k), (N, k, m) → (N, n, m)."""
    x, y = _with_axes("bmm", (input, 3), (mat2, 3))
    if len(x.data) != len(y.data):
        raise ShapeError(f"bmm: expected as many matrices on both sides, got shapes {x.shape} and {y.shape}")
    return _product("bmm", x, y)


def mv(input: Any, vec: Any) -> Tensor:
    """The product of a matrix and a vector."""
    return _product("mv", *_with_axes("mv", (input, 2), (vec, 1)))


def dot(input: Any, tensor: Any) -> Tensor:
    """Σ xᵢ·yᵢ of two vectors of one size.

    >>> import tinybn as tb
    >>> tb.dot(tb.tensor([1, 2]), tb.tensor([3, 4]))
    tensor(11)
    """
    return _product("dot", *_with_axes("dot", (input, 1), (tensor, 1)))


def inner(input: Any, other: Any) -> Tensor:
    """Σ over the last axis of both, for every pair of the other places; of scalars, the product.

    >>> import tinybn as tb
    >>> tb.inner(tb.ones(2, 3), tb.ones(4, 3)).shape
    (2, 4)
    """
    x, y = as_tensor(input), as_tensor(other)
    if not x.ndim or not y.ndim:
        return x * y
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"inner: the last sizes of {x.shape} and {y.shape} differ")
    rows, columns = (reshape(z, math.prod(z.shape[:-1]), z.shape[-1]) for z in (x, y))
    return reshape(_product("inner", rows, permute(columns, 1, 0)), x.shape[:-1] + y.shape[:-1])


def outer(input: Any, vec2: Any) -> Tensor:
    """xᵢ·yⱼ of two vectors.

    >>> import tinybn as tb
    >>> tb.outer(tb.tensor([1, 2]), tb.tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    x, y = _with_axes("outer", (input, 1), (vec2, 1))
    return reshape(x, -1, 1) * y


ger = outer


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta·input + alpha·(mat1 @ mat2), where the input broadcasts.

    What has the factor 0 is left out, even a NaN. For integers a fraction of beta or alpha is cut off.

    >>> import tinybn as tb
    >>> tb.addmm(tb.ones(2), tb.ones(1, 3), tb.ones(3, 2), alpha=2)
    tensor([[7., 7.]])
    """
    added = as_tensor(input)
    x, y = _with_axes("addmm", (mat1, 2), (mat2, 2))
    _check_one_dtype("addmm", added, x, y)
    if added.dtype.kind != "f":
        beta, alpha = int(beta), int(alpha)
    product = _product("addmm", x, y)
    added = broadcast_checked("addmm", added, product.shape)
    scaled = product if alpha == 1 else product * alpha if alpha else Tensor(np.zeros_like(product.data))
    return scaled if beta == 0 else scaled + (added if beta == 1 else added * beta)


def _with_axes(name: str, *pairs: tuple[Any, int]) -> list[Tensor]:
    """Each as a Tensor, checked to have so many axes."""
    tensors = [as_tensor(value) for value, _ in pairs]
    if any(x.ndim != count for x, (_, count) in zip(tensors, pairs, strict=True)):
        expected = " and ".join(str(count) for _, count in pairs)
        raise ShapeError(f"{name}: expected tensors with {expected} axes, got shapes {[x.shape for x in tensors]}")
    return tensors


def _check_one_dtype(name: str, *tensors: Tensor) -> None:
    if any(x.dtype != tensors[0].dtype for x in tensors):
        dtypes = ", ".join(str(x.dtype) for x in tensors)
        raise DTypeError(f"{name}: expected tensors of one dtype, got {dtypes}; cast with .to()")


def _product(name: str, x: Tensor, y: Tensor) -> Tensor:
    """`matmul`, for the function of that name."""
    if x.dtype != y.dtype or x.dtype.kind == "b":
        raise DTypeError(f"{name}: expected numbers of one dtype, got {x.dtype} and {y.dtype}; cast one with .to()")
    left = reshape(x, 1, -1) if x.ndim == 1 else x
    right = reshape(y, -1, 1) if y.ndim == 1 else y
    if left.shape[-1] != right.shape[-2]:
        raise ShapeError(f"{name}: the inner sizes of {x.shape} and {y.shape} differ")
    product: Tensor = apply(ops.matmul, left, right)
    shape = product.shape[:-2] + left.shape[-2:-1] * (x.ndim > 1) + right.shape[-1:] * (y.ndim > 1)
    return product if shape == product.shape else reshape(product, shape)


# --- sums of products over named axes ---------------------------------------------------------------------------------

Labels = list[str]  # the names of a tensor's axes

_TERM = r"[a-zA-Z ]*(\.\.\.)?[a-zA-Z ]*"
_EQUATION = re.compile(f"{_TERM}(,{_TERM})*(->{_TERM})?")


def einsum(equation: str, *operands: Any) -> Tensor:
    """Products of tensors, summed over the letters that the output does not have.

    Args:
        equation: a letter for each axis, as in ``"ij,jk->ik"``. A letter that stands twice in a term takes the
            diagonal; ``...`` stands for axes without a letter, which broadcast. Without ``->`` the output has ``...``
            and then the letters that occur once, in alphabetical order, capitals first.
        operands: one tensor for each term, or one list of them; the product runs from left to right.

    Raises:
        ValueError: an equation that cannot be read, or has more or fewer terms than there are operands.
        ShapeError: axes that do not go together with it.

    >>> import tinybn as tb
    >>> tb.einsum("ij,j->i", tb.eye(2), tb.tensor([3.0, 4.0]))
    tensor([3., 4.])
    """
    if not isinstance(equation, str):
        raise TypeError(f"einsum: expected the equation as a string, got {type(equation).__name__}")
    tensors = [as_tensor(x) for x in (operands[0] if len(operands) == 1 and _is_list(operands[0]) else operands)]
    if not _EQUATION.fullmatch(equation):
        raise ValueError(f"einsum: expected letters and at most one '...' in each term, got {equation!r}")
    terms, arrow, output_term = equation.replace(" ", "").partition("->")
    if len(tensors) != len(terms.split(",")):
        raise ValueError(f"einsum: {equation!r} needs {len(terms.split(','))} operands, got {len(tensors)}")
    labels = [_labels_of(term, x) for term, x in zip(terms.split(","), tensors, strict=True)]
    output = _output_labels(output_term if arrow else None, labels)
    tensors, labels = map(list, zip(*(_diagonal(x, own) for x, own in zip(tensors, labels, strict=True)), strict=True))
    tensors, labels = _without_broadcast_axes(tensors, labels)
    x, own = tensors[0], labels[0]
    for i, y in enumerate(tensors[1:], 1):
        later = [label for others in labels[i + 1 :] for label in others]
        x, own = _contracted("einsum", x, own, y, labels[i], output + later)
    if x.dtype.kind != "f" and set(own) - set(output):
        x = x.to(np.int64)
    x, own = _summed(x, own, output)
    return permute(x, [own.index(label) for label in output])


def tensordot(a: Any, b: Any, dims: Any = 2) -> Tensor:
    """Σ over axes of a and b, pair by pair; the output has the others of a, then the others of b.

    Args:
        dims: the axes of a and those of b, two lists; or how many, the last ones of a with the first ones of b.

    >>> import tinybn as tb
    >>> tb.tensordot(tb.ones(2, 3, 4), tb.ones(4, 3, 5), ([1, 2], [1, 0])).shape
    (2, 5)
    """
    x, y = as_tensor(a), as_tensor(b)
    _check_one_dtype("tensordot", x, y)
    left, right = _dims_of_tensordot(x, y, dims)
    labels = [str(i) for i in range(x.ndim)], [f"b{i}" for i in range(y.ndim)]
    for i, j in zip(left, right, strict=True):
        labels[1][j] = labels[0][i]
    output = [label for label in labels[0] + labels[1] if (label in labels[0]) != (label in labels[1])]
    (x, y), (x_labels, y_labels) = _without_broadcast_axes([x, y], labels, "tensordot")
    return _contracted("tensordot", x, x_labels, y, y_labels, output)[0]


def _dims_of_tensordot(x: Tensor, y: Tensor, dims: Any) -> tuple[list[int], list[int]]:
    if isinstance(dims, Tensor | np.ndarray):
        dims = dims.tolist()
    if isinstance(dims, int):
        if not 0 <= dims <= min(x.ndim, y.ndim):
            raise ShapeError(f"tensordot: shapes {x.shape} and {y.shape} do not have {dims} axes to be paired")
        return list(range(x.ndim - dims, x.ndim)), list(range(dims))
    if not _is_list(dims) or len(dims) != 2 or not all(_is_list(axes) for axes in dims):
        raise TypeError(f"tensordot: expected dims as a number or two lists of axes, got {dims!r}")
    left, right = ([axis_to_cut("tensordot", z, d) for d in axes] for z, axes in zip((x, y), dims, strict=True))
    if len(left) != len(right) or len(set(left)) != len(left) or len(set(right)) != len(right):
        raise ShapeError(f"tensordot: expected pairs of axes, each axis once, got dims {dims}")
    return left, right


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _labels_of(term: str, x: Tensor) -> Labels:
    """The letters of a term, and for the axes that its ellipsis covers their numbers from the right."""
    front, ellipsis, back = term.partition("...")
    covered = x.ndim - len(front) - len(back)
    if covered < 0 or (covered and not ellipsis):
        raise ShapeError(f"einsum: the term {term!r} does not name the axes of an operand of shape {x.shape}")
    return [*front, *_covered_labels(covered), *back]


def _covered_labels(count: int) -> Labels:
    return [str(i) for i in range(count, 0, -1)]


def _output_labels(term: str | None, labels: list[Labels]) -> Labels:
    """Those that the output's term asks for, None: the ellipsis, then the letters that occur once."""
    found = [label for own in labels for label in own]
    covered = _covered_labels(max((int(label) for label in found if label.isdigit()), default=0))
    if term is None:
        return covered + sorted(label for label in set(found) if label.isalpha() and found.count(label) == 1)
    front, ellipsis, back = term.partition("...")
    letters = front + back
    if len(set(letters)) != len(letters) or not set(letters) <= set(found):
        raise ValueError(f"einsum: expected each letter of the output {term!r} once, and in one of the operands")
    return [*front, *(covered if ellipsis else []), *back]


def _diagonal(x: Tensor, labels: Labels) -> tuple[Tensor, Labels]:
    """Where a label repeats, the places whose indices along its axes agree."""
    for label in dict.fromkeys(labels):
        axes = [i for i, other in enumerate(labels) if other == label]
        sizes = {x.shape[i] for i in axes}
        if len(sizes) > 1:
            raise ShapeError(f"einsum: {label!r} stands for axes of different sizes in an operand of shape {x.shape}")
        if len(axes) > 1:
            others = [i for i in range(x.ndim) if i not in axes]
            x = permute(x, axes + others)[(np.arange(*sizes),) * len(axes)]
            labels = [label, *(labels[i] for i in others)]
    return x, labels


def _without_broadcast_axes(
    tensors: list[Tensor], labels: Sequence[Labels], name: str = "einsum"
) -> tuple[list[Tensor], list[Labels]]:
    """Axes of size 1 are dropped where the same label has another size elsewhere; what is left agrees in its sizes."""
    sizes: dict[str, int] = {}
    for x, own in zip(tensors, labels, strict=True):
        for label, n in zip(own, x.shape, strict=True):
            known = sizes.setdefault(label, n)
            if 1 not in (known, n) and known != n:
                shapes = " and ".join(str(x.shape) for x in tensors)
                raise ShapeError(f"{name}: shapes {shapes} do not go together: one axis has the sizes {known} and {n}")
            sizes[label] = n if known == 1 else known
    kept = [
        [i for i, label in enumerate(own) if x.shape[i] == sizes[label]] for x, own in zip(tensors, labels, strict=True)
    ]
    return (
        [squeeze(x, tuple(set(range(x.ndim)).difference(axes))) for x, axes in zip(tensors, kept, strict=True)],
        [[own[i] for i in axes] for own, axes in zip(labels, kept, strict=True)],
    )


def _summed(x: Tensor, labels: Labels, kept: Labels) -> tuple[Tensor, Labels]:
    """The sum over the labels that are not kept, in the dtype of x."""
    axes = tuple(i for i, label in enumerate(labels) if label not in kept)
    return (apply(ops.sum, x, axes).to(x.dtype) if axes else x), [label for label in labels if label in kept]


def _contracted(
    name: str, x: Tensor, x_labels: Labels, y: Tensor, y_labels: Labels, kept: Labels
) -> tuple[Tensor, Labels]:
    """The product of two, summed over the labels that are not kept, as one batch of matrix products."""
    x, x_labels = _summed(x, x_labels, y_labels + kept)
    y, y_labels = _summed(y, y_labels, x_labels + kept)
    sizes = dict(zip(x_labels + y_labels, x.shape + y.shape, strict=True))
    batch = [label for label in x_labels if label in y_labels and label in kept]
    inner = [label for label in x_labels if label in y_labels and label not in kept]
    left = [label for label in x_labels if label not in y_labels]
    right = [label for label in y_labels if label not in x_labels]

    def blocks(z: Tensor, labels: Labels, *groups: Labels) -> Tensor:
        """The axes in the order of three groups of labels, each group as one axis."""
        z = permute(z, [labels.index(label) for group in groups for label in group])
        return reshape(z, [math.prod(sizes[label] for label in group) for group in groups])

    rows, columns = blocks(x, x_labels, batch, left, inner), blocks(y, y_labels, batch, inner, right)
    product = _product(name, rows, columns) if inner else rows * columns
    labels = batch + left + right
    return reshape(product, [sizes[label] for label in labels]), labels
