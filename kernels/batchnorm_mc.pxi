# The work on one group of (M, C): M rows of w <= GROUP channels, C apart. Threads may share slices of the rows; how many
# slices there are depends on M alone, and their sums are merged in order.

cdef inline Py_ssize_t _slice_rows(Py_ssize_t M) noexcept nogil:
    return max(<Py_ssize_t>SLICE_ROWS, (M + SLICES - 1) // SLICES)


cdef inline Py_ssize_t _slices(Py_ssize_t M) noexcept nogil:
    return (M + _slice_rows(M) - 1) // _slice_rows(M)


cdef inline Py_ssize_t _group_width(Py_ssize_t M, Py_ssize_t C, int threads) noexcept nogil:
    """Channels per group: a multiple of LANES, and a group for each thread when threads do not share rows."""
    if _slices(M) > 1:
        return GROUP
    return min(<Py_ssize_t>GROUP, (C + threads * LANES - 1) // (threads * LANES) * LANES)


cdef inline Py_ssize_t _groups(Py_ssize_t C, Py_ssize_t width) noexcept nogil:
    return (C + width - 1) // width


cdef inline int _inner_threads(Py_ssize_t M, int threads) noexcept nogil:
    """Threads within a group: all when there are slices of rows to share, else one."""
    return threads if _slices(M) > 1 else 1


cdef void _group_moments(
    double *mean, double *var, const floating *x, Py_ssize_t M, Py_ssize_t C, Py_ssize_t w, int threads,
) noexcept nogil:
    cdef double total[SLICES * 2 * GROUP]
    cdef floating shift[GROUP]
    cdef Py_ssize_t rows = _slice_rows(M), sample = min(M, <Py_ssize_t>SAMPLE), i, c, attempt
    cdef bint good

    _set(shift, 0, GROUP)
    for c in range(w):
        shift[c] = x[c]
    _slice_squares(total, x, shift, sample, M // sample * C, w)
    for c in range(w):
        shift[c] = <floating>(shift[c] + total[c] / sample)

    for attempt in range(2):
        if threads == 1:
            for i in range(_slices(M)):
                _slice_squares(&total[i * 2 * GROUP], &x[i * rows * C], shift, min(rows, M - i * rows), C, w)
        else:
            for i in prange(_slices(M), schedule="static", num_threads=threads):
                _slice_squares(&total[i * 2 * GROUP], &x[i * rows * C], shift, min(rows, M - i * rows), C, w)
        _merge(total, _slices(M), w)
        good = True
        for c in range(w):
            if not _finish_moments(&mean[c], &var[c], shift[c], total[c], total[GROUP + c], M):
                shift[c] = <floating>mean[c]
                good = False
        if good:
            break
    for c in range(w):
        if not isfinite(var[c]):
            _moments_in_double(&mean[c], &var[c], &x[c], M, C, 1)


cdef void _group_normalize(
    floating *y, const floating *x, const double *mean, const double *var, const floating *weight,
    const floating *bias, double eps, Py_ssize_t M, Py_ssize_t C, Py_ssize_t w, int threads,
) noexcept nogil:
    cdef Py_ssize_t rows = _slice_rows(M), i
    if threads == 1:
        _slice_normalize(y, x, mean, var, weight, bias, eps, M, C, w)
        return
    for i in prange(_slices(M), schedule="static", num_threads=threads):
        _slice_normalize(
            &y[i * rows * C], &x[i * rows * C], mean, var, weight, bias, eps, min(rows, M - i * rows), C, w)


cdef void _slice_normalize(
    floating *y, const floating *x, const double *mean, const double *var, const floating *weight,
    const floating *bias, double eps, Py_ssize_t M, Py_ssize_t C, Py_ssize_t w,
) noexcept nogil:
    cdef floating high[GROUP]
    cdef floating low[GROUP]
    cdef floating scale[GROUP]
    cdef floating offset[GROUP]
    cdef Py_ssize_t repeats = _repeats(M, C, w), m, i, j
    for j in range(w):
        high[j] = <floating>mean[j]
        low[j] = <floating>(mean[j] - high[j])
        scale[j] = <floating>(weight[j] * _rstd(var[j], eps))
        offset[j] = bias[j]
    _repeat(high, w, repeats)
    _repeat(low, w, repeats)
    _repeat(scale, w, repeats)
    _repeat(offset, w, repeats)
    for i in range((M + repeats - 1) // repeats):
        m = i * repeats
        for j in range(min(repeats, M - m) * w):
            y[m * C + j] = ((x[m * C + j] - high[j]) - low[j]) * scale[j] + offset[j]


cdef void _group_gradient_sums(
    double *dweight, double *dbias, const floating *dy, const floating *x, const double *mean, const double *var,
    double eps, Py_ssize_t M, Py_ssize_t C, Py_ssize_t w, int threads,
) noexcept nogil:
    cdef double total[SLICES * 2 * GROUP]
    cdef floating high[GROUP]
    cdef Py_ssize_t rows = _slice_rows(M), i, c
    for c in range(w):
        high[c] = <floating>mean[c]
    if threads == 1:
        for i in range(_slices(M)):
            _slice_products(
                &total[i * 2 * GROUP], &dy[i * rows * C], &x[i * rows * C], high, min(rows, M - i * rows), C, w)
    else:
        for i in prange(_slices(M), schedule="static", num_threads=threads):
            _slice_products(
                &total[i * 2 * GROUP], &dy[i * rows * C], &x[i * rows * C], high, min(rows, M - i * rows), C, w)
    _merge(total, _slices(M), w)
    for c in range(w):
        dbias[c] = total[c]
        dweight[c] = (total[GROUP + c] - (mean[c] - high[c]) * total[c]) * _rstd(var[c], eps)


cdef void _group_gradient(
    floating *dx, const floating *dy, const floating *x, const double *mean, const double *var,
    const floating *weight, const double *dweight, const double *dbias, double eps,
    Py_ssize_t M, Py_ssize_t C, Py_ssize_t w, int threads,
) noexcept nogil:
    cdef Py_ssize_t rows = _slice_rows(M), i
    if threads == 1:
        _slice_gradient(dx, dy, x, mean, var, weight, dweight, dbias, eps, M, M, C, w)
        return
    for i in prange(_slices(M), schedule="static", num_threads=threads):
        _slice_gradient(
            &dx[i * rows * C], &dy[i * rows * C], &x[i * rows * C], mean, var, weight, dweight, dbias, eps, M,
            min(rows, M - i * rows), C, w)


cdef void _slice_gradient(
    floating *dx, const floating *dy, const floating *x, const double *mean, const double *var,
    const floating *weight, const double *dweight, const double *dbias, double eps,
    Py_ssize_t all_rows, Py_ssize_t M, Py_ssize_t C, Py_ssize_t w,
) noexcept nogil:
    cdef floating high[GROUP]
    cdef floating slope[GROUP]
    cdef floating offset[GROUP]
    cdef floating scale[GROUP]
    cdef Py_ssize_t repeats = _repeats(M, C, w), m, i, j
    for j in range(w):
        _gradient_line(
            &high[j], &slope[j], &offset[j], &scale[j], mean[j], var[j], weight[j], dweight[j] / all_rows,
            dbias[j] / all_rows, eps)
    _repeat(high, w, repeats)
    _repeat(slope, w, repeats)
    _repeat(offset, w, repeats)
    _repeat(scale, w, repeats)
    for i in range((M + repeats - 1) // repeats):
        m = i * repeats
        for j in range(min(repeats, M - m) * w):
            dx[m * C + j] = ((dy[m * C + j] - offset[j]) - (x[m * C + j] - high[j]) * slope[j]) * scale[j]


cdef void _group_scale(
    floating *dx, const floating *dy, const double *var, const floating *weight, double eps,
    Py_ssize_t M, Py_ssize_t C, Py_ssize_t w, int threads,
) noexcept nogil:
    cdef Py_ssize_t rows = _slice_rows(M), i
    if threads == 1:
        _slice_scale(dx, dy, var, weight, eps, M, C, w)
        return
    for i in prange(_slices(M), schedule="static", num_threads=threads):
        _slice_scale(&dx[i * rows * C], &dy[i * rows * C], var, weight, eps, min(rows, M - i * rows), C, w)


cdef void _slice_scale(
    floating *dx, const floating *dy, const double *var, const floating *weight, double eps,
    Py_ssize_t M, Py_ssize_t C, Py_ssize_t w,
) noexcept nogil:
    cdef floating scale[GROUP]
    cdef Py_ssize_t repeats = _repeats(M, C, w), m, i, j
    for j in range(w):
        scale[j] = <floating>(weight[j] * _rstd(var[j], eps))
    _repeat(scale, w, repeats)
    for i in range((M + repeats - 1) // repeats):
        m = i * repeats
        for j in range(min(repeats, M - m) * w):
            dx[m * C + j] = dy[m * C + j] * scale[j]


cdef inline Py_ssize_t _repeats(Py_ssize_t M, Py_ssize_t C, Py_ssize_t w) noexcept nogil:
    """Rows that fit in one line of GROUP values, so that the inner loops are long even where channels are few."""
    return min(M, GROUP // w) if w == C else 1


cdef inline void _repeat(floating *line, Py_ssize_t w, Py_ssize_t repeats) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(w, repeats * w):
        line[j] = line[j - w]


cdef void _slice_squares(
    double *total, const floating *x, const floating *shift, Py_ssize_t M, Py_ssize_t stride, Py_ssize_t w,
) noexcept nogil:
    """With d = x - shift: Σd in total[0:w], Σd² in total[GROUP:GROUP + w]."""
    cdef floating part[2 * GROUP]
    cdef Py_ssize_t m = 0, c, rows, strip = _strip_width(M, w), width
    _set(total, 0, w)
    _set(&total[GROUP], 0, w)
    while m < M:
        _set(part, 0, w)
        _set(&part[GROUP], 0, w)
        rows = min(M - m, <Py_ssize_t>FLUSH)
        c = 0
        while c < w:
            width = min(w - c, strip)
            _add_squares(&part[c], &part[GROUP + c], &x[m * stride + c], &shift[c], rows, stride, width)
            c += width
        for c in range(w):
            total[c] += part[c]
            total[GROUP + c] += part[GROUP + c]
        m += rows


cdef void _slice_products(
    double *total, const floating *dy, const floating *x, const floating *high, Py_ssize_t M, Py_ssize_t stride,
    Py_ssize_t w,
) noexcept nogil:
    """Σdy in total[0:w], Σdy·(x - high) in total[GROUP:GROUP + w]."""
    cdef floating part[2 * GROUP]
    cdef Py_ssize_t m = 0, c, rows, strip = _strip_width(M, w), width
    _set(total, 0, w)
    _set(&total[GROUP], 0, w)
    while m < M:
        _set(part, 0, w)
        _set(&part[GROUP], 0, w)
        rows = min(M - m, <Py_ssize_t>FLUSH)
        c = 0
        while c < w:
            width = min(w - c, strip)
            _add_products(
                &part[c], &part[GROUP + c], &dy[m * stride + c], &x[m * stride + c], &high[c], rows, stride, width)
            c += width
        for c in range(w):
            total[c] += part[c]
            total[GROUP + c] += part[GROUP + c]
        m += rows


cdef inline Py_ssize_t _strip_width(Py_ssize_t M, Py_ssize_t w) noexcept nogil:
    """Channels summed at a time. LANES stay in registers, but all in the order of memory is better where there is much:
    a strip of rows 4 KB apart falls on the same few lines of the cache."""
    return w if M >= FLUSH and w > 2 * LANES else LANES


cdef inline void _merge(double *total, Py_ssize_t slices, Py_ssize_t w) noexcept nogil:
    """The first slice gets the sum over all."""
    cdef Py_ssize_t i, j
    for i in range(1, slices):
        for j in range(w):
            total[j] += total[i * 2 * GROUP + j]
            total[GROUP + j] += total[(i * 2 + 1) * GROUP + j]
