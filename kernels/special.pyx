"""Special functions that NumPy does not have, elementwise on contiguous data of any shape.

Outputs come first, then inputs. Nothing is checked or allocated. Threads share the elements.
"""

from cython cimport floating
from libc.math cimport erf as erf_of_double

include "share.pxi"

cdef enum:
    CHUNK = 1 << 12         # elements of a task

cdef struct Work:
    bint single             # float32
    Py_ssize_t size
    void *out
    const void *x


def erf(floating[::1] out, const floating[::1] x, int threads):
    """2/√π·∫ exp(−t²) dt from 0 to x, in double for float too."""
    cdef Work w
    w.size, w.single = x.shape[0], floating is float
    if w.size:
        w.out, w.x = &out[0], &x[0]
        with nogil:
            _share(_erf_task, &w, (w.size + CHUNK - 1) // CHUNK, threads, False)


cdef void _erf_task(void *work, Py_ssize_t i, int who) noexcept nogil:
    if (<Work *>work).single:
        _erf(<float *>(<Work *>work).out, <Work *>work, i)
    else:
        _erf(<double *>(<Work *>work).out, <Work *>work, i)


cdef void _erf(floating *out, Work *w, Py_ssize_t i) noexcept nogil:
    cdef const floating *x = <const floating *>w.x
    cdef Py_ssize_t j
    for j in range(i * CHUNK, min(w.size, (i + 1) * CHUNK)):
        out[j] = <floating>erf_of_double(x[j])
