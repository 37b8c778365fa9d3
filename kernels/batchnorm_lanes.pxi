# Sums in lanes and the numbers of one channel, for both layouts.

# Sums over `rows` rows of w <= GROUP values, `stride` apart: w channels, or one channel's contiguous values cut into
# rows. The bodies are inline, so that the compiler makes a copy of them for w = LANES, which lives in registers.

cdef void _add_squares(
    floating *part, floating *part_square, const floating *x, const floating *shift, Py_ssize_t rows,
    Py_ssize_t stride, Py_ssize_t w,
) noexcept nogil:
    """With d = x[r, j] - shift[j]: part[j] += Σ_r d, part_square[j] += Σ_r d²"""
    if w == LANES:
        _add_squares_of(part, part_square, x, shift, rows, stride, LANES)
    else:
        _add_squares_of(part, part_square, x, shift, rows, stride, w)


cdef inline void _add_squares_of(
    floating *part, floating *part_square, const floating *x, const floating *shift, Py_ssize_t rows,
    Py_ssize_t stride, Py_ssize_t w,
) noexcept nogil:
    cdef floating total[GROUP]
    cdef floating square[GROUP]
    cdef floating d
    cdef Py_ssize_t r, j
    for j in range(w):
        total[j] = part[j]
        square[j] = part_square[j]
    for r in range(rows):
        for j in range(w):
            d = x[r * stride + j] - shift[j]
            total[j] += d
            square[j] += d * d
    for j in range(w):
        part[j] = total[j]
        part_square[j] = square[j]


cdef void _add_products(
    floating *part, floating *part_product, const floating *dy, const floating *x, const floating *high,
    Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t w,
) noexcept nogil:
    """part[j] += Σ_r dy[r, j], part_product[j] += Σ_r dy[r, j]·(x[r, j] - high[j])"""
    if w == LANES:
        _add_products_of(part, part_product, dy, x, high, rows, stride, LANES)
    else:
        _add_products_of(part, part_product, dy, x, high, rows, stride, w)


cdef inline void _add_products_of(
    floating *part, floating *part_product, const floating *dy, const floating *x, const floating *high,
    Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t w,
) noexcept nogil:
    cdef floating total[GROUP]
    cdef floating product[GROUP]
    cdef Py_ssize_t r, j
    for j in range(w):
        total[j] = part[j]
        product[j] = part_product[j]
    for r in range(rows):
        for j in range(w):
            total[j] += dy[r * stride + j]
            product[j] += dy[r * stride + j] * (x[r * stride + j] - high[j])
    for j in range(w):
        part[j] = total[j]
        part_product[j] = product[j]


cdef inline void _flush(double *total, floating *part, Py_ssize_t channels) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(channels * 2 * LANES):
        total[j] += part[j]
        part[j] = 0


cdef inline double _sum(const double *lanes) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t j
    for j in range(LANES):
        total += lanes[j]
    return total


cdef inline void _set(floating *values, floating value, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        values[j] = value


cdef inline double _rstd(double var, double eps) noexcept nogil:
    return 1.0 / sqrt(var + eps)


cdef inline bint _finish_moments(
    double *mean, double *var, double shift, double total, double square, Py_ssize_t M,
) noexcept nogil:
    """The moments from Σd and Σd². False: shift is over two standard deviations off, do it again about this mean."""
    cdef double deviation = total / M
    mean[0] = shift + deviation
    var[0] = square / M - deviation * deviation
    if var[0] < 0:
        var[0] = 0
    return not deviation * deviation > 4 * var[0]


cdef void _moments_in_double(
    double *mean, double *var, const floating *x, Py_ssize_t N, Py_ssize_t stride, Py_ssize_t S,
) noexcept nogil:
    """One channel with NaN, Inf, or values whose squares overflow the lanes: plainly, so that each ends as it should."""
    cdef double total = 0, square = 0, d
    cdef Py_ssize_t n, s
    for n in range(N):
        for s in range(S):
            total += x[n * stride + s]
    mean[0] = total / (N * S)
    for n in range(N):
        for s in range(S):
            d = x[n * stride + s] - mean[0]
            square += d * d
    var[0] = square / (N * S)


cdef inline void _gradient_line(
    floating *high, floating *slope, floating *offset, floating *scale, double mean, double var, double weight,
    double mean_dyx, double mean_dy, double eps,
) noexcept nogil:
    """The numbers of dx = ((dy - offset) - (x - high)·slope)·scale; the mean's low part is in offset."""
    cdef double rstd = _rstd(var, eps)
    high[0] = <floating>mean
    slope[0] = <floating>(mean_dyx * rstd)
    offset[0] = <floating>(mean_dy - (mean - high[0]) * mean_dyx * rstd)
    scale[0] = <floating>(weight * rstd)
