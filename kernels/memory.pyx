"""A NumPy allocator that keeps large blocks for reuse (the C side of `tinybn.memory`).

Fresh pages are dear: the system hands them out zeroed, one fault for each 4 KB, and glibc gives large blocks back as soon
as they are free. A training step asks for the same sizes again and again, so blocks of LEAST bytes or more wait here for
the next array of their size. Smaller ones are left to NumPy.

Blocks begin at a line of the cache: vectors of a misaligned array straddle two lines each, and stores past the caches need
whole lines. Large ones lie in large pages (`memory_blocks.h`). Every block can be freed and reallocated by the C library,
kept or not, so that NumPy's own allocator may take it over.
NumPy calls an allocator with the GIL held, which is what guards the list.
"""

cimport numpy as np
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport PyObject
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove, memset, strncpy

np.import_array()

# NumPy's own declarations of these for Cython do not say that the functions need no GIL.
cdef extern from "numpy/arrayobject.h":
    ctypedef struct Allocator "PyDataMemAllocator":
        void *ctx
        void *(*malloc)(void *ctx, size_t size) noexcept nogil
        void *(*calloc)(void *ctx, size_t n, size_t size) noexcept nogil
        void *(*realloc)(void *ctx, void *block, size_t size) noexcept nogil
        void (*free)(void *ctx, void *block, size_t size) noexcept nogil
    ctypedef struct Handler "PyDataMem_Handler":
        char name[127]
        unsigned char version
        Allocator allocator
    object PyDataMem_SetHandler(object handler)
    PyObject *PyDataMem_DefaultHandler

cdef extern from "memory_blocks.h":
    void *tinybn_aligned(size_t size) noexcept nogil
    void *tinybn_in_large_pages(void *block, size_t size) noexcept nogil

cdef enum:
    LEAST = 1 << 15     # smaller blocks come from the heap, which is reused anyway
    SLOTS = 512         # blocks kept at the most

cdef void *_blocks[SLOTS]
cdef size_t _sizes[SLOTS]
cdef Py_ssize_t _count = 0
cdef size_t _kept = 0, _limit = 0, _hits = 0, _misses = 0
cdef Allocator *_numpy = NULL
cdef Handler _handler


cdef inline size_t _rounded(size_t size) noexcept nogil:
    """Up to one of eight sizes for each power of two, so that nearly equal sizes share blocks."""
    cdef size_t step = LEAST >> 3
    while step << 4 <= size:
        step <<= 1
    return (size + step - 1) // step * step


cdef void *_take(size_t size) noexcept nogil:
    """A kept block of this rounded size, the one that was freed last; NULL if there is none."""
    global _count, _kept, _hits, _misses
    cdef Py_ssize_t i
    cdef void *block
    for i in range(_count - 1, -1, -1):
        if _sizes[i] == size:
            block = _blocks[i]
            _remove(i)
            _hits += 1
            return block
    _misses += 1
    return NULL


cdef void _remove(Py_ssize_t i) noexcept nogil:
    global _count, _kept
    _kept -= _sizes[i]
    _count -= 1
    memmove(&_blocks[i], &_blocks[i + 1], (_count - i) * sizeof(void *))
    memmove(&_sizes[i], &_sizes[i + 1], (_count - i) * sizeof(size_t))


cdef void _shrink(size_t target) noexcept nogil:
    """Give the oldest blocks back until no more than `target` bytes are kept."""
    cdef void *block
    while _kept > target:
        block = _blocks[0]
        _remove(0)
        free(block)


cdef void *_malloc(void *ctx, size_t size) noexcept nogil:
    cdef void *block
    if size < LEAST:
        return _numpy.malloc(_numpy.ctx, size)
    block = _take(_rounded(size))
    return block if block else tinybn_aligned(_rounded(size))


cdef void *_calloc(void *ctx, size_t n, size_t size) noexcept nogil:
    cdef void *block
    if n * size < LEAST:
        return _numpy.calloc(_numpy.ctx, n, size)
    block = _take(_rounded(n * size))
    if block:
        return memset(block, 0, n * size)
    return tinybn_in_large_pages(calloc(1, _rounded(n * size)), _rounded(n * size))


cdef void *_realloc(void *ctx, void *block, size_t size) noexcept nogil:
    return realloc(block, size if size < LEAST else _rounded(size))


cdef void _free(void *ctx, void *block, size_t size) noexcept nogil:
    global _count, _kept
    if size < LEAST:
        _numpy.free(_numpy.ctx, block, size)
        return
    size = _rounded(size)
    if size > _limit or _count == SLOTS:
        free(block)
        return
    _shrink(_limit - size)
    _blocks[_count] = block
    _sizes[_count] = size
    _count += 1
    _kept += size


def install():
    """Make NumPy ask here for memory, in this thread."""
    global _numpy
    if _numpy == NULL:
        _numpy = &(<Handler *>PyCapsule_GetPointer(<object>PyDataMem_DefaultHandler, "mem_handler")).allocator
        strncpy(_handler.name, "tinybn", sizeof(_handler.name) - 1)
        _handler.version = 1
        _handler.allocator.ctx = NULL
        _handler.allocator.malloc = _malloc
        _handler.allocator.calloc = _calloc
        _handler.allocator.realloc = _realloc
        _handler.allocator.free = _free
    PyDataMem_SetHandler(PyCapsule_New(&_handler, "mem_handler", NULL))


def uninstall():
    """Make NumPy ask its own allocator again, in this thread. Arrays from here go on to be freed here."""
    PyDataMem_SetHandler(<object>PyDataMem_DefaultHandler)


def set_limit(size_t size):
    """Keep at most so many bytes."""
    global _limit
    _limit = size
    _shrink(size)


def empty():
    """Give every kept block back to the C library."""
    _shrink(0)


def counts():
    """Bytes kept, blocks kept, the limit, and how many requests were and were not served from kept blocks."""
    return _kept, _count, _limit, _hits, _misses
