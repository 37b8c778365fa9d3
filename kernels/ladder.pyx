"""The BatchNorm forward ten times: from loops as one writes them first to loops at the limit of the machine.

Each step is the one before it with one change, to be read side by side; docs/kernels.md tells what each change bought.
All write y = (x - mean)·rstd·weight + bias, with the mean and the biased variance of the batch. Arguments: the output
y, then x, both contiguous (N, C, S); weight and bias (C,); all of one dtype. Nothing is checked; M = N·S is not 0.
The kernels that serve are in batchnorm.pyx.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport sqrt

cdef extern from "memory_traffic.h":
    size_t tinybn_stream(void *to, const void *values, size_t size, int all) nogil
    void tinybn_stream_end() nogil
    void tinybn_prefetch(const void *values, size_t size) nogil


def naive(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, const floating[::1] weight, const floating[::1] bias,
    double eps, int threads,
):
    """The formula as it stands, sums in the data's dtype: three sweeps over x."""
    cdef Py_ssize_t N = x.shape[0], C = x.shape[1], S = x.shape[2], n, c, s
    cdef floating[::1] mean = np.zeros_like(weight)
    cdef floating[::1] var = np.zeros_like(weight)
    for n in range(N):
        for c in range(C):
            for s in range(S):
                mean[c] += x[n, c, s]
    for c in range(C):
        mean[c] /= N * S
    for n in range(N):
        for c in range(C):
            for s in range(S):
                var[c] += (x[n, c, s] - mean[c]) ** 2
    for c in range(C):
        var[c] /= N * S
    for n in range(N):
        for c in range(C):
            for s in range(S):
                y[n, c, s] = <floating>((x[n, c, s] - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c])


def one_pass(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, const floating[::1] weight, const floating[::1] bias,
    double eps, int threads,
):
    """var = E[x²] - E[x]²: both sums in one sweep. Wrong as soon as the mean is far from 0."""
    cdef Py_ssize_t N = x.shape[0], C = x.shape[1], S = x.shape[2], n, c, s
    cdef floating[::1] mean = np.zeros_like(weight)
    cdef floating[::1] var = np.zeros_like(weight)
    for n in range(N):
        for c in range(C):
            for s in range(S):
                mean[c] += x[n, c, s]
                var[c] += x[n, c, s] ** 2
    for c in range(C):
        mean[c] /= N * S
        var[c] = var[c] / (N * S) - mean[c] ** 2
    for n in range(N):
        for c in range(C):
            for s in range(S):
                y[n, c, s] = <floating>((x[n, c, s] - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c])


def two_pass(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, const floating[::1] weight, const floating[::1] bias,
    double eps, int threads,
):
    """First the mean, then the variance about it, both in double: exact, whatever the mean."""
    cdef Py_ssize_t N = x.shape[0], C = x.shape[1], S = x.shape[2], n, c, s
    cdef double[::1] mean = np.zeros(C)
    cdef double[::1] var = np.zeros(C)
    for n in range(N):
        for c in range(C):
            for s in range(S):
                mean[c] += x[n, c, s]
    for c in range(C):
        mean[c] /= N * S
    for n in range(N):
        for c in range(C):
            for s in range(S):
                var[c] += (x[n, c, s] - mean[c]) ** 2
    for c in range(C):
        var[c] /= N * S
    for n in range(N):
        for c in range(C):
            for s in range(S):
                y[n, c, s] = <floating>((x[n, c, s] - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c])


def hoisted(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, const floating[::1] weight, const floating[::1] bias,
    double eps, int threads,
):
    """What is the same for a whole row is worked out before its loop: a row is summed, or is x·scale + offset."""
    cdef Py_ssize_t N = x.shape[0], C = x.shape[1], S = x.shape[2], n, c
    cdef double[::1] mean = np.zeros(C)
    cdef double[::1] var = np.zeros(C)
    for n in range(N):
        for c in range(C):
            mean[c] += _sum_in_order(&x[n, c, 0], S) / (N * S)
    for n in range(N):
        for c in range(C):
            var[c] += _squares_in_order(&x[n, c, 0], mean[c], S) / (N * S)
    for n in range(N):
        for c in range(C):
            _normalize(&y[n, c, 0], &x[n, c, 0], mean[c], weight[c] / sqrt(var[c] + eps), bias[c], S)


cdef inline double _sum_in_order(const floating *x, Py_ssize_t S) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t s
    for s in range(S):
        total += x[s]
    return total


cdef inline double _squares_in_order(const floating *x, double mean, Py_ssize_t S) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t s
    for s in range(S):
        total += (x[s] - mean) * (x[s] - mean)
    return total


cdef inline void _normalize(
    floating *y, const floating *x, double mean, double scale, double bias, Py_ssize_t S,
) noexcept nogil:
    """In the data's dtype, which a vector holds twice as many of if it is float: the mean as a high and a low part.

    x - high is exact where x and the mean are close; what is left of the mean goes into the offset, in double.
    """
    cdef floating high = <floating>mean
    cdef floating factor = <floating>scale
    cdef floating offset = <floating>(bias - (mean - high) * scale)
    cdef Py_ssize_t s
    for s in range(S):
        y[s] = (x[s] - high) * factor + offset


def vectorized(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, const floating[::1] weight, const floating[::1] bias,
    double eps, int threads,
):
    """Each channel's sum is many: lanes, that the compiler may put side by side into registers, and that end in one."""
    cdef Py_ssize_t N = x.shape[0], C = x.shape[1], S = x.shape[2], n, c
    cdef double[:, ::1] sums = np.zeros((C, LANES))
    cdef double[:, ::1] squares = np.zeros((C, LANES))
    cdef double[::1] mean, var
    for n in range(N):
        for c in range(C):
            _add_values(&sums[c, 0], &x[n, c, 0], S)
    mean = np.sum(sums, axis=1) / (N * S)
    for n in range(N):
        for c in range(C):
            _add_squares(&squares[c, 0], &x[n, c, 0], mean[c], S)
    var = np.sum(squares, axis=1) / (N * S)
    for n in range(N):
        for c in range(C):
            _normalize(&y[n, c, 0], &x[n, c, 0], mean[c], weight[c] / sqrt(var[c] + eps), bias[c], S)


cdef enum:
    LANES = 32      # four registers of AVX-512 in double: additions that need not wait for each other


cdef inline void _add_values(double *lanes, const floating *x, Py_ssize_t S) noexcept nogil:
    cdef double lane[LANES]         # the compiler knows that nobody else has these: they need not be stored each time
    cdef Py_ssize_t i, j
    for j in range(LANES):
        lane[j] = lanes[j]
    for i in range(S // LANES):
        for j in range(LANES):
            lane[j] += x[i * LANES + j]
    for j in range(S % LANES):
        lane[j] += x[S - S % LANES + j]
    for j in range(LANES):
        lanes[j] = lane[j]


cdef inline void _add_squares(double *lanes, const floating *x, double mean, Py_ssize_t S) noexcept nogil:
    cdef double lane[LANES]
    cdef double d
    cdef Py_ssize_t i, j
    for j in range(LANES):
        lane[j] = lanes[j]
    for i in range(S // LANES):
        for j in range(LANES):
            d = x[i * LANES + j] - mean
            lane[j] += d * d
    for j in range(S % LANES):
        d = x[S - S % LANES + j] - mean
        lane[j] += d * d
    for j in range(LANES):
        lanes[j] = lane[j]


def cached(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, const floating[::1] weight, const floating[::1] bias,
    double eps, int threads,
):
    """Channel by channel: its N·S values are still in the cache when they are read again."""
    cdef Py_ssize_t N = x.shape[0], C = x.shape[1], S = x.shape[2], n, c
    cdef double sums[LANES]
    cdef double squares[LANES]
    cdef double mean, var
    for c in range(C):
        for n in range(LANES):
            sums[n] = squares[n] = 0
        for n in range(N):
            _add_values(sums, &x[n, c, 0], S)
        mean = _sum_in_order(sums, LANES) / (N * S)
        for n in range(N):
            _add_squares(squares, &x[n, c, 0], mean, S)
        var = _sum_in_order(squares, LANES) / (N * S)
        for n in range(N):
            _normalize(&y[n, c, 0], &x[n, c, 0], mean, weight[c] / sqrt(var + eps), bias[c], S)


def shifted(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, const floating[::1] weight, const floating[::1] bias,
    double eps, int threads,
):
    """One pass for both sums again, but of d = x - shift, with a shift near the mean: E[d²] - E[d]² cancels little."""
    cdef Py_ssize_t c
    for c in range(x.shape[1]):
        _channel(y, x, weight[c], bias[c], eps, c, False, False)


cdef void _channel(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, double weight, double bias, double eps, Py_ssize_t c,
    bint stream, bint ahead,
) noexcept nogil:
    cdef Py_ssize_t N = x.shape[0], S = x.shape[2], n
    cdef floating shift = x[0, c, 0]
    cdef double sums[LANES]
    cdef double squares[LANES]
    cdef double mean, var, scale
    for n in range(LANES):
        sums[n] = squares[n] = 0
    for n in range(N):
        _add_both(sums, squares, &x[n, c, 0], shift, S)
    mean = _sum_in_order(sums, LANES) / (N * S)         # of d
    var = _sum_in_order(squares, LANES) / (N * S) - mean * mean
    scale = weight / sqrt(var + eps)
    for n in range(N):
        if stream:
            _normalize_streaming(&y[n, c, 0], &x[n, c, 0], shift + mean, scale, bias, S)
        else:
            _normalize(&y[n, c, 0], &x[n, c, 0], shift + mean, scale, bias, S)
        if ahead and c + 1 < x.shape[1]:
            tinybn_prefetch(&x[n, c + 1, 0], S * sizeof(floating))
    if stream:
        tinybn_stream_end()


cdef inline void _add_both(
    double *sums, double *squares, const floating *x, floating shift, Py_ssize_t S,
) noexcept nogil:
    """In the data's dtype, of which a register holds twice as many: 1024 values, 64 in each lane, then in double."""
    cdef floating lane[LANES]
    cdef floating lane_of_squares[LANES]
    cdef floating d
    cdef Py_ssize_t start, n, i, j
    for start in range(0, S, 1024):
        n = min(S - start, <Py_ssize_t>1024)
        for j in range(LANES):
            lane[j] = lane_of_squares[j] = 0
        for i in range(n // LANES):
            for j in range(LANES):
                d = x[start + i * LANES + j] - shift
                lane[j] += d
                lane_of_squares[j] += d * d
        for j in range(n % LANES):
            d = x[start + n - n % LANES + j] - shift
            lane[j] += d
            lane_of_squares[j] += d * d
        for j in range(LANES):
            sums[j] += lane[j]
            squares[j] += lane_of_squares[j]


def threaded(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, const floating[::1] weight, const floating[::1] bias,
    double eps, int threads,
):
    """Channels have nothing to do with each other, so threads share them: each takes as many, that lie side by side."""
    cdef Py_ssize_t c
    for c in prange(x.shape[1], nogil=True, schedule="static", num_threads=threads):
        _channel(y, x, weight[c], bias[c], eps, c, False, False)


def streaming(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, const floating[::1] weight, const floating[::1] bias,
    double eps, int threads,
):
    """y goes past the caches to memory, which then need not be read before it is written."""
    cdef Py_ssize_t c
    for c in prange(x.shape[1], nogil=True, schedule="static", num_threads=threads):
        _channel(y, x, weight[c], bias[c], eps, c, True, False)


cdef inline void _normalize_streaming(
    floating *y, const floating *x, double mean, double scale, double bias, Py_ssize_t S,
) noexcept nogil:
    """A piece of a row at a time is worked out in the first-level cache, and streamed from there."""
    cdef floating piece[1024]
    cdef Py_ssize_t s, n
    for s in range(0, S, 1024):
        n = min(S - s, <Py_ssize_t>1024)
        _normalize(piece, &x[s], mean, scale, bias, n)
        tinybn_stream(&y[s], piece, n * sizeof(floating), True)


def prefetching(
    floating[:, :, ::1] y, const floating[:, :, ::1] x, const floating[::1] weight, const floating[::1] bias,
    double eps, int threads,
):
    """While a channel is written, memory has time to bring the next one."""
    cdef Py_ssize_t c
    for c in prange(x.shape[1], nogil=True, schedule="static", num_threads=threads):
        _channel(y, x, weight[c], bias[c], eps, c, True, True)
