"""How arrays are seen by the kernels: as (N, C, S) or as (M, C)."""

import numpy as np

from tinybn._typing import Array
from tinybn.errors import DTypeError, ShapeError


def prepared(name: str, x: Array) -> tuple[Array, str]:
    """x (N, C, ...) in one of the layouts, copied if it is in neither, and the layout's name.

    ``ncs``: contiguous with more than one position per channel. ``mc``: channels last in memory; so is dense data.

    Raises:
        ShapeError: x has fewer than two axes.
        DTypeError: x is neither float32 nor float64.
    """
    if x.ndim < 2:
        raise ShapeError(f"{name}: expected an array of shape (N, C, ...), got {x.shape}")
    if x.dtype not in (np.float32, np.float64):
        raise DTypeError(f"{name}: expected float32 or float64, got {x.dtype}")
    if not (x.dtype.isnative and x.flags.aligned):
        x = np.array(x, x.dtype.newbyteorder("="))
    if channels_last(x).flags.c_contiguous:
        return x, "mc"
    return np.ascontiguousarray(x), "ncs"


def channels_last(x: Array) -> Array:
    """A view (N, ..., C) of (N, C, ...)."""
    return np.moveaxis(x, 1, -1)


def view(x: Array, layout: str) -> Array:
    """(N, C, S) or (M, C) on the memory of x (N, C, ...), which lies in that layout."""
    if layout == "ncs":
        return x.reshape(x.shape[0], x.shape[1], -1)
    return channels_last(x).reshape(-1, x.shape[1])


def like(x: Array, dy: Array, name: str) -> Array:
    """dy in the dtype and the memory layout of x.

    Raises:
        ShapeError: their shapes differ.
    """
    if dy.shape != x.shape:
        raise ShapeError(f"{name}: the gradient has shape {dy.shape}; the input has {x.shape}")
    if dy.dtype == x.dtype and dy.strides == x.strides and dy.flags.aligned:
        return dy
    out = np.empty_like(x)
    out[...] = dy
    return out
