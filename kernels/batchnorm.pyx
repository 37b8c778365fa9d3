"""BatchNorm's loops: batch moments, normalize, and the two backwards.

Legend: N batch, C channels, S spatial positions, M values per channel (N·S). Each kernel stands here twice, for the two
layouts that cover every BatchNorm: ``_ncs`` takes contiguous (N, C, S), ``_mc`` takes (M, C), dense or channels-last.

    mean = Σ x / M        var = Σ (x - mean)² / M        rstd = 1 / √(var + eps)        x̂ = (x - mean)·rstd
    y  = x̂·weight + bias
    dx = weight·rstd·(dy - Σ dy / M - x̂·Σ(dy·x̂) / M)      statistics of the batch
    dx = weight·rstd·dy                                    statistics that are given
    dweight = Σ dy·x̂      dbias = Σ dy

Outputs come first, then inputs, statistics, sizes. mean, var, dweight and dbias are double whatever the data's dtype.
Nothing is checked or allocated: shapes must agree, no size may be 0, outputs must not overlap inputs.

**Variance.** Never E[x²] - E[x]². A first pass over a sample gives `shift`, a mean to start from. The second, over all,
sums d = x - shift and d²: mean = shift + Σd/M and var = Σd²/M - (Σd/M)². That subtraction is harmless while shift is
within one standard deviation of the mean; where it was not, a third pass repeats the second about the mean now known.

**Sums** run in LANES independent lanes, which is what vectorizes, in the data's dtype; every FLUSH additions the lanes
are added to double ones. The d are small wherever the data sits, and exactly 0 in a constant channel, so float32 lanes
cost no accuracy. A channel whose squares overflow them is done again in double. The order of additions depends on the
shape alone: any number of threads gives the same bits.

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
# (N, C, S): threads share groups of channels
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
    _band_gradient_sums(
        &dweight[c], &dbias[c], &dy[0, c, 0], &x[0, c, 0], &mean[c], &var[c], eps, N, n, C * S, S)
    _band_gradient(
        &dx[0, c, 0], &dy[0, c, 0], &x[0, c, 0], &mean[c], &var[c], &weight[c], &dweight[c], &dbias[c], eps, N, n, C * S, S)


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
    _band_gradient_sums(
        &dweight[c], &dbias[c], &dy[0, c, 0], &x[0, c, 0], &mean[c], &var[c], eps, N, n, C * S, S)
    _band_scale(&dx[0, c, 0], &dy[0, c, 0], &var[c], &weight[c], eps, N, n, C * S, S)


cdef inline Py_ssize_t _band_size(Py_ssize_t C, int threads) noexcept nogil:
    """Channels per band: as many as may be, but a band for each thread."""
    return min(<Py_ssize_t>BAND, (C + threads - 1) // threads)


cdef inline Py_ssize_t _bands(Py_ssize_t C, Py_ssize_t size) noexcept nogil:
    return (C + size - 1) // size


# One band: N times C <= BAND channels of S values; `stride` from one n to the next.

cdef void _band_moments(
    double *mean, double *var, const floating *x, Py_ssize_t N, Py_ssize_t C, Py_ssize_t stride, Py_ssize_t S,
) noexcept nogil:
    cdef double total[BAND * 2 * LANES]
    cdef floating part[BAND * 2 * LANES]
    cdef floating shift[BAND * LANES]
    cdef bint good[BAND]
    cdef Py_ssize_t w = min(S, <Py_ssize_t>LANES), rows = min(N, <Py_ssize_t>SAMPLE), filled, n, c, attempt

    _set(part, 0, C * 2 * LANES)
    _set(total, 0, C * 2 * LANES)
    for c in range(C):
        _set(&shift[c * LANES], x[c * S], LANES)
        _add_squares(
            &part[c * 2 * LANES], &part[c * 2 * LANES + LANES], &x[c * S + (S - w) // 2], &shift[c * LANES], rows,
            N // rows * stride, w)
    _flush(total, part, C)
    for c in range(C):
        _set(&shift[c * LANES], <floating>(x[c * S] + _sum(&total[c * 2 * LANES]) / (rows * w)), LANES)
        good[c] = False

    for attempt in range(2):
        _set(total, 0, C * 2 * LANES)
        filled = 0
        for n in range(N):
            for c in range(C):
                if not good[c]:
                    _row_squares(&total[c * 2 * LANES], &part[c * 2 * LANES], &x[n * stride + c * S], &shift[c * LANES], S)
            filled += S // LANES + 1
            if filled >= FLUSH:
                _flush(total, part, C)
                filled = 0
        _flush(total, part, C)
        for c in range(C):
            if not good[c]:
                good[c] = _finish_moments(
                    &mean[c], &var[c], shift[c * LANES], _sum(&total[c * 2 * LANES]),
                    _sum(&total[c * 2 * LANES + LANES]), N * S)
                _set(&shift[c * LANES], <floating>mean[c], LANES)
    for c in range(C):
        if not isfinite(var[c]):
            _moments_in_double(&mean[c], &var[c], &x[c * S], N, stride, S)


cdef inline void _row_squares(
    double *total, floating *part, const floating *x, const floating *shift, Py_ssize_t S,
) noexcept nogil:
    cdef Py_ssize_t s = 0
    while S - s > FLUSH * LANES:
        _add_squares(part, &part[LANES], &x[s], shift, FLUSH, LANES, LANES)
        _flush(total, part, 1)
        s += FLUSH * LANES
    _add_squares(part, &part[LANES], &x[s], shift, (S - s) // LANES, LANES, LANES)
    _add_squares(part, &part[LANES], &x[S - S % LANES], shift, 1, 0, S % LANES)


cdef void _band_normalize(
    floating *y, const floating *x, const double *mean, const double *var, const floating *weight,
    const floating *bias, double eps, Py_ssize_t N, Py_ssize_t C, Py_ssize_t stride, Py_ssize_t S,
) noexcept nogil:
    cdef floating high[BAND]
    cdef floating low[BAND]
    cdef floating scale[BAND]
    cdef Py_ssize_t n, c
    for c in range(C):
        high[c] = <floating>mean[c]
        low[c] = <floating>(mean[c] - high[c])
        scale[c] = <floating>(weight[c] * _rstd(var[c], eps))
    for n in range(N):
        for c in range(C):
            _row_normalize(&y[n * stride + c * S], &x[n * stride + c * S], high[c], low[c], scale[c], bias[c], S)


cdef inline void _row_normalize(
    floating *y, const floating *x, floating high, floating low, floating scale, floating bias, Py_ssize_t S,
) noexcept nogil:
    cdef Py_ssize_t s
    for s in range(S):
        y[s] = ((x[s] - high) - low) * scale + bias


cdef void _band_gradient_sums(
    double *dweight, double *dbias, const floating *dy, const floating *x, const double *mean, const double *var,
    double eps, Py_ssize_t N, Py_ssize_t C, Py_ssize_t stride, Py_ssize_t S,
) noexcept nogil:
    cdef double total[BAND * 2 * LANES]
    cdef floating part[BAND * 2 * LANES]
    cdef floating high[BAND * LANES]
    cdef Py_ssize_t n, c, filled = 0
    _set(part, 0, C * 2 * LANES)
    _set(total, 0, C * 2 * LANES)
    for c in range(C):
        _set(&high[c * LANES], <floating>mean[c], LANES)
    for n in range(N):
        for c in range(C):
            _row_products(
                &total[c * 2 * LANES], &part[c * 2 * LANES], &dy[n * stride + c * S], &x[n * stride + c * S],
                &high[c * LANES], S)
        filled += S // LANES + 1
        if filled >= FLUSH:
            _flush(total, part, C)
            filled = 0
    _flush(total, part, C)
    for c in range(C):
        dbias[c] = _sum(&total[c * 2 * LANES])
        dweight[c] = _sum(&total[c * 2 * LANES + LANES]) - (mean[c] - high[c * LANES]) * dbias[c]
        dweight[c] *= _rstd(var[c], eps)


cdef inline void _row_products(
    double *total, floating *part, const floating *dy, const floating *x, const floating *high, Py_ssize_t S,
) noexcept nogil:
    cdef Py_ssize_t s = 0
    while S - s > FLUSH * LANES:
        _add_products(part, &part[LANES], &dy[s], &x[s], high, FLUSH, LANES, LANES)
        _flush(total, part, 1)
        s += FLUSH * LANES
    _add_products(part, &part[LANES], &dy[s], &x[s], high, (S - s) // LANES, LANES, LANES)
    s = S - S % LANES
    _add_products(part, &part[LANES], &dy[s], &x[s], high, 1, 0, S % LANES)


cdef void _band_gradient(
    floating *dx, const floating *dy, const floating *x, const double *mean, const double *var,
    const floating *weight, const double *dweight, const double *dbias, double eps,
    Py_ssize_t N, Py_ssize_t C, Py_ssize_t stride, Py_ssize_t S,
) noexcept nogil:
    cdef floating high[BAND]
    cdef floating slope[BAND]
    cdef floating offset[BAND]
    cdef floating scale[BAND]
    cdef Py_ssize_t n, c, M = N * S
    for c in range(C):
        _gradient_line(
            &high[c], &slope[c], &offset[c], &scale[c], mean[c], var[c], weight[c], dweight[c] / M, dbias[c] / M, eps)
    for n in range(N):
        for c in range(C):
            _row_gradient(
                &dx[n * stride + c * S], &dy[n * stride + c * S], &x[n * stride + c * S],
                high[c], slope[c], offset[c], scale[c], S)


cdef inline void _row_gradient(
    floating *dx, const floating *dy, const floating *x, floating high, floating slope, floating offset,
    floating scale, Py_ssize_t S,
) noexcept nogil:
    cdef Py_ssize_t s
    for s in range(S):
        dx[s] = ((dy[s] - offset) - (x[s] - high) * slope) * scale


cdef void _band_scale(
    floating *dx, const floating *dy, const double *var, const floating *weight, double eps,
    Py_ssize_t N, Py_ssize_t C, Py_ssize_t stride, Py_ssize_t S,
) noexcept nogil:
    cdef floating scale
    cdef Py_ssize_t n, c, s
    for n in range(N):
        for c in range(C):
            scale = <floating>(weight[c] * _rstd(var[c], eps))
            for s in range(S):
                dx[n * stride + c * S + s] = dy[n * stride + c * S + s] * scale


# ---------------------------------------------------------------------------------------------------------------------
# (M, C): threads share the channels when rows are few, else the rows
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
    _group_gradient_sums(
        &dweight[c], &dbias[c], &dy[0, c], &x[0, c], &mean[c], &var[c], eps, M, C, w, inner)
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
    _group_gradient_sums(
        &dweight[c], &dbias[c], &dy[0, c], &x[0, c], &mean[c], &var[c], eps, M, C, w, inner)
    _group_scale(&dx[0, c], &dy[0, c], &var[c], &weight[c], eps, M, C, w, inner)


cdef inline Py_ssize_t _slice_rows(Py_ssize_t M) noexcept nogil:
    return max(<Py_ssize_t>SLICE_ROWS, (M + SLICES - 1) // SLICES)


cdef inline Py_ssize_t _slices(Py_ssize_t M) noexcept nogil:
    return (M + _slice_rows(M) - 1) // _slice_rows(M)


cdef inline Py_ssize_t _group_width(Py_ssize_t M, Py_ssize_t C, int threads) noexcept nogil:
    """Channels per group: a multiple of LANES, and a group for each thread when threads do not share rows."""
    if _slices(M) > 1:
        return GROUP
    return min(<Py_ssize_t>GROUP, (C + threads * LANES - 1) // (threads * LANES) * LANES)


cdef inline Py_ssize_t _groups(Py_ssize_t C, Py_ssize_t width) noexcept nogil:
    return (C + width - 1) // width


cdef inline int _inner_threads(Py_ssize_t M, int threads) noexcept nogil:
    """Threads within a group: all when there are slices of rows to share, else one."""
    return threads if _slices(M) > 1 else 1


# One group: M rows of w <= GROUP channels, C apart. Slices of rows are shared by threads; of how many rows they are
# depends on M alone, and their sums are merged in order.

cdef void _group_moments(
    double *mean, double *var, const floating *x, Py_ssize_t M, Py_ssize_t C, Py_ssize_t w, int threads,
) noexcept nogil:
    cdef double total[SLICES * 2 * GROUP]
    cdef floating shift[GROUP]
    cdef Py_ssize_t rows = _slice_rows(M), sample = min(M, <Py_ssize_t>SAMPLE), i, c, attempt
    cdef bint good

    _set(shift, 0, GROUP)
    for c in range(w):
        shift[c] = x[c]
    _slice_squares(total, x, shift, sample, M // sample * C, w)
    for c in range(w):
        shift[c] = <floating>(shift[c] + total[c] / sample)

    for attempt in range(2):
        if threads == 1:
            for i in range(_slices(M)):
                _slice_squares(&total[i * 2 * GROUP], &x[i * rows * C], shift, min(rows, M - i * rows), C, w)
        else:
            for i in prange(_slices(M), schedule="static", num_threads=threads):
                _slice_squares(&total[i * 2 * GROUP], &x[i * rows * C], shift, min(rows, M - i * rows), C, w)
        _merge(total, _slices(M), w)
        good = True
        for c in range(w):
            if not _finish_moments(&mean[c], &var[c], shift[c], total[c], total[GROUP + c], M):
                shift[c] = <floating>mean[c]
                good = False
        if good:
            break
    for c in range(w):
        if not isfinite(var[c]):
            _moments_in_double(&mean[c], &var[c], &x[c], M, C, 1)


cdef void _group_normalize(
    floating *y, const floating *x, const double *mean, const double *var, const floating *weight,
    const floating *bias, double eps, Py_ssize_t M, Py_ssize_t C, Py_ssize_t w, int threads,
) noexcept nogil:
    cdef Py_ssize_t rows = _slice_rows(M), i
    if threads == 1:
        _slice_normalize(y, x, mean, var, weight, bias, eps, M, C, w)
        return
    for i in prange(_slices(M), schedule="static", num_threads=threads):
        _slice_normalize(
            &y[i * rows * C], &x[i * rows * C], mean, var, weight, bias, eps, min(rows, M - i * rows), C, w)


cdef void _slice_normalize(
    floating *y, const floating *x, const double *mean, const double *var, const floating *weight,
    const floating *bias, double eps, Py_ssize_t M, Py_ssize_t C, Py_ssize_t w,
) noexcept nogil:
    cdef floating high[GROUP]
    cdef floating low[GROUP]
    cdef floating scale[GROUP]
    cdef floating offset[GROUP]
    cdef Py_ssize_t repeats = _repeats(M, C, w), m, i, j
    for j in range(w):
        high[j] = <floating>mean[j]
        low[j] = <floating>(mean[j] - high[j])
        scale[j] = <floating>(weight[j] * _rstd(var[j], eps))
        offset[j] = bias[j]
    _repeat(high, w, repeats)
    _repeat(low, w, repeats)
    _repeat(scale, w, repeats)
    _repeat(offset, w, repeats)
    for i in range((M + repeats - 1) // repeats):
        m = i * repeats
        for j in range(min(repeats, M - m) * w):
            y[m * C + j] = ((x[m * C + j] - high[j]) - low[j]) * scale[j] + offset[j]


cdef void _group_gradient_sums(
    double *dweight, double *dbias, const floating *dy, const floating *x, const double *mean, const double *var,
    double eps, Py_ssize_t M, Py_ssize_t C, Py_ssize_t w, int threads,
) noexcept nogil:
    cdef double total[SLICES * 2 * GROUP]
    cdef floating high[GROUP]
    cdef Py_ssize_t rows = _slice_rows(M), i, c
    for c in range(w):
        high[c] = <floating>mean[c]
    if threads == 1:
        for i in range(_slices(M)):
            _slice_products(
                &total[i * 2 * GROUP], &dy[i * rows * C], &x[i * rows * C], high, min(rows, M - i * rows), C, w)
    else:
        for i in prange(_slices(M), schedule="static", num_threads=threads):
            _slice_products(
                &total[i * 2 * GROUP], &dy[i * rows * C], &x[i * rows * C], high, min(rows, M - i * rows), C, w)
    _merge(total, _slices(M), w)
    for c in range(w):
        dbias[c] = total[c]
        dweight[c] = (total[GROUP + c] - (mean[c] - high[c]) * total[c]) * _rstd(var[c], eps)


cdef void _group_gradient(
    floating *dx, const floating *dy, const floating *x, const double *mean, const double *var,
    const floating *weight, const double *dweight, const double *dbias, double eps,
    Py_ssize_t M, Py_ssize_t C, Py_ssize_t w, int threads,
) noexcept nogil:
    cdef Py_ssize_t rows = _slice_rows(M), i
    if threads == 1:
        _slice_gradient(dx, dy, x, mean, var, weight, dweight, dbias, eps, M, M, C, w)
        return
    for i in prange(_slices(M), schedule="static", num_threads=threads):
        _slice_gradient(
            &dx[i * rows * C], &dy[i * rows * C], &x[i * rows * C], mean, var, weight, dweight, dbias, eps, M,
            min(rows, M - i * rows), C, w)


cdef void _slice_gradient(
    floating *dx, const floating *dy, const floating *x, const double *mean, const double *var,
    const floating *weight, const double *dweight, const double *dbias, double eps,
    Py_ssize_t all_rows, Py_ssize_t M, Py_ssize_t C, Py_ssize_t w,
) noexcept nogil:
    cdef floating high[GROUP]
    cdef floating slope[GROUP]
    cdef floating offset[GROUP]
    cdef floating scale[GROUP]
    cdef Py_ssize_t repeats = _repeats(M, C, w), m, i, j
    for j in range(w):
        _gradient_line(
            &high[j], &slope[j], &offset[j], &scale[j], mean[j], var[j], weight[j], dweight[j] / all_rows,
            dbias[j] / all_rows, eps)
    _repeat(high, w, repeats)
    _repeat(slope, w, repeats)
    _repeat(offset, w, repeats)
    _repeat(scale, w, repeats)
    for i in range((M + repeats - 1) // repeats):
        m = i * repeats
        for j in range(min(repeats, M - m) * w):
            dx[m * C + j] = ((dy[m * C + j] - offset[j]) - (x[m * C + j] - high[j]) * slope[j]) * scale[j]


cdef void _group_scale(
    floating *dx, const floating *dy, const double *var, const floating *weight, double eps,
    Py_ssize_t M, Py_ssize_t C, Py_ssize_t w, int threads,
) noexcept nogil:
    cdef Py_ssize_t rows = _slice_rows(M), i
    if threads == 1:
        _slice_scale(dx, dy, var, weight, eps, M, C, w)
        return
    for i in prange(_slices(M), schedule="static", num_threads=threads):
        _slice_scale(&dx[i * rows * C], &dy[i * rows * C], var, weight, eps, min(rows, M - i * rows), C, w)


cdef void _slice_scale(
    floating *dx, const floating *dy, const double *var, const floating *weight, double eps,
    Py_ssize_t M, Py_ssize_t C, Py_ssize_t w,
) noexcept nogil:
    cdef floating scale[GROUP]
    cdef Py_ssize_t repeats = _repeats(M, C, w), m, i, j
    for j in range(w):
        scale[j] = <floating>(weight[j] * _rstd(var[j], eps))
    _repeat(scale, w, repeats)
    for i in range((M + repeats - 1) // repeats):
        m = i * repeats
        for j in range(min(repeats, M - m) * w):
            dx[m * C + j] = dy[m * C + j] * scale[j]


cdef inline Py_ssize_t _repeats(Py_ssize_t M, Py_ssize_t C, Py_ssize_t w) noexcept nogil:
    """Rows that fit in one line of GROUP values, so that the inner loops are long even where channels are few."""
    return min(M, GROUP // w) if w == C else 1


cdef inline void _repeat(floating *line, Py_ssize_t w, Py_ssize_t repeats) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(w, repeats * w):
        line[j] = line[j - w]


cdef void _slice_squares(
    double *total, const floating *x, const floating *shift, Py_ssize_t M, Py_ssize_t stride,
    Py_ssize_t w,
) noexcept nogil:
    """With d = x - shift: Σd in total[0:w], Σd² in total[GROUP:GROUP + w]."""
    cdef floating part[2 * GROUP]
    cdef Py_ssize_t m = 0, c, rows, strip = _strip_width(M, w), width
    _set(total, 0, w)
    _set(&total[GROUP], 0, w)
    while m < M:
        _set(part, 0, w)
        _set(&part[GROUP], 0, w)
        rows = min(M - m, <Py_ssize_t>FLUSH)
        c = 0
        while c < w:
            width = min(w - c, strip)
            _add_squares(&part[c], &part[GROUP + c], &x[m * stride + c], &shift[c], rows, stride, width)
            c += width
        for c in range(w):
            total[c] += part[c]
            total[GROUP + c] += part[GROUP + c]
        m += rows


cdef void _slice_products(
    double *total, const floating *dy, const floating *x, const floating *high, Py_ssize_t M, Py_ssize_t stride,
    Py_ssize_t w,
) noexcept nogil:
    """Σdy in total[0:w], Σdy·(x - high) in total[GROUP:GROUP + w]."""
    cdef floating part[2 * GROUP]
    cdef Py_ssize_t m = 0, c, rows, strip = _strip_width(M, w), width
    _set(total, 0, w)
    _set(&total[GROUP], 0, w)
    while m < M:
        _set(part, 0, w)
        _set(&part[GROUP], 0, w)
        rows = min(M - m, <Py_ssize_t>FLUSH)
        c = 0
        while c < w:
            width = min(w - c, strip)
            _add_products(
                &part[c], &part[GROUP + c], &dy[m * stride + c], &x[m * stride + c], &high[c], rows, stride, width)
            c += width
        for c in range(w):
            total[c] += part[c]
            total[GROUP + c] += part[GROUP + c]
        m += rows


cdef inline Py_ssize_t _strip_width(Py_ssize_t M, Py_ssize_t w) noexcept nogil:
    """Channels summed at a time: LANES stay in registers; many rows of many channels are read in the order of memory."""
    return w if M >= SLICE_ROWS and w > 2 * LANES else LANES


cdef inline void _merge(double *total, Py_ssize_t slices, Py_ssize_t w) noexcept nogil:
    """The first slice gets the sum over all."""
    cdef Py_ssize_t i, j
    for i in range(1, slices):
        for j in range(w):
            total[j] += total[i * 2 * GROUP + j]
            total[GROUP + j] += total[(i * 2 + 1) * GROUP + j]


# ---------------------------------------------------------------------------------------------------------------------
# Both layouts
# ---------------------------------------------------------------------------------------------------------------------
# Sums over `rows` rows of w <= LANES values, `stride` apart: w channels, or one channel's contiguous values cut into
# rows. The bodies are inline, so that the compiler makes a copy of them for w = LANES and vectorizes its loops fully.

cdef void _add_squares(
    floating *part, floating *part_square, const floating *x, const floating *shift, Py_ssize_t rows,
    Py_ssize_t stride, Py_ssize_t w,
) noexcept nogil:
    """With d = x[r, j] - shift[j]: part[j] += Σ_r d, part_square[j] += Σ_r d²"""
    if w == LANES:
        _add_squares_of(part, part_square, x, shift, rows, stride, LANES)
    else:
        _add_squares_of(part, part_square, x, shift, rows, stride, w)


cdef inline void _add_squares_of(
    floating *part, floating *part_square, const floating *x, const floating *shift, Py_ssize_t rows,
    Py_ssize_t stride, Py_ssize_t w,
) noexcept nogil:
    cdef floating total[GROUP]
    cdef floating square[GROUP]
    cdef floating d
    cdef Py_ssize_t r, j
    for j in range(w):
        total[j] = part[j]
        square[j] = part_square[j]
    for r in range(rows):
        for j in range(w):
            d = x[r * stride + j] - shift[j]
            total[j] += d
            square[j] += d * d
    for j in range(w):
        part[j] = total[j]
        part_square[j] = square[j]


cdef void _add_products(
    floating *part, floating *part_product, const floating *dy, const floating *x, const floating *high,
    Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t w,
) noexcept nogil:
    """part[j] += Σ_r dy[r, j], part_product[j] += Σ_r dy[r, j]·(x[r, j] - high[j])"""
    if w == LANES:
        _add_products_of(part, part_product, dy, x, high, rows, stride, LANES)
    else:
        _add_products_of(part, part_product, dy, x, high, rows, stride, w)


cdef inline void _add_products_of(
    floating *part, floating *part_product, const floating *dy, const floating *x, const floating *high,
    Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t w,
) noexcept nogil:
    cdef floating total[GROUP]
    cdef floating product[GROUP]
    cdef Py_ssize_t r, j
    for j in range(w):
        total[j] = part[j]
        product[j] = part_product[j]
    for r in range(rows):
        for j in range(w):
            total[j] += dy[r * stride + j]
            product[j] += dy[r * stride + j] * (x[r * stride + j] - high[j])
    for j in range(w):
        part[j] = total[j]
        part_product[j] = product[j]


cdef inline void _flush(double *total, floating *part, Py_ssize_t channels) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(channels * 2 * LANES):
        total[j] += part[j]
        part[j] = 0


cdef inline double _sum(const double *lanes) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t j
    for j in range(LANES):
        total += lanes[j]
    return total


cdef inline void _set(floating *values, floating value, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        values[j] = value


cdef inline double _rstd(double var, double eps) noexcept nogil:
    return 1.0 / sqrt(var + eps)


cdef inline bint _finish_moments(
    double *mean, double *var, double shift, double total, double square, Py_ssize_t M,
) noexcept nogil:
    """The moments from Σd and Σd². False: shift is over two standard deviations off, do it again about this mean."""
    cdef double deviation = total / M
    mean[0] = shift + deviation
    var[0] = square / M - deviation * deviation
    if var[0] < 0:
        var[0] = 0
    return not deviation * deviation > 4 * var[0]


cdef void _moments_in_double(
    double *mean, double *var, const floating *x, Py_ssize_t N, Py_ssize_t stride, Py_ssize_t S,
) noexcept nogil:
    """One channel with NaN, Inf, or values whose squares overflow the lanes: plainly, so that each ends as it should."""
    cdef double total = 0, square = 0, d
    cdef Py_ssize_t n, s
    for n in range(N):
        for s in range(S):
            total += x[n * stride + s]
    mean[0] = total / (N * S)
    for n in range(N):
        for s in range(S):
            d = x[n * stride + s] - mean[0]
            square += d * d
    var[0] = square / (N * S)


cdef inline void _gradient_line(
    floating *high, floating *slope, floating *offset, floating *scale, double mean, double var, double weight,
    double mean_dyx, double mean_dy, double eps,
) noexcept nogil:
    """The numbers of dx = ((dy - offset) - (x - high)·slope)·scale; the mean's low part is in offset."""
    cdef double rstd = _rstd(var, eps)
    high[0] = <floating>mean
    slope[0] = <floating>(mean_dyx * rstd)
    offset[0] = <floating>(mean_dy - (mean - high[0]) * mean_dyx * rstd)
    scale[0] = <floating>(weight * rstd)
