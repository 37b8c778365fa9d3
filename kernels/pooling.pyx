"""Max-pooling's loops, on channels-last views (N, H, W, C). Contiguous (N, C, H, W) data comes as (N·C, H, W, 1).

Legend: N batch, H×W input, P×Q output, R×S kernel, C channels. `index` says where a maximum stood: h·W + w.

Outputs come first, then inputs, sizes. Nothing is checked or allocated. Threads share the batch, so that any number of
them gives the same bits.
"""

from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport INFINITY


def max_pool2d(
    floating[:, :, :, ::1] y, int[:, :, :, ::1] index, const floating[:, :, :, ::1] x,
    Py_ssize_t R, Py_ssize_t S, Py_ssize_t stride_h, Py_ssize_t stride_w, Py_ssize_t pad_h, Py_ssize_t pad_w,
    Py_ssize_t dilation_h, Py_ssize_t dilation_w, int threads,
):
    """y, index (N, P, Q, C): the largest value of each window of x (N, H, W, C) and where it stood.

    NaN counts as larger than everything; of equal values the first wins; padding counts as -inf.
    """
    cdef Py_ssize_t N = x.shape[0], H = x.shape[1], W = x.shape[2], C = x.shape[3], P = y.shape[1], Q = y.shape[2]
    cdef Py_ssize_t n, p, q, r, s, h, w, c
    for n in prange(N, nogil=True, schedule="static", num_threads=threads):
        for p in range(P):
            for q in range(Q):
                for c in range(C):
                    y[n, p, q, c] = -INFINITY
                    index[n, p, q, c] = -1
                for r in range(R):
                    h = p * stride_h - pad_h + r * dilation_h
                    if h < 0 or h >= H:
                        continue
                    for s in range(S):
                        w = q * stride_w - pad_w + s * dilation_w
                        if w < 0 or w >= W:
                            continue
                        _larger(&y[n, p, q, 0], &index[n, p, q, 0], &x[n, h, w, 0], <int>(h * W + w), C)


cdef void _larger(floating *y, int *index, const floating *x, int position, Py_ssize_t C) noexcept nogil:
    # Written without a branch, so that it vectorizes. index is -1 until the first value, which may be -inf itself.
    cdef Py_ssize_t c
    cdef bint better
    for c in range(C):
        better = (x[c] > y[c]) | (x[c] != x[c]) | (index[c] < 0)
        y[c] = x[c] if better else y[c]
        index[c] = position if better else index[c]


def scatter_plane(floating[:, :, ::1] x, const floating[:, :, ::1] y, const int[:, :, ::1] index, int threads):
    """Add y (N, P·Q, C) to x (N, H·W, C) at the positions that index (N, P·Q, C) names; a negative one is left out."""
    cdef Py_ssize_t N = y.shape[0], L = y.shape[1], C = y.shape[2], n, i, c
    for n in prange(N, nogil=True, schedule="static", num_threads=threads):
        for i in range(L):
            for c in range(C):
                if index[n, i, c] >= 0:
                    x[n, index[n, i, c], c] += y[n, i, c]
