"""The optimizers' updates, of all parameters in one call.

Lists come first: parameters and what goes with them, array for array, of one dtype and shape, contiguous; then numbers,
threads. A kernel returns False, and changes nothing, where it cannot take them as they lie. Every operation is rounded as
NumPy would, so that the bits are those of the NumPy twins.
"""

cimport numpy as np
from cython cimport floating
from libc.math cimport sqrt
from libc.stdlib cimport free, malloc

np.import_array()

include "share.pxi"

cdef extern from "<math.h>" nogil:
    float sqrtf(float)

cdef enum:
    CHUNK = 1 << 13         # elements of a task
    ARRAYS = 4

cdef struct Piece:          # a task: so many elements from here on
    void *array[ARRAYS]
    Py_ssize_t size
    bint single             # float32

cdef struct Work:
    Piece *pieces
    double lr, momentum, dampening, weight_decay, eps, beta1, beta2, mean_scale, square_scale
    bint nesterov, first, decoupled


def sgd(
    list parameters not None, list gradients not None, list velocities, double lr, double momentum, double dampening,
    double weight_decay, bint nesterov, bint first, int threads,
):
    """v = momentum·v + (1 - dampening)·g with g = gradient + weight_decay·p, and p -= lr·v; velocities None: v is g.

    `first`: v becomes g. `nesterov`: p -= lr·(g + momentum·v).
    """
    cdef Work w
    w.lr, w.momentum, w.dampening, w.weight_decay, w.nesterov, w.first = (
        lr, momentum, dampening, weight_decay, nesterov, first)
    return _run(_sgd_task, &w, [parameters, gradients] if velocities is None else [parameters, gradients, velocities], threads)


def adam(
    list parameters not None, list gradients not None, list means not None, list squares not None, double lr, double beta1,
    double beta2, double eps, double weight_decay, bint decoupled, double mean_scale, double square_scale, int threads,
):
    """m = beta1·m + (1 - beta1)·g, v = beta2·v + (1 - beta2)·g², p -= (m / (√v·square_scale + eps))·mean_scale.

    g = gradient + weight_decay·p; or, `decoupled`, g = gradient and first p *= 1 - lr·weight_decay.
    """
    cdef Work w
    w.lr, w.beta1, w.beta2, w.eps, w.weight_decay, w.decoupled = lr, beta1, beta2, eps, weight_decay, decoupled
    w.mean_scale, w.square_scale = mean_scale, square_scale
    return _run(_adam_task, &w, [parameters, gradients, means, squares], threads)


cdef _run(Task task, Work *w, list arrays, int threads):
    cdef Py_ssize_t count = 0, size, i, j, k = 0
    cdef np.ndarray first, a
    for column in arrays:
        if len(column) != len(arrays[0]):
            raise ValueError("optimizer kernel: lists of different lengths")
    for i in range(len(arrays[0])):
        first = arrays[0][i]
        if first is None or not np.PyArray_ISCARRAY(first) or (
            np.PyArray_TYPE(first) != np.NPY_FLOAT and np.PyArray_TYPE(first) != np.NPY_DOUBLE
        ):
            return False
        for j in range(1, len(arrays)):
            a = arrays[j][i]
            if a is None or np.PyArray_TYPE(a) != np.PyArray_TYPE(first) or not np.PyArray_SAMESHAPE(a, first) or (
                not (np.PyArray_ISCARRAY_RO(a) if j == 1 else np.PyArray_ISCARRAY(a))
            ):
                return False
        count += (np.PyArray_SIZE(first) + CHUNK - 1) // CHUNK
    w.pieces = <Piece *>malloc(max(count, 1) * sizeof(Piece))
    if w.pieces == NULL:
        raise MemoryError()
    for i in range(len(arrays[0])):
        first = arrays[0][i]
        size = np.PyArray_SIZE(first)
        while size > 0:
            w.pieces[k].size = min(size, <Py_ssize_t>CHUNK)
            w.pieces[k].single = np.PyArray_TYPE(first) == np.NPY_FLOAT
            for j in range(len(arrays)):
                w.pieces[k].array[j] = np.PyArray_BYTES(arrays[j][i]) + (
                    np.PyArray_SIZE(first) - size) * np.PyArray_ITEMSIZE(first)
            for j in range(len(arrays), ARRAYS):
                w.pieces[k].array[j] = NULL
            size -= CHUNK
            k += 1
    with nogil:
        _share(task, w, count, threads, False)
    free(w.pieces)
    return True


cdef void _sgd_task(void *work, Py_ssize_t i, int who) noexcept nogil:
    cdef Work *w = <Work *>work
    cdef Piece *piece = &w.pieces[i]
    if piece.single:
        _sgd(<float *>piece.array[0], piece, w)
    else:
        _sgd(<double *>piece.array[0], piece, w)


cdef void _sgd(floating *p, Piece *piece, Work *w) noexcept nogil:
    cdef const floating *gradient = <const floating *>piece.array[1]
    cdef floating *v = <floating *>piece.array[2]
    cdef floating lr = <floating>w.lr, momentum = <floating>w.momentum, decay = <floating>w.weight_decay
    cdef floating share = <floating>(1 - w.dampening), g
    cdef Py_ssize_t i
    if v == NULL:
        for i in range(piece.size):
            g = gradient[i] + decay * p[i] if w.weight_decay else gradient[i]
            p[i] -= lr * g
    elif w.first or w.nesterov or w.weight_decay or w.dampening:
        for i in range(piece.size):
            g = gradient[i] + decay * p[i] if w.weight_decay else gradient[i]
            v[i] = g if w.first else momentum * v[i] + (share * g if w.dampening else g)
            p[i] -= lr * (g + momentum * v[i] if w.nesterov else v[i])
    else:                   # the usual case, without a choice in its loop
        for i in range(piece.size):
            v[i] = momentum * v[i] + gradient[i]
            p[i] -= lr * v[i]


cdef void _adam_task(void *work, Py_ssize_t i, int who) noexcept nogil:
    cdef Work *w = <Work *>work
    cdef Piece *piece = &w.pieces[i]
    if piece.single:
        _adam(<float *>piece.array[0], piece, w)
    else:
        _adam(<double *>piece.array[0], piece, w)


cdef void _adam(floating *p, Piece *piece, Work *w) noexcept nogil:
    cdef const floating *gradient = <const floating *>piece.array[1]
    cdef floating *mean = <floating *>piece.array[2]
    cdef floating *square = <floating *>piece.array[3]
    cdef floating beta1 = <floating>w.beta1, beta2 = <floating>w.beta2, eps = <floating>w.eps
    cdef floating new1 = <floating>(1 - w.beta1), new2 = <floating>(1 - w.beta2)
    cdef floating mean_scale = <floating>w.mean_scale, square_scale = <floating>w.square_scale
    cdef floating decay = <floating>(w.weight_decay if not w.decoupled else 0)
    cdef floating kept = <floating>(1 - w.lr * w.weight_decay if w.decoupled else 1), g, m, v, root
    cdef Py_ssize_t i
    for i in range(piece.size):
        p[i] *= kept
        g = gradient[i] + decay * p[i] if decay != 0 else gradient[i]     # 0·p is NaN where p is not finite
        m = mean[i] * beta1 + new1 * g
        v = square[i] * beta2 + (g * g) * new2
        mean[i], square[i] = m, v
        if floating is float:
            root = sqrtf(v)
        else:
            root = sqrt(v)
        p[i] -= m / (root * square_scale + eps) * mean_scale
