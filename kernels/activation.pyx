"""Activations and their gradients, elementwise on arrays that are dense in memory, in the same order of axes.

Outputs come first, then inputs, threads. A kernel returns False, and does nothing, where it cannot take the arrays as they
lie: all float32 or all float64, of one shape, with the same strides, without gaps. An output may be an input.
"""

cimport numpy as np
from cython cimport floating
from libc.math cimport exp

np.import_array()

include "share.pxi"

cdef extern from "exponential.h":
    float tinybn_sigmoid(float x) nogil

cdef enum:
    CHUNK = 1 << 13         # elements of a task

cdef struct Work:
    Py_ssize_t size
    void *out
    const void *a
    const void *b


def sigmoid(np.ndarray out not None, np.ndarray x not None, int threads):
    """out = 1 / (1 + exp(-x))."""
    return _run(_sigmoid_task32, _sigmoid_task64, out, x, x, threads)


def sigmoid_backward(np.ndarray dx not None, np.ndarray dy not None, np.ndarray y not None, int threads):
    """dx = dy·y·(1 - y)."""
    return _run(_sigmoid_backward_task32, _sigmoid_backward_task64, dx, dy, y, threads)


def tanh_backward(np.ndarray dx not None, np.ndarray dy not None, np.ndarray y not None, int threads):
    """dx = dy·(1 - y²)."""
    return _run(_tanh_backward_task32, _tanh_backward_task64, dx, dy, y, threads)


def relu(np.ndarray out not None, np.ndarray x not None, int threads):
    """out = max(x, 0); NaN stays."""
    return _run(_relu_task32, _relu_task64, out, x, x, threads)


def relu_backward(np.ndarray dx not None, np.ndarray dy not None, np.ndarray y not None, int threads):
    """dx = dy·(1 where y is not ≤ 0, else 0), the product that the kernels of BatchNorm with ReLU make too."""
    return _run(_relu_backward_task32, _relu_backward_task64, dx, dy, y, threads)


cdef bint _run(Task single, Task double_, np.ndarray out, np.ndarray a, np.ndarray b, int threads):
    cdef Work w
    cdef int type = np.PyArray_TYPE(out), i
    cdef Py_ssize_t reach = np.PyArray_ITEMSIZE(out)
    if (type != np.NPY_FLOAT and type != np.NPY_DOUBLE) or np.PyArray_TYPE(a) != type or np.PyArray_TYPE(b) != type or (
        np.PyArray_NDIM(a) != np.PyArray_NDIM(out) or np.PyArray_NDIM(b) != np.PyArray_NDIM(out)
        or not np.PyArray_ISBEHAVED(out) or not np.PyArray_ISBEHAVED_RO(a) or not np.PyArray_ISBEHAVED_RO(b)
    ):
        return False
    for i in range(np.PyArray_NDIM(out)):
        if a.shape[i] != out.shape[i] or b.shape[i] != out.shape[i]:
            return False
        if out.shape[i] > 1:
            if out.strides[i] <= 0 or a.strides[i] != out.strides[i] or b.strides[i] != out.strides[i]:
                return False
            reach += (out.shape[i] - 1) * out.strides[i]
    w.size = np.PyArray_SIZE(out)
    if w.size and reach != np.PyArray_NBYTES(out):  # there are gaps, or elements that are the same memory
        return False
    w.out, w.a, w.b = np.PyArray_DATA(out), np.PyArray_DATA(a), np.PyArray_DATA(b)
    if w.size <= CHUNK or threads == 1:
        (single if type == np.NPY_FLOAT else double_)(&w, -1, 0)
    else:
        with nogil:
            _share(single if type == np.NPY_FLOAT else double_, &w, (w.size + CHUNK - 1) // CHUNK, threads, False)
    return True


cdef inline Py_ssize_t _begin(Work *w, Py_ssize_t i) noexcept nogil:
    return 0 if i < 0 else i * CHUNK


cdef inline Py_ssize_t _end(Work *w, Py_ssize_t i) noexcept nogil:
    """Of chunk i; of all at -1."""
    return w.size if i < 0 else min(w.size, (i + 1) * CHUNK)


cdef void _sigmoid_task32(void *work, Py_ssize_t i, int who) noexcept nogil:
    cdef Work *w = <Work *>work
    cdef float *out = <float *>w.out
    cdef const float *x = <const float *>w.a
    cdef Py_ssize_t j
    for j in range(_begin(w, i), _end(w, i)):
        out[j] = tinybn_sigmoid(x[j])


cdef void _sigmoid_task64(void *work, Py_ssize_t i, int who) noexcept nogil:
    cdef Work *w = <Work *>work
    cdef double *out = <double *>w.out
    cdef const double *x = <const double *>w.a
    cdef Py_ssize_t j
    for j in range(_begin(w, i), _end(w, i)):
        out[j] = 1 / (1 + exp(-x[j]))


cdef void _sigmoid_backward_task32(void *work, Py_ssize_t i, int who) noexcept nogil:
    _sigmoid_backward(<float *>(<Work *>work).out, <Work *>work, i)


cdef void _sigmoid_backward_task64(void *work, Py_ssize_t i, int who) noexcept nogil:
    _sigmoid_backward(<double *>(<Work *>work).out, <Work *>work, i)


cdef void _sigmoid_backward(floating *dx, Work *w, Py_ssize_t i) noexcept nogil:
    cdef const floating *dy = <const floating *>w.a
    cdef const floating *y = <const floating *>w.b
    cdef Py_ssize_t j
    for j in range(_begin(w, i), _end(w, i)):
        dx[j] = dy[j] * (y[j] * (<floating>1 - y[j]))


cdef void _tanh_backward_task32(void *work, Py_ssize_t i, int who) noexcept nogil:
    _tanh_backward(<float *>(<Work *>work).out, <Work *>work, i)


cdef void _tanh_backward_task64(void *work, Py_ssize_t i, int who) noexcept nogil:
    _tanh_backward(<double *>(<Work *>work).out, <Work *>work, i)


cdef void _tanh_backward(floating *dx, Work *w, Py_ssize_t i) noexcept nogil:
    cdef const floating *dy = <const floating *>w.a
    cdef const floating *y = <const floating *>w.b
    cdef Py_ssize_t j
    for j in range(_begin(w, i), _end(w, i)):
        dx[j] = dy[j] * (<floating>1 - y[j] * y[j])


cdef void _relu_task32(void *work, Py_ssize_t i, int who) noexcept nogil:
    _relu(<float *>(<Work *>work).out, <Work *>work, i)


cdef void _relu_task64(void *work, Py_ssize_t i, int who) noexcept nogil:
    _relu(<double *>(<Work *>work).out, <Work *>work, i)


cdef void _relu(floating *out, Work *w, Py_ssize_t i) noexcept nogil:
    cdef const floating *x = <const floating *>w.a
    cdef Py_ssize_t j
    for j in range(_begin(w, i), _end(w, i)):
        out[j] = 0 if x[j] <= 0 else x[j]


cdef void _relu_backward_task32(void *work, Py_ssize_t i, int who) noexcept nogil:
    _relu_backward(<float *>(<Work *>work).out, <Work *>work, i)


cdef void _relu_backward_task64(void *work, Py_ssize_t i, int who) noexcept nogil:
    _relu_backward(<double *>(<Work *>work).out, <Work *>work, i)


cdef void _relu_backward(floating *dx, Work *w, Py_ssize_t i) noexcept nogil:
    cdef const floating *dy = <const floating *>w.a
    cdef const floating *y = <const floating *>w.b
    cdef Py_ssize_t j
    for j in range(_begin(w, i), _end(w, i)):
        dx[j] = dy[j] * (<floating>0 if y[j] <= 0 else <floating>1)
