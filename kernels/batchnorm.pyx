"""BatchNorm's loops: batch moments, normalize, and the two backwards.

Legend: N batch, C channels, S spatial positions, M values per channel (N·S). Each kernel stands here twice, for the two
layouts that cover every BatchNorm: ``_ncs`` takes contiguous (N, C, S), ``_mc`` takes (M, C), dense or channels-last.

    mean = Σ x / M        var = Σ (x - mean)² / M        rstd = 1 / √(var + eps)        x̂ = (x - mean)·rstd
    y  = x̂·weight + bias
    dx = weight·rstd·(dy - Σ dy / M - x̂·Σ(dy·x̂) / M)      statistics of the batch
    dx = weight·rstd·dy                                    statistics that are given
    dweight = Σ dy·x̂      dbias = Σ dy

One thread goes around OpenMP: a parallel region of one costs 0.8 µs, a fifth of the smallest call.

Outputs come first, then inputs, statistics, sizes. mean, var, dweight and dbias are double whatever the data's dtype.
Nothing is checked or allocated: shapes must agree, no size may be 0, outputs must not overlap inputs.

**Variance.** Never E[x²] - E[x]². A first pass over a sample gives `shift`, a mean to start from. The second, over all,
sums d = x - shift and d²: mean = shift + Σd/M and var = Σd²/M - (Σd/M)². While shift is within two standard deviations
of the mean, the subtraction cancels at most four fifths and costs no digit; where it is not, a third pass repeats the
second about the mean that is known by then. So most data is read once for its moments, not twice.

**Sums** run in LANES independent lanes, which is what vectorizes, in the data's dtype; every FLUSH additions the lanes
are added to double ones. The d are small wherever the data sits, and exactly 0 in a constant channel, so float32 lanes
cost no accuracy. A channel whose squares overflow them is done again in double. The order of additions depends on the
shape and the data alone: any number of threads gives the same bits.

**The mean** is used as high + low, both in the data's dtype: x - high is exact where it matters, so (x - high) - low has
the accuracy of the data's spread, not of its distance from zero.
"""

from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport isfinite, sqrt

cdef enum:
    LANES = 32          # float32: 8 SSE, 4 AVX2, 2 AVX-512 registers. gcc unrolls 16 before it can vectorize them
    FLUSH = 64          # a float32 lane is wrong by at most 64·2⁻²⁴ = 4e-6 of its sum, 32 of them together by far less
    SAMPLE = 8          # rows that shift is taken from
    BAND = 32           # channels of (N, C, S) done together
    GROUP = 256         # channels of (M, C) done together: 1 KB of a row, long enough for the processor to read ahead
    SLICES = 8          # rows of (M, C) are summed in at most 8 slices, which threads share ...
    SLICE_ROWS = 512    # ... of at least this many rows


# ---------------------------------------------------------------------------------------------------------------------
# (N, C, S): threads share bands of channels
# ---------------------------------------------------------------------------------------------------------------------

def batch_moments_ncs(double[::1] mean, double[::1] var, const floating[:, :, ::1] x, int threads):
    """mean, var (C,) of x (N, C, S)."""
    cdef Py_ssize_t size = _band_size(x.shape[1], threads), i
    with nogil:
        if threads == 1:
            for i in range(_bands(x.shape[1], size)):
                _batch_moments_band(mean, var, x, i * size, size)
        else:
            for i in prange(_bands(x.shape[1], size), schedule="static", num_threads=threads):
                _batch_moments_band(mean, var, x, i * size, size)


cdef void _batch_moments_band(
    double[::1] mean, double[::1] var, const floating[:, :, ::1] x, Py_ssize_t c, Py_ssize_t size,
) noexcept nogil:
    cdef Py_ssize_t N = x.shape[0], C = x.shape[1], S = x.shape[2], n = min(size, C - c)
    _band_moments(&mean[c], &var[c], &x[0, c, 0], N, n, C * S, S)


def batch_norm_ncs(
    floating[:, :, ::1] y, double[::1] mean, double[::1] var, const floating[:, :, ::1] x,
    const floating[::1] weight, const floating[::1] bias, double eps, int threads,
):
    """y (N, C, S) and the moments of x, one band of channels after the other, so that x is still in a cache."""
    cdef Py_ssize_t size = _band_size(x.shape[1], threads), i
    with nogil:
        if threads == 1:
            for i in range(_bands(x.shape[1], size)):
                _batch_norm_band(y, mean, var, x, weight, bias, eps, i * size, size)
        else:
            for i in prange(_bands(x.shape[1], size), schedule="static", num_threads=threads):
                _batch_norm_band(y, mean, var, x, weight, bias, eps, i * size, size)


cdef void _batch_norm_band(
    floating[:, :, ::1] y, double[::1] mean, double[::1] var, const floating[:, :, ::1] x,
    const floating[::1] weight, const floating[::1] bias, double eps, Py_ssize_t c, Py_ssize_t size,
) noexcept nogil:
    cdef Py_ssize_t N = x.shape[0], C = x.shape[1], S = x.shape[2], n = min(size, C - c)
    _band_moments(&mean[c], &var[c], &x[0, c, 0], N, n, C * S, S)
    _band_normalize(&y[0, c, 0], &x[0, c, 0], &mean[c], &var[c], &weight[c], &bias[c], eps, N, n, C * S, S)


def normalize_ncs(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, const double[::1] mean, const double[::1] var,
    const floating[::1] weight, const floating[::1] bias, double eps, int threads,
):
    """y (N, C, S) from x with the mean and var (C,) that are given."""
    cdef Py_ssize_t size = _band_size(x.shape[1], threads), i
    with nogil:
        if threads == 1:
            for i in range(_bands(x.shape[1], size)):
                _normalize_band(y, x, mean, var, weight, bias, eps, i * size, size)
        else:
            for i in prange(_bands(x.shape[1], size), schedule="static", num_threads=threads):
                _normalize_band(y, x, mean, var, weight, bias, eps, i * size, size)


cdef void _normalize_band(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, const double[::1] mean, const double[::1] var,
    const floating[::1] weight, const floating[::1] bias, double eps, Py_ssize_t c, Py_ssize_t size,
) noexcept nogil:
    cdef Py_ssize_t N = x.shape[0], C = x.shape[1], S = x.shape[2], n = min(size, C - c)
    _band_normalize(&y[0, c, 0], &x[0, c, 0], &mean[c], &var[c], &weight[c], &bias[c], eps, N, n, C * S, S)


def batch_norm_backward_ncs(
    floating[:, :, ::1] dx, double[::1] dweight, double[::1] dbias, const floating[:, :, ::1] dy,
    const floating[:, :, ::1] x, const double[::1] mean, const double[::1] var, const floating[::1] weight,
    double eps, int threads,
):
    """dx (N, C, S), dweight, dbias (C,) of batch_norm."""
    cdef Py_ssize_t size = _band_size(x.shape[1], threads), i
    with nogil:
        if threads == 1:
            for i in range(_bands(x.shape[1], size)):
                _batch_norm_backward_band(dx, dweight, dbias, dy, x, mean, var, weight, eps, i * size, size)
        else:
            for i in prange(_bands(x.shape[1], size), schedule="static", num_threads=threads):
                _batch_norm_backward_band(dx, dweight, dbias, dy, x, mean, var, weight, eps, i * size, size)


cdef void _batch_norm_backward_band(
    floating[:, :, ::1] dx, double[::1] dweight, double[::1] dbias, const floating[:, :, ::1] dy,
    const floating[:, :, ::1] x, const double[::1] mean, const double[::1] var, const floating[::1] weight,
    double eps, Py_ssize_t c, Py_ssize_t size,
) noexcept nogil:
    cdef Py_ssize_t N = x.shape[0], C = x.shape[1], S = x.shape[2], n = min(size, C - c)
    _band_gradient_sums(&dweight[c], &dbias[c], &dy[0, c, 0], &x[0, c, 0], &mean[c], &var[c], eps, N, n, C * S, S)
    _band_gradient(
        &dx[0, c, 0], &dy[0, c, 0], &x[0, c, 0], &mean[c], &var[c], &weight[c], &dweight[c], &dbias[c], eps,
        N, n, C * S, S)


def normalize_backward_ncs(
    floating[:, :, ::1] dx, double[::1] dweight, double[::1] dbias, const floating[:, :, ::1] dy,
    const floating[:, :, ::1] x, const double[::1] mean, const double[::1] var, const floating[::1] weight,
    double eps, int threads,
):
    """dx (N, C, S), dweight, dbias (C,) of normalize."""
    cdef Py_ssize_t size = _band_size(x.shape[1], threads), i
    with nogil:
        if threads == 1:
            for i in range(_bands(x.shape[1], size)):
                _normalize_backward_band(dx, dweight, dbias, dy, x, mean, var, weight, eps, i * size, size)
        else:
            for i in prange(_bands(x.shape[1], size), schedule="static", num_threads=threads):
                _normalize_backward_band(dx, dweight, dbias, dy, x, mean, var, weight, eps, i * size, size)


cdef void _normalize_backward_band(
    floating[:, :, ::1] dx, double[::1] dweight, double[::1] dbias, const floating[:, :, ::1] dy,
    const floating[:, :, ::1] x, const double[::1] mean, const double[::1] var, const floating[::1] weight,
    double eps, Py_ssize_t c, Py_ssize_t size,
) noexcept nogil:
    cdef Py_ssize_t N = x.shape[0], C = x.shape[1], S = x.shape[2], n = min(size, C - c)
    _band_gradient_sums(&dweight[c], &dbias[c], &dy[0, c, 0], &x[0, c, 0], &mean[c], &var[c], eps, N, n, C * S, S)
    _band_scale(&dx[0, c, 0], &dy[0, c, 0], &var[c], &weight[c], eps, N, n, C * S, S)


# ---------------------------------------------------------------------------------------------------------------------
# (M, C): threads share groups of channels, or, where there are many rows, the rows of each group
# ---------------------------------------------------------------------------------------------------------------------

def batch_moments_mc(double[::1] mean, double[::1] var, const floating[:, ::1] x, int threads):
    """mean, var (C,) of x (M, C)."""
    cdef Py_ssize_t width = _group_width(x.shape[0], x.shape[1], threads), i
    cdef int inner = _inner_threads(x.shape[0], threads), outer = threads // inner
    with nogil:
        if outer == 1:
            for i in range(_groups(x.shape[1], width)):
                _batch_moments_group(mean, var, x, i * width, width, inner)
        else:
            for i in prange(_groups(x.shape[1], width), schedule="static", num_threads=outer):
                _batch_moments_group(mean, var, x, i * width, width, inner)


cdef void _batch_moments_group(
    double[::1] mean, double[::1] var, const floating[:, ::1] x, Py_ssize_t c, Py_ssize_t width, int inner,
) noexcept nogil:
    cdef Py_ssize_t M = x.shape[0], C = x.shape[1], w = min(width, C - c)
    _group_moments(&mean[c], &var[c], &x[0, c], M, C, w, inner)


def batch_norm_mc(
    floating[:, ::1] y, double[::1] mean, double[::1] var, const floating[:, ::1] x,
    const floating[::1] weight, const floating[::1] bias, double eps, int threads,
):
    """y (M, C) and the moments of x, one group of channels after the other, so that x is still in a cache."""
    cdef Py_ssize_t width = _group_width(x.shape[0], x.shape[1], threads), i
    cdef int inner = _inner_threads(x.shape[0], threads), outer = threads // inner
    with nogil:
        if outer == 1:
            for i in range(_groups(x.shape[1], width)):
                _batch_norm_group(y, mean, var, x, weight, bias, eps, i * width, width, inner)
        else:
            for i in prange(_groups(x.shape[1], width), schedule="static", num_threads=outer):
                _batch_norm_group(y, mean, var, x, weight, bias, eps, i * width, width, inner)


cdef void _batch_norm_group(
    floating[:, ::1] y, double[::1] mean, double[::1] var, const floating[:, ::1] x,
    const floating[::1] weight, const floating[::1] bias, double eps, Py_ssize_t c, Py_ssize_t width, int inner,
) noexcept nogil:
    cdef Py_ssize_t M = x.shape[0], C = x.shape[1], w = min(width, C - c)
    _group_moments(&mean[c], &var[c], &x[0, c], M, C, w, inner)
    _group_normalize(&y[0, c], &x[0, c], &mean[c], &var[c], &weight[c], &bias[c], eps, M, C, w, inner)


def normalize_mc(
    floating[:, ::1] y, const floating[:, ::1] x, const double[::1] mean, const double[::1] var,
    const floating[::1] weight, const floating[::1] bias, double eps, int threads,
):
    """y (M, C) from x with the mean and var (C,) that are given."""
    cdef Py_ssize_t width = _group_width(x.shape[0], x.shape[1], threads), i
    cdef int inner = _inner_threads(x.shape[0], threads), outer = threads // inner
    with nogil:
        if outer == 1:
            for i in range(_groups(x.shape[1], width)):
                _normalize_group(y, x, mean, var, weight, bias, eps, i * width, width, inner)
        else:
            for i in prange(_groups(x.shape[1], width), schedule="static", num_threads=outer):
                _normalize_group(y, x, mean, var, weight, bias, eps, i * width, width, inner)


cdef void _normalize_group(
    floating[:, ::1] y, const floating[:, ::1] x, const double[::1] mean, const double[::1] var,
    const floating[::1] weight, const floating[::1] bias, double eps, Py_ssize_t c, Py_ssize_t width, int inner,
) noexcept nogil:
    cdef Py_ssize_t M = x.shape[0], C = x.shape[1], w = min(width, C - c)
    _group_normalize(&y[0, c], &x[0, c], &mean[c], &var[c], &weight[c], &bias[c], eps, M, C, w, inner)


def batch_norm_backward_mc(
    floating[:, ::1] dx, double[::1] dweight, double[::1] dbias, const floating[:, ::1] dy,
    const floating[:, ::1] x, const double[::1] mean, const double[::1] var, const floating[::1] weight,
    double eps, int threads,
):
    """dx (M, C), dweight, dbias (C,) of batch_norm."""
    cdef Py_ssize_t width = _group_width(x.shape[0], x.shape[1], threads), i
    cdef int inner = _inner_threads(x.shape[0], threads), outer = threads // inner
    with nogil:
        if outer == 1:
            for i in range(_groups(x.shape[1], width)):
                _batch_norm_backward_group(dx, dweight, dbias, dy, x, mean, var, weight, eps, i * width, width, inner)
        else:
            for i in prange(_groups(x.shape[1], width), schedule="static", num_threads=outer):
                _batch_norm_backward_group(dx, dweight, dbias, dy, x, mean, var, weight, eps, i * width, width, inner)


cdef void _batch_norm_backward_group(
    floating[:, ::1] dx, double[::1] dweight, double[::1] dbias, const floating[:, ::1] dy,
    const floating[:, ::1] x, const double[::1] mean, const double[::1] var, const floating[::1] weight,
    double eps, Py_ssize_t c, Py_ssize_t width, int inner,
) noexcept nogil:
    cdef Py_ssize_t M = x.shape[0], C = x.shape[1], w = min(width, C - c)
    _group_gradient_sums(&dweight[c], &dbias[c], &dy[0, c], &x[0, c], &mean[c], &var[c], eps, M, C, w, inner)
    _group_gradient(
        &dx[0, c], &dy[0, c], &x[0, c], &mean[c], &var[c], &weight[c], &dweight[c], &dbias[c], eps, M, C, w, inner)


def normalize_backward_mc(
    floating[:, ::1] dx, double[::1] dweight, double[::1] dbias, const floating[:, ::1] dy,
    const floating[:, ::1] x, const double[::1] mean, const double[::1] var, const floating[::1] weight,
    double eps, int threads,
):
    """dx (M, C), dweight, dbias (C,) of normalize."""
    cdef Py_ssize_t width = _group_width(x.shape[0], x.shape[1], threads), i
    cdef int inner = _inner_threads(x.shape[0], threads), outer = threads // inner
    with nogil:
        if outer == 1:
            for i in range(_groups(x.shape[1], width)):
                _normalize_backward_group(dx, dweight, dbias, dy, x, mean, var, weight, eps, i * width, width, inner)
        else:
            for i in prange(_groups(x.shape[1], width), schedule="static", num_threads=outer):
                _normalize_backward_group(dx, dweight, dbias, dy, x, mean, var, weight, eps, i * width, width, inner)


cdef void _normalize_backward_group(
    floating[:, ::1] dx, double[::1] dweight, double[::1] dbias, const floating[:, ::1] dy,
    const floating[:, ::1] x, const double[::1] mean, const double[::1] var, const floating[::1] weight,
    double eps, Py_ssize_t c, Py_ssize_t width, int inner,
) noexcept nogil:
    cdef Py_ssize_t M = x.shape[0], C = x.shape[1], w = min(width, C - c)
    _group_gradient_sums(&dweight[c], &dbias[c], &dy[0, c], &x[0, c], &mean[c], &var[c], eps, M, C, w, inner)
    _group_scale(&dx[0, c], &dy[0, c], &var[c], &weight[c], eps, M, C, w, inner)


include "batchnorm_ncs.pxi"
include "batchnorm_mc.pxi"
include "batchnorm_lanes.pxi"
