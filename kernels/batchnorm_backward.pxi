# The backward: dweight, dbias, and dx.

cdef void _block_products(const floating *x, Work *w, double *total, double *product) noexcept nogil:
    """dweight and dbias of a block's channels; total and product, with room for all slices, get them in double."""
    cdef floating high[WIDTH]
    cdef floating scale[WIDTH]
    cdef floating offset[WIDTH]
    cdef double mean[WIDTH]
    cdef double rstd[WIDTH]
    cdef const floating *dy = <const floating *>w.dy
    cdef floating *dweight = <floating *>w.dweight
    cdef floating *dbias = <floating *>w.dbias
    cdef Form form = w.cut.form
    cdef Py_ssize_t first = w.block * w.cut.channels, channels = _block_channels(&w.cut, w.block), c
    _forward_lines(high, scale, offset, w)
    w.high, w.scale, w.offset, w.total, w.other = high, scale, offset, total, product
    _share(_products_task, w, w.cut.slices, w.inner, False)
    _merge(total, product, w.cut.slices, channels)
    _load_statistics(mean, rstd, w.given, w.eps, first, channels)
    for c in range(channels):
        product[c] = (product[c] - (mean[c] - high[c]) * total[c]) * rstd[c]
        if not isfinite(product[c]) or (w.eps < TINY and rstd[c] * rstd[c] > 1 / TINY):
            product[c] = _product_in_double(
                &dy[(first + c) * form.S], &x[(first + c) * form.S], mean[c], rstd[c], high[c], scale[c], offset[c],
                w.relu, form)
        dweight[first + c] = <floating>product[c]
        dbias[first + c] = <floating>total[c]


cdef void _block_gradient(const floating *x, Work *w, const double *total, const double *product) noexcept nogil:
    """dx = ((dy - level) - (x - high)·slope)·scale of a block; what the mean has below high is in level."""
    cdef floating high[WIDTH]
    cdef floating scale[WIDTH]
    cdef floating offset[WIDTH]
    cdef floating slope[WIDTH]
    cdef floating level[WIDTH]
    cdef double mean[WIDTH]
    cdef double rstd[WIDTH]
    cdef Form form = w.cut.form
    cdef Py_ssize_t first = w.block * w.cut.channels, channels = _block_channels(&w.cut, w.block), c
    cdef double each = 1.0 / (form.N * form.S)
    _forward_lines(high, scale, offset, w)
    _load_statistics(mean, rstd, w.given, w.eps, first, channels)
    for c in range(channels):
        slope[c] = <floating>(product[c] * each * rstd[c])
        level[c] = <floating>(total[c] * each - (mean[c] - high[c]) * (product[c] * each * rstd[c]))
    w.high, w.scale, w.offset, w.slope, w.level = high, scale, offset, slope, level
    _share(_gradient_task, w, w.cut.slices, w.inner, True)               # the last slice is still in the cache


cdef double _product_in_double(
    const floating *dy, const floating *x, double mean, double rstd, floating high, floating scale, floating offset,
    bint relu, Form form,
) noexcept nogil:
    """Σ dy·x̂ of one channel with NaN, infinity, or products that leave float32's range, at either end."""
    cdef double total = 0, g
    cdef Py_ssize_t pitch = form.C * form.S, n, s
    for n in range(form.N):
        for s in range(form.S):
            g = dy[n * pitch + s]
            if relu:
                g *= 0 if (x[n * pitch + s] - high) * scale + offset <= 0 else 1
            total += g * ((x[n * pitch + s] - mean) * rstd)
    return total


cdef void _slice_products(const floating *x, Work *w, Py_ssize_t slice) noexcept nogil:
    cdef Sheet a = _sheet(&w.cut, w.block, slice)
    cdef const floating *dy = <const floating *>w.dy
    cdef const floating *high = <const floating *>w.high
    cdef const floating *scale = <const floating *>w.scale
    cdef const floating *offset = <const floating *>w.offset
    if not w.cut.by_rows:
        _sheet_products(&w.total[slice * WIDTH], &w.other[slice * WIDTH], dy, x, high, scale, offset, w.relu, &a)
    else:
        _rows_products(&w.total[slice * WIDTH], &w.other[slice * WIDTH], dy, x, high, scale, offset, w.relu, &a)


cdef void _slice_gradient(const floating *x, Work *w, Py_ssize_t slice) noexcept nogil:
    cdef floating *dx = <floating *>w.out
    cdef const floating *dy = <const floating *>w.dy
    cdef const floating *high = <const floating *>w.high
    cdef const floating *scale = <const floating *>w.scale
    cdef const floating *offset = <const floating *>w.offset
    cdef const floating *slope = <const floating *>w.slope
    cdef const floating *level = <const floating *>w.level
    cdef bint own = w.own, relu = w.relu, stream = w.stream
    cdef Cut *cut = &w.cut
    cdef floating highs[WIDTH]
    cdef floating scales[WIDTH]
    cdef floating offsets[WIDTH]
    cdef floating slopes[WIDTH]
    cdef floating levels[WIDTH]
    cdef floating row[2 * WIDTH]
    cdef Sheet a = _sheet(cut, w.block, slice)
    cdef Py_ssize_t r, c, k, n, at, filled = 0
    cdef floating *out
    if a.S < cut.spread_below:
        _spread(highs, high, &a)
        _spread(scales, scale, &a)
        _spread(offsets, offset, &a)
        _spread(slopes, slope, &a)
        _spread(levels, level, &a)
        for r in range(a.rows + (a.tail > 0)):
            at, n = a.start + r * a.pitch, a.width if r < a.rows else a.tail
            out = &row[filled] if stream else &dx[at]
            if own:
                _gradient_line(out, &dy[at], &x[at], highs, scales, offsets, slopes, levels, relu, n)
            else:
                _scaled_line(out, &dy[at], &x[at], highs, scales, offsets, relu, n)
            if stream:
                filled = _stream_row(&dx[at], row, filled, n, r == a.rows - (a.tail == 0) or a.pitch > n)
    else:
        for r in range(_slice_rows(cut, slice)):
            for c in range(a.channels):
                for k in range(0, a.S, 800):
                    at, n = a.start + (r * cut.form.C + c) * a.S + k, min(a.S - k, 800)
                    out = &row[filled] if stream else &dx[at]
                    if own:
                        _gradient_row(
                            out, &dy[at], &x[at], high[c], scale[c], offset[c], slope[c], level[c], relu, n)
                    else:
                        _scaled_row(out, &dy[at], &x[at], high[c], scale[c], offset[c], relu, n)
                    if stream:
                        filled = _stream_row(&dx[at], row, filled, n, c == a.channels - 1 and k + n == a.S)
            if cut.ahead and w.block + 1 < cut.blocks:
                at = a.start + (r * cut.form.C + a.channels) * a.S
                tinybn_prefetch(&dy[at], min(<Py_ssize_t>AHEAD, <Py_ssize_t>(a.channels * a.S * sizeof(floating))))
                tinybn_prefetch(&x[at], min(<Py_ssize_t>AHEAD, <Py_ssize_t>(a.channels * a.S * sizeof(floating))))
    if stream:
        tinybn_stream_end()


cdef inline void _gradient_row(
    floating *dx, const floating *dy, const floating *x, floating high, floating scale, floating offset,
    floating slope, floating level, bint relu, Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef floating d, g
    if relu:
        for j in range(n):
            d = x[j] - high
            g = dy[j] * (0 if d * scale + offset <= 0 else 1)
            dx[j] = ((g - level) - d * slope) * scale
    else:
        for j in range(n):
            dx[j] = ((dy[j] - level) - (x[j] - high) * slope) * scale


cdef inline void _gradient_line(
    floating *dx, const floating *dy, const floating *x, const floating *high, const floating *scale,
    const floating *offset, const floating *slope, const floating *level, bint relu, Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef floating d, g
    if relu:
        for j in range(n):
            d = x[j] - high[j]
            g = dy[j] * (0 if d * scale[j] + offset[j] <= 0 else 1)
            dx[j] = ((g - level[j]) - d * slope[j]) * scale[j]
    else:
        for j in range(n):
            dx[j] = ((dy[j] - level[j]) - (x[j] - high[j]) * slope[j]) * scale[j]


cdef inline void _scaled_row(
    floating *dx, const floating *dy, const floating *x, floating high, floating scale, floating offset, bint relu,
    Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef floating g
    for j in range(n):
        if relu:
            g = dy[j] * (0 if (x[j] - high) * scale + offset <= 0 else 1)
            dx[j] = g * scale
        else:
            dx[j] = dy[j] * scale


cdef inline void _scaled_line(
    floating *dx, const floating *dy, const floating *x, const floating *high, const floating *scale,
    const floating *offset, bint relu, Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef floating g
    for j in range(n):
        if relu:
            g = dy[j] * (0 if (x[j] - high[j]) * scale[j] + offset[j] <= 0 else 1)
            dx[j] = g * scale[j]
        else:
            dx[j] = dy[j] * scale[j]
