"""The threads that all kernels share (`workers.h`): one set for the process, whichever builds of the kernels serve.

Each kernel module takes the two functions from the capsule `api`; `share.pxi` does it for them.
"""

from cpython.pycapsule cimport PyCapsule_New

cdef extern from "workers.h":
    void tinybn_share(void *task, void *work, Py_ssize_t count, int threads, int backwards) nogil
    int tinybn_useful_threads(int threads, size_t bytes) nogil

cdef void *_functions[2]
_functions[0] = <void *>tinybn_share
_functions[1] = <void *>tinybn_useful_threads

api = PyCapsule_New(_functions, "tinybn.kernels.workers.api", NULL)


def useful_threads(int threads, Py_ssize_t size):
    """How many of these threads a call that moves so many bytes should ask for: one, if it is small and they sleep."""
    return tinybn_useful_threads(threads, size)
