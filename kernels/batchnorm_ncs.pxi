# The work on one band of (N, C, S): N times C <= BAND channels of S values, `stride` from one n to the next.

cdef inline Py_ssize_t _band_size(Py_ssize_t C, int threads) noexcept nogil:
    """Channels per band: as many as may be, but a band for each thread."""
    return min(<Py_ssize_t>BAND, (C + threads - 1) // threads)


cdef inline Py_ssize_t _bands(Py_ssize_t C, Py_ssize_t size) noexcept nogil:
    return (C + size - 1) // size


cdef void _band_moments(
    double *mean, double *var, const floating *x, Py_ssize_t N, Py_ssize_t C, Py_ssize_t stride, Py_ssize_t S,
) noexcept nogil:
    cdef double total[BAND * 2 * LANES]
    cdef floating part[BAND * 2 * LANES]
    cdef floating shift[BAND * LANES]
    cdef bint good[BAND]
    cdef Py_ssize_t w = min(S, <Py_ssize_t>LANES), rows = min(N, <Py_ssize_t>SAMPLE), tiles = S // LANES + 1
    cdef Py_ssize_t filled, n, c, attempt
    cdef bint all_good

    _set(part, 0, C * 2 * LANES)
    _set(total, 0, C * 2 * LANES)
    for c in range(C):
        _set(&shift[c * LANES], x[c * S], LANES)
        _add_squares(
            &part[c * 2 * LANES], &part[c * 2 * LANES + LANES], &x[c * S + (S - w) // 2], &shift[c * LANES], rows,
            N // rows * stride, w)
    _flush(total, part, C)
    for c in range(C):
        _set(&shift[c * LANES], <floating>(x[c * S] + _sum(&total[c * 2 * LANES]) / (rows * w)), LANES)
        good[c] = False

    for attempt in range(2):
        _set(total, 0, C * 2 * LANES)
        filled = 0
        for n in range(N):
            if filled + tiles > FLUSH:
                _flush(total, part, C)
                filled = 0
            for c in range(C):
                if not good[c]:
                    _row_squares(
                        &total[c * 2 * LANES], &part[c * 2 * LANES], &x[n * stride + c * S], &shift[c * LANES], S)
            filled += tiles
        _flush(total, part, C)
        all_good = True
        for c in range(C):
            if not good[c]:
                good[c] = _finish_moments(
                    &mean[c], &var[c], shift[c * LANES], _sum(&total[c * 2 * LANES]),
                    _sum(&total[c * 2 * LANES + LANES]), N * S)
                _set(&shift[c * LANES], <floating>mean[c], LANES)
                all_good = all_good and good[c]
        if all_good:
            break
    for c in range(C):
        if not isfinite(var[c]):
            _moments_in_double(&mean[c], &var[c], &x[c * S], N, stride, S)


cdef inline void _row_squares(
    double *total, floating *part, const floating *x, const floating *shift, Py_ssize_t S,
) noexcept nogil:
    """One channel's S values as S // LANES tiles of LANES and the rest as one more, flushed on the way when long."""
    cdef Py_ssize_t s = 0
    while S - s > FLUSH * LANES:
        _add_squares(part, &part[LANES], &x[s], shift, FLUSH, LANES, LANES)
        _flush(total, part, 1)
        s += FLUSH * LANES
    _add_squares(part, &part[LANES], &x[s], shift, (S - s) // LANES, LANES, LANES)
    _add_squares(part, &part[LANES], &x[S - S % LANES], shift, 1, 0, S % LANES)


cdef void _band_normalize(
    floating *y, const floating *x, const double *mean, const double *var, const floating *weight,
    const floating *bias, double eps, Py_ssize_t N, Py_ssize_t C, Py_ssize_t stride, Py_ssize_t S,
) noexcept nogil:
    cdef floating high[BAND]
    cdef floating low[BAND]
    cdef floating scale[BAND]
    cdef Py_ssize_t n, c
    for c in range(C):
        high[c] = <floating>mean[c]
        low[c] = <floating>(mean[c] - high[c])
        scale[c] = <floating>(weight[c] * _rstd(var[c], eps))
    for n in range(N):
        for c in range(C):
            _row_normalize(&y[n * stride + c * S], &x[n * stride + c * S], high[c], low[c], scale[c], bias[c], S)


cdef inline void _row_normalize(
    floating *y, const floating *x, floating high, floating low, floating scale, floating bias, Py_ssize_t S,
) noexcept nogil:
    cdef Py_ssize_t s
    for s in range(S):
        y[s] = ((x[s] - high) - low) * scale + bias


cdef void _band_gradient_sums(
    double *dweight, double *dbias, const floating *dy, const floating *x, const double *mean, const double *var,
    double eps, Py_ssize_t N, Py_ssize_t C, Py_ssize_t stride, Py_ssize_t S,
) noexcept nogil:
    cdef double total[BAND * 2 * LANES]
    cdef floating part[BAND * 2 * LANES]
    cdef floating high[BAND * LANES]
    cdef Py_ssize_t tiles = S // LANES + 1, filled = 0, n, c
    _set(part, 0, C * 2 * LANES)
    _set(total, 0, C * 2 * LANES)
    for c in range(C):
        _set(&high[c * LANES], <floating>mean[c], LANES)
    for n in range(N):
        if filled + tiles > FLUSH:
            _flush(total, part, C)
            filled = 0
        for c in range(C):
            _row_products(
                &total[c * 2 * LANES], &part[c * 2 * LANES], &dy[n * stride + c * S], &x[n * stride + c * S],
                &high[c * LANES], S)
        filled += tiles
    _flush(total, part, C)
    for c in range(C):
        dbias[c] = _sum(&total[c * 2 * LANES])
        dweight[c] = _sum(&total[c * 2 * LANES + LANES]) - (mean[c] - high[c * LANES]) * dbias[c]
        dweight[c] *= _rstd(var[c], eps)


cdef inline void _row_products(
    double *total, floating *part, const floating *dy, const floating *x, const floating *high, Py_ssize_t S,
) noexcept nogil:
    cdef Py_ssize_t s = 0
    while S - s > FLUSH * LANES:
        _add_products(part, &part[LANES], &dy[s], &x[s], high, FLUSH, LANES, LANES)
        _flush(total, part, 1)
        s += FLUSH * LANES
    _add_products(part, &part[LANES], &dy[s], &x[s], high, (S - s) // LANES, LANES, LANES)
    s = S - S % LANES
    _add_products(part, &part[LANES], &dy[s], &x[s], high, 1, 0, S % LANES)


cdef void _band_gradient(
    floating *dx, const floating *dy, const floating *x, const double *mean, const double *var,
    const floating *weight, const double *dweight, const double *dbias, double eps,
    Py_ssize_t N, Py_ssize_t C, Py_ssize_t stride, Py_ssize_t S,
) noexcept nogil:
    cdef floating high[BAND]
    cdef floating slope[BAND]
    cdef floating offset[BAND]
    cdef floating scale[BAND]
    cdef Py_ssize_t n, c, M = N * S
    for c in range(C):
        _gradient_line(
            &high[c], &slope[c], &offset[c], &scale[c], mean[c], var[c], weight[c], dweight[c] / M, dbias[c] / M, eps)
    for n in range(N):
        for c in range(C):
            _row_gradient(
                &dx[n * stride + c * S], &dy[n * stride + c * S], &x[n * stride + c * S],
                high[c], slope[c], offset[c], scale[c], S)


cdef inline void _row_gradient(
    floating *dx, const floating *dy, const floating *x, floating high, floating slope, floating offset,
    floating scale, Py_ssize_t S,
) noexcept nogil:
    cdef Py_ssize_t s
    for s in range(S):
        dx[s] = ((dy[s] - offset) - (x[s] - high) * slope) * scale


cdef void _band_scale(
    floating *dx, const floating *dy, const double *var, const floating *weight, double eps,
    Py_ssize_t N, Py_ssize_t C, Py_ssize_t stride, Py_ssize_t S,
) noexcept nogil:
    cdef floating scale
    cdef Py_ssize_t n, c, s
    for n in range(N):
        for c in range(C):
            scale = <floating>(weight[c] * _rstd(var[c], eps))
            for s in range(S):
                dx[n * stride + c * S + s] = dy[n * stride + c * S + s] * scale
