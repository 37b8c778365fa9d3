# Sums of each channel over a sheet.

cdef extern from "row_sums.h":
    void tinybn_row_squares_float(double *total, double *square, const float *x, float shift, Py_ssize_t n) nogil
    void tinybn_row_squares_double(double *total, double *square, const double *x, double shift, Py_ssize_t n) nogil
    void tinybn_row_products_float(
        double *total, double *product, const float *dy, const float *x, float high, float scale, float offset,
        int relu, Py_ssize_t n) nogil
    void tinybn_row_products_double(
        double *total, double *product, const double *dy, const double *x, double high, double scale, double offset,
        int relu, Py_ssize_t n) nogil

cdef enum:
    WIDTH = 800             # LINE bytes of float32; the steps of the loops over long rows, which must be literals, too
    TREE = 8                # rows that are added to each other before they are added to a column ...
    FLUSH = 32              # ... for so many rows in the data's dtype: three additions in the tree and four to the column,
                            # wrong by 7·2⁻²⁴ at most; 64 rows by fours were 10 % faster, and 12 units in the last place off
    LANES = 32

cdef void _sheet_squares(
    double *total, double *square, const floating *x, const floating *shift, Sheet *a,
) noexcept nogil:
    """With d = x - shift: Σd and Σd² of each channel."""
    cdef floating shifts[WIDTH]
    cdef floating part[WIDTH]
    cdef floating part_square[WIDTH]
    cdef Py_ssize_t r = 0, n, width, filled = 0
    _spread(shifts, shift, a)
    _clear(part, part_square, a.width)
    _clear(total, square, a.channels)
    while r < a.rows + (a.tail > 0):
        n = min(a.rows - r, FLUSH - filled) if r < a.rows else 1
        width = a.width if r < a.rows else a.tail
        _add_squares(part, part_square, &x[a.start + r * a.pitch], shifts, n, a.pitch, width)
        r += n
        filled += n
        if filled == FLUSH:
            _flush(total, square, part, part_square, a)
            filled = 0
    if filled:
        _flush(total, square, part, part_square, a)


cdef void _rows_squares(
    double *total, double *square, const floating *x, const floating *shift, Sheet *a,
) noexcept nogil:
    """The same of channels with many positions, row by row in the order of memory."""
    cdef Py_ssize_t r, c, at
    _clear(total, square, a.channels)
    for r in range(a.rows):
        for c in range(a.channels):
            at = a.start + r * a.pitch + c * a.S
            if floating is float:
                tinybn_row_squares_float(&total[c], &square[c], &x[at], shift[c], a.S)
            else:
                tinybn_row_squares_double(&total[c], &square[c], &x[at], shift[c], a.S)


cdef inline void _add_squares(
    floating *part, floating *part_square, const floating *x, const floating *shift, Py_ssize_t rows,
    Py_ssize_t pitch, Py_ssize_t width,
) noexcept nogil:
    cdef floating d0, d1, d2, d3, d4, d5, d6, d7
    cdef Py_ssize_t r, j
    for r in range(0, rows - 7, 8):
        for j in range(width):
            d0 = x[r * pitch + j] - shift[j]
            d1 = x[(r + 1) * pitch + j] - shift[j]
            d2 = x[(r + 2) * pitch + j] - shift[j]
            d3 = x[(r + 3) * pitch + j] - shift[j]
            d4 = x[(r + 4) * pitch + j] - shift[j]
            d5 = x[(r + 5) * pitch + j] - shift[j]
            d6 = x[(r + 6) * pitch + j] - shift[j]
            d7 = x[(r + 7) * pitch + j] - shift[j]
            part[j] += ((d0 + d1) + (d2 + d3)) + ((d4 + d5) + (d6 + d7))
            part_square[j] += ((d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)) + (
                (d4 * d4 + d5 * d5) + (d6 * d6 + d7 * d7))
    for r in range(rows - rows % 8, rows):
        for j in range(width):
            d0 = x[r * pitch + j] - shift[j]
            part[j] += d0
            part_square[j] += d0 * d0


cdef void _sheet_products(
    double *total, double *product, const floating *dy, const floating *x, const floating *high,
    const floating *scale, const floating *offset, bint relu, Sheet *a,
) noexcept nogil:
    """Σdy and Σdy·(x - high) of each channel; with relu, dy counts where (x - high)·scale + offset is not ≤ 0."""
    cdef floating highs[WIDTH]
    cdef floating scales[WIDTH]
    cdef floating offsets[WIDTH]
    cdef floating part[WIDTH]
    cdef floating part_product[WIDTH]
    cdef Py_ssize_t r = 0, n, at, width, filled = 0
    _spread(highs, high, a)
    if relu:
        _spread(scales, scale, a)
        _spread(offsets, offset, a)
    _clear(part, part_product, a.width)
    _clear(total, product, a.channels)
    while r < a.rows + (a.tail > 0):
        at = a.start + r * a.pitch
        n = min(a.rows - r, FLUSH - filled) if r < a.rows else 1
        width = a.width if r < a.rows else a.tail
        if relu:                                        # one loop for each, without a question inside
            _add_products(part, part_product, &dy[at], &x[at], highs, scales, offsets, True, n, a.pitch, width)
        else:
            _add_products(part, part_product, &dy[at], &x[at], highs, scales, offsets, False, n, a.pitch, width)
        r += n
        filled += n
        if filled == FLUSH:
            _flush(total, product, part, part_product, a)
            filled = 0
    if filled:
        _flush(total, product, part, part_product, a)


cdef void _rows_products(
    double *total, double *product, const floating *dy, const floating *x, const floating *high,
    const floating *scale, const floating *offset, bint relu, Sheet *a,
) noexcept nogil:
    """The same of channels with many positions."""
    cdef Py_ssize_t r, c, at
    _clear(total, product, a.channels)
    for r in range(a.rows):
        for c in range(a.channels):
            at = a.start + r * a.pitch + c * a.S
            if floating is float:
                tinybn_row_products_float(
                    &total[c], &product[c], &dy[at], &x[at], high[c], scale[c], offset[c], relu, a.S)
            else:
                tinybn_row_products_double(
                    &total[c], &product[c], &dy[at], &x[at], high[c], scale[c], offset[c], relu, a.S)


cdef inline void _add_products(
    floating *part, floating *part_product, const floating *dy, const floating *x, const floating *high,
    const floating *scale, const floating *offset, bint relu, Py_ssize_t rows, Py_ssize_t pitch, Py_ssize_t width,
) noexcept nogil:
    cdef floating d0, d1, d2, d3, g0, g1, g2, g3
    cdef Py_ssize_t r, j
    for r in range(0, rows - 3, 4):
        for j in range(width):
            d0 = x[r * pitch + j] - high[j]
            d1 = x[(r + 1) * pitch + j] - high[j]
            d2 = x[(r + 2) * pitch + j] - high[j]
            d3 = x[(r + 3) * pitch + j] - high[j]
            g0 = dy[r * pitch + j]
            g1 = dy[(r + 1) * pitch + j]
            g2 = dy[(r + 2) * pitch + j]
            g3 = dy[(r + 3) * pitch + j]
            if relu:
                g0 = g0 * (0 if d0 * scale[j] + offset[j] <= 0 else 1)
                g1 = g1 * (0 if d1 * scale[j] + offset[j] <= 0 else 1)
                g2 = g2 * (0 if d2 * scale[j] + offset[j] <= 0 else 1)
                g3 = g3 * (0 if d3 * scale[j] + offset[j] <= 0 else 1)
            part[j] += (g0 + g1) + (g2 + g3)
            part_product[j] += (g0 * d0 + g1 * d1) + (g2 * d2 + g3 * d3)
    for r in range(rows - rows % 4, rows):
        for j in range(width):
            d0 = x[r * pitch + j] - high[j]
            g0 = dy[r * pitch + j]
            if relu:
                g0 = g0 * (0 if d0 * scale[j] + offset[j] <= 0 else 1)
            part[j] += g0
            part_product[j] += g0 * d0


cdef inline void _clear(floating *a, floating *b, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        a[j] = 0
        b[j] = 0


cdef inline void _flush(double *total, double *other, floating *part, floating *part_other, Sheet *a) noexcept nogil:
    """Add columns to their channels' sums, and clear them."""
    cdef Py_ssize_t i, c
    if a.S > 1:
        for c in range(a.channels):
            total[c] += _row_sum(&part[c * a.S], min(a.S, a.width))
            other[c] += _row_sum(&part_other[c * a.S], min(a.S, a.width))
    elif a.channels == 1:
        total[0] += _row_sum(part, a.width)
        other[0] += _row_sum(part_other, a.width)
    else:
        for i in range(a.width // a.channels):
            for c in range(a.channels):
                total[c] += part[i * a.channels + c]
                other[c] += part_other[i * a.channels + c]
    _clear(part, part_other, a.width)


cdef inline double _row_sum(const floating *values, Py_ssize_t n) noexcept nogil:
    cdef double lanes[LANES]
    cdef Py_ssize_t i, j
    for j in range(LANES):
        lanes[j] = 0
    for i in range(n // LANES):
        for j in range(LANES):
            lanes[j] += values[i * LANES + j]
    for j in range(n % LANES):
        lanes[j] += values[n - n % LANES + j]
    for j in range(16):
        lanes[j] += lanes[j + 16]
    for j in range(8):
        lanes[j] += lanes[j + 8]
    for j in range(4):
        lanes[j] += lanes[j + 4]
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
