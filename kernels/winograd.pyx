"""Convolution of 3×3 with stride 1 by Winograd's F(2×2, 3×3): four outputs of 16 products where there were 36.

Legend: N batch, C input channels, K output channels, H×W input, P×Q output; tiles are squares of 2×2 outputs, which see
4×4 places of the image. For each of the 16 numbers t of a transformed tile there is one matrix product over channels:

    m[t] (tiles, K) = v[t] (tiles, C) · u[t] (C, K)

The transforms (`winograd.h`) only add and halve, so that little is lost: in float32 some 3e-7 of the largest output, where
the sums of `correlate` lose 1e-7.

Arrays are contiguous and channels-last, x (N, H, W, C), y (N, P, Q, K); channels are whole vectors, multiples of 16.
Outputs come first, then inputs, scratch memory, sizes, threads. An image is a task, or a chunk of the batch for the gradient
of the weights, as in `convolution.pyx`; sums have an order that depends on shapes alone.

Source: Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", §4.1.
"""

cimport numpy as np
from cython cimport floating
from libc.string cimport memcpy, memset

from tinybn.errors import DTypeError, ShapeError

np.import_array()

include "share.pxi"
include "products.pxi"

cdef extern from "winograd.h":
    void tinybn_winograd_image_float(float *v, Py_ssize_t step, const float *d, Py_ssize_t pitch, Py_ssize_t C) nogil
    void tinybn_winograd_image_double(double *v, Py_ssize_t step, const double *d, Py_ssize_t pitch, Py_ssize_t C) nogil
    void tinybn_winograd_output_float(
        float *y, Py_ssize_t y_row, Py_ssize_t y_place, int rows, int columns, const float *m, Py_ssize_t step,
        const float *bias, int relu, int pool, Py_ssize_t n) nogil
    void tinybn_winograd_output_double(
        double *y, Py_ssize_t y_row, Py_ssize_t y_place, int rows, int columns, const double *m, Py_ssize_t step,
        const double *bias, int relu, int pool, Py_ssize_t n) nogil
    void tinybn_winograd_gradient_float(
        float *v, Py_ssize_t step, const float *dy, Py_ssize_t dy_row, Py_ssize_t dy_place, int rows, int columns,
        Py_ssize_t n) nogil
    void tinybn_winograd_gradient_double(
        double *v, Py_ssize_t step, const double *dy, Py_ssize_t dy_row, Py_ssize_t dy_place, int rows, int columns,
        Py_ssize_t n) nogil
    void tinybn_winograd_weight_float(float *u, Py_ssize_t step, const float *g, int turned) nogil
    void tinybn_winograd_weight_double(double *u, Py_ssize_t step, const double *g, int turned) nogil
    void tinybn_winograd_weight_gradient_float(float *g, const float *u) nogil
    void tinybn_winograd_weight_gradient_double(double *g, const double *u) nogil

cdef enum:
    TILES = 64              # of a block at the most: v and a panel of m, 260 KB with 32 channels, stay in the L2 ...
    TILE_VALUES = 4096      # ... and so many values of v for each of the 16: fewer tiles of many channels

cdef struct Work:
    bint single                     # float32
    Py_ssize_t N, H, W, C, P, Q, K, top, left
    Py_ssize_t down, across         # tiles of an image
    Py_ssize_t block, blocks        # tiles worked on at a time, and how often
    Py_ssize_t chunks, scratch_size
    void *y
    const void *x
    const void *u
    bint relu, pool             # max(y, 0); the largest of each tile
    const void *bias
    char *scratch


def winograd_scratch(Py_ssize_t P, Py_ssize_t Q, Py_ssize_t C, Py_ssize_t K):
    """How many values of scratch memory a thread needs: an image with its edges, v, and a panel of m or the transformed dy."""
    cdef Py_ssize_t down = (P + 1) // 2, across = (Q + 1) // 2
    return (2 * down + 2) * (2 * across + 2) * C + 16 * _block(down * across, C) * (C + max(K, <Py_ssize_t>PANEL))


cdef Py_ssize_t _block(Py_ssize_t tiles, Py_ssize_t C):
    """Tiles of a block: all blocks of an image are about as large."""
    cdef Py_ssize_t most = max(<Py_ssize_t>ROWS, min(<Py_ssize_t>TILES, TILE_VALUES // max(C, 1)))
    cdef Py_ssize_t blocks = max(1, (tiles + most - 1) // most)
    return (tiles + blocks - 1) // blocks


def winograd(
    np.ndarray y not None, np.ndarray x not None, np.ndarray u not None, np.ndarray bias, np.ndarray scratch not None,
    Py_ssize_t top, Py_ssize_t left, int threads, bint relu=False, bint pool=False,
):
    """y (N, P, Q, K) of x (N, H, W, C) with u (16, C, K) and bias (K,) or None. The first window begins at -top, -left.

    relu: max(y, 0) instead of y. pool: of that the largest values of 2×2 windows, which do not overlap, so that y is
    (N, P//2, Q//2, K).
    """
    cdef Work w
    _set(&w, "winograd", y, x, u, bias, scratch, top, left, threads, pool)
    if u.shape[0] != 16 or u.shape[1] != w.C or u.shape[2] != w.K or np.PyArray_NDIM(u) != 3:
        raise ShapeError(f"winograd: u {(<object>u).shape} is not of {w.C} and {w.K} channels")
    w.y, w.x, w.u, w.relu = np.PyArray_DATA(y), np.PyArray_DATA(x), np.PyArray_DATA(u), relu
    if np.PyArray_SIZE(y):
        with nogil:
            _share(_image_task, &w, w.N, threads, False)


def winograd_weights(
    np.ndarray sums not None, np.ndarray x not None, np.ndarray dy not None, np.ndarray scratch not None, Py_ssize_t top,
    Py_ssize_t left, int threads,
):
    """sums (chunks, 16, C, K): over each chunk of the batch, of the transformed x (N, H, W, C) times dy (N, P, Q, K)."""
    cdef Work w
    _set(&w, "winograd_weights", dy, x, sums, None, scratch, top, left, threads, False)
    if (np.PyArray_NDIM(sums) != 4 or sums.shape[0] < 1 or sums.shape[1] != 16 or sums.shape[2] != w.C
            or sums.shape[3] != w.K or not np.PyArray_ISWRITEABLE(sums)):
        raise ShapeError(f"winograd_weights: sums {(<object>sums).shape} are not of {w.C} and {w.K} channels")
    w.chunks = sums.shape[0]
    w.y, w.x, w.u = np.PyArray_DATA(sums), np.PyArray_DATA(x), np.PyArray_DATA(dy)
    if np.PyArray_SIZE(sums):
        with nogil:
            _share(_chunk_task, &w, w.chunks, threads, False)


def transform_weights(np.ndarray u not None, np.ndarray weight not None, bint turned):
    """u (16, C, K) of weight (K, C, 3, 3); `turned`, for the gradient of the input: (16, K, C), taps the other way round."""
    cdef Py_ssize_t K = weight.shape[0], C = weight.shape[1]
    _check_weight("transform_weights", u, 3, weight)
    if u.shape[0] != 16 or u.shape[1] != (K if turned else C) or u.shape[2] != (C if turned else K):
        raise ShapeError(f"transform_weights: u {(<object>u).shape} cannot be of a weight {(<object>weight).shape}")
    with nogil:
        if np.PyArray_TYPE(u) == np.NPY_FLOAT:
            _transform_weights(<float *>np.PyArray_DATA(u), <const float *>np.PyArray_DATA(weight), K, C, turned)
        else:
            _transform_weights(<double *>np.PyArray_DATA(u), <const double *>np.PyArray_DATA(weight), K, C, turned)


def weights_of_sums(np.ndarray weight not None, np.ndarray sums not None, int threads):
    """The weight's gradient (K, C, 3, 3): of sums (chunks, 16, C, K), which are overwritten, added up in their order."""
    cdef Work w
    _check_weight("weights_of_sums", sums, 4, weight)
    if sums.shape[0] < 1 or sums.shape[1] != 16 or sums.shape[2] != weight.shape[1] or sums.shape[3] != weight.shape[0]:
        raise ShapeError(f"weights_of_sums: sums {(<object>sums).shape} are not of a weight {(<object>weight).shape}")
    if not np.PyArray_ISWRITEABLE(weight) or not np.PyArray_ISWRITEABLE(sums):
        raise ValueError("weights_of_sums: an output is read-only")
    w.chunks, w.C, w.K = sums.shape[0], sums.shape[2], sums.shape[3]
    w.single = np.PyArray_TYPE(sums) == np.NPY_FLOAT
    w.y, w.x = np.PyArray_DATA(weight), np.PyArray_DATA(sums)
    with nogil:
        _share(_weights_task, &w, w.C, threads, False)


cdef _set(
    Work *w, str name, np.ndarray y, np.ndarray x, np.ndarray other, np.ndarray bias, np.ndarray scratch, Py_ssize_t top,
    Py_ssize_t left, int threads, bint pool,
):
    cdef int type = np.PyArray_TYPE(x)
    cdef Py_ssize_t needed, P, Q
    for a in (y, x, other, bias, scratch):
        if a is not None and (
            np.PyArray_TYPE(a) != type or (type != np.NPY_FLOAT and type != np.NPY_DOUBLE) or not np.PyArray_ISCARRAY_RO(a)
        ):
            raise DTypeError(f"{name}: expected contiguous arrays, all float32 or all float64, got {a.dtype} {(<object>a).shape}")
    if np.PyArray_NDIM(y) != 4 or np.PyArray_NDIM(x) != 4 or y.shape[0] != x.shape[0] or (
        x.shape[3] % 16 or y.shape[3] % 16 or top < 0 or left < 0
    ):
        raise ShapeError(f"{name}: an output {(<object>y).shape} of an input {(<object>x).shape} with edges {top}, {left}")
    P, Q = x.shape[1] + 2 * top - 2, x.shape[2] + 2 * left - 2
    if y.shape[1] != (P // 2 if pool else P) or y.shape[2] != (Q // 2 if pool else Q):
        raise ShapeError(f"{name}: an output {(<object>y).shape} of an input {(<object>x).shape} with edges {top}, {left}")
    if bias is not None and (np.PyArray_NDIM(bias) != 1 or bias.shape[0] != y.shape[3]):
        raise ShapeError(f"{name}: expected a bias of {y.shape[3]}, got {(<object>bias).shape}")
    needed = winograd_scratch(P, Q, x.shape[3], y.shape[3])
    if (np.PyArray_NDIM(scratch) != 2 or scratch.shape[0] < threads or scratch.shape[1] < needed
            or not np.PyArray_ISWRITEABLE(scratch)):
        raise ShapeError(f"{name}: expected writable scratch of ({threads}, {needed}), got {(<object>scratch).shape}")
    if name == "winograd" and not np.PyArray_ISWRITEABLE(y):
        raise ValueError("winograd: y is an output, and read-only")
    w.N, w.H, w.W, w.C, w.P, w.Q, w.K = x.shape[0], x.shape[1], x.shape[2], x.shape[3], P, Q, y.shape[3]
    w.pool = pool
    w.top, w.left, w.down, w.across = top, left, (w.P + 1) // 2, (w.Q + 1) // 2
    w.block = max(1, _block(w.down * w.across, w.C))
    w.blocks = (w.down * w.across + w.block - 1) // w.block
    w.single, w.bias = type == np.NPY_FLOAT, NULL if bias is None else np.PyArray_DATA(bias)
    w.scratch = <char *>np.PyArray_DATA(scratch)
    w.scratch_size = scratch.shape[1] * np.PyArray_ITEMSIZE(scratch)


cdef _check_weight(str name, np.ndarray a, int axes, np.ndarray weight):
    cdef int type = np.PyArray_TYPE(weight)
    if np.PyArray_NDIM(a) != axes or np.PyArray_NDIM(weight) != 4 or weight.shape[2] != 3 or weight.shape[3] != 3:
        raise ShapeError(f"{name}: got arrays of shapes {(<object>a).shape}, {(<object>weight).shape}")
    if np.PyArray_TYPE(a) != type or (type != np.NPY_FLOAT and type != np.NPY_DOUBLE) or (
        not np.PyArray_ISCARRAY_RO(a) or not np.PyArray_ISCARRAY_RO(weight)
    ):
        raise DTypeError(f"{name}: expected contiguous arrays, both float32 or both float64")


cdef void _image_task(void *work, Py_ssize_t n, int who) noexcept nogil:
    if (<Work *>work).single:
        _image(<float *>(<Work *>work).y, <Work *>work, n, who)
    else:
        _image(<double *>(<Work *>work).y, <Work *>work, n, who)


cdef void _chunk_task(void *work, Py_ssize_t i, int who) noexcept nogil:
    if (<Work *>work).single:
        _chunk(<float *>(<Work *>work).y, <Work *>work, i, who)
    else:
        _chunk(<double *>(<Work *>work).y, <Work *>work, i, who)


cdef void _image(floating *y, Work *w, Py_ssize_t n, int who) noexcept nogil:
    """All outputs of an image, a block of tiles at a time."""
    cdef Py_ssize_t panel = _panel(y), tiles = w.down * w.across, first, count, p, j, columns, t, m, r, i, row_tile, column
    cdef Py_ssize_t block
    cdef floating *d = <floating *>(w.scratch + who * w.scratch_size)
    cdef floating *v = _with_edges(d, w, n)
    cdef floating *product = v + 16 * w.block * w.C
    cdef const floating *u = <const floating *>w.u
    cdef const floating *bias
    cdef floating *out
    cdef Py_ssize_t step = 2 if w.pool else 1, width = w.Q // step              # of y
    cdef Py_ssize_t to[ROWS]
    cdef Py_ssize_t row[ROWS]
    cdef Py_ssize_t zero = 0
    cdef Runs runs
    runs.segment, runs.segments, runs.length, runs.step = &zero, 1, w.C, 1
    for r in range(<Py_ssize_t>ROWS):
        to[r], row[r] = r * panel, r * w.C
    y += n * (w.P // step) * width * w.K
    for block in range(w.blocks):
        first = block * w.block
        count = min(tiles - first, w.block)
        _transform_block(v, d, w, first, count)
        for p in range((w.K + panel - 1) // panel):
            j = p * panel
            columns = min(panel, w.K - j)
            for t in range(16):
                for m in range((count + ROWS - 1) // ROWS):
                    _tile(product + (t * w.block + m * ROWS) * panel, to, NULL, False, v + (t * w.block + m * ROWS) * w.C, row,
                          runs, u + t * w.C * w.K + j, w.K, min(<Py_ssize_t>ROWS, count - m * ROWS), columns)
            bias = NULL
            if w.bias != NULL:
                bias = <const floating *>w.bias + j
            for i in range(count):
                row_tile, column = (first + i) // w.across * 2, (first + i) % w.across * 2
                if w.pool and (row_tile + 1 == w.P or column + 1 == w.Q):       # no whole window
                    continue
                out = y + (row_tile // step * width + column // step) * w.K + j
                if floating is float:
                    tinybn_winograd_output_float(
                        out, width * w.K, w.K, <int>min(w.P - row_tile, <Py_ssize_t>2),
                        <int>min(w.Q - column, <Py_ssize_t>2), product + i * panel, w.block * panel, bias, w.relu, w.pool,
                        columns)
                else:
                    tinybn_winograd_output_double(
                        out, width * w.K, w.K, <int>min(w.P - row_tile, <Py_ssize_t>2),
                        <int>min(w.Q - column, <Py_ssize_t>2), product + i * panel, w.block * panel, bias, w.relu, w.pool,
                        columns)


cdef void _chunk(floating *sums, Work *w, Py_ssize_t chunk, int who) noexcept nogil:
    """The sums over a chunk of the batch."""
    cdef Py_ssize_t panel = _panel(sums), tiles = w.down * w.across, first, count, p, j, t, m, r, i, n, row_tile, column, block
    cdef floating *d = <floating *>(w.scratch + who * w.scratch_size)
    cdef floating *v
    cdef floating *dm
    cdef const floating *dy
    cdef Py_ssize_t to[ROWS]
    cdef Py_ssize_t row[ROWS]
    cdef Py_ssize_t zero = 0
    cdef Runs runs
    runs.segment, runs.segments, runs.step = &zero, 1, w.C
    for r in range(<Py_ssize_t>ROWS):
        to[r], row[r] = r * w.K, r
    sums += chunk * 16 * w.C * w.K
    memset(sums, 0, 16 * w.C * w.K * sizeof(floating))
    for n in range(w.N * chunk // w.chunks, w.N * (chunk + 1) // w.chunks):
        v = _with_edges(d, w, n)
        dm = v + 16 * w.block * w.C
        dy = <const floating *>w.u + n * w.P * w.Q * w.K
        for block in range(w.blocks):
            first = block * w.block
            count = min(tiles - first, w.block)
            _transform_block(v, d, w, first, count)
            for i in range(count):
                row_tile, column = (first + i) // w.across * 2, (first + i) % w.across * 2
                if floating is float:
                    tinybn_winograd_gradient_float(
                        dm + i * w.K, w.block * w.K, dy + (row_tile * w.Q + column) * w.K, w.Q * w.K, w.K,
                        <int>min(w.P - row_tile, <Py_ssize_t>2), <int>min(w.Q - column, <Py_ssize_t>2), w.K)
                else:
                    tinybn_winograd_gradient_double(
                        dm + i * w.K, w.block * w.K, dy + (row_tile * w.Q + column) * w.K, w.Q * w.K, w.K,
                        <int>min(w.P - row_tile, <Py_ssize_t>2), <int>min(w.Q - column, <Py_ssize_t>2), w.K)
            runs.length = count
            for t in range(16):
                for p in range((w.K + panel - 1) // panel):
                    j = p * panel
                    for m in range((w.C + ROWS - 1) // ROWS):
                        _tile(sums + (t * w.C + m * ROWS) * w.K + j, to, NULL, True, v + t * w.block * w.C + m * ROWS, row,
                              runs, dm + t * w.block * w.K + j, w.K, min(<Py_ssize_t>ROWS, w.C - m * ROWS),
                              min(panel, w.K - j))


cdef floating *_with_edges(floating *copy, Work *w, Py_ssize_t n) noexcept nogil:
    """The image with zeros around it, as far as tiles see; returns what is behind it."""
    cdef Py_ssize_t height = 2 * w.down + 2, width = 2 * w.across + 2, h, count = min(w.W, width - w.left)
    cdef const floating *x = <const floating *>w.x + n * w.H * w.W * w.C
    for h in range(height):
        if h < w.top or h >= w.top + w.H:
            memset(copy, 0, width * w.C * sizeof(floating))
        else:
            memset(copy, 0, w.left * w.C * sizeof(floating))
            memcpy(copy + w.left * w.C, x + (h - w.top) * w.W * w.C, count * w.C * sizeof(floating))
            memset(copy + (w.left + count) * w.C, 0, (width - w.left - count) * w.C * sizeof(floating))
        copy += width * w.C
    return copy


cdef void _transform_block(floating *v, const floating *d, Work *w, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t pitch = (2 * w.across + 2) * w.C, i
    cdef const floating *tile
    for i in range(count):
        tile = d + (first + i) // w.across * 2 * pitch + (first + i) % w.across * 2 * w.C
        if floating is float:
            tinybn_winograd_image_float(v + i * w.C, w.block * w.C, tile, pitch, w.C)
        else:
            tinybn_winograd_image_double(v + i * w.C, w.block * w.C, tile, pitch, w.C)


cdef void _transform_weights(floating *u, const floating *weight, Py_ssize_t K, Py_ssize_t C, bint turned) noexcept nogil:
    """In the order of u."""
    cdef Py_ssize_t A = K if turned else C, B = C if turned else K, a, b, place
    for a in range(A):
        for b in range(B):
            place = 9 * (a * C + b if turned else b * C + a)
            if floating is float:
                tinybn_winograd_weight_float(u + a * B + b, A * B, weight + place, turned)
            else:
                tinybn_winograd_weight_double(u + a * B + b, A * B, weight + place, turned)


cdef void _weights_task(void *work, Py_ssize_t c, int who) noexcept nogil:
    if (<Work *>work).single:
        _weights_of_channel(<float *>(<Work *>work).y, <Work *>work, c)
    else:
        _weights_of_channel(<double *>(<Work *>work).y, <Work *>work, c)


cdef void _weights_of_channel(floating *weight, Work *w, Py_ssize_t c) noexcept nogil:
    """The sums of an input channel, added up in those of the first chunk, and back from 16 to nine."""
    cdef Py_ssize_t k, t, chunk
    cdef floating *total
    cdef const floating *part
    cdef floating u[16]
    for t in range(16):
        total = <floating *>w.x + (t * w.C + c) * w.K
        for chunk in range(1, w.chunks):
            part = total + chunk * 16 * w.C * w.K
            for k in range(w.K):
                total[k] += part[k]
    for k in range(w.K):
        for t in range(16):
            u[t] = (<floating *>w.x)[(t * w.C + c) * w.K + k]
        if floating is float:
            tinybn_winograd_weight_gradient_float(weight + (k * w.C + c) * 9, u)
        else:
            tinybn_winograd_weight_gradient_double(weight + (k * w.C + c) * 9, u)
