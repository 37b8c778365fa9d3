# Rows with a weight for each place: LayerNorm, and RMSNorm, which is not centered.

cdef extern from "row_sums.h":
    void tinybn_row_weighted_float(
        double *total, double *product, const float *dy, const float *x, const float *weight, float high,
        Py_ssize_t n) nogil
    void tinybn_row_weighted_double(
        double *total, double *product, const double *dy, const double *x, const double *weight, double high,
        Py_ssize_t n) nogil

cdef enum:
    CHUNK_VALUES = 1 << 12      # values of a forward task: some 1 µs
    SAMPLED = 16                # values of a row that the shift is the mean of
    BATCH = 8                   # rows of which the sums are taken before any of them is gone over again, at the most ...
    BATCH_BYTES = 1 << 19       # ... and so many bytes of x and dy: half of a 1 MB L2
    STRIP = 512                 # places at a time, then: dweight and dbias stay in L1 for the rows of a batch


cdef void _layer_norm_task(void *work, Py_ssize_t chunk, int who) noexcept nogil:
    cdef Work *w = <Work *>work
    cdef Py_ssize_t r
    for r in range(chunk * w.chunk, min(w.R, (chunk + 1) * w.chunk)):
        if w.single:
            _layer_norm_row(<const float *>w.x + r * w.D, w, r)
        else:
            _layer_norm_row(<const double *>w.x + r * w.D, w, r)


cdef void _layer_norm_row(const floating *x, Work *w, Py_ssize_t r) noexcept nogil:
    cdef floating *y = <floating *>w.out + r * w.D
    cdef const floating *weight = <const floating *>w.weight
    cdef const floating *bias = <const floating *>w.bias
    cdef Py_ssize_t place = r % w.period * w.D
    _row_moments(&w.mean[r], &w.var[r], x, w.D, w.centered, w.eps)
    if weight != NULL:
        weight += place
    if bias != NULL:
        bias += place
    _normalize_places(y, x, weight, bias, w.mean[r], 1 / sqrt(w.var[r] + w.eps), w.D)


cdef void _row_moments(
    double *mean, double *var, const floating *x, Py_ssize_t n, bint centered, double eps,
) noexcept nogil:
    """Mean and biased variance of n values in a row; not centered, 0 and the mean of the squares."""
    cdef double total, square, deviation = 0, each = 1.0 / n
    cdef floating shift = 0
    cdef int attempt
    if centered:
        shift = _sampled(x, n)
    for attempt in range(2):
        total = square = 0
        if floating is float:
            tinybn_row_squares_float(&total, &square, x, shift, n)
        else:
            tinybn_row_squares_double(&total, &square, x, shift, n)
        if centered:
            deviation = total * each
        mean[0] = shift + deviation
        var[0] = max(0.0, square * each - deviation * deviation)
        if not 2 * deviation * deviation > var[0]:
            break
        shift = <floating>mean[0]
    if not isfinite(var[0]) or (var[0] < TINY and (eps < TINY or total != 0 or square != 0)):
        _row_moments_in_double(mean, var, x, n, centered)


cdef inline floating _sampled(const floating *x, Py_ssize_t n) noexcept nogil:
    """The mean of a few values from all over a row, in four sums that need not wait for each other."""
    cdef double a = 0, b = 0, c = 0, d = 0
    cdef Py_ssize_t step = n // SAMPLED, i
    if step == 0:
        for i in range(n):
            a += x[i]
        return <floating>(a / n)
    for i in range(<Py_ssize_t>SAMPLED // 4):
        a += x[4 * i * step]
        b += x[(4 * i + 1) * step]
        c += x[(4 * i + 2) * step]
        d += x[(4 * i + 3) * step]
    return <floating>(((a + b) + (c + d)) / SAMPLED)


cdef void _row_moments_in_double(
    double *mean, double *var, const floating *x, Py_ssize_t n, bint centered,
) noexcept nogil:
    """Of a row with NaN, infinity, or values whose squares leave float32's range."""
    cdef double total = 0, square = 0
    cdef Py_ssize_t i
    if centered:
        for i in range(n):
            total += x[i]
    mean[0] = total / n
    for i in range(n):
        square += (x[i] - mean[0]) * (x[i] - mean[0])
    var[0] = square / n


cdef inline void _normalize_places(
    floating *y, const floating *x, const floating *weight, const floating *bias, double mean, double rstd, Py_ssize_t n,
) noexcept nogil:
    """y = ((x - high)·scale + low)·weight + bias; what the mean has below high is in low."""
    cdef floating high = <floating>mean, scale = <floating>rstd, low = <floating>(-(mean - high) * rstd)
    cdef Py_ssize_t i
    if weight != NULL and bias != NULL:
        for i in range(n):
            y[i] = ((x[i] - high) * scale + low) * weight[i] + bias[i]
    elif weight != NULL:
        for i in range(n):
            y[i] = ((x[i] - high) * scale + low) * weight[i]
    elif bias != NULL:
        for i in range(n):
            y[i] = ((x[i] - high) * scale + low) + bias[i]
    else:
        for i in range(n):
            y[i] = (x[i] - high) * scale + low


# --- backward ---------------------------------------------------------------------------------------------------------

cdef struct Line:               # the numbers of a row
    Py_ssize_t place            # where its weights begin
    double high, scale, low, slope, level


cdef void _layer_gradient_task(void *work, Py_ssize_t chunk, int who) noexcept nogil:
    """dx of a chunk of rows; the chunk's part of the scratch memory gets its dweight and dbias."""
    cdef Work *w = <Work *>work
    cdef Py_ssize_t places = w.period * w.D
    cdef double *total = &w.scratch[chunk * 4 * places]
    if w.single:
        _layer_gradient(<const float *>w.x, w, chunk * w.chunk, total, <float *>&total[2 * places])
    else:
        _layer_gradient(<const double *>w.x, w, chunk * w.chunk, total, &total[2 * places])


cdef void _layer_gradient(const floating *x, Work *w, Py_ssize_t first, double *total, floating *part) noexcept nogil:
    """part (2, places) takes the sums of up to FLUSH rows; of longer chunks total takes them in double."""
    cdef Line lines[BATCH]
    cdef Py_ssize_t places = w.period * w.D, last = min(w.R, first + w.chunk), added = 0, i, count, at
    cdef Py_ssize_t batch = max(<Py_ssize_t>1, min(<Py_ssize_t>BATCH, BATCH_BYTES // (2 * w.D * <Py_ssize_t>sizeof(floating))))
    cdef bint wanted = w.dweight != NULL
    if wanted:
        _clear(part, &part[places], places)
        if w.chunk > FLUSH:
            _clear(total, &total[places], places)
    while first < last:
        count = min(batch, last - first)
        for i in range(count):
            _line(&lines[i], &x[(first + i) * w.D], w, first + i)
        for at in range(0, w.D, 512):
            for i in range(count):
                _strip(&x[(first + i) * w.D + at], w, &lines[i], first + i, at, min(w.D - at, <Py_ssize_t>STRIP),
                       part if wanted else NULL)
        added += count
        first += count
        if wanted and w.chunk > FLUSH and (added >= FLUSH or first == last):
            _add_and_clear(total, part, 2 * places)
            added = 0


cdef void _line(Line *line, const floating *x, Work *w, Py_ssize_t r) noexcept nogil:
    """The numbers of dx = ((dy·weight - level) - (x - high)·slope)·scale."""
    cdef const floating *dy = <const floating *>w.dy + r * w.D
    cdef const floating *weight = <const floating *>w.weight
    cdef double mean = w.mean[r], rstd = 1 / sqrt(w.var[r] + w.eps), total = 0, product = 0
    cdef floating high = <floating>mean
    line.place = r % w.period * w.D
    if weight != NULL:
        weight += line.place
    if floating is float:
        tinybn_row_weighted_float(&total, &product, dy, x, weight, high, w.D)
    else:
        tinybn_row_weighted_double(&total, &product, dy, x, weight, high, w.D)
    product = (product - (mean - high) * total) * rstd                          # Σg·x̂
    if not isfinite(product) or not isfinite(total) or _beyond(rstd, w.eps):
        _weighted_in_double(&total, &product, dy, x, weight, mean, rstd, w.D)
    line.high, line.scale, line.low = high, rstd, -(mean - high) * rstd
    line.slope = product / w.D * rstd
    line.level = (total / w.D if w.centered else 0) - (mean - high) * line.slope


cdef void _strip(
    const floating *x, Work *w, Line *line, Py_ssize_t r, Py_ssize_t at, Py_ssize_t n, floating *part,
) noexcept nogil:
    """dx of n places of a row, and what they add to dweight and dbias."""
    cdef const floating *dy = <const floating *>w.dy + r * w.D + at
    cdef const floating *weight = <const floating *>w.weight
    cdef floating *dx = <floating *>w.out + r * w.D + at
    cdef floating *dweight
    cdef floating *dbias
    cdef floating high = <floating>line.high, scale = <floating>line.scale, low = <floating>line.low
    cdef floating slope = <floating>line.slope, level = <floating>line.level
    cdef Py_ssize_t i
    if part != NULL:
        dweight = &part[line.place + at]
        dbias = &part[w.period * w.D + line.place + at]
        for i in range(n):
            dweight[i] += dy[i] * ((x[i] - high) * scale + low)
            dbias[i] += dy[i]
    if weight != NULL:
        weight += line.place + at
        for i in range(n):
            dx[i] = ((dy[i] * weight[i] - level) - (x[i] - high) * slope) * scale
    else:
        for i in range(n):
            dx[i] = ((dy[i] - level) - (x[i] - high) * slope) * scale


cdef inline bint _beyond(double rstd, double eps) noexcept nogil:
    """Whether values are so small that their products leave float32's range at its lower end."""
    return eps < TINY and rstd * rstd > 1 / TINY


cdef void _weighted_in_double(
    double *total, double *product, const floating *dy, const floating *x, const floating *weight, double mean, double rstd,
    Py_ssize_t n,
) noexcept nogil:
    """Σg and Σg·x̂ of a row with NaN, infinity, or products that leave float32's range, at either end."""
    cdef double g
    cdef Py_ssize_t i
    total[0] = product[0] = 0
    for i in range(n):
        g = <double>dy[i] * (1 if weight == NULL else weight[i])
        total[0] += g
        product[0] += g * ((x[i] - mean) * rstd)


cdef inline void _add_and_clear(double *total, floating *part, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        total[i] += part[i]
        part[i] = 0


cdef void _sum_chunks(Work *w, Py_ssize_t chunks) noexcept nogil:
    """dweight and dbias of all chunks, which are added in double."""
    if w.single:
        _sum_columns(<float *>w.dweight, <float *>w.dbias, w, chunks)
    else:
        _sum_columns(<double *>w.dweight, <double *>w.dbias, w, chunks)


cdef void _sum_columns(floating *dweight, floating *dbias, Work *w, Py_ssize_t chunks) noexcept nogil:
    cdef double sums[2][WIDTH]
    cdef double *total
    cdef floating *part
    cdef Py_ssize_t D = w.period * w.D, first, n, chunk, i
    for first in range(0, D, 800):                      # D: all places
        n = min(D - first, <Py_ssize_t>WIDTH)
        _clear(&sums[0][0], &sums[1][0], n)
        for chunk in range(chunks):
            total = &w.scratch[chunk * 4 * D]
            part = <floating *>&total[2 * D]
            if w.chunk > FLUSH:
                for i in range(n):
                    sums[0][i] += total[first + i]
                    sums[1][i] += total[D + first + i]
            else:
                for i in range(n):
                    sums[0][i] += part[first + i]
                    sums[1][i] += part[D + first + i]
        for i in range(n):
            dweight[first + i] = <floating>sums[0][i]
            dbias[first + i] = <floating>sums[1][i]
