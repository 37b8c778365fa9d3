"""Max-pooling's loops, on channels-last arrays (N, H, W, C). Contiguous (N, C, H, W) data comes as (N·C, H, W, 1).

Legend: N batch, H×W input, P×Q output, R×S kernel, C channels. `index` says where a maximum stood: h·W + w.

Outputs come first, then inputs, sizes. Threads share the batch, so that any number of them gives the same bits.
"""

from cython cimport floating
from libc.math cimport INFINITY
from libc.string cimport memset

from tinybn.errors import ShapeError

include "share.pxi"

cdef extern from "pooling_windows.h":
    enum:
        FEW "TINYBN_FEW"    # channels: fewer are worked on a row of windows at a time ...
        ROW "TINYBN_ROW"    # ... if the rows of input and output have no more values
    void tinybn_begin_window_float(float *y, int *index, const float *x, int position, Py_ssize_t C) nogil
    void tinybn_begin_window_double(double *y, int *index, const double *x, int position, Py_ssize_t C) nogil
    void tinybn_larger_float(float *y, int *index, const float *x, int position, Py_ssize_t C) nogil
    void tinybn_larger_double(double *y, int *index, const double *x, int position, Py_ssize_t C) nogil
    void tinybn_largest_of_four_float(float *y, int *index, const float *x, int position, int W, Py_ssize_t C) nogil
    void tinybn_largest_of_four_double(double *y, int *index, const double *x, int position, int W, Py_ssize_t C) nogil
    void tinybn_row_of_windows_float(
        float *y, int *index, const float *x, Py_ssize_t W, Py_ssize_t C, Py_ssize_t Q, Py_ssize_t top,
        Py_ssize_t rows, Py_ssize_t dilation_h, Py_ssize_t S, Py_ssize_t left, Py_ssize_t stride_w,
        Py_ssize_t dilation_w) nogil
    void tinybn_row_of_windows_double(
        double *y, int *index, const double *x, Py_ssize_t W, Py_ssize_t C, Py_ssize_t Q, Py_ssize_t top,
        Py_ssize_t rows, Py_ssize_t dilation_h, Py_ssize_t S, Py_ssize_t left, Py_ssize_t stride_w,
        Py_ssize_t dilation_w) nogil
    void tinybn_where_index_float(float *dx, const float *dy, const int *index, int position, Py_ssize_t C) nogil
    void tinybn_where_index_double(double *dx, const double *dy, const int *index, int position, Py_ssize_t C) nogil

cdef struct Work:
    bint single             # float32
    Py_ssize_t H, W, C, P, Q, R, S, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w
    void *y                 # (N, P, Q, C), or its gradient
    int *index
    const void *x           # (N, H, W, C), or its gradient


def max_pool2d(
    floating[:, :, :, ::1] y, int[:, :, :, ::1] index, const floating[:, :, :, ::1] x,
    Py_ssize_t R, Py_ssize_t S, Py_ssize_t stride_h, Py_ssize_t stride_w, Py_ssize_t pad_h, Py_ssize_t pad_w,
    Py_ssize_t dilation_h, Py_ssize_t dilation_w, int threads,
):
    """y, index (N, P, Q, C): the largest value of each window of x (N, H, W, C) and where it stood.

    NaN counts as larger than everything; of equal values the first wins; padding counts as -inf.
    """
    cdef Work w
    _check("max_pool2d", [y.shape[i] for i in range(4)], [index.shape[i] for i in range(4)], [x.shape[i] for i in range(4)])
    if not y.size:
        return
    w.H, w.W, w.C, w.P, w.Q, w.R, w.S = x.shape[1], x.shape[2], x.shape[3], y.shape[1], y.shape[2], R, S
    w.stride_h, w.stride_w, w.pad_h, w.pad_w = stride_h, stride_w, pad_h, pad_w
    w.dilation_h, w.dilation_w, w.single = dilation_h, dilation_w, floating is float
    w.y, w.index = &y[0, 0, 0, 0], &index[0, 0, 0, 0]
    w.x = <void *>&x[0, 0, 0, 0] if x.size else w.y         # which is not read then: NULL plus an offset is undefined
    with nogil:
        _share(_maxima_task, &w, y.shape[0], threads, False)


def max_pool2d_backward(
    floating[:, :, :, ::1] dx, const floating[:, :, :, ::1] dy, const int[:, :, :, ::1] index,
    Py_ssize_t R, Py_ssize_t S, Py_ssize_t stride_h, Py_ssize_t stride_w, Py_ssize_t pad_h, Py_ssize_t pad_w, int threads,
):
    """dx (N, H, W, C) of `max_pool2d`, dilation 1, whose windows do not overlap: each value of dy, where index says."""
    cdef Work w
    _check("max_pool2d_backward", [dy.shape[i] for i in range(4)], [index.shape[i] for i in range(4)],
           [dx.shape[i] for i in range(4)])
    if not dx.size:
        return
    w.H, w.W, w.C, w.P, w.Q, w.R, w.S = dx.shape[1], dx.shape[2], dx.shape[3], dy.shape[1], dy.shape[2], R, S
    w.stride_h, w.stride_w, w.pad_h, w.pad_w, w.single = stride_h, stride_w, pad_h, pad_w, floating is float
    w.x = &dx[0, 0, 0, 0]
    w.y = <void *>&dy[0, 0, 0, 0] if dy.size else <void *>w.x
    w.index = <int *>&index[0, 0, 0, 0] if dy.size else <int *>w.x
    with nogil:
        _share(_spread_task, &w, dx.shape[0], threads, False)


def scatter_plane(floating[:, :, ::1] x, const floating[:, :, ::1] y, const int[:, :, ::1] index, int threads):
    """Add y (N, P·Q, C) to x (N, H·W, C) at the positions that index (N, P·Q, C) names; others than these are left out."""
    cdef Work w
    _check("scatter_plane", [y.shape[i] for i in range(3)], [index.shape[i] for i in range(3)], [x.shape[i] for i in range(3)])
    if not y.size or not x.size:
        return
    w.H, w.C, w.P, w.single = x.shape[1], x.shape[2], y.shape[1], floating is float
    w.y, w.index, w.x = <void *>&y[0, 0, 0], <int *>&index[0, 0, 0], &x[0, 0, 0]
    with nogil:
        _share(_scatter_task, &w, y.shape[0], threads, False)


cdef _check(str name, list y, list index, list x):
    if y != index or y[0] != x[0] or y[len(y) - 1] != x[len(x) - 1]:
        raise ShapeError(f"{name}: windows {tuple(y)}, index {tuple(index)} and image {tuple(x)} do not go together")


cdef void _maxima_task(void *work, Py_ssize_t n, int who) noexcept nogil:
    if (<Work *>work).single:
        _maxima(<float *>(<Work *>work).y, <Work *>work, n)
    else:
        _maxima(<double *>(<Work *>work).y, <Work *>work, n)


cdef void _spread_task(void *work, Py_ssize_t n, int who) noexcept nogil:
    if (<Work *>work).single:
        _spread(<float *>(<Work *>work).x, <Work *>work, n)
    else:
        _spread(<double *>(<Work *>work).x, <Work *>work, n)


cdef void _scatter_task(void *work, Py_ssize_t n, int who) noexcept nogil:
    if (<Work *>work).single:
        _scatter(<float *>(<Work *>work).x, <Work *>work, n)
    else:
        _scatter(<double *>(<Work *>work).x, <Work *>work, n)


cdef void _maxima(floating *y, Work *w, Py_ssize_t n) noexcept nogil:
    cdef const floating *x = <const floating *>w.x + n * w.H * w.W * w.C
    cdef int *index = w.index + n * w.P * w.Q * w.C
    cdef Py_ssize_t p, q, h, u
    cdef bint plain = w.R == 2 and w.S == 2 and w.dilation_h == 1 and w.dilation_w == 1
    y += n * w.P * w.Q * w.C
    for p in range(w.P):
        h = p * w.stride_h - w.pad_h
        if w.C < FEW and max(w.W, w.Q) * w.C <= ROW and _row_of_windows(y, index, x, w, h):
            y += w.Q * w.C
            index += w.Q * w.C
            continue
        for q in range(w.Q):
            u = q * w.stride_w - w.pad_w
            if plain and h >= 0 and u >= 0 and h + 1 < w.H and u + 1 < w.W:
                if floating is float:
                    tinybn_largest_of_four_float(y, index, x + (h * w.W + u) * w.C, <int>(h * w.W + u), <int>w.W, w.C)
                else:
                    tinybn_largest_of_four_double(y, index, x + (h * w.W + u) * w.C, <int>(h * w.W + u), <int>w.W, w.C)
            else:
                _window(y, index, x, w, h, u)
            y += w.C
            index += w.C


cdef bint _row_of_windows(floating *y, int *index, const floating *x, Work *w, Py_ssize_t top) noexcept nogil:
    """The windows whose rows begin at top, if one of these lies in the image."""
    cdef Py_ssize_t rows = w.R
    while rows and top < 0:
        top, rows = top + w.dilation_h, rows - 1
    while rows and top + (rows - 1) * w.dilation_h >= w.H:
        rows -= 1
    if not rows:
        return False
    if floating is float:
        tinybn_row_of_windows_float(y, index, x, w.W, w.C, w.Q, top, rows, w.dilation_h, w.S, -w.pad_w,
                                    w.stride_w, w.dilation_w)
    else:
        tinybn_row_of_windows_double(y, index, x, w.W, w.C, w.Q, top, rows, w.dilation_h, w.S, -w.pad_w,
                                     w.stride_w, w.dilation_w)
    return True


cdef void _window(floating *y, int *index, const floating *x, Work *w, Py_ssize_t top, Py_ssize_t left) noexcept nogil:
    """One window, of any form, over the edge or not."""
    cdef Py_ssize_t r, s, h, u, c
    cdef bint begun = False
    for r in range(w.R):
        h = top + r * w.dilation_h
        if h < 0 or h >= w.H:
            continue
        for s in range(w.S):
            u = left + s * w.dilation_w
            if u < 0 or u >= w.W:
                continue
            if begun:
                if floating is float:
                    tinybn_larger_float(y, index, x + (h * w.W + u) * w.C, <int>(h * w.W + u), w.C)
                else:
                    tinybn_larger_double(y, index, x + (h * w.W + u) * w.C, <int>(h * w.W + u), w.C)
            elif floating is float:
                tinybn_begin_window_float(y, index, x + (h * w.W + u) * w.C, <int>(h * w.W + u), w.C)
            else:
                tinybn_begin_window_double(y, index, x + (h * w.W + u) * w.C, <int>(h * w.W + u), w.C)
            begun = True
    if not begun:
        for c in range(w.C):
            y[c], index[c] = -INFINITY, -1


cdef void _spread(floating *dx, Work *w, Py_ssize_t n) noexcept nogil:
    cdef const floating *dy = <const floating *>w.y + n * w.P * w.Q * w.C
    cdef const int *index = w.index + n * w.P * w.Q * w.C
    cdef Py_ssize_t p, q, r, s, h, u
    dx += n * w.H * w.W * w.C
    if w.pad_h or w.pad_w or w.P * w.R != w.H or w.Q * w.S != w.W or w.stride_h != w.R or w.stride_w != w.S:
        memset(dx, 0, w.H * w.W * w.C * sizeof(floating))       # windows leave places out
    for p in range(w.P):
        for q in range(w.Q):
            for r in range(w.R):
                h = p * w.stride_h - w.pad_h + r
                if h < 0 or h >= w.H:
                    continue
                for s in range(w.S):
                    u = q * w.stride_w - w.pad_w + s
                    if u < 0 or u >= w.W:
                        continue
                    if floating is float:
                        tinybn_where_index_float(dx + (h * w.W + u) * w.C, dy, index, <int>(h * w.W + u), w.C)
                    else:
                        tinybn_where_index_double(dx + (h * w.W + u) * w.C, dy, index, <int>(h * w.W + u), w.C)
            dy += w.C
            index += w.C


cdef void _scatter(floating *x, Work *w, Py_ssize_t n) noexcept nogil:
    cdef const floating *y = <const floating *>w.y + n * w.P * w.C
    cdef const int *index = w.index + n * w.P * w.C
    cdef Py_ssize_t i, c
    x += n * w.H * w.C
    for i in range(w.P):
        for c in range(w.C):
            if 0 <= index[c] < w.H:
                x[index[c] * w.C + c] += y[c]
        y += w.C
        index += w.C
