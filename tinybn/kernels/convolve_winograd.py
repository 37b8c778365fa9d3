"""Convolution of 3×3 by Winograd's F(2×2, 3×3), where it pays: `/kernels/winograd.pyx` on channels-last arrays.

It takes 2.25 times fewer multiplications, and in float32 its results are as exact: the largest error, relative to
the largest value, is 2e-7 to 4e-7 (`tests/test_winograd.py` holds it to 1e-6), that of the plain sums 3e-7 to 7e-7.
The sizes that it is used for stand in a table and never depend on a timing, so that the same program gives the same
bits.
"""

import os

import numpy as np

from tinybn._typing import Array, Shape
from tinybn.kernels.table import COMPILED, chosen
from tinybn.kernels.windows import CHUNKS, Geometry, scratch

# From so many channels in and out, each a multiple of 16, and so many places of the output on. One core, batch 64,
# plain and Winograd, µs, forward / weights' gradient: 32→64 at 14×14 1,900 / 1,950 and 1,300 / 1,140; 64→128 at 7×7
# 2,000 / 2,250 and 1,680 / 2,050; 16→16 at 28×28 1,280 / 1,240 and 1,150 / 1,020; 32→64 at 4×4 180 / 260 and 175 / 240.
LEAST_CHANNELS = 32
LEAST_PLACES = 49
VECTOR = 16

_given = os.environ.get("TINYBN_WINOGRAD", "1")
if _given not in ("0", "1"):
    raise ValueError(f"TINYBN_WINOGRAD is {_given!r}; expected 0 or 1")
_enabled = _given == "1"


def set_winograd(enabled: bool) -> None:
    """Use Winograd's form of 3×3 convolutions where it pays, or never; in the whole process. On by default.

    The environment variable ``TINYBN_WINOGRAD=0`` turns it off from the start.

    Source: Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks".

    >>> import tinybn as tb
    >>> tb.set_winograd(False)
    >>> tb.set_winograd(True)
    """
    global _enabled
    if not isinstance(enabled, bool):
        raise TypeError(f"set_winograd: enabled is {enabled!r}; expected True or False")
    _enabled = enabled


def pays(weight: Shape, geometry: Geometry, out: tuple[int, ...]) -> bool:
    """Whether a convolution with a weight (K, C, R, S) and P×Q outputs is one of those in the table."""
    k, c, *kernel = weight
    return (
        _enabled
        and COMPILED
        and kernel == [3, 3]
        and (geometry.stride, geometry.dilation, geometry.groups) == ((1, 1), (1, 1), 1)
        and min(k, c) >= LEAST_CHANNELS
        and not (k % VECTOR or c % VECTOR)
        and out[0] * out[1] >= LEAST_PLACES
    )


def correlate(
    x: Array,
    weight: Array,
    bias: Array | None,
    out: tuple[int, int],
    edge: tuple[int, int],
    turned: bool,
    threads: int,
    relu: bool = False,
    pool: bool = False,
) -> Array:
    """x (N, H, W, C) → (N, P, Q, K); ``turned``: from outputs to inputs, with the taps the other way round.

    relu: max(y, 0). pool: then the largest values of 2×2 windows, (N, P//2, Q//2, K).
    """
    k, c = weight.shape[:2]
    c, k = (k, c) if turned else (c, k)
    u = np.empty((16, c, k), x.dtype)
    weight = np.ascontiguousarray(weight)
    chosen["transform_weights"](u, weight, turned)
    size = (out[0] // 2, out[1] // 2) if pool else out
    y = np.empty((len(x), *size, k), x.dtype)
    chosen["winograd"](y, x, u, bias, _scratch(out, c, k, x, threads), *edge, threads, relu, pool)
    return y


def weight_gradient(dy: Array, x: Array, edge: tuple[int, int], threads: int) -> Array:
    """(K, C, 3, 3) of dy (N, P, Q, K) and x (N, H, W, C)."""
    n, p, q, k = dy.shape
    c = x.shape[3]
    sums = np.empty((max(1, min(CHUNKS, n)), 16, c, k), x.dtype)
    chosen["winograd_weights"](sums, x, dy, _scratch((p, q), c, k, x, threads), *edge, threads)
    weight = np.empty((k, c, 3, 3), x.dtype)
    chosen["weights_of_sums"](weight, sums, threads)
    return weight


def _scratch(out: tuple[int, int], c: int, k: int, like: Array, threads: int) -> Array:
    return scratch(threads, chosen["winograd_scratch"](*out, c, k), like)
