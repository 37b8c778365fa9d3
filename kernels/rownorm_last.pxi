# Groups of channels where channels are last in memory: an example is (S, C), of which BatchNorm's loops take the sums of
# each channel; those of a group are merged.

cdef enum:
    FIRST_ROWS = 32         # rows that a channel's shift is the mean of


cdef void _group_norm_last(const floating *x, Work *w, Py_ssize_t n) noexcept nogil:
    cdef floating *y = <floating *>w.out
    cdef floating high[WIDTH]
    cdef floating scale[WIDTH]
    cdef floating offset[WIDTH]
    cdef Py_ssize_t C = w.G * w.K, start = n * w.S * C, first, count, c, s, r, at
    cdef double *mean = &w.scratch[n * 2 * C]
    cdef double *var = &mean[C]
    for first in range(0, C, 800):
        _channel_moments(&mean[first], &var[first], x, start, first, min(C - first, <Py_ssize_t>WIDTH), C, w)
    for c in range(w.G):
        _merge_channels(&w.mean[n * w.G + c], &w.var[n * w.G + c], &mean[c * w.K], &var[c * w.K], w.K)
    for first in range(0, C, 800):
        count = min(C - first, <Py_ssize_t>WIDTH)
        for c in range(count):
            r = n * w.G + (first + c) // w.K
            high[c] = <floating>w.mean[r]
            _channel_line(
                &scale[c], &offset[c], <const floating *>w.weight, <const floating *>w.bias, w.mean[r], high[c],
                1 / sqrt(w.var[r] + w.eps), first + c)
        for s in range(w.S):
            at = start + s * C + first
            for c in range(count):
                y[at + c] = (x[at + c] - high[c]) * scale[c] + offset[c]


cdef void _channel_moments(
    double *mean, double *var, const floating *x, Py_ssize_t start, Py_ssize_t first, Py_ssize_t count, Py_ssize_t C,
    Work *w,
) noexcept nogil:
    """Mean and biased variance of some channels of an example."""
    cdef double total[WIDTH]
    cdef double square[WIDTH]
    cdef floating shift[WIDTH]
    cdef Sheet a = _example_sheet(start, first, count, C, w.S)
    cdef Py_ssize_t c, s, rows = min(w.S, <Py_ssize_t>FIRST_ROWS), far
    cdef int attempt
    cdef double deviation, d
    for c in range(count):
        total[c] = 0
    for s in range(rows):
        for c in range(count):
            total[c] += x[start + (s * w.S // rows) * C + first + c]
    for c in range(count):
        shift[c] = <floating>(total[c] / rows)
    for attempt in range(2):
        _sheet_squares(total, square, x, shift, &a)
        far = 0
        for c in range(count):
            deviation = total[c] / w.S
            mean[c] = shift[c] + deviation
            var[c] = max(0.0, square[c] / w.S - deviation * deviation)
            far += 2 * deviation * deviation > var[c]
        if not far:
            break
        for c in range(count):
            shift[c] = <floating>mean[c]
    for c in range(count):
        if not isfinite(var[c]) or (var[c] < TINY and (w.eps < TINY or total[c] != 0 or square[c] != 0)):
            total[c] = square[c] = 0
            for s in range(w.S):
                total[c] += x[start + s * C + first + c]
            mean[c] = total[c] / w.S
            for s in range(w.S):
                d = x[start + s * C + first + c] - mean[c]
                square[c] += d * d
            var[c] = square[c] / w.S


cdef inline Sheet _example_sheet(
    Py_ssize_t start, Py_ssize_t first, Py_ssize_t count, Py_ssize_t C, Py_ssize_t rows,
) noexcept nogil:
    """The rows of some channels; of all channels if these are few, several rows in a line, which make longer loops."""
    cdef Sheet a
    cdef Py_ssize_t folds = 1
    a.start, a.channels, a.S = start + first, count, 1
    if count == C:
        folds = max(<Py_ssize_t>1, min(rows // TREE, WIDTH // C))
    a.rows, a.pitch, a.width, a.tail = rows // folds, folds * C, folds * count, rows % folds * count
    return a


cdef inline void _merge_channels(
    double *mean, double *var, const double *means, const double *variances, Py_ssize_t K,
) noexcept nogil:
    """A group's moments from those of its channels, which are of equally many values."""
    cdef double total = 0, square = 0
    cdef Py_ssize_t k
    for k in range(1, K):
        total += means[k] - means[0]                    # 0 where all are constant and alike
    mean[0] = means[0] + total / K
    for k in range(K):
        square += variances[k] + (means[k] - mean[0]) * (means[k] - mean[0])
    var[0] = square / K


cdef void _group_gradient_last(const floating *x, Work *w, Py_ssize_t n) noexcept nogil:
    cdef const floating *dy = <const floating *>w.dy
    cdef floating *dx = <floating *>w.out
    cdef const floating *weight = <const floating *>w.weight
    cdef floating high[WIDTH]
    cdef floating own[WIDTH]
    cdef floating scale[WIDTH]
    cdef floating slope[WIDTH]
    cdef floating level[WIDTH]
    cdef Sheet a
    cdef Py_ssize_t C = w.G * w.K, start = n * w.S * C, first, count, c, g, s, at
    cdef double *total = &w.scratch[n * 2 * C]
    cdef double *product = &total[C]
    cdef double rstd
    for first in range(0, C, 800):
        count = min(C - first, <Py_ssize_t>WIDTH)
        for c in range(count):
            high[c] = <floating>w.mean[n * w.G + (first + c) // w.K]
        a = _example_sheet(start, first, count, C, w.S)
        _sheet_products(&total[first], &product[first], dy, x, high, NULL, NULL, False, &a)
    for g in range(w.G):
        _finish_products(total, product, x, dy, w, n, g, 1 / sqrt(w.var[n * w.G + g] + w.eps))
    for first in range(0, C, 800):
        count = min(C - first, <Py_ssize_t>WIDTH)
        for c in range(count):
            g = (first + c) // w.K
            rstd = 1 / sqrt(w.var[n * w.G + g] + w.eps)
            high[c] = <floating>w.mean[n * w.G + g]
            own[c] = 1 if weight == NULL else weight[first + c]
            scale[c] = <floating>rstd
            if c == 0 or (first + c) % w.K == 0:
                _group_line(&slope[c], &level[c], total, product, weight, w, n, g, rstd)
            else:
                slope[c], level[c] = slope[c - 1], level[c - 1]
        for s in range(w.S):
            at = start + s * C + first
            for c in range(count):
                dx[at + c] = ((dy[at + c] * own[c] - level[c]) - (x[at + c] - high[c]) * slope[c]) * scale[c]
