"""How arrays are seen by the kernels: as (N, C, S) or as (M, C)."""

from collections.abc import Callable

import numpy as np

from tinybn._typing import Array, DTypeLike, Shape
from tinybn.errors import DTypeError, ShapeError

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def prepared(name: str, x: Array) -> tuple[Array, str]:
    """x (N, C, ...) in one of the layouts, copied if it is in neither, and the layout's name.

    ``mc``: channels last in memory, which dense data always is. ``ncs``: contiguous, with one channel or with more than
    one position per channel. Read-only arrays stay as they are; misaligned and byte-swapped ones are copied.

    Raises:
        ShapeError: x has fewer than two axes.
        DTypeError: x is neither float32 nor float64.
    """
    if x.ndim < 2:
        raise ShapeError(f"{name}: expected an array of shape (N, C, ...), got {x.shape}")
    if x.dtype not in _DTYPES:
        native = x.dtype.newbyteorder("=")
        if native not in _DTYPES:
            raise DTypeError(f"{name}: expected float32 or float64, got {x.dtype}")
        x = x.astype(native)
    if not x.flags.aligned:
        x = x.copy("K")
    if x.shape[1] > 1 and channels_last(x).flags.c_contiguous:
        return x, "mc"
    if x.flags.c_contiguous:
        return x, "ncs"
    if x.ndim > 2 and abs(x.strides[1]) < min(abs(stride) for stride in x.strides[2:]):  # a cut from channels-last data
        return prepared(name, np.moveaxis(np.ascontiguousarray(channels_last(x)), -1, 1))
    return prepared(name, np.ascontiguousarray(x))


def channels_last(x: Array) -> Array:
    """A view (N, ..., C) of (N, C, ...)."""
    return x.transpose(0, *range(2, x.ndim), 1)


def view(x: Array, layout: str) -> Array:
    """(N, C, S) or (M, C) on the memory of x (N, C, ...), which lies in that layout."""
    if layout == "mc":
        return channels_last(x).reshape(-1, x.shape[1])
    if x.shape[1] == 1:  # all of it is one row
        return x.reshape(1, 1, -1)
    return x.reshape(x.shape[0], x.shape[1], -1)


def make(new: Callable[..., Array], layout: str, shape: Shape, dtype: DTypeLike) -> Array:
    """An array (N, C, ...) in a layout, by ``np.empty`` or ``np.zeros``.

    ``np.empty_like(x, shape=...)`` would guess the layout, and guesses wrongly where x has axes of size 1.
    """
    n, c, *space = shape
    return np.moveaxis(new((n, *space, c), dtype), -1, 1) if layout == "mc" else new(shape, dtype)


def like(x: Array, dy: Array, name: str) -> Array:
    """dy in the dtype and the memory layout of x.

    Raises:
        ShapeError: their shapes differ.
    """
    if dy.shape != x.shape:
        raise ShapeError(f"{name}: the gradient has shape {dy.shape}; the input has {x.shape}")
    if dy.dtype == x.dtype and dy.flags.aligned:
        same = dy.flags.c_contiguous if x.flags.c_contiguous else channels_last(dy).flags.c_contiguous
        if same or dy.strides == x.strides:
            return dy
    out = np.empty_like(x)
    out[...] = dy
    return out
