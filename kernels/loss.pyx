"""Softmax and cross-entropy in one pass, forward and backward, on contiguous logits (N, C).

    p = exp(x - max x) / Σ exp(x - max x)      loss = log Σ exp(x - max x) - (x[label] - max x)      dx = (p - onehot)·dy

Outputs come first, then inputs. Rows are few and short where this is used: it stays on one thread.
"""

cimport numpy as np
from cython cimport floating
from libc.math cimport exp, log
from libc.string cimport memset

from tinybn.errors import DTypeError, ShapeError

np.import_array()

cdef extern from "exponential.h":
    float tinybn_exp(float x) nogil


def cross_entropy(
    np.ndarray losses not None, np.ndarray probabilities not None, np.ndarray x not None, np.ndarray labels not None,
    np.int64_t ignored,
):
    """losses (N,) and probabilities (N, C) of x (N, C) and labels (N,) of int64; both are 0 where a label is `ignored`.

    Returns (count, position): of the rows that are not ignored, and of the first label outside 0 to C - 1, or -1. With such
    a label, the outputs are not finished.
    """
    cdef Py_ssize_t position = -1, count = 0
    _check("cross_entropy", losses, probabilities, x, labels)
    if np.PyArray_NDIM(losses) != 1 or losses.shape[0] != x.shape[0]:
        raise ShapeError("cross_entropy: expected a loss for each row")
    if not np.PyArray_ISWRITEABLE(losses) or not np.PyArray_ISWRITEABLE(probabilities):
        raise ValueError("cross_entropy: an output is read-only")
    with nogil:
        if np.PyArray_TYPE(x) == np.NPY_FLOAT:
            position = _cross_entropy(<float *>np.PyArray_DATA(losses), <float *>np.PyArray_DATA(probabilities),
                                      <const float *>np.PyArray_DATA(x), <const np.int64_t *>np.PyArray_DATA(labels),
                                      x.shape[0], x.shape[1], ignored, &count)
        else:
            position = _cross_entropy(<double *>np.PyArray_DATA(losses), <double *>np.PyArray_DATA(probabilities),
                                      <const double *>np.PyArray_DATA(x), <const np.int64_t *>np.PyArray_DATA(labels),
                                      x.shape[0], x.shape[1], ignored, &count)
    return count, position


def cross_entropy_backward(
    np.ndarray dx not None, np.ndarray dy not None, np.ndarray probabilities not None, np.ndarray labels not None,
    np.int64_t ignored,
):
    """dx (N, C) = (probabilities - onehot)·dy, where dy is (N,) or one value for all rows; 0 where a label is `ignored`.

    The labels are those that `cross_entropy` has accepted.
    """
    cdef np.int64_t *label = <np.int64_t *>np.PyArray_DATA(labels)
    cdef Py_ssize_t i
    _check("cross_entropy_backward", dy, dx, probabilities, labels)
    if np.PyArray_SIZE(dy) != 1 and dy.shape[0] != dx.shape[0]:
        raise ShapeError("cross_entropy_backward: expected one gradient, or one for each row")
    if not np.PyArray_ISWRITEABLE(dx):
        raise ValueError("cross_entropy_backward: dx is read-only")
    for i in range(dx.shape[0]):
        if label[i] != ignored and not 0 <= label[i] < dx.shape[1]:
            raise IndexError(f"cross_entropy_backward: label {label[i]} at position {i}")
    with nogil:
        if np.PyArray_TYPE(dx) == np.NPY_FLOAT:
            _backward(<float *>np.PyArray_DATA(dx), <const float *>np.PyArray_DATA(dy), np.PyArray_SIZE(dy) == 1,
                      <const float *>np.PyArray_DATA(probabilities), label, dx.shape[0], dx.shape[1], ignored)
        else:
            _backward(<double *>np.PyArray_DATA(dx), <const double *>np.PyArray_DATA(dy), np.PyArray_SIZE(dy) == 1,
                      <const double *>np.PyArray_DATA(probabilities), label, dx.shape[0], dx.shape[1], ignored)


cdef _check(str name, np.ndarray rows, np.ndarray out, np.ndarray x, np.ndarray labels):
    cdef int type = np.PyArray_TYPE(x)
    for a in (rows, out, x):
        if (type != np.NPY_FLOAT and type != np.NPY_DOUBLE) or np.PyArray_TYPE(a) != type or not np.PyArray_ISCARRAY_RO(a):
            raise DTypeError(f"{name}: expected contiguous arrays, all float32 or all float64, got {a.dtype}")
    if np.PyArray_TYPE(labels) != np.NPY_INT64 or not np.PyArray_ISCARRAY_RO(labels):
        raise DTypeError(f"{name}: expected contiguous labels of int64, got {labels.dtype}")
    if (np.PyArray_NDIM(x) != 2 or np.PyArray_NDIM(out) != 2 or out.shape[0] != x.shape[0] or out.shape[1] != x.shape[1]
            or np.PyArray_NDIM(labels) != 1 or labels.shape[0] != x.shape[0] or np.PyArray_NDIM(rows) > 1
            or not np.PyArray_SIZE(rows) and x.shape[0]):
        raise ShapeError(f"{name}: logits {(<object>x).shape}, labels {(<object>labels).shape} do not go together")


cdef Py_ssize_t _cross_entropy(
    floating *losses, floating *p, const floating *x, const np.int64_t *labels, Py_ssize_t N, Py_ssize_t C,
    np.int64_t ignored, Py_ssize_t *count,
) noexcept nogil:
    """In three passes, of which the one over exp has long loops whatever C is."""
    cdef Py_ssize_t n, c
    cdef floating largest, scale
    cdef double total
    for n in range(N):
        if labels[n] != ignored and not 0 <= labels[n] < C:
            return n
        largest = x[n * C] if C else 0
        for c in range(C):
            # NaN compares with nothing, but x - largest brings it through.
            largest = x[n * C + c] if x[n * C + c] > largest else largest
        for c in range(C):
            p[n * C + c] = x[n * C + c] - largest
        losses[n] = -p[n * C + labels[n]] if labels[n] != ignored else 0
    for c in range(N * C):
        p[c] = tinybn_exp(<float>p[c]) if floating is float else exp(p[c])
    for n in range(N):
        if labels[n] == ignored:
            memset(p + n * C, 0, C * sizeof(floating))
            continue
        count[0] += 1
        total = 0
        for c in range(C):
            total += p[n * C + c]
        losses[n] = <floating>(log(total) + losses[n])
        scale = <floating>(1 / total)
        for c in range(C):
            p[n * C + c] *= scale
    return -1


cdef void _backward(
    floating *dx, const floating *dy, bint same, const floating *p, const np.int64_t *labels, Py_ssize_t N, Py_ssize_t C,
    np.int64_t ignored,
) noexcept nogil:
    cdef Py_ssize_t n, c
    cdef floating g
    for n in range(N):
        g = dy[0 if same else n]
        if labels[n] == ignored:
            memset(dx + n * C, 0, C * sizeof(floating))
            continue
        for c in range(C):
            dx[n * C + c] = p[n * C + c] * g
        dx[n * C + labels[n]] = (p[n * C + labels[n]] - <floating>1) * g
