"""Padding."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinybn import ops
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array
from tinybn.autograd import apply
from tinybn.errors import ShapeError
from tinybn.functional.arguments import number_in, whole

__all__ = ["pad"]

Sides = list[tuple[int, int]]  # for some axes, what to add in front and behind


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """More places in front of and behind the last axes; a negative number takes some away.

    Args:
        pad: (front, behind) of the last axis, then of the last but one, …
        mode: ``"constant"`` (of any axes), ``"reflect"`` (about the outermost values, which are not repeated),
            ``"replicate"`` (the outermost values) or ``"circular"`` (from the other end). All but the first pad one
            to three axes, all but (N, C) or (C,).
        value: the constant; default 0.

    Raises:
        ShapeError: the input has too few axes for this, or is too small.

    >>> import tinybn as tb
    >>> tb.functional.pad(tb.tensor([1, 2, 3]), (1, 2))
    tensor([0, 1, 2, 3, 0, 0])
    >>> tb.functional.pad(tb.tensor([[1, 2, 3]]), (1, 2), "reflect")
    tensor([[2, 1, 2, 3, 2, 1]])
    """
    if not isinstance(pad, list | tuple):
        raise TypeError(f"pad: expected a tuple of whole numbers, got {pad!r}")
    x, numbers = as_tensor(input), [whole("pad: a number", n) for n in pad]
    if len(numbers) % 2 or len(numbers) > 2 * x.ndim:
        raise ShapeError(f"pad: expected two numbers for each axis of shape {x.shape} at most, got {tuple(numbers)}")
    sides = list(zip(numbers[::2], numbers[1::2], strict=True))[::-1]  # in the order of the axes
    if mode == "constant":
        return _pad_constant(x, [(0, 0)] * (x.ndim - len(sides)) + sides, value)
    if mode not in _SOURCES:
        raise ValueError(f"pad: mode is {mode!r}; expected 'constant', 'reflect', 'replicate' or 'circular'")
    if value:
        raise ValueError(f"pad: mode {mode!r} takes no value, got {value}")
    if not 1 <= len(sides) <= 3 or x.ndim - len(sides) not in (1, 2):
        raise ShapeError(f"pad: mode {mode!r} cannot pad {len(sides)} axes of shape {x.shape}")
    sizes = x.shape[x.ndim - len(sides) :]
    places = [_SOURCES[mode](n, *side) for n, side in zip(sizes, sides, strict=True)]
    return x[(..., *np.ix_(*places))]


def _pad_constant(x: Tensor, sides: Sides, value: float | None) -> Tensor:
    for n, side in zip(x.shape, sides, strict=True):
        _check_what_is_left(n, *side)
    kept = x[
        tuple(slice(max(0, -front), n - max(0, -behind)) for n, (front, behind) in zip(x.shape, sides, strict=True))
    ]
    inside = tuple(slice(max(0, front), max(0, front) + n) for n, (front, _) in zip(kept.shape, sides, strict=True))
    shape = tuple(n + front + behind for n, (front, behind) in zip(x.shape, sides, strict=True))
    padded: Tensor = apply(ops.scatter, kept, inside, shape)
    if not value:
        return padded
    is_inside = np.zeros(shape, bool)
    is_inside[inside] = True
    return apply(ops.where, is_inside, padded, number_in("pad", value, x.dtype))


def _check_what_is_left(n: int, front: int, behind: int) -> None:
    if n + min(0, front) + min(0, behind) < 0:
        raise ShapeError(f"pad: {(front, behind)} takes more away than an axis of {n} has")


# --- where the value at each place of a padded axis comes from --------------------------------------------------------


def _reflected(n: int, front: int, behind: int) -> Array:
    if max(front, behind) >= n:
        raise ShapeError(f"pad: to reflect, expected less than the size {n} of the axis, got {(front, behind)}")
    from_front = np.abs(_places("reflect", n, front, behind))
    return np.minimum(from_front, 2 * (n - 1) - from_front)


def _replicated(n: int, front: int, behind: int) -> Array:
    return np.clip(_places("replicate", n, front, behind), 0, n - 1)


def _circled(n: int, front: int, behind: int) -> Array:
    _check_what_is_left(n, front, behind)
    left = n + min(0, front) + min(0, behind)  # what is taken away is gone before the rest goes round
    if max(front, behind) > left:
        raise ShapeError(f"pad: to go round once, expected at most {left}, what is left of {n}, got {(front, behind)}")
    return max(0, -front) + np.arange(-max(0, front), left + max(0, behind)) % max(1, left)


def _places(mode: str, n: int, front: int, behind: int) -> Array:
    if not n or n + front + behind < 1:
        raise ShapeError(f"pad: {(front, behind)} with mode {mode!r} leaves nothing of an axis of {n}")
    return np.arange(-front, n + behind)


_SOURCES: dict[str, Callable[[int, int, int], Array]] = {
    "reflect": _reflected,
    "replicate": _replicated,
    "circular": _circled,
}
