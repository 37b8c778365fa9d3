# The forward: moments, and y.

cdef enum:
    AHEAD = 1 << 13         # bytes of each row of the next block that are read early; longer rows the processor reads ahead
    SAMPLE = 32             # rows that shift is taken from, at the most ...
    PLACES = 64             # ... and so many of the positions in each, at the least if there are as many

cdef void _block_moments(const floating *x, Work *w) noexcept nogil:
    """The moments of a block's channels. A variance of 0 may be some 1e-50 where eps hides the difference."""
    cdef double total[SLICES * WIDTH]
    cdef double square[SLICES * WIDTH]
    cdef floating shift[WIDTH]
    cdef Form form = w.cut.form
    cdef Py_ssize_t first = w.block * w.cut.channels, channels = _block_channels(&w.cut, w.block), c, attempt
    cdef double *mean = &w.moments[first]
    cdef double *var = &w.moments[form.C + first]
    w.shift, w.total, w.other = shift, total, square
    shift[0] = 0                                        # for gcc, which cannot know that there is a channel
    _sample(shift, x, &w.cut, w.block)
    for attempt in range(2):
        _share(_squares_task, w, w.cut.slices, w.inner, False)
        _merge(total, square, w.cut.slices, channels)
        if _finish_moments(mean, var, shift, total, square, channels, form.N * form.S) == 0:
            break
        for c in range(channels):
            shift[c] = <floating>mean[c]
    for c in range(channels):
        if not isfinite(var[c]) or (var[c] < TINY and (w.eps < TINY or total[c] != 0 or square[c] != 0)):
            _moments_in_double(&mean[c], &var[c], &x[(first + c) * form.S], form)


cdef void _slice_squares(const floating *x, Work *w, Py_ssize_t slice) noexcept nogil:
    cdef Sheet a = _sheet(&w.cut, w.block, slice)
    if not w.cut.by_rows:
        _sheet_squares(&w.total[slice * WIDTH], &w.other[slice * WIDTH], x, <const floating *>w.shift, &a)
    else:
        _rows_squares(&w.total[slice * WIDTH], &w.other[slice * WIDTH], x, <const floating *>w.shift, &a)


cdef void _sample(floating *shift, const floating *x, Cut *cut, Py_ssize_t b) noexcept nogil:
    """A mean of each channel to start from, of a few rows all over N."""
    cdef double total[WIDTH]
    cdef double square[WIDTH]
    cdef Sheet a = _sheet(cut, b, 0)
    cdef Py_ssize_t N = cut.form.N, S = a.S, channels = a.channels, c
    cdef bint brief = cut.by_rows or (channels == 1 and S >= PLACES)    # a few of the positions
    a.start = b * cut.channels * S
    a.tail = 0
    a.rows = min(N, <Py_ssize_t>SAMPLE)
    if S > 1 and not brief:
        a.rows = min(a.rows, max(<Py_ssize_t>SAMPLE // 8, PLACES // S))
    a.pitch = _odd(N // a.rows) * cut.form.C * S
    for c in range(channels):
        shift[c] = x[a.start + c * S]
    if not brief:
        a.width = channels * S
        _sheet_squares(total, square, x, shift, &a)
    else:                                                   # and others in each row
        a.channels, a.width = 1, PLACES
        if a.rows > 1:
            a.pitch += (S - PLACES) // (a.rows - 1)
        for c in range(channels):
            _sheet_squares(&total[c], &square[c], x, &shift[c], &a)
            a.start += S
    for c in range(channels):
        shift[c] += <floating>(total[c] / (a.rows * (a.width // a.channels)))


cdef inline Py_ssize_t _odd(Py_ssize_t step) noexcept nogil:
    """Or one less: rows that alternate between two kinds shall both be seen."""
    return step if step % 2 else max(<Py_ssize_t>1, step - 1)


cdef inline void _merge(double *total, double *other, Py_ssize_t slices, Py_ssize_t channels) noexcept nogil:
    """The first slice gets the sum over all."""
    cdef Py_ssize_t i, c
    for i in range(1, slices):
        for c in range(channels):
            total[c] += total[i * WIDTH + c]
            other[c] += other[i * WIDTH + c]


cdef inline Py_ssize_t _finish_moments(
    double *mean, double *var, const floating *shift, const double *total, const double *square, Py_ssize_t channels,
    Py_ssize_t M,
) noexcept nogil:
    """Moments from Σd and Σd². How many channels have a shift over 0.7 standard deviations off: again, about this mean."""
    cdef double each = 1.0 / M, deviation, v
    cdef Py_ssize_t c, far = 0
    for c in range(channels):
        deviation = total[c] * each
        v = square[c] * each - deviation * deviation
        v = 0 if v < 0 else v
        mean[c] = shift[c] + deviation
        var[c] = v
        far += 2 * deviation * deviation > v
    return far


cdef void _moments_in_double(double *mean, double *var, const floating *x, Form form) noexcept nogil:
    """One channel with NaN, infinity, or values whose squares leave float32's range: plainly, so that each ends as it
    should."""
    cdef double total = 0, square = 0, d
    cdef Py_ssize_t pitch = form.C * form.S, n, s
    for n in range(form.N):
        for s in range(form.S):
            total += x[n * pitch + s]
    mean[0] = total / (form.N * form.S)
    for n in range(form.N):
        for s in range(form.S):
            d = x[n * pitch + s] - mean[0]
            square += d * d
    var[0] = square / (form.N * form.S)


cdef void _block_normalize(const floating *x, Work *w) noexcept nogil:
    cdef floating high[WIDTH]
    cdef floating scale[WIDTH]
    cdef floating offset[WIDTH]
    _forward_lines(high, scale, offset, w)
    w.high, w.scale, w.offset = high, scale, offset
    _share(_normalize_slice_task, w, w.cut.slices, w.inner, True)        # the last slice is still in the cache


cdef void _forward_lines(floating *high, floating *scale, floating *offset, Work *w) noexcept nogil:
    """The numbers of y = (x - high)·scale + offset; what the mean has below high is in offset."""
    cdef const floating *weight = <const floating *>w.weight
    cdef const floating *bias = <const floating *>w.bias
    cdef double mean[WIDTH]
    cdef double rstd[WIDTH]
    cdef Py_ssize_t first = w.block * w.cut.channels, channels = _block_channels(&w.cut, w.block), c
    _load_statistics(mean, rstd, w.given, w.eps, first, channels)
    for c in range(channels):
        high[c] = <floating>mean[c]
        scale[c] = <floating>rstd[c]
    if weight != NULL:
        for c in range(channels):
            scale[c] = <floating>(weight[first + c] * rstd[c])
    for c in range(channels):
        offset[c] = <floating>(-(mean[c] - high[c]) * scale[c])
    if bias != NULL:
        for c in range(channels):
            offset[c] = <floating>(bias[first + c] - (mean[c] - high[c]) * scale[c])


cdef void _slice_normalize(const floating *x, Work *w, Py_ssize_t slice) noexcept nogil:
    cdef floating *y = <floating *>w.out
    cdef const floating *high = <const floating *>w.high
    cdef const floating *scale = <const floating *>w.scale
    cdef const floating *offset = <const floating *>w.offset
    cdef bint relu = w.relu, stream = w.stream
    cdef Cut *cut = &w.cut
    cdef floating highs[WIDTH]
    cdef floating scales[WIDTH]
    cdef floating offsets[WIDTH]
    cdef floating row[2 * WIDTH]
    cdef Sheet a = _sheet(cut, w.block, slice)
    cdef Py_ssize_t r, c, k, n, at, filled = 0
    if a.S < cut.spread_below:
        _spread(highs, high, &a)
        _spread(scales, scale, &a)
        _spread(offsets, offset, &a)
        for r in range(a.rows + (a.tail > 0)):
            at, n = a.start + r * a.pitch, a.width if r < a.rows else a.tail
            _normalize_line(
                &row[filled] if stream else &y[at], &x[at], highs, scales, offsets, relu, n)
            if stream:
                filled = _stream_row(&y[at], row, filled, n, r == a.rows - (a.tail == 0) or a.pitch > n)
    else:
        for r in range(_slice_rows(cut, slice)):
            for c in range(a.channels):
                for k in range(0, a.S, 800):
                    at, n = a.start + (r * cut.form.C + c) * a.S + k, min(a.S - k, 800)
                    _normalize_row(
                        &row[filled] if stream else &y[at], &x[at], high[c], scale[c], offset[c], relu, n)
                    if stream:
                        filled = _stream_row(&y[at], row, filled, n, c == a.channels - 1 and k + n == a.S)
            if cut.ahead and w.block + 1 < cut.blocks:
                at = a.start + (r * cut.form.C + a.channels) * a.S
                tinybn_prefetch(&x[at], min(<Py_ssize_t>AHEAD, <Py_ssize_t>(a.channels * a.S * sizeof(floating))))
    if stream:
        tinybn_stream_end()


cdef inline Py_ssize_t _stream_row(
    floating *y, floating *row, Py_ssize_t filled, Py_ssize_t n, bint last,
) noexcept nogil:
    """Write a row of n values past the caches, that belong to y and have `filled` values in front of them, left from the
    row before. What fills no line is left for the next, unless this is the last. How many values are left.

    Short rows wait for others: vectors that are read across two that were just written must wait for both to arrive.
    """
    cdef size_t written
    if not last and filled + n <= WIDTH:
        return filled + n
    written = tinybn_stream(y - filled, row, (filled + n) * sizeof(floating), last)
    filled += n - <Py_ssize_t>(written // sizeof(floating))
    memmove(row, <char *>row + written, filled * sizeof(floating))
    return filled


cdef inline void _normalize_row(
    floating *y, const floating *x, floating high, floating scale, floating offset, bint relu, Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef floating v
    if relu:
        for j in range(n):
            v = (x[j] - high) * scale + offset
            y[j] = 0 if v <= 0 else v
    else:
        for j in range(n):
            y[j] = (x[j] - high) * scale + offset


cdef inline void _normalize_line(
    floating *y, const floating *x, const floating *high, const floating *scale, const floating *offset, bint relu,
    Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef floating v
    if relu:
        for j in range(n):
            v = (x[j] - high[j]) * scale[j] + offset[j]
            y[j] = 0 if v <= 0 else v
    else:
        for j in range(n):
            y[j] = (x[j] - high[j]) * scale[j] + offset[j]


cdef bint _move_running(
    floating *running_mean, floating *running_var, const double *moments, double momentum, bint unbiased, double most,
    Form form,
) noexcept nogil:
    """running = (1 - momentum)·running + momentum·new, unless the new ones are not finite or there are none."""
    cdef Py_ssize_t C = form.C, M = form.N * form.S, held = 0, c
    cdef double correction = 1 if not unbiased else M / (M - 1.0) if M > 1 else 0
    if M == 0:
        return False
    for c in range(C):
        held += fabs(moments[c]) <= most and moments[C + c] * correction <= most      # NaN is not below anything
    if held < C:
        return False
    if running_mean != NULL:
        for c in range(C):
            running_mean[c] = <floating>((1 - momentum) * running_mean[c] + momentum * moments[c])
    if running_var != NULL:
        for c in range(C):
            running_var[c] = <floating>((1 - momentum) * running_var[c] + momentum * (moments[C + c] * correction))
    return True
