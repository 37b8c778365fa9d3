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

cdef enum Function:
    SIGMOID, SIGMOID_BACKWARD, TANH_BACKWARD, RELU, RELU_BACKWARD

cdef struct Work:
    Function function
    bint single             # float32
    Py_ssize_t size
    void *out
    const void *a
    const void *b


def sigmoid(np.ndarray out not None, np.ndarray x not None, int threads):
    """out = 1 / (1 + exp(-x))."""
    return _run(SIGMOID, out, x, x, threads)


def sigmoid_backward(np.ndarray dx not None, np.ndarray dy not None, np.ndarray y not None, int threads):
    """dx = dy·y·(1 - y)."""
    return _run(SIGMOID_BACKWARD, dx, dy, y, threads)


def tanh_backward(np.ndarray dx not None, np.ndarray dy not None, np.ndarray y not None, int threads):
    """dx = dy·(1 - y²)."""
    return _run(TANH_BACKWARD, dx, dy, y, threads)


def relu(np.ndarray out not None, np.ndarray x not None, int threads):
    """out = max(x, 0); NaN stays."""
    return _run(RELU, out, x, x, threads)


def relu_backward(np.ndarray dx not None, np.ndarray dy not None, np.ndarray y not None, int threads):
    """dx = dy·(1 where y is not ≤ 0, else 0), the product that the kernels of BatchNorm with ReLU make too."""
    return _run(RELU_BACKWARD, dx, dy, y, threads)


cdef bint _run(Function function, np.ndarray out, np.ndarray a, np.ndarray b, int threads):
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
    w.function, w.single, w.size = function, type == np.NPY_FLOAT, np.PyArray_SIZE(out)
    if w.size and reach != np.PyArray_NBYTES(out):  # there are gaps, or elements that are the same memory
        return False
    w.out, w.a, w.b = np.PyArray_DATA(out), np.PyArray_DATA(a), np.PyArray_DATA(b)
    with nogil:
        _share(_chunk, &w, (w.size + CHUNK - 1) // CHUNK, threads, False)
    return True


cdef void _chunk(void *work, Py_ssize_t i, int who) noexcept nogil:
    cdef Work *w = <Work *>work
    if w.single:
        _apply(<float *>w.out, w, i)
    else:
        _apply(<double *>w.out, w, i)


cdef void _apply(floating *out, Work *w, Py_ssize_t i) noexcept nogil:
    cdef const floating *a = <const floating *>w.a
    cdef const floating *b = <const floating *>w.b
    cdef Py_ssize_t begin = i * CHUNK, end = min(w.size, (i + 1) * CHUNK), j
    if w.function == SIGMOID:
        for j in range(begin, end):
            out[j] = tinybn_sigmoid(a[j]) if floating is float else 1 / (1 + exp(-a[j]))
    elif w.function == SIGMOID_BACKWARD:
        for j in range(begin, end):
            out[j] = a[j] * (b[j] * (<floating>1 - b[j]))
    elif w.function == TANH_BACKWARD:
        for j in range(begin, end):
            out[j] = a[j] * (<floating>1 - b[j] * b[j])
    elif w.function == RELU:
        for j in range(begin, end):
            out[j] = <floating>0 if a[j] <= 0 else a[j]
    else:
        for j in range(begin, end):
            out[j] = a[j] * (<floating>0 if b[j] <= 0 else <floating>1)
