"""Clipping gradients."""

from typing import Any

import numpy as np

from tinybn._tensor import Tensor
from tinybn._typing import Array
from tinybn.errors import GraphError, ShapeError
from tinybn.nn.utils.arguments import listed_tensors
from tinybn.storage import mark_changed


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients in place by one factor, so that their norm as one vector is at most ``max_norm``.

    Args:
        parameters: tensors, or one; those without a gradient are left out.
        norm_type: p of the p-norm; ``inf`` is the largest absolute value.
        error_if_nonfinite: refuse a norm that is NaN or infinite. Else all gradients become NaN, or 0.
        foreach: means nothing here.

    Returns:
        The norm before.

    Raises:
        RuntimeError: the norm is not finite. Nothing has changed then.

    Source: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks", §3.2.

    >>> import tinybn as tb
    >>> w = tb.zeros(2, requires_grad=True)
    >>> w.grad = tb.tensor([3.0, 4.0])
    >>> tb.nn.utils.clip_grad_norm_([w], max_norm=1.0)
    tensor(5.)
    >>> [round(g, 3) for g in w.grad.tolist()]
    [0.6, 0.8]
    """
    gradients = _gradients("clip_grad_norm_", parameters)
    if not gradients:
        return Tensor(np.zeros((), np.float32))
    p, limit = float(norm_type), float(max_norm)
    for g in gradients:
        if not g.size and (p < 0 or p == np.inf):
            raise ShapeError(f"clip_grad_norm_: a gradient of shape {g.shape} has no norm of type {p}; leave it out")
    with np.errstate(all="ignore"):
        norms = [np.linalg.norm(g.reshape(-1).astype(np.float64), p) for g in gradients]
        total = np.linalg.norm(norms, p)
        if error_if_nonfinite and not np.isfinite(total):
            raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {total}; expected a finite one")
        factor = np.minimum(limit / (total + 1e-6), 1.0)
        for g in gradients:
            g *= g.dtype.type(factor)
            mark_changed(g, "clip_grad_norm_")
    return Tensor(np.asarray(total, np.result_type(*gradients)))


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Limit all elements of the gradients to −clip_value..clip_value, in place.

    Args:
        parameters: tensors, or one; those without a gradient are left out.
        foreach: means nothing here.

    >>> import tinybn as tb
    >>> w = tb.zeros(2, requires_grad=True)
    >>> w.grad = tb.tensor([3.0, -0.5])
    >>> tb.nn.utils.clip_grad_value_([w], 1.0)
    >>> w.grad
    tensor([ 1. , -0.5])
    """
    limit = float(clip_value)
    for g in _gradients("clip_grad_value_", parameters):
        np.minimum(np.maximum(g, -limit, out=g), limit, out=g)  # the upper limit where they cross
        mark_changed(g, "clip_grad_value_")


def _gradients(name: str, parameters: Any) -> list[Array]:
    """The arrays of the gradients that are there, checked to be writeable."""
    gradients = [p.grad.data for p in listed_tensors(name, parameters) if p.grad is not None]
    if not all(g.flags.writeable for g in gradients):
        raise GraphError(f"{name}: a gradient lies in read-only memory; clone() it first")
    return gradients
