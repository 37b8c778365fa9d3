"""Products of matrices that something is added to, Kronecker's product, and distances."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinybn._tensor import Tensor, as_tensor
from tinybn.errors import ShapeError
from tinybn.functional.arguments import broadcast_shape, check_dtypes, check_floating, check_not_bool, operand
from tinybn.functional.linalg import bmm, mv
from tinybn.functional.reduction import norm
from tinybn.functional.shape import broadcast_checked, reshape, unsqueeze

__all__ = ["addmv", "baddbmm", "cdist", "kron"]


def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta·input + alpha·(mat @ vec), where the input broadcasts.

    What has the factor 0 is left out, even a NaN. For integers a fraction of beta or alpha is cut off.

    >>> import tinybn as tb
    >>> tb.functional.addmv(tb.ones(2), tb.ones(2, 3), tb.ones(3))
    tensor([4., 4.])
    """
    x, y = as_tensor(mat), as_tensor(vec)
    if (x.ndim, y.ndim) != (2, 1) or x.shape[1] != y.shape[0]:
        raise ShapeError(f"addmv: expected a matrix (M, N) and a vector (N,), got shapes {x.shape} and {y.shape}")
    return _added("addmv", mv, as_tensor(input), x, y, beta, alpha)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta·input + alpha·(batch1 @ batch2) for stacks of matrices, where the input broadcasts. As `addmv`."""
    x, y = as_tensor(batch1), as_tensor(batch2)
    if (x.ndim, y.ndim) != (3, 3) or x.shape[0] != y.shape[0] or x.shape[2] != y.shape[1]:
        raise ShapeError(f"baddbmm: expected stacks (B, M, N) and (B, N, P), got shapes {x.shape} and {y.shape}")
    return _added("baddbmm", bmm, as_tensor(input), x, y, beta, alpha)


def _added(
    name: str, multiply: Callable[..., Tensor], added: Tensor, x: Tensor, y: Tensor, beta: float, alpha: float
) -> Tensor:
    check_dtypes(name, input=added, first=x, second=y)
    check_not_bool(name, x)
    if x.dtype.kind != "f":
        beta, alpha = int(beta), int(alpha)
    product = multiply(x, y)
    added = broadcast_checked(name, added, product.shape)
    scaled = product * alpha if alpha else Tensor(np.zeros_like(product.data))
    return scaled if beta == 0 else scaled + added * beta


def kron(input: Any, other: Any) -> Tensor:
    """Kronecker's product: for each element of the first tensor, that times the second one, in its place.

    >>> import tinybn as tb
    >>> tb.functional.kron([1, 10], [1, 2])
    tensor([ 1,  2, 10, 20])
    """
    x, y = operand("kron", input), operand("kron", other)
    axes = max(x.ndim, y.ndim)
    blocks, inside = ((1,) * (axes - t.ndim) + t.shape for t in (x, y))
    products = reshape(x, [n for size in blocks for n in (size, 1)]) * reshape(
        y, [n for size in inside for n in (1, size)]
    )
    return reshape(products, [m * n for m, n in zip(blocks, inside, strict=True)])


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """The distance of each row of x1 from each row of x2: the p-norm of their difference, with gradient 0 at 0.

    Args:
        x1, x2: (..., P, M) and (..., R, M), which broadcast in front; the result is (..., P, R).
        p: from 0 on, or infinity.
        compute_mode: one of PyTorch's, which all mean the same here.

    >>> import tinybn as tb
    >>> tb.functional.cdist([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]])
    tensor([[5., 1.]])
    """
    x, y = as_tensor(x1), as_tensor(x2)
    check_floating("cdist", x)
    check_dtypes("cdist", x1=x, x2=y)
    if min(x.ndim, y.ndim) < 2 or x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"cdist: expected shapes (..., P, M) and (..., R, M), got {x.shape} and {y.shape}")
    if not p >= 0:
        raise ValueError(f"cdist: p is {p!r}; expected a number from 0 on")
    if compute_mode not in (None, *_COMPUTE_MODES):
        raise ValueError(f"cdist: compute_mode is {compute_mode!r}; expected one of {_COMPUTE_MODES}")
    broadcast_shape("cdist", x.shape[:-2], y.shape[:-2])
    return norm(unsqueeze(x, -2) - unsqueeze(y, -3), p if x.shape[-1] else 2, -1)  # of no columns it is 0 for any p


_COMPUTE_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)
