"""The NumPy twins of the kernels: same names, same arguments, same results, written to be read.

They serve where there is no compiler, and the tests hold the compiled kernels against them. Legend: N batch,
C channels, S positions, M = N·S values per channel; ``threads`` is there for the compiled ones.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinybn._typing import Array

# --- BatchNorm, on (N, C, ...) ----------------------------------------------------------------------------------------


def batch_moments(moments: Array, x: Array, threads: int) -> None:
    """Mean and biased variance per channel, float64 (2, C); zeros for an empty batch."""
    moments[...] = 0
    if x.size:
        axes, mean = _reduced(x), moments[0]
        x = x.astype(np.float64)
        with np.errstate(all="ignore"):
            mean[...] = x.mean(axis=axes)
            deviation = x - _channels(mean, x)
            correction = deviation.mean(axis=axes)  # what rounding has left in the mean
            moments[1] = (deviation * deviation).mean(axis=axes) - correction * correction
            mean += np.where(np.isfinite(mean), correction, 0)


def batch_norm(
    y: Array,
    moments: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    momentum: float,
    eps: float,
    relu: bool,
    threads: int,
    stream: bool,
    unbiased: bool = True,
) -> bool:
    """Moments of x, x normalized with them, and running = (1 − momentum)·running + momentum·new.

    The running statistics are left alone, and False is returned, when they could not hold the new ones: after a batch
    that is empty or not finite. The new variance is the unbiased one, unless that is not wanted.
    """
    batch_moments(moments, x, threads)
    normalize(y, x, moments[0], moments[1], weight, bias, eps, relu, threads, stream)
    count = x.size // max(1, x.shape[1])
    correction = 1.0 if not unbiased else count / (count - 1) if count > 1 else 0.0
    new = moments * [[1.0], [correction]]
    if not count or not np.abs(new).max(initial=0.0) <= np.finfo(x.dtype).max:  # NaN is not below anything
        return False
    for running, values in zip((running_mean, running_var), new, strict=True):
        if running is not None:
            running[...] = (1 - momentum) * running.astype(np.float64) + momentum * values
    return True


def normalize(
    y: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
    threads: int,
    stream: bool,
) -> None:
    """y = (x − mean)·rstd·weight + bias with rstd = 1/√(var + eps); relu: max(y, 0)."""
    with np.errstate(all="ignore"):
        y[...] = _normalized(x, mean, var, weight, bias, eps)
        if relu:
            np.maximum(y, 0, out=y)


def batch_norm_backward(
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
    threads: int,
    stream: bool,
) -> None:
    """dx = weight·rstd·(dy − Σdy/M − x̂·Σ(dy·x̂)/M), dweight = Σ dy·x̂, dbias = Σ dy; relu: dy counts where y > 0."""
    _gradients(True, dx, dweight, dbias, dy, x, mean, var, weight, bias, eps, relu)


def normalize_backward(
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
    threads: int,
    stream: bool,
) -> None:
    """dx = weight·rstd·dy, dweight = Σ dy·x̂, dbias = Σ dy: the statistics are constants."""
    _gradients(False, dx, dweight, dbias, dy, x, mean, var, weight, bias, eps, relu)


def _gradients(
    own: bool,
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
) -> None:
    axes, count = _reduced(x), x.size // max(1, x.shape[1])
    with np.errstate(all="ignore"):
        x_hat = _normalized(x, mean, var, None, None, eps)
        dy = dy.astype(np.float64)
        if relu:
            dy *= ~(_normalized(x, mean, var, weight, bias, eps) <= 0)
        sum_dy_x_hat, sum_dy = (dy * x_hat).sum(axis=axes), dy.sum(axis=axes)
        dweight[...], dbias[...] = sum_dy_x_hat, sum_dy
        if own and count:
            dy = dy - _channels(sum_dy / count, x) - x_hat * _channels(sum_dy_x_hat / count, x)
        rstd = 1 / np.sqrt(var.astype(np.float64) + eps)
        dx[...] = dy * _channels(rstd if weight is None else weight * rstd, x)


def _normalized(x: Array, mean: Array, var: Array, weight: Array | None, bias: Array | None, eps: float) -> Array:
    rstd = 1 / np.sqrt(var.astype(np.float64) + eps)
    centered = x.astype(np.float64) - _channels(mean, x)
    y = centered * _channels(rstd if weight is None else weight * rstd, x)
    return y if bias is None else y + _channels(bias, x)


def _channels(values: Array, x: Array) -> Array:
    """(C,) so that it lines up with axis 1 of x, in float64."""
    return values.astype(np.float64).reshape((1, -1) + (1,) * (x.ndim - 2))


def _reduced(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


# --- max-pooling, on (N, H, W, C) ------------------------------------------------------------------------------------


def max_pool2d(
    y: Array,
    index: Array,
    x: Array,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    threads: int,
) -> None:
    """The largest value of each window and where it stood, h·W + w; −inf and −1 for a window that sees only padding."""
    (_, height, width, _), (_, rows, columns, _) = x.shape, y.shape
    y.fill(-np.inf)
    index.fill(-1)
    for r in range(R):
        for s in range(S):
            h = np.arange(rows) * stride_h - pad_h + r * dilation_h
            w = np.arange(columns) * stride_w - pad_w + s * dilation_w
            p, q = (h >= 0) & (h < height), (w >= 0) & (w < width)
            where, source = (slice(None), *np.ix_(p, q)), (slice(None), *np.ix_(h[p], w[q]))
            values, best, places = x[source], y[where], index[where]
            better = (values > best) | np.isnan(values) | (places < 0)
            y[where] = np.where(better, values, best)
            index[where] = np.where(better, (h[p, None] * width + w[q])[None, :, :, None], places)


def max_pool2d_backward(
    dx: Array,
    dy: Array,
    index: Array,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    threads: int,
) -> None:
    """dx (N, H, W, C) of `max_pool2d` over windows that do not overlap."""
    dx.fill(0)
    n, c = len(dx), dx.shape[3]
    scatter_plane(dx.reshape(n, -1, c), dy.reshape(n, -1, c), index.reshape(n, -1, c), threads)


def scatter_plane(x: Array, y: Array, index: Array, threads: int) -> None:
    """Add y (N, L, C) to x (N, H·W, C) at the positions of index (N, L, C); a negative one is left out."""
    n, i, c = np.nonzero(index >= 0)
    np.add.at(x, (n, index[n, i, c], c), y[n, i, c])


# --- special functions, on flat arrays --------------------------------------------------------------------------------


def erf(out: Array, x: Array, threads: int) -> None:
    """2/√π·∫ exp(−t²) dt from 0 to x."""
    out[...] = [math.erf(value) for value in x.tolist()]


# --- products and convolution: see /kernels/products.pyx and /kernels/convolution.pyx ---------------------------------


def multiply(
    c: Array, a: Array, b: Array, bias: Array | None, scratch: Array, threads: int, relu: bool = False
) -> bool:
    """c (M, N) = a (M, K) · b (K, N) + bias (N,); relu: max(c, 0). True: there is nothing that it cannot take."""
    np.matmul(a, b, out=c)
    if bias is not None:
        c += bias
    if relu:
        np.maximum(c, 0, out=c)
    return True


def correlate(
    y: Array,
    x: Array,
    matrix: Array,
    bias: Array | None,
    taps: Array,
    length: int,
    scratch: Array | None,
    window: tuple[int, ...],
    threads: int,
    relu: bool = False,
) -> None:
    """y (N, P, Q, K) of x (N, H, W, C): what each window reads, times matrix (G, T·A, columns); relu: max(y, 0)."""
    groups, per_group = len(matrix), y.shape[3] // len(matrix)
    reads = np.add.outer(taps, np.arange(length)).ravel()
    for n, first, columns in _bands(x, y.shape[1:3], reads, groups, scratch is not None, window):
        for g in range(groups):
            made = columns[g] @ matrix[g, :, :per_group]
            if bias is not None:
                made += bias[g, :per_group]
            rows = y[n, first : first + window[-1], :, g * per_group : (g + 1) * per_group]
            rows[...] = made.reshape(rows.shape)
    if relu:
        np.maximum(y, 0, out=y)


def correlate_weights(
    sums: Array,
    x: Array,
    dy: Array,
    taps: Array,
    scratch: Array,
    window: tuple[int, ...],
    parts: int,
    direct: bool,
    threads: int,
) -> None:
    """sums (chunks, G, T·A, B): for each chunk of the batch, what windows of x read, times dy (N, P, Q, K)."""
    chunks, groups, _, per_group = sums.shape
    sums.fill(0)
    chunk_of = np.repeat(np.arange(chunks), np.diff(len(x) * np.arange(chunks + 1) // chunks))
    for n, first, columns in _bands(x, dy.shape[1:3], taps, groups, not direct, window):
        rows = dy[n, first : first + window[-1]].reshape(-1, groups, per_group)
        for g in range(groups):
            sums[chunk_of[n], g] += columns[g].T @ rows[:, g]


def _bands(
    x: Array, out: tuple[int, ...], reads: Array, groups: int, copied: bool, window: tuple[int, ...]
) -> Iterator[tuple[int, int, Array]]:
    """For each band of windows its image, its first row, and what they read: (G, places, T·A)."""
    stride_h, stride_w, top, left, height, width, band = window
    _, h, w, c = x.shape
    pitch = (width if copied else w) * c
    for n in range(len(x)):
        for first in range(0, out[0], band):
            rows = min(band, out[0] - first)
            if copied:
                begin = first * stride_h - top
                inside = np.zeros((height, width, c), x.dtype)
                i, j = np.arange(begin, begin + height), np.arange(-left, width - left)
                p, q = np.flatnonzero((i >= 0) & (i < h)), np.flatnonzero((j >= 0) & (j < w))
                inside[np.ix_(p, q)] = x[n][np.ix_(i[p], j[q])]
            else:
                inside = x[n, first * stride_h :]
            starts = np.add.outer(np.arange(rows) * stride_h * pitch, np.arange(out[1]) * stride_w * c).ravel()
            flat, offsets = inside.ravel(), np.add.outer(starts, reads)
            yield n, first, np.stack([flat[offsets + g * (c // groups)] for g in range(groups)])


def spread(
    dx: Array,
    dy: Array,
    matrix: Array,
    taps: Array,
    length: int,
    scratch: Array,
    window: tuple[int, ...],
    threads: int,
) -> None:
    """dx (N, H, W, C): to what each window has read, dy (N, P, Q, K) times matrix (K, runs, columns) is added."""
    stride_h, stride_w, top, left, height, width = window
    _, h, w, c = dx.shape
    n, p, q, k = dy.shape
    values = (dy.reshape(-1, k) @ matrix[:, :, :length].reshape(k, -1)).reshape(n, p * q, -1)
    starts = np.add.outer(np.arange(p) * stride_h * width * c, np.arange(q) * stride_w * c).ravel()
    reads = np.add.outer(taps, np.arange(length)).ravel()
    image = np.zeros((n, height * width * c), dx.dtype)
    index: Any = (slice(None), np.add.outer(starts, reads))
    np.add.at(image, index, values)
    dx[...] = image.reshape(n, height, width, c)[:, top : top + h, left : left + w]


def gather_weights(matrix: Array, weight: Array, taps: Array, turned: bool) -> None:
    """matrix (G, T·A, columns) of weight (K, C/G, R, S): A is C/G and B is K/G, or the other way round; 0 behind B."""
    groups = len(matrix)
    by_tap = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)[..., taps]  # (G, K/G, C/G, T)
    rows = by_tap.transpose(0, 3, 1, 2) if turned else by_tap.transpose(0, 3, 2, 1)
    matrix[...] = 0
    matrix[:, :, : rows.shape[3]] = rows.reshape(groups, -1, rows.shape[3])


def sum_weights(weight: Array, sums: Array) -> None:
    """weight (K, C/G, R, S): the sum of sums (chunks, G, R·S·C/G, K/G) over the chunks."""
    k, c, r, s = weight.shape
    total = sums.sum(axis=0).reshape(sums.shape[1], r, s, c, -1)
    weight[...] = total.transpose(0, 4, 3, 1, 2).reshape(k, c, r, s)


def transpose_planes(out: Array, x: Array, threads: int) -> None:
    """out (N, B, A) = x (N, A, B)."""
    out[...] = x.transpose(0, 2, 1)


# --- activations ------------------------------------------------------------------------------------------------------


def sigmoid(out: Array, x: Array, threads: int) -> bool:
    """1 / (1 + exp(−x)). An overflow of exp gives 1/inf = 0, which is right."""
    with np.errstate(over="ignore"):
        np.divide(1, 1 + np.exp(-x), out=out)
    return True


def sigmoid_backward(dx: Array, dy: Array, y: Array, threads: int) -> bool:
    """dy·y·(1 − y)."""
    np.multiply(dy, y * (1 - y), out=dx)
    return True


def tanh_backward(dx: Array, dy: Array, y: Array, threads: int) -> bool:
    """dy·(1 − y²)."""
    np.multiply(dy, 1 - y * y, out=dx)
    return True


def relu(out: Array, x: Array, threads: int) -> bool:
    """max(x, 0), NaN at NaN."""
    np.maximum(x, 0, out=out)
    return True


def relu_backward(dx: Array, dy: Array, y: Array, threads: int) -> bool:
    """dy·(1 where y is not ≤ 0, else 0)."""
    np.multiply(dy, ~(y <= 0), out=dx)
    return True


# --- cross-entropy ----------------------------------------------------------------------------------------------------


def cross_entropy(losses: Array, probabilities: Array, x: Array, labels: Array, ignored: int) -> tuple[int, int]:
    """The rows' losses and softmax, 0 where the label is ignored; how many count; where a label is wrong, or −1."""
    counted = labels != ignored
    wrong = counted & ((labels < 0) | (labels >= x.shape[1]))
    if wrong.any():
        return 0, int(wrong.argmax())
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis=1, keepdims=True, initial=-np.inf)
        exponentials = np.exp(shifted)
        totals = exponentials.sum(axis=1, dtype=np.float64)
        probabilities[...] = np.where(counted[:, None], exponentials / totals[:, None], 0)
        own = shifted[np.arange(len(x)), np.where(counted, labels, 0)] if x.size else totals
        losses[...] = np.where(counted, np.log(totals) - own, 0)
    return int(counted.sum()), -1


def cross_entropy_backward(dx: Array, dy: Array, probabilities: Array, labels: Array, ignored: int) -> None:
    """(probabilities − onehot)·dy, 0 where the label is ignored."""
    rows = np.flatnonzero(labels != ignored)
    difference = probabilities.copy()
    difference[rows, labels[rows]] -= 1
    dx[...] = np.where((labels != ignored)[:, None], difference * dy.reshape(-1, 1), 0)


# --- optimizers: lists of parameters and of what goes with them -------------------------------------------------------


def sgd(
    parameters: list[Array],
    gradients: list[Array],
    velocities: list[Array] | None,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first: bool,
    threads: int,
) -> bool:
    """v ← momentum·v + (1 − dampening)·g with g = gradient + weight_decay·p, and p ← p − lr·v; first: v ← g."""
    for i, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
        if weight_decay:
            g = g + weight_decay * p
        if velocities is not None:
            v = velocities[i]
            if first:
                v[...] = g
            else:
                v *= momentum
                v += (1 - dampening) * g if dampening else g
            g = g + momentum * v if nesterov else v
        p -= lr * g
    return True


def adam(
    parameters: list[Array],
    gradients: list[Array],
    means: list[Array],
    squares: list[Array],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    mean_scale: float,
    square_scale: float,
    threads: int,
) -> bool:
    """m ← β₁·m + (1 − β₁)·g, v ← β₂·v + (1 − β₂)·g², p ← p − m/(√v·square_scale + eps)·mean_scale."""
    for p, g, m, v in zip(parameters, gradients, means, squares, strict=True):
        if weight_decay and decoupled:
            p *= 1 - lr * weight_decay
        elif weight_decay:
            g = g + weight_decay * p
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += g * g * (1 - beta2)
        p -= m / (np.sqrt(v) * square_scale + eps) * mean_scale
    return True


# --- Winograd's F(2×2, 3×3): see /kernels/winograd.pyx ----------------------------------------------------------------

# y = Aᵀ·[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]·A
_B = np.array([[1, 0, 0, 0], [0, 1, -1, 1], [-1, 1, 1, 0], [0, 0, 0, -1]], float)
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_A = np.array([[1, 0], [1, 1], [1, -1], [0, -1]], float)


def winograd_scratch(P: int, Q: int, C: int, K: int) -> int:
    """How many values of scratch memory a thread needs: here none."""
    return 0


def transform_weights(u: Array, weight: Array, turned: bool) -> None:
    """u (16, C, K) of weight (K, C, 3, 3); turned: (16, K, C), the taps the other way round."""
    axes, g = ("ia,kcab,jb->ijkc", weight[:, :, ::-1, ::-1]) if turned else ("ia,kcab,jb->ijck", weight)
    u[...] = np.einsum(axes, _G, g, _G).reshape(u.shape)


def winograd(
    y: Array,
    x: Array,
    u: Array,
    bias: Array | None,
    scratch: Array,
    top: int,
    left: int,
    threads: int,
    relu: bool = False,
) -> None:
    """y (N, P, Q, K) of x (N, H, W, C) with transformed weights u (16, C, K); relu: max(y, 0)."""
    p, q = y.shape[1:3]
    products = _image_tiles(x, p, q, top, left) @ u  # (16, tiles, K)
    made = np.einsum("ia,ijnpqk,jb->npaqbk", _A, products.reshape(4, 4, len(x), -(-p // 2), -(-q // 2), -1), _A)
    y[...] = made.reshape(len(x), 2 * -(-p // 2), 2 * -(-q // 2), -1)[:, :p, :q]
    if bias is not None:
        y += bias
    if relu:
        np.maximum(y, 0, out=y)


def winograd_weights(sums: Array, x: Array, dy: Array, scratch: Array, top: int, left: int, threads: int) -> None:
    """sums (chunks, 16, C, K): over each chunk of the batch, of the transformed x times the transformed dy."""
    n, p, q, k = dy.shape
    down, across, chunks = -(-p // 2), -(-q // 2), len(sums)
    tiles = _image_tiles(x, p, q, top, left).reshape(16, n, down * across, -1)
    padded = np.zeros((n, 2 * down, 2 * across, k), dy.dtype)
    padded[:, :p, :q] = dy
    gradient = np.einsum("ia,npaqbk,jb->ijnpqk", _A, padded.reshape(n, down, 2, across, 2, k), _A)
    gradient = gradient.reshape(16, n, down * across, k)
    for chunk in range(chunks):
        part = slice(n * chunk // chunks, n * (chunk + 1) // chunks)
        sums[chunk] = np.einsum("intc,intk->ick", tiles[:, part], gradient[:, part])


def weights_of_sums(weight: Array, sums: Array, threads: int) -> None:
    """The weight's gradient (K, C, 3, 3) of sums (chunks, 16, C, K), which the compiled kernel overwrites."""
    total = sums.sum(axis=0)
    weight[...] = np.einsum("ia,ijck,jb->kcab", _G, total.reshape(4, 4, *total.shape[1:]), _G)


def _image_tiles(x: Array, p: int, q: int, top: int, left: int) -> Array:
    """(16, tiles, C): of all images, each tile of 4×4 places as Bᵀ·d·B."""
    n, h, w, c = x.shape
    down, across = -(-p // 2), -(-q // 2)
    image = np.zeros((n, 2 * down + 2, 2 * across + 2, c), x.dtype)
    image[:, top : top + h, left : left + w] = x[:, :, : 2 * across + 2 - left]
    tiles = np.lib.stride_tricks.sliding_window_view(image, (4, 4), axis=(1, 2))[:, ::2, ::2]  # (N, down, …, C, 4, 4)
    return np.einsum("ai,npqcab,bj->ijnpqc", _B, tiles, _B).reshape(16, n * down * across, c)
