"""Convolution and its two gradients on arrays, by the kernels of `/kernels/convolution.pyx`.

Tensors come and go as (N, C, H, W). Underneath they are channels-last: the result has the layout of the input, and an
input that is not channels-last is copied. A 4-D array with one channel is both; it counts as channels-last.
"""

import numpy as np

from tinybn._typing import Array, Shape
from tinybn.kernels import convolve_winograd as winograd
from tinybn.kernels.table import chosen
from tinybn.kernels.windows import CHUNKS, Geometry, Windows, forward_taps, phases, scratch, windows
from tinybn.threads import get_num_threads

_COLUMNS = 16  # what matrices are filled up to in columns: whole vectors, for each build

# Sums of the weights' gradient for all chunks of the batch together take no more bytes: beyond, threads share its rows.
_SUMS_BYTES = 4 << 20

# So few input channels would leave most of a vector empty in the gradient for the input: it is made window by window
# then, if a window's rows are longer than that and an image has no more values than this. (64, 6, 14, 14) from 16
# channels, 5×5, one core: 410 µs instead of 790.
_FEW_CHANNELS = 8
_SPREAD_IMAGE = 1 << 17


def conv2d(
    x: Array, weight: Array, bias: Array | None, geometry: Geometry, relu: bool = False, pool: bool = False
) -> Array:
    """x (N, C, H, W), weight (K, C/G, R, S), bias (K,) or None → (N, K, P, Q).

    relu: max(y, 0). pool: then the largest values of 2×2 windows that do not overlap, (N, K, P//2, Q//2).
    """
    dtype, (x, weight) = _computable(x, weight)
    kernel, g = weight.shape[2:], geometry.groups
    p, q = geometry.output_size(x.shape[2:], kernel)
    last = channels_last(x)
    if winograd.pays(weight.shape, geometry, (p, q)):
        threads = _threads(2 * len(x) * p * q * weight.size, len(x))
        y = winograd.correlate(last, weight, bias, (p, q), geometry.padding, False, threads, relu, pool)
        return like_input(x, y).astype(dtype, copy=False)
    if pool:
        p, q = p // 2 * 2, q // 2 * 2
    y = np.empty((len(x), p // 2, q // 2, len(weight)) if pool else (len(x), p, q, len(weight)), x.dtype)
    view = windows(
        last.shape[1:],
        (p, q),
        forward_taps(kernel, geometry.dilation),
        geometry.stride,
        geometry.padding,
        g,
        x.itemsize,
        2 if pool else 1,
    )
    matrix = _matrix(weight, view, g, turned=False)
    if bias is not None:
        filled = np.zeros((g, matrix.shape[2]), x.dtype)
        filled[:, : len(weight) // g] = bias.reshape(g, -1)
        bias = filled
    _correlate(y, last, matrix, bias, view, relu, q if pool else None)
    return like_input(x, y).astype(dtype, copy=False)


def conv2d_input_grad(dy: Array, weight: Array, geometry: Geometry, shape: Shape) -> Array:
    """The gradient of `conv2d` for its input, of the given shape (N, C, H, W)."""
    dtype, (dy, weight) = _computable(dy, weight)
    n, c, h, w = shape
    (sh, sw), (ph, pw), g = geometry.stride, geometry.padding, geometry.groups
    last = channels_last(dy)
    if winograd.pays(weight.shape, geometry, (h, w)) and max(ph, pw) <= 2:
        threads = _threads(2 * n * h * w * weight.size, n)
        dx = winograd.correlate(last, weight, None, (h, w), (2 - ph, 2 - pw), True, threads)
        return like_input(dy, dx).astype(dtype, copy=False)
    dx = np.empty((n, h, w, c), dy.dtype)
    if g == 1 and c <= _FEW_CHANNELS and weight.shape[3] * c >= _FEW_CHANNELS and h * w * c <= _SPREAD_IMAGE:
        _spread(dx, last, weight, geometry)
        return like_input(dy, dx).astype(dtype, copy=False)
    for phase in phases((h, w), weight.shape[2:], geometry):
        part = dx[:, phase.first[0] :: sh, phase.first[1] :: sw]
        if not phase.taps:
            part[...] = 0
            continue
        view = windows(last.shape[1:], phase.size, phase.taps, (1, 1), phase.edge, g, dy.itemsize)
        _correlate(part, last, _matrix(weight, view, g, turned=True), None, view)
    return like_input(dy, dx).astype(dtype, copy=False)


def _spread(dx: Array, dy: Array, weight: Array, geometry: Geometry) -> None:
    """The gradient for an input of few channels, window by window."""
    (_, h, w, c), (k, _, r, s), (top, left) = dx.shape, weight.shape, geometry.padding
    # Windows on the input with its edges, all of which counts as inside.
    size = [
        max(n + pad, (m - 1) * step + dil * (taps - 1) + 1)
        for n, m, taps, step, pad, dil in zip((h, w), dy.shape[1:3], (r, s), *geometry[:3], strict=True)
    ]
    taps = forward_taps((r, s), geometry.dilation)
    view = windows((*size, c), dy.shape[1:3], taps, geometry.stride, (0, 0), 1, dy.itemsize)
    matrix = np.zeros((k, len(view.runs), _filled(view.length)), dy.dtype)
    matrix[:, :, : view.length] = weight.transpose(0, 2, 3, 1).reshape(k, -1, view.length)
    threads = _threads(2 * dy.size * weight.size // max(1, k), len(dx))
    memory = scratch(threads, size[0] * size[1] * c + matrix.shape[2], dy)
    window = (*geometry.stride, top, left, *size)
    if dx.size:
        chosen["spread"](dx, dy, matrix, view.runs, view.length, memory, window, threads)


def conv2d_weight_grad(dy: Array, x: Array, geometry: Geometry, shape: Shape) -> Array:
    """The gradient of `conv2d` for its weight, of the given shape (K, C/G, R, S)."""
    dtype, (dy, x) = _computable(dy, x)
    k, _, g = shape[0], shape[1], geometry.groups
    dy, x = channels_last(dy), channels_last(x)
    n, p, q, _ = dy.shape
    if winograd.pays(shape, geometry, (p, q)):
        made = winograd.weight_gradient(dy, x, geometry.padding, _threads(18 * dy.size * shape[1], n))
        return made.astype(dtype, copy=False)
    taps = forward_taps(shape[2:], geometry.dilation)
    view = windows(x.shape[1:], (p, q), taps, geometry.stride, geometry.padding, g, x.itemsize)
    weight = np.empty(shape, x.dtype)
    chunks = max(1, min(CHUNKS, n, _SUMS_BYTES // max(1, weight.nbytes)))
    parts = max(1, CHUNKS // chunks)
    sums = np.empty((chunks, g, len(view.reads), k // g), x.dtype)
    threads = _threads(2 * dy.size * len(view.reads), chunks * parts)
    memory = scratch(threads, view.scratch + view.shape[-1] * q * k, x)  # a band of x, and one of dy
    if sums.size:
        chosen["correlate_weights"](sums, x, dy, view.reads, memory, view.shape, parts, not view.scratch, threads)
        chosen["sum_weights"](weight, sums)
    return weight.astype(dtype, copy=False)


def channels_last(x: Array) -> Array:
    """(N, C, H, W) as a contiguous (N, H, W, C): a view if that is how it lies in memory, else a copy."""
    last = x.transpose(0, 2, 3, 1)
    if last.flags.c_contiguous or not x.flags.c_contiguous or x.dtype.char not in "fd":
        return np.ascontiguousarray(last)
    return _transposed(x.reshape(*x.shape[:2], -1)).reshape(last.shape)


def like_input(x: Array, y_last: Array) -> Array:
    """y (N, P, Q, K) as (N, K, P, Q), in the memory layout of x."""
    y = y_last.transpose(0, 3, 1, 2)
    if x.transpose(0, 2, 3, 1).flags.c_contiguous or not x.flags.c_contiguous:
        return y
    return _transposed(y_last.reshape(len(y_last), -1, y_last.shape[3])).reshape(y.shape)


def _transposed(x: Array) -> Array:
    """(N, A, B) → (N, B, A)."""
    out = np.empty((len(x), x.shape[2], x.shape[1]), x.dtype)
    chosen["transpose_planes"](out, x, get_num_threads() if x.size >= 1 << 16 else 1)
    return out


def _computable(*arrays: Array) -> tuple[np.dtype, list[Array]]:
    """Their dtype, and the arrays as kernels take them: float32 and float64 as they are, others in float64."""
    dtype = arrays[0].dtype
    if dtype.char in "fd" and all(a.dtype == dtype and a.flags.aligned for a in arrays):
        return dtype, list(arrays)
    wider = dtype.newbyteorder("=") if dtype.newbyteorder("=").char in "fd" else np.dtype(np.float64)
    return dtype, [np.require(a, wider, "A") for a in arrays]


def _matrix(weight: Array, view: Windows, groups: int, turned: bool) -> Array:
    """(G, T·A, COLUMNS): what a window is multiplied with; `turned` to go from outputs to inputs."""
    k, c = len(weight) // groups, weight.shape[1]
    a, b = (k, c) if turned else (c, k)
    matrix = np.empty((groups, len(view.places) * a, _filled(b)), weight.dtype)
    chosen["gather_weights"](matrix, np.ascontiguousarray(weight), view.places, turned)
    return matrix


def _correlate(
    y: Array,
    x: Array,
    matrix: Array,
    bias: Array | None,
    view: Windows,
    relu: bool = False,
    pooled: int | None = None,
) -> None:
    """``pooled``: how long rows are before y is pooled."""
    threads = _threads((2 if pooled is None else 8) * y.size * matrix.shape[1], len(x) * view.bands)
    memory = scratch(threads, view.scratch, x) if view.scratch else None
    unpooled = None if pooled is None else scratch(threads, view.shape[-1] * pooled * y.shape[3], x)
    if y.size:
        chosen["correlate"](y, x, matrix, bias, view.runs, view.length, memory, view.shape, threads, relu, unpooled)


def _threads(operations: int, tasks: int) -> int:
    return max(1, min(get_num_threads(), tasks)) if operations >= 1 << 20 else 1


def _filled(columns: int) -> int:
    return -(-columns // _COLUMNS) * _COLUMNS
