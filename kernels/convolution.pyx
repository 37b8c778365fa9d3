"""Convolution's loops: products of windows with weights, without columns: a window is read where it lies.

Legend: N batch, G groups, C input channels, K output channels, H×W input, P×Q places of windows, T taps (places in a
window), A channels that a tap reads, B channels that it makes, both of one group.

    y[n, p, q, b] = bias[b] + Σ_{t, a} x[n, p·stride_h + t_h − top, q·stride_w + t_w − left, a] · matrix[t·A + a, b]

Tensors are channels-last: x (N, H, W, C), y (N, P, Q, K), and `matrix` is (G, T·A, B), its columns filled up with zeros
to whole COLUMNS. A tap is the offset of what it reads in memory. So this is a convolution, its gradient for the input (of
y, with the weights turned around), and, with the taps that meet a place, each part of a transposed convolution.

Where windows reach over the edge, or the edges of a few rows' windows (a band), these rows are copied with zeros around
them: to scratch memory, which stays in the second-level cache. A band is a task; its size depends on the shapes alone, and
so do the orders of all sums: the number of threads changes no bit.

Outputs come first, then inputs, tables, sizes, threads. Outputs share no memory with inputs.
"""

cimport numpy as np
from cython cimport floating
from libc.string cimport memcpy, memset

from tinybn.errors import DTypeError, ShapeError

np.import_array()

include "share.pxi"
include "products.pxi"

cdef enum:
    LINES = 32          # of windows, whose products are added to a tile at a time

cdef struct Bands:          # how windows lie in x
    Py_ssize_t H, W, C, P, Q
    Py_ssize_t stride_h, stride_w, top, left
    Py_ssize_t band, bands  # rows of windows in a task; tasks per image
    Py_ssize_t height, width  # of a band's copy
    Py_ssize_t pitch        # from row to row of what windows are read from: the copy, or x itself
    bint copied

cdef struct Work:
    Bands bands
    bint single, relu           # float32; max(y, 0)
    Py_ssize_t N, G, A, B, columns      # columns of matrix
    Py_ssize_t T                # taps, or runs of them
    Py_ssize_t y_n, y_h, y_w
    Py_ssize_t scratch_size
    Py_ssize_t unpooled_size
    Py_ssize_t chunks, parts    # of the weights' gradient: of the batch, and of the rows of the result
    const Py_ssize_t *tap
    Py_ssize_t length
    void *y
    const void *x
    const void *matrix
    const void *bias
    char *scratch
    char *unpooled              # scratch memory of each thread for a band of y before it is pooled


def correlate(
    np.ndarray y not None, np.ndarray x not None, np.ndarray matrix not None, np.ndarray bias, np.ndarray taps not None,
    Py_ssize_t length, np.ndarray scratch, tuple window not None, int threads, bint relu=False, np.ndarray unpooled=None,
):
    """y (N, P, Q, K), whose channels are neighbours in memory, of x (N, H, W, C).

    taps are where runs of `length` values begin that rows of matrix (G, T·A, COLUMNS) are multiplied with; bias is (G,
    COLUMNS) or None; scratch (threads, ...) or None if windows need no copy; window is (stride_h, stride_w, top, left,
    height, width, band): of a band's copy; relu: max(y, 0) instead of y.

    unpooled: y has the largest values of 2×2 windows of that, which do not overlap; it is scratch memory (threads, ...) for
    a band of 2·Q places of K channels, and the band has an even number of rows.
    """
    cdef Work w
    cdef Py_ssize_t size = np.PyArray_ITEMSIZE(y), pool = 1 if unpooled is None else 2
    _check("correlate", y, 4, x, 4, matrix, 3, bias, scratch, taps)
    _check_groups("correlate", matrix.shape[0], x.shape[3], y.shape[3])
    _set_bands(&w.bands, x, pool * y.shape[1], pool * y.shape[2], scratch is not None, window)
    w.N, w.G, w.columns, w.T, w.length = x.shape[0], matrix.shape[0], matrix.shape[2], taps.shape[0], length
    w.A, w.B = x.shape[3] // w.G, y.shape[3] // w.G
    if y.shape[0] != w.N or w.T * length != matrix.shape[1] or w.B > w.columns or w.columns % 16 or (
        y.strides[3] != size and y.shape[3] > 1
    ):
        raise ShapeError(f"correlate: y {_shape(y)}, x {_shape(x)} and matrix {_shape(matrix)} do not go together")
    if bias is not None and np.PyArray_SIZE(bias) != w.G * w.columns:
        raise ShapeError(f"correlate: a bias of {w.G}·{w.columns} values is needed, got {_shape(bias)}")
    _check_reach(&w, taps, length, w.A)
    _set_scratch(&w, scratch, threads, size, w.bands.height * w.bands.width * w.bands.C)
    w.y_n, w.y_h, w.y_w = y.strides[0] // size, y.strides[1] // size, y.strides[2] // size
    w.y, w.x, w.matrix = np.PyArray_DATA(y), np.PyArray_DATA(x), np.PyArray_DATA(matrix)
    w.bias, w.relu = NULL if bias is None else np.PyArray_DATA(bias), relu
    _set_unpooled(&w, unpooled, y, threads)
    if not np.PyArray_SIZE(y):
        return
    with nogil:
        _share(_band_task, &w, w.N * w.bands.bands, threads, False)


def correlate_weights(
    np.ndarray sums not None, np.ndarray x not None, np.ndarray dy not None, np.ndarray taps not None,
    np.ndarray scratch not None, tuple window not None, Py_ssize_t parts, bint direct, int threads,
):
    """sums (chunks, G, T·A, B): for each chunk of the batch, Σ of x at each tap, times dy (N, P, Q, K) contiguous.

    taps (T·A,) are where the rows of the result begin to read. `direct`: windows need no copy. The rows are shared in so
    many parts. scratch is (threads, ...).
    """
    cdef Work w
    cdef Py_ssize_t size = np.PyArray_ITEMSIZE(x), copied
    _check("correlate_weights", sums, 4, x, 4, dy, 4, None, scratch, taps)
    _check_groups("correlate_weights", sums.shape[1], x.shape[3], dy.shape[3])
    if not np.PyArray_IS_C_CONTIGUOUS(dy) or not np.PyArray_IS_C_CONTIGUOUS(sums):
        raise ValueError("correlate_weights: expected contiguous arrays")
    _set_bands(&w.bands, x, dy.shape[1], dy.shape[2], not direct, window)
    w.N, w.chunks, w.G, w.T, w.B, w.parts = x.shape[0], sums.shape[0], sums.shape[1], sums.shape[2], sums.shape[3], parts
    if dy.shape[0] != w.N or dy.shape[3] != w.G * w.B or taps.shape[0] != w.T or w.chunks < 1 or parts < 1:
        raise ShapeError(f"correlate_weights: sums {_shape(sums)}, x {_shape(x)} and dy {_shape(dy)} do not go together")
    _check_reach(&w, taps, 1, x.shape[3] // w.G)
    w.A = x.shape[3] // w.G
    copied = w.bands.band * w.bands.Q * dy.shape[3] + 2 * VECTOR // size
    _set_scratch(&w, scratch, threads, size, (w.bands.height * w.bands.width * w.bands.C if not direct else 0) + copied)
    w.y, w.x, w.matrix = np.PyArray_DATA(sums), np.PyArray_DATA(x), np.PyArray_DATA(dy)
    if not np.PyArray_SIZE(sums):
        return
    with nogil:
        _share(_weights_task, &w, w.chunks * parts, threads, False)


def spread(
    np.ndarray dx not None, np.ndarray dy not None, np.ndarray matrix not None, np.ndarray taps not None,
    Py_ssize_t length, np.ndarray scratch not None, tuple window not None, int threads,
):
    """dx (N, H, W, C): to what each window has read, its channels of dy (N, P, Q, K) times matrix (K, runs, COLUMNS) is added.

    taps are where the runs of `length` values begin in an image with its edges, of which window has (stride_h, stride_w,
    top, left, height, width); the columns behind `length` are 0. scratch (threads, ...) holds such an image and COLUMNS more.
    For few channels: the other way, by `correlate`, fills only so many of a vector's lanes.
    """
    cdef Work w
    cdef Py_ssize_t size = np.PyArray_ITEMSIZE(dx)
    _check("spread", dx, 4, dy, 4, matrix, 3, None, scratch, taps)
    _set_bands(&w.bands, dx, dy.shape[1], dy.shape[2], True, (*window, max(dy.shape[1], 1)))
    if w.bands.top < 0 or w.bands.left < 0:
        raise ShapeError(f"spread: a window {window}: edges are from 0 on")
    w.N, w.G, w.A, w.B = dx.shape[0], 1, 0, dy.shape[3]
    w.T, w.length, w.columns = taps.shape[0], length, matrix.shape[2]
    if (not np.PyArray_ISCARRAY(dx) or dy.shape[0] != w.N or matrix.shape[0] != w.B or matrix.shape[1] != w.T
            or w.columns < length or w.columns % 16):
        raise ShapeError(f"spread: dx {_shape(dx)}, dy {_shape(dy)} and matrix {_shape(matrix)} do not go together")
    _check_reach(&w, taps, length, 0)
    if w.bands.height < w.bands.H + w.bands.top or w.bands.width < w.bands.W + w.bands.left:
        raise ShapeError(f"spread: an image of {w.bands.height}×{w.bands.width} does not hold dx {_shape(dx)} and its edges")
    _set_scratch(&w, scratch, threads, size, w.bands.height * w.bands.width * w.bands.C + w.columns)
    w.y, w.x, w.matrix = np.PyArray_DATA(dx), np.PyArray_DATA(dy), np.PyArray_DATA(matrix)
    if not np.PyArray_SIZE(dx):
        return
    with nogil:
        _share(_spread_task, &w, w.N, threads, False)


def gather_weights(np.ndarray matrix not None, np.ndarray weight not None, np.ndarray taps not None, bint turned):
    """matrix (G, T·A, COLUMNS) of weight (K, C/G, R, S), zeros behind its B columns; taps (T,) are places r·S + s.

    A is C/G and B is K/G; `turned`: the other way round, for the gradient of the input.
    """
    cdef Py_ssize_t G, T, RS, kernels, channels
    _check_weights("gather_weights", matrix, 3, weight, taps, matrix)
    G, T, RS = matrix.shape[0], taps.shape[0], weight.shape[2] * weight.shape[3]
    kernels, channels = weight.shape[0] // G, weight.shape[1]
    if matrix.shape[1] != T * (kernels if turned else channels) or matrix.shape[2] < (channels if turned else kernels):
        raise ShapeError(f"gather_weights: a matrix {_shape(matrix)} does not hold a weight {_shape(weight)}")
    with nogil:
        if np.PyArray_TYPE(weight) == np.NPY_FLOAT:
            _gather(<float *>np.PyArray_DATA(matrix), <const float *>np.PyArray_DATA(weight),
                    <const Py_ssize_t *>np.PyArray_DATA(taps), G, T, RS, kernels, channels, matrix.shape[2], turned)
        else:
            _gather(<double *>np.PyArray_DATA(matrix), <const double *>np.PyArray_DATA(weight),
                    <const Py_ssize_t *>np.PyArray_DATA(taps), G, T, RS, kernels, channels, matrix.shape[2], turned)


def sum_weights(np.ndarray weight not None, np.ndarray sums not None):
    """weight (K, C/G, R, S): over the chunks of sums (chunks, G, R·S·C/G, K/G), in their order."""
    cdef Py_ssize_t G, RS
    _check_weights("sum_weights", sums, 4, weight, None, weight)
    G, RS = sums.shape[1], weight.shape[2] * weight.shape[3]
    if sums.shape[2] != RS * weight.shape[1] or G * sums.shape[3] != weight.shape[0]:
        raise ShapeError(f"sum_weights: sums {_shape(sums)} are not of a weight {_shape(weight)}")
    with nogil:
        if np.PyArray_TYPE(weight) == np.NPY_FLOAT:
            _sum(<float *>np.PyArray_DATA(weight), <const float *>np.PyArray_DATA(sums), sums.shape[0], G, RS,
                 weight.shape[1], sums.shape[3])
        else:
            _sum(<double *>np.PyArray_DATA(weight), <const double *>np.PyArray_DATA(sums), sums.shape[0], G, RS,
                 weight.shape[1], sums.shape[3])


def transpose_planes(np.ndarray out not None, np.ndarray x not None, int threads):
    """out (N, B, A) = x (N, A, B), both contiguous: between the layouts (N, C, S) and (N, S, C)."""
    cdef Planes p
    if (np.PyArray_NDIM(out) != 3 or np.PyArray_NDIM(x) != 3 or out.shape[0] != x.shape[0] or out.shape[1] != x.shape[2]
            or out.shape[2] != x.shape[1]):
        raise ShapeError(f"transpose_planes: out {_shape(out)} cannot be the transpose of x {_shape(x)}")
    _check_arrays("transpose_planes", np.PyArray_TYPE(x), (out, x))
    _check_writable("transpose_planes", out)
    p.A, p.B, p.out, p.x = x.shape[1], x.shape[2], np.PyArray_DATA(out), np.PyArray_DATA(x)
    p.parts, p.single = (p.A + 31) // 32, np.PyArray_TYPE(x) == np.NPY_FLOAT
    if not np.PyArray_SIZE(x):
        return
    with nogil:
        _share(_planes_task, &p, x.shape[0] * p.parts, threads, False)


include "convolution_checks.pxi"
include "convolution_work.pxi"
