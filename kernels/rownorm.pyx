"""LayerNorm, RMSNorm and GroupNorm: BatchNorm's sums, taken over each example's own values.

Legend: N batch, C channels, S spatial positions, G groups of K = C/G channels; R rows of D values each.

    mean = Σ x / D        var = Σ (x - mean)² / D        rstd = 1 / √(var + eps)        x̂ = (x - mean)·rstd
    y = x̂·weight + bias
    g = dy·weight         dx = rstd·(g - Σg / D - x̂·Σ(g·x̂) / D)          dweight = Σ dy·x̂        dbias = Σ dy

`layer_norm` has a weight for each of a row's D places; RMSNorm is the same, not centered: its mean counts as 0, and Σg is
left out. `group_norm` has one for each channel; a row is a group of an example's channels. Groups of dense data, one value
per channel, are `layer_norm`'s rows with a period of G.

Arguments: outputs come first, then inputs, options, scratch memory, threads. moments is (2, R) of float64, mean and
variance. Exactness is that of /kernels/batchnorm.pyx: one pass about a sample's mean, repeated where that was far off; sums
in the data's dtype for few values, then in double; the mean as high + low. The bits do not depend on threads.
"""

cimport numpy as np
from cython cimport floating
from libc.math cimport isfinite, sqrt

from tinybn.errors import DTypeError, ShapeError

np.import_array()

cdef double TINY = 1e-30        # where the squares in a sum leave float32's range; a smaller variance is done in double

include "share.pxi"

cdef struct Work:
    bint single, centered, last     # float32; with a mean; channels last in memory
    double eps
    Py_ssize_t R, D, period         # rows, and values in each; of so many rows places have weights of their own
    Py_ssize_t N, G, K, S           # of groups
    Py_ssize_t chunk                # rows of a task
    void *out                       # y or dx
    void *dweight
    void *dbias
    double *mean
    double *var
    const void *x
    const void *dy
    const void *weight
    const void *bias
    double *scratch


def layer_norm(
    np.ndarray y not None, np.ndarray moments not None, np.ndarray x not None, np.ndarray weight, np.ndarray bias,
    Py_ssize_t period, double eps, bint centered, int threads,
):
    """y and the moments of each row of x, which is contiguous and has R rows of D values, whatever its shape.

    weight and bias, period·D values or None: row r has those from (r % period)·D on.
    """
    cdef Taken taken
    cdef Work w
    _take_rows(&taken, &w, "layer_norm", x, moments, True, period, eps, centered)
    w.out = _like_x(&taken, "y", y, x, True)
    w.weight = _places(&taken, "weight", weight, x, &w, False)
    w.bias = _places(&taken, "bias", bias, x, &w, False)
    _check_apart(&taken)
    w.chunk = max(<Py_ssize_t>1, CHUNK_VALUES // max(<Py_ssize_t>1, w.D))
    with nogil:
        _clear(w.mean, w.var, w.R)
        if w.R * w.D:
            _share(_layer_norm_task, &w, (w.R + w.chunk - 1) // w.chunk, threads, False)


def layer_norm_backward(
    np.ndarray dx not None, np.ndarray dweight, np.ndarray dbias, np.ndarray dy not None, np.ndarray x not None,
    np.ndarray moments not None, np.ndarray weight, Py_ssize_t period, double eps, bint centered,
    np.ndarray scratch not None, int threads,
):
    """dx, and dweight and dbias unless they are None, of `layer_norm`; scratch: float64 (chunks, 4·period·D)."""
    cdef Taken taken
    cdef Work w
    cdef Py_ssize_t chunks
    _take_rows(&taken, &w, "layer_norm_backward", x, moments, False, period, eps, centered)
    if w.R == 0 and np.PyArray_NDIM(scratch) == 2:
        w.D = scratch.shape[1] // (4 * period)          # no row tells how long it is
    w.out = _like_x(&taken, "dx", dx, x, True)
    w.dweight = _places(&taken, "dweight", dweight, x, &w, True)
    w.dbias = _places(&taken, "dbias", dbias, x, &w, True)
    w.dy = _like_x(&taken, "dy", dy, x, False)
    w.weight = _places(&taken, "weight", weight, x, &w, False)
    _check_both(dweight, dbias)
    w.scratch = _take_scratch(&taken, scratch, 4 * period * w.D, 1)
    chunks = scratch.shape[0]
    _check_apart(&taken)
    w.chunk = (w.R + chunks - 1) // chunks
    with nogil:
        if w.R * w.D:
            chunks = (w.R + w.chunk - 1) // w.chunk
            _share(_layer_gradient_task, &w, chunks, threads, False)
        else:
            chunks = 0
        if w.dweight != NULL:
            _sum_chunks(&w, chunks)


def group_norm(
    np.ndarray y not None, np.ndarray moments not None, np.ndarray x not None, np.ndarray weight, np.ndarray bias,
    Py_ssize_t groups, double eps, np.ndarray scratch not None, int threads,
):
    """y and the moments of each group of channels of x (N, C, ...), contiguous or channels-last; scratch: float64 (N, 2·C)."""
    cdef Taken taken
    cdef Work w
    _take_groups(&taken, &w, "group_norm", x, groups, eps)
    w.out = _tensor(&taken, "y", y, x, True)
    _take_moments(&taken, &w, moments, True)
    w.weight = _channels(&taken, "weight", weight, x, False)
    w.bias = _channels(&taken, "bias", bias, x, False)
    w.scratch = _take_scratch(&taken, scratch, 2 * w.G * w.K, w.N)
    _check_apart(&taken)
    with nogil:
        _clear(w.mean, w.var, w.R)
        if w.R * w.D:
            _share(_group_norm_task, &w, w.N, threads, False)


def group_norm_backward(
    np.ndarray dx not None, np.ndarray dweight, np.ndarray dbias, np.ndarray dy not None, np.ndarray x not None,
    np.ndarray moments not None, np.ndarray weight, Py_ssize_t groups, double eps, np.ndarray scratch not None, int threads,
):
    """dx, and dweight and dbias (C,) unless they are None, of `group_norm`; scratch: float64 (N, 2·C)."""
    cdef Taken taken
    cdef Work w
    _take_groups(&taken, &w, "group_norm_backward", x, groups, eps)
    w.out = _tensor(&taken, "dx", dx, x, True)
    w.dweight = _channels(&taken, "dweight", dweight, x, True)
    w.dbias = _channels(&taken, "dbias", dbias, x, True)
    w.dy = _tensor(&taken, "dy", dy, x, False)
    _take_moments(&taken, &w, moments, False)
    w.weight = _channels(&taken, "weight", weight, x, False)
    _check_both(dweight, dbias)
    w.scratch = _take_scratch(&taken, scratch, 2 * w.G * w.K, w.N)
    _check_apart(&taken)
    with nogil:
        if w.R * w.D:
            _share(_group_gradient_task, &w, w.N, threads, False)
        if w.dweight != NULL:
            _sum_examples(&w)


# --- what the kernels take --------------------------------------------------------------------------------------------

def contiguous(np.ndarray x not None, np.ndarray a, np.ndarray b):
    """Whether the kernels of rows take these as they lie: C-contiguous, of one dtype, float32 or float64; None is left out."""
    return _is_contiguous(x, x) and (a is None or _is_contiguous(a, x)) and (b is None or _is_contiguous(b, x))


cdef inline bint _is_contiguous(np.ndarray a, np.ndarray x) noexcept:
    cdef int type = np.PyArray_TYPE(a)
    return (
        (type == np.NPY_FLOAT or type == np.NPY_DOUBLE) and type == np.PyArray_TYPE(x) and np.PyArray_ISCARRAY_RO(a))


cdef int _take_rows(
    Taken *taken, Work *w, str name, np.ndarray x, np.ndarray moments, bint made, Py_ssize_t period, double eps,
    bint centered,
) except -1:
    """x as rows, of which moments tells the number."""
    if not _is_contiguous(x, x):
        raise DTypeError(f"{name}: expected contiguous, aligned float32 or float64, got {_described(x)}")
    taken.count = 0
    w.R = moments.shape[1] if np.PyArray_NDIM(moments) == 2 else 0
    w.D = np.PyArray_SIZE(x) // w.R if w.R else 0
    w.period = period
    if period < 1 or w.R % period or w.R * w.D != np.PyArray_SIZE(x):
        raise ShapeError(f"{name}: {_described(x)} cannot be cut into {w.R} rows, as moments has, with period {period}")
    w.single, w.centered, w.eps, w.x = np.PyArray_TYPE(x) == np.NPY_FLOAT, centered, eps, np.PyArray_DATA(x)
    _take(taken, "x", x, False)
    _take_moments(taken, w, moments, made)
    return 0


cdef void *_like_x(Taken *taken, const char *name, np.ndarray a, np.ndarray x, bint output) except NULL:
    """The memory of an array that has the shape and the dtype of x, and is contiguous as well."""
    if not _alike(a, x) or not _is_contiguous(a, x):
        raise ShapeError(f"{_text(name)}: expected {_described(x)}, as x is, got {_described(a)}")
    return _take(taken, name, a, output)


cdef void *_places(Taken *taken, const char *name, np.ndarray a, np.ndarray x, Work *w, bint output) except? NULL:
    """The memory of an array with a value for each place of the rows of a period; NULL for None."""
    if a is None:
        return NULL
    if not _is_contiguous(a, x) or (np.PyArray_SIZE(a) != w.period * w.D and (w.R or output)):
        raise ShapeError(f"{_text(name)}: expected {w.period * w.D} contiguous values of {x.dtype}, got {_described(a)}")
    return _take(taken, name, a, output)


cdef int _take_groups(Taken *taken, Work *w, str name, np.ndarray x, Py_ssize_t groups, double eps) except -1:
    cdef Form form = _form(taken, name, x)
    if groups < 1 or x.shape[1] % groups:
        raise ShapeError(f"{name}: {x.shape[1]} channels cannot be divided into {groups} groups")
    w.single, w.centered, w.eps, w.x = form.single, True, eps, np.PyArray_DATA(x)
    w.N, w.G, w.K = x.shape[0], groups, x.shape[1] // groups
    w.S = 0 if w.N * x.shape[1] == 0 else np.PyArray_SIZE(x) // (w.N * x.shape[1])
    w.R, w.D = w.N * groups, w.K * w.S
    w.last = form.S == 1 and w.S > 1
    return 0


cdef int _take_moments(Taken *taken, Work *w, np.ndarray moments, bint output) except -1:
    if (np.PyArray_NDIM(moments) != 2 or moments.shape[0] != 2 or moments.shape[1] != w.R
            or np.PyArray_TYPE(moments) != np.NPY_DOUBLE or not np.PyArray_ISCARRAY_RO(moments)):
        raise ShapeError(f"moments: expected a contiguous float64 (2, {w.R}), got {_described(moments)}")
    w.mean = <double *>_take(taken, "moments", moments, output)
    w.var = w.mean + w.R
    return 0


cdef int _check_both(np.ndarray dweight, np.ndarray dbias) except -1:
    if (dweight is None) != (dbias is None):
        raise ValueError("dweight and dbias: expected both or neither")
    return 0


cdef double *_take_scratch(Taken *taken, np.ndarray scratch, Py_ssize_t size, Py_ssize_t rows) except NULL:
    if (np.PyArray_NDIM(scratch) != 2 or scratch.shape[0] < rows or scratch.shape[1] != size
            or np.PyArray_TYPE(scratch) != np.NPY_DOUBLE or not np.PyArray_ISCARRAY_RO(scratch)):
        raise ShapeError(
            f"scratch: expected a contiguous float64 array of at least {rows} rows of {size}, got {_described(scratch)}")
    return <double *>_take(taken, "scratch", scratch, True)


include "batchnorm_checks.pxi"
include "sheet.pxi"
include "batchnorm_sums.pxi"
include "rownorm_layer.pxi"
include "rownorm_group.pxi"
include "rownorm_last.pxi"
