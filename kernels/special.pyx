"""Special functions that NumPy does not have, elementwise on contiguous data of any shape.

Outputs come first, then inputs. Nothing is checked or allocated. Threads share the elements.
"""

from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport erf as erf_of_double


def erf(floating[::1] out, const floating[::1] x, int threads):
    """2/√π·∫ exp(−t²) dt from 0 to x, in double for float too."""
    cdef Py_ssize_t i
    for i in prange(x.shape[0], nogil=True, schedule="static", num_threads=threads):
        out[i] = <floating>erf_of_double(x[i])
