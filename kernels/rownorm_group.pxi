# Groups of channels: each example's (G, K, S) if it is contiguous; with channels last, see rownorm_last.pxi.
#
# In the backward an example's row of the scratch memory gets Σdy and Σdy·x̂ of each of its channels.

cdef void _group_norm_task(void *work, Py_ssize_t n, int who) noexcept nogil:
    cdef Work *w = <Work *>work
    if w.last and w.single:
        _group_norm_last(<const float *>w.x, w, n)
    elif w.last:
        _group_norm_last(<const double *>w.x, w, n)
    elif w.single:
        _group_norm_example(<const float *>w.x, w, n)
    else:
        _group_norm_example(<const double *>w.x, w, n)


cdef void _group_norm_example(const floating *x, Work *w, Py_ssize_t n) noexcept nogil:
    cdef floating *y = <floating *>w.out
    cdef const floating *weight = <const floating *>w.weight
    cdef const floating *bias = <const floating *>w.bias
    cdef floating high, scale, offset
    cdef double rstd
    cdef Py_ssize_t g, r, c, i, at
    for g in range(w.G):
        r = n * w.G + g
        _row_moments(&w.mean[r], &w.var[r], &x[r * w.D], w.D, True, w.eps)
        rstd = 1 / sqrt(w.var[r] + w.eps)
        high = <floating>w.mean[r]
        for c in range(g * w.K, (g + 1) * w.K):
            _channel_line(&scale, &offset, weight, bias, w.mean[r], high, rstd, c)
            at = (n * w.G * w.K + c) * w.S
            for i in range(at, at + w.S):
                y[i] = (x[i] - high) * scale + offset


cdef inline void _channel_line(
    floating *scale, floating *offset, const floating *weight, const floating *bias, double mean, floating high,
    double rstd, Py_ssize_t c,
) noexcept nogil:
    """The numbers of y = (x - high)·scale + offset."""
    scale[0] = <floating>(rstd if weight == NULL else weight[c] * rstd)
    offset[0] = <floating>((0 if bias == NULL else bias[c]) - (mean - high) * scale[0])


# --- backward ---------------------------------------------------------------------------------------------------------

cdef void _group_gradient_task(void *work, Py_ssize_t n, int who) noexcept nogil:
    cdef Work *w = <Work *>work
    if w.last and w.single:
        _group_gradient_last(<const float *>w.x, w, n)
    elif w.last:
        _group_gradient_last(<const double *>w.x, w, n)
    elif w.single:
        _group_gradient_example(<const float *>w.x, w, n)
    else:
        _group_gradient_example(<const double *>w.x, w, n)


cdef void _group_gradient_example(const floating *x, Work *w, Py_ssize_t n) noexcept nogil:
    cdef const floating *dy = <const floating *>w.dy
    cdef floating *dx = <floating *>w.out
    cdef const floating *weight = <const floating *>w.weight
    cdef floating high, own, scale, slope, level
    cdef Py_ssize_t g, c, C = w.G * w.K, i, at
    cdef double *total = &w.scratch[n * 2 * C]
    cdef double *product = &total[C]
    cdef double rstd
    for g in range(w.G):
        rstd = 1 / sqrt(w.var[n * w.G + g] + w.eps)
        high = <floating>w.mean[n * w.G + g]
        for c in range(g * w.K, (g + 1) * w.K):
            total[c] = product[c] = 0
            at = (n * C + c) * w.S
            if floating is float:
                tinybn_row_products_float(&total[c], &product[c], &dy[at], &x[at], high, 0, 0, False, w.S)
            else:
                tinybn_row_products_double(&total[c], &product[c], &dy[at], &x[at], high, 0, 0, False, w.S)
        _finish_products(total, product, x, dy, w, n, g, rstd)
        _group_line(&slope, &level, total, product, weight, w, n, g, rstd)
        scale = <floating>rstd
        for c in range(g * w.K, (g + 1) * w.K):
            own = 1 if weight == NULL else weight[c]
            at = (n * C + c) * w.S
            for i in range(at, at + w.S):
                dx[i] = ((dy[i] * own - level) - (x[i] - high) * slope) * scale


cdef void _finish_products(
    double *total, double *product, const floating *x, const floating *dy, Work *w, Py_ssize_t n, Py_ssize_t g, double rstd,
) noexcept nogil:
    """Σdy·x̂ of a group's channels from Σdy·(x - high)."""
    cdef double mean = w.mean[n * w.G + g]
    cdef floating high = <floating>mean
    cdef bint beyond = _beyond(rstd, w.eps)
    cdef Py_ssize_t c, C = w.G * w.K, s, start, step
    for c in range(g * w.K, (g + 1) * w.K):
        product[c] = (product[c] - (mean - high) * total[c]) * rstd
        if beyond or not isfinite(product[c]) or not isfinite(total[c]):        # NaN, infinity, or beyond float32's range
            total[c] = product[c] = 0
            start, step = (n * w.S * C + c, C) if w.last else ((n * C + c) * w.S, <Py_ssize_t>1)
            for s in range(w.S):
                total[c] += dy[start + s * step]
                product[c] += dy[start + s * step] * ((x[start + s * step] - mean) * rstd)


cdef void _group_line(
    floating *slope, floating *level, const double *total, const double *product, const floating *weight, Work *w,
    Py_ssize_t n, Py_ssize_t g, double rstd,
) noexcept nogil:
    """The numbers of dx = ((dy·weight - level) - (x - high)·slope)·scale; what the mean has below high is in level."""
    cdef double mean = w.mean[n * w.G + g], all_total = 0, all_product = 0
    cdef Py_ssize_t c
    for c in range(g * w.K, (g + 1) * w.K):
        all_total += total[c] if weight == NULL else weight[c] * total[c]
        all_product += product[c] if weight == NULL else weight[c] * product[c]
    slope[0] = <floating>(all_product / w.D * rstd)
    level[0] = <floating>(all_total / w.D - (mean - <floating>mean) * (all_product / w.D * rstd))


cdef void _sum_examples(Work *w) noexcept nogil:
    """dweight and dbias from the sums of all examples."""
    if w.single:
        _sum_channels(<float *>w.dweight, <float *>w.dbias, w)
    else:
        _sum_channels(<double *>w.dweight, <double *>w.dbias, w)


cdef void _sum_channels(floating *dweight, floating *dbias, Work *w) noexcept nogil:
    cdef double total[WIDTH]
    cdef double product[WIDTH]
    cdef Py_ssize_t C = w.G * w.K, first, count, n, c, examples = w.N if w.D else 0
    for first in range(0, C, 800):
        count = min(C - first, <Py_ssize_t>WIDTH)
        _clear(total, product, count)
        for n in range(examples):
            for c in range(count):
                total[c] += w.scratch[n * 2 * C + first + c]
                product[c] += w.scratch[n * 2 * C + C + first + c]
        for c in range(count):
            dweight[first + c] = <floating>product[c]
            dbias[first + c] = <floating>total[c]
