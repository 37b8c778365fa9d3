"""BatchNorm's loops: batch moments, normalize, and the two backwards.

Legend: N batch, C channels, S spatial positions, M values per channel (N·S).

    mean = Σ x / M        var = Σ (x - mean)² / M        rstd = 1 / √(var + eps)        x̂ = (x - mean)·rstd
    y  = x̂·weight + bias                                                   relu: max(y, 0)
    dx = weight·rstd·(dy - Σ dy / M - x̂·Σ(dy·x̂) / M)                       statistics of the batch
    dx = weight·rstd·dy                                                    statistics that are given
    dweight = Σ dy·x̂      dbias = Σ dy                                     relu: with dy only where y > 0

Arguments: outputs come first, then inputs, options, threads. Tensors are (N, C, ...) of float32 or float64, contiguous
or channels-last, all in the same memory layout; moments is (2, C) of float64, mean and variance; what else there is per
channel is (C,), of the tensor's dtype or None. Whatever else is given is refused: the check of sizes, dtypes, strides and
overlaps takes 0.1 µs here, that of eight typed memoryviews 1.4 µs, a quarter of a call on a small batch.

**Exactness.** In float32, for mean/std up to 1e5, M from 2 to 1e6 and weights up to 10, the output of `batch_norm` is
wrong by at most 2e-6·(|weight·x̂| + |bias| + 1), and the variance by at most 4 units in the last place; by up to 9 where a
few values make up most of it, as then roundings do not even out (6 is the most that was found). A constant channel gives
exactly the bias. NaN and infinity stay in their channel. The bits, but for the sign of a NaN, depend neither on threads, nor
on streaming, nor on the instruction set.

* Never E[x²] - E[x]². A sample gives `shift`, a mean to start from; one pass over all sums d = x - shift and d²:
  mean = shift + Σd/M and var = Σd²/M - (Σd/M)². While shift is within 0.7 standard deviations of the mean the subtraction
  takes a third at the most; where it is not, another pass repeats the first about the mean that is known by then.
* Sums run in columns, one for each place in a row, in the data's dtype: eight rows in a tree, and after FLUSH rows the
  columns are added to double sums. A long row is summed by itself, in 16 columns. The d are small wherever the data
  sits, and exactly 0 in a constant channel. A channel whose squares leave float32's range is done again in double.
* The mean is used as high + low: x - high is exact where it matters, low goes into the bias, in double.
"""

cimport numpy as np
from cython cimport floating
from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport fabs, isfinite, sqrt
from libc.string cimport memmove

from tinybn.errors import DTypeError, ShapeError

np.import_array()

cdef double TINY = 1e-30        # where the squares in a sum leave float32's range; a smaller variance is done in double

cdef extern from "memory_traffic.h":
    size_t tinybn_stream(void *to, const void *values, size_t size, int all) nogil
    void tinybn_stream_end() nogil
    void tinybn_prefetch(const void *values, size_t size) nogil

include "share.pxi"

# --- the kernels: check, and choose the dtype -------------------------------------------------------------------------

def batch_moments(np.ndarray moments not None, np.ndarray x not None, int threads):
    """moments (2, C): mean and biased variance of x; zeros if x is empty."""
    cdef Taken taken
    cdef Work w
    cdef Form form = _form(&taken, "batch_moments", x)
    w.moments = _moments_of(&taken, moments, x)
    w.x = np.PyArray_DATA(x)
    w.threads, w.eps = threads, 1
    _check_apart(&taken)
    with nogil:
        _clear(w.moments, &w.moments[form.C], form.C)
        if form.N * form.S * form.C:
            _run_moments(&w, form)


def batch_norm(
    np.ndarray y not None, np.ndarray moments not None, np.ndarray x not None, np.ndarray weight, np.ndarray bias,
    np.ndarray running_mean, np.ndarray running_var, double momentum, double eps, bint relu, int threads, bint stream,
    bint unbiased=True,
):
    """y and the moments of x; running = (1 - momentum)·running + momentum·new, with the unbiased variance or the biased.

    The running statistics stay as they are, and False is returned, when they could not hold the new ones: after a batch
    that is empty or not finite. `stream` goes block by block and writes y past the caches: the same bits.
    """
    cdef Taken taken
    cdef Work w
    cdef Form form = _form(&taken, "batch_norm", x)
    cdef void *r_mean
    cdef void *r_var
    cdef bint moved
    w.out = _tensor(&taken, "y", y, x, True)
    w.moments = _moments_of(&taken, moments, x)
    w.x = np.PyArray_DATA(x)
    w.weight = _channels(&taken, "weight", weight, x, False)
    w.bias = _channels(&taken, "bias", bias, x, False)
    r_mean = _channels(&taken, "running_mean", running_mean, x, True)
    r_var = _channels(&taken, "running_var", running_var, x, True)
    w.given.mean, w.given.var, w.given.single = w.moments, &w.moments[form.C], False
    w.eps, w.relu, w.threads, w.stream = eps, relu, threads, stream
    _check_apart(&taken)
    with nogil:
        _clear(w.moments, &w.moments[form.C], form.C)
        if form.N * form.S * form.C:
            _run_batch_norm(&w, form)
        if form.single:
            moved = _move_running(<float *>r_mean, <float *>r_var, w.moments, momentum, unbiased, FLT_MAX, form)
        else:
            moved = _move_running(<double *>r_mean, <double *>r_var, w.moments, momentum, unbiased, DBL_MAX, form)
    return moved


def normalize(
    np.ndarray y not None, np.ndarray x not None, np.ndarray mean not None, np.ndarray var not None,
    np.ndarray weight, np.ndarray bias, double eps, bint relu, int threads, bint stream,
):
    """y from x with the mean and var that are given, in the tensor's dtype or in float64."""
    cdef Taken taken
    cdef Work w
    cdef Form form = _form(&taken, "normalize", x)
    w.out = _tensor(&taken, "y", y, x, True)
    w.given = _statistics(&taken, mean, var, x)
    w.x = np.PyArray_DATA(x)
    w.weight = _channels(&taken, "weight", weight, x, False)
    w.bias = _channels(&taken, "bias", bias, x, False)
    w.eps, w.relu, w.threads, w.stream = eps, relu, threads, stream
    _check_apart(&taken)
    with nogil:
        if form.N * form.S * form.C:
            _run_normalize(&w, form)


def batch_norm_backward(
    np.ndarray dx not None, np.ndarray dweight not None, np.ndarray dbias not None, np.ndarray dy not None,
    np.ndarray x not None, np.ndarray mean not None, np.ndarray var not None, np.ndarray weight, np.ndarray bias,
    double eps, bint relu, int threads, bint stream,
):
    """dx, dweight, dbias of `batch_norm`, whose moments mean and var are; bias matters with relu only."""
    _backward(True, dx, dweight, dbias, dy, x, mean, var, weight, bias, eps, relu, threads, stream)


def normalize_backward(
    np.ndarray dx not None, np.ndarray dweight not None, np.ndarray dbias not None, np.ndarray dy not None,
    np.ndarray x not None, np.ndarray mean not None, np.ndarray var not None, np.ndarray weight, np.ndarray bias,
    double eps, bint relu, int threads, bint stream,
):
    """dx, dweight, dbias of `normalize`; bias matters with relu only."""
    _backward(False, dx, dweight, dbias, dy, x, mean, var, weight, bias, eps, relu, threads, stream)


cdef _backward(
    bint own, np.ndarray dx, np.ndarray dweight, np.ndarray dbias, np.ndarray dy, np.ndarray x, np.ndarray mean,
    np.ndarray var, np.ndarray weight, np.ndarray bias, double eps, bint relu, int threads, bint stream,
):
    """`own`: the statistics are the batch's, and depend on x."""
    cdef Taken taken
    cdef Work w
    cdef Form form = _form(&taken, "batch_norm_backward" if own else "normalize_backward", x)
    w.out = _tensor(&taken, "dx", dx, x, True)
    w.dweight = _channels(&taken, "dweight", dweight, x, True)
    w.dbias = _channels(&taken, "dbias", dbias, x, True)
    w.dy = _tensor(&taken, "dy", dy, x, False)
    w.given = _statistics(&taken, mean, var, x)
    w.x = np.PyArray_DATA(x)
    w.weight = _channels(&taken, "weight", weight, x, False)
    w.bias = _channels(&taken, "bias", bias, x, False)
    w.own, w.eps, w.relu, w.threads, w.stream = own, eps, relu, threads, stream
    _check_apart(&taken)
    with nogil:
        if form.N * form.S * form.C:
            _run_gradients(&w, form)
        elif form.single:
            _clear(<float *>w.dweight, <float *>w.dbias, form.C)
        else:
            _clear(<double *>w.dweight, <double *>w.dbias, form.C)


def ready(
    np.ndarray x not None, np.ndarray like, np.ndarray weight, np.ndarray bias, np.ndarray mean, np.ndarray var,
    bint given,
):
    """Whether kernels take these as they lie: x, a tensor that should lie like it, arrays per channel; None is left out.

    `given`: mean and var are inputs, which may be float64.
    """
    cdef Order order = _order(x)
    return (
        order != OTHER
        and (like is None or _alike(like, x) and _order(like) == order)
        and (weight is None or _fits_channels(weight, x)) and (bias is None or _fits_channels(bias, x))
        and (_are_statistics(mean, var, x) if given else (
            (mean is None or _fits_channels(mean, x)) and (var is None or _fits_channels(var, x))))
    )


include "batchnorm_checks.pxi"
include "batchnorm_statistics.pxi"
include "sheet.pxi"
include "batchnorm_cut.pxi"
include "batchnorm_work.pxi"
include "batchnorm_sums.pxi"
include "batchnorm_forward.pxi"
include "batchnorm_backward.pxi"
