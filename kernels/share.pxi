# To share a kernel's tasks with the workers, which are those of the module `workers`.

from cpython.pycapsule cimport PyCapsule_GetPointer

from tinybn.kernels import workers as _workers

ctypedef void (*Task)(void *work, Py_ssize_t i, int who) noexcept nogil

# task(work, i, who) for i from 0 to count - 1, on so many threads, the calling one among them; `who` tells them apart.
cdef void (*_share)(Task task, void *work, Py_ssize_t count, int threads, bint backwards) noexcept nogil
_share = <void (*)(Task, void *, Py_ssize_t, int, bint) noexcept nogil>(
    <void **>PyCapsule_GetPointer(_workers.api, "tinybn.kernels.workers.api"))[0]
