"""The matrix product, c (M, N) = a (M, K) · b (K, N) + bias (N,).

BLAS does that too, but not the NumPy wheels' OpenBLAS 0.3.31 on a processor that it does not know: a Zen 5 counts as a
Haswell there and runs at half its speed; and BLAS's threads take cores from ours, for as long as they look for work.

Arguments: the output comes first, then inputs, scratch memory, threads; they share no memory. Rows of c are contiguous; a and b may be
transposed: their strides are whatever they are. Each number of the result is a sum in the order of k, in pieces of PIECE:
the number of threads changes no bit.
"""

cimport numpy as np
from cython cimport floating

from tinybn.errors import ShapeError

np.import_array()

include "share.pxi"
include "products.pxi"

cdef enum:
    PIECE = 256         # of K: so many rows of a panel of b are 32 KB, which stay in L1 for all tiles that need them

cdef struct Product:
    Py_ssize_t M, N, K, a_row, a_step, b_row, c_row
    Py_ssize_t tiles    # of rows
    Py_ssize_t direct   # panels of b, in front, that are read where they lie
    bint turned         # b is transposed in memory
    bint single         # float32
    void *c
    const void *a
    const void *b
    const void *bias
    bint relu
    void *copy          # of the other panels, each (K, panel) by itself, the last with zeros behind; then of the bias


def multiply(
    np.ndarray c not None, np.ndarray a not None, np.ndarray b not None, np.ndarray bias, np.ndarray scratch not None,
    int threads, bint relu=False,
):
    """c = a·b + bias; relu: max(c, 0) instead of c. scratch: (K + 1)·N values, N rounded up to a multiple of 32.

    False, and nothing is done, if it cannot take them as they lie: aligned, all float32 or all float64, with rows of c and
    rows or columns of b contiguous, values of a in ascending order, strides whole numbers of values.
    """
    cdef Product p
    cdef int type = np.PyArray_TYPE(c)
    cdef Py_ssize_t size = np.PyArray_ITEMSIZE(c)
    if (np.PyArray_NDIM(c) != 2 or np.PyArray_NDIM(a) != 2 or np.PyArray_NDIM(b) != 2 or a.shape[0] != c.shape[0]
            or b.shape[1] != c.shape[1] or a.shape[1] != b.shape[0]
            or (bias is not None and (np.PyArray_NDIM(bias) != 1 or bias.shape[0] != c.shape[1]))):
        raise ShapeError(f"multiply: c {_shape(c)} cannot be a {_shape(a)} · b {_shape(b)} + bias {_shape(bias)}")
    if (type != np.NPY_FLOAT and type != np.NPY_DOUBLE) or not (
        _behaved(a, type) and _behaved(b, type) and _behaved(scratch, type) and np.PyArray_ISBEHAVED(c)
        and (bias is None or (_behaved(bias, type) and (bias.strides[0] == size or bias.shape[0] < 2)))
        and np.PyArray_IS_C_CONTIGUOUS(scratch) and np.PyArray_ISWRITEABLE(scratch)
    ):
        return False
    p.M, p.N, p.K = c.shape[0], c.shape[1], a.shape[1]
    p.turned, p.single = b.strides[1] != size and p.N > 1, type == np.NPY_FLOAT
    if (c.strides[1] != size and p.N > 1) or (p.turned and b.strides[0] != size and p.K > 1) or (
        a.strides[1] <= 0 and p.K > 1) or (
        a.strides[0] % size or a.strides[1] % size or b.strides[0] % size or b.strides[1] % size or c.strides[0] % size
    ):
        return False
    if np.PyArray_SIZE(scratch) < (p.K + 1) * ((p.N + 31) // 32 * 32):
        raise ShapeError(f"multiply: expected scratch of (K + 1)·N values, N in whole 32s, got {_shape(scratch)}")
    p.c, p.a, p.b, p.bias, p.relu = np.PyArray_DATA(c), np.PyArray_DATA(a), np.PyArray_DATA(b), NULL, relu
    p.a_row, p.a_step, p.c_row = a.strides[0] // size, a.strides[1] // size if p.K > 1 else 1, c.strides[0] // size
    p.b_row = (b.strides[1] if p.turned else b.strides[0]) // size
    p.copy = np.PyArray_DATA(scratch)
    if bias is not None:
        p.bias = np.PyArray_DATA(bias)
    if p.M and p.N:
        with nogil:
            if type == np.NPY_FLOAT:
                _multiply(<float *>p.c, &p, threads)
            else:
                _multiply(<double *>p.c, &p, threads)
    return True


cdef bint _behaved(np.ndarray a, int type) noexcept:
    return np.PyArray_TYPE(a) == type and np.PyArray_ISBEHAVED_RO(a)


def _shape(np.ndarray a):
    return None if a is None else (<object>a).shape


cdef void _multiply(floating *c, Product *p, int threads) noexcept nogil:
    cdef Py_ssize_t panel = _panel(c), j, panels = (p.N + panel - 1) // panel
    cdef floating *bias
    p.tiles = (p.M + ROWS - 1) // ROWS
    p.direct = 0 if p.turned else p.N // panel
    if p.bias and p.N % panel:
        bias = <floating *>p.copy + (panels - p.direct) * p.K * panel
        for j in range(panels * panel):
            bias[j] = (<const floating *>p.bias)[j] if j < p.N else 0
        p.bias = bias
    if p.direct < panels:
        _share(_copy_task, p, panels - p.direct, threads, False)
    _share(_tile_task, p, panels * p.tiles, threads, False)


cdef void _copy_task(void *work, Py_ssize_t i, int who) noexcept nogil:
    if (<Product *>work).single:
        _copy_panel(<float *>(<Product *>work).copy, <Product *>work, i)
    else:
        _copy_panel(<double *>(<Product *>work).copy, <Product *>work, i)


cdef void _tile_task(void *work, Py_ssize_t i, int who) noexcept nogil:
    if (<Product *>work).single:
        _multiply_tile(<float *>(<Product *>work).c, <Product *>work, i)
    else:
        _multiply_tile(<double *>(<Product *>work).c, <Product *>work, i)


cdef void _copy_panel(floating *copy, Product *p, Py_ssize_t i) noexcept nogil:
    """Copied panel i, with zeros behind the last column of b."""
    cdef Py_ssize_t panel = _panel(copy), first = (p.direct + i) * panel, columns = min(p.N - first, panel), j, k
    cdef const floating *b = <const floating *>p.b + first * (p.b_row if p.turned else 1)
    copy += i * p.K * panel
    if p.turned:
        _transpose(copy, panel, b, p.b_row, columns, p.K)
    for k in range(p.K):
        if not p.turned:
            for j in range(columns):
                copy[k * panel + j] = b[k * p.b_row + j]
        for j in range(columns, panel):
            copy[k * panel + j] = 0


cdef void _multiply_tile(floating *c, Product *p, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t panel = _panel(c), n = i // p.tiles, m = i % p.tiles * ROWS, rows = min(p.M - m, <Py_ssize_t>ROWS), r
    cdef const floating *a = <const floating *>p.a + m * p.a_row
    cdef const floating *b = <const floating *>p.b + n * panel
    cdef const floating *bias = NULL
    cdef Py_ssize_t b_row = p.b_row, k = 0, zero = 0
    cdef Py_ssize_t to[ROWS]
    cdef Py_ssize_t row[ROWS]
    cdef Runs runs
    runs.segment, runs.segments, runs.step = &zero, 1, p.a_step
    for r in range(rows):
        to[r], row[r] = r * p.c_row, r * p.a_row
    if n >= p.direct:
        b, b_row = <const floating *>p.copy + (n - p.direct) * p.K * panel, panel
    if p.bias != NULL:
        bias = <const floating *>p.bias + n * panel
    c += m * p.c_row + n * panel
    while True:         # with K = 0 once as well: the bias alone
        runs.length = min(p.K - k, <Py_ssize_t>PIECE)
        _tile(c, to, bias, k > 0, a + k * p.a_step, row, runs, b + k * b_row, b_row, rows, p.N - n * panel,
              p.relu and k + PIECE >= p.K)
        k += PIECE
        if k >= p.K:
            break
