"""In-place changes: refused where they would break a graph, and made known to it where they do not.

A tensor that has been changed stands for its new value from then on: the node that computed that takes the place of the
old one. So does every other tensor that shares the memory. What an op had saved of it before is found changed by the
backward, which then raises (`tinybn.saved`).
"""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from tinybn import ops
from tinybn._typing import Array, Op
from tinybn.autograd import apply
from tinybn.errors import DTypeError, GraphError, ShapeError
from tinybn.hooks import Watch
from tinybn.modes import RECORD, state
from tinybn.storage import is_unseen_view, mark_changed, relatives


def change(name: str, x: Any, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """x[...] = function(x, *args, **options); returns x.

    Raises:
        GraphError: x is a leaf that requires grad, or shares its memory with one, and ops are being recorded.
        ShapeError, DTypeError: the result does not fit into x.
    """
    recording = _check(name, x)
    old = apply(ops.clone, x) if recording else x  # a backward may need what x is now
    y = function(old, *(old if a is x else a for a in args), **options)
    if y.shape != x.shape:
        raise ShapeError(f"{name}: the result has shape {y.shape}, which does not fit into a tensor of shape {x.shape}")
    if not np.can_cast(y.data.dtype, x.data.dtype, "same_kind"):
        raise DTypeError(f"{name}: the result is {y.data.dtype}, which does not fit into a tensor of {x.data.dtype}")
    _made_known(name, x, apply(_assign, y.to(x.data.dtype), x.data), recording)
    return x


def _assign(x: Array, out: Array) -> Op:
    """x in the memory of ``out``."""
    out[...] = x

    def backward(dy: Any) -> tuple[Any, ...]:
        return (dy,)

    return out, backward, ()


def put(x: Any, index: Any, value: Any) -> None:
    """x[index] = value."""
    recording = _check("item assignment", x)
    try:
        y = apply(ops.put, x, value, index, out=x.data)
    except ShapeError as error:
        raise ShapeError(f"item assignment: a value of shape {value.shape} in a tensor of {x.shape}: {error}") from None
    _made_known("item assignment", x, y, recording)


def _check(name: str, x: Any) -> bool:
    """Whether the change is to be recorded."""
    if not x.data.flags.writeable:
        raise GraphError(f"{name}: this tensor was expanded, or shares read-only memory; clone() it first")
    if not state.mode & RECORD:
        return False
    others = list(relatives(x))
    for tensor in (x, *others):
        if tensor.tracked and tensor.node is None:
            which = "a leaf" if tensor is x else "a view of a leaf"
            raise GraphError(
                f"{name}: {which} that requires grad cannot be changed in place while ops are recorded; "
                "do so under tb.no_grad(), or change a clone()"
            )
    if is_unseen_view(x) and any(tensor.tracked for tensor in others):
        raise GraphError(
            f"{name}: this is a view of a tensor in a graph, made under no_grad(), so that the graph does not know how "
            "the two belong together; make it again where ops are recorded, or change it under tb.no_grad()"
        )
    return True


def _made_known(name: str, x: Any, y: Any, recording: bool) -> None:
    """The memory of x has just been given the values of y."""
    mark_changed(x.data, name)
    others = list(relatives(x)) if recording else []
    if not recording or not any(tensor.tracked for tensor in (x, y, *others)):
        return
    _replace(x, y)
    for other in others:
        if not np.may_share_memory(other.data, x.data):
            continue
        here, there = _common_elements(other.data, x.data)
        if there.size:
            values = x.reshape(-1)[there]
            index = np.unravel_index(here, other.shape) if other.ndim else ()
            _replace(other, apply(ops.put, other, values if other.ndim else values.reshape(()), index))


def _replace(x: Any, y: Any) -> None:
    """Let x stand where y stands in the graph. Their values are equal."""
    before = x.node
    x.tracked, x.node = y.tracked, y.node
    if x.node is None:
        return
    x.node.out_id = id(x.data)
    if before is not None and before.watch is not None and before.watch.tensor is not None:  # retain_grad
        before.watch.tensor, x.node.watch = None, Watch()
        x.node.watch.tensor = weakref.ref(x)


def _common_elements(a: Array, b: Array) -> tuple[Array, Array]:
    """Flat indices into a and into b of the elements that are the same memory. b has no element twice."""
    addresses_a, addresses_b = _addresses(a), _addresses(b)
    if not addresses_b.size:
        return addresses_b, addresses_b
    order = np.argsort(addresses_b)
    position = np.minimum(np.searchsorted(addresses_b, addresses_a, sorter=order), order.size - 1)
    in_b = order[position]
    in_a = np.flatnonzero(addresses_b[in_b] == addresses_a)
    return in_a, in_b[in_a]


def _addresses(x: Array) -> Array:
    """Where each element lies in memory, flat."""
    addresses = np.full(x.shape, x.__array_interface__["data"][0])
    for axis, stride in enumerate(x.strides):
        steps = stride * np.arange(x.shape[axis])
        addresses += steps.reshape(-1, *[1] * (x.ndim - axis - 1))
    return addresses.reshape(-1)
