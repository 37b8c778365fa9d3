# The tile of `product_tile.h` for either dtype.

cdef extern from "product_tile.h":
    ctypedef struct Runs "tinybn_runs":
        const Py_ssize_t *segment
        Py_ssize_t segments, length, step
    enum:
        VECTOR "TINYBN_VECTOR"      # bytes
        ROWS "TINYBN_ROWS"
        PANEL "TINYBN_PANEL"        # columns of a tile at the most
    void tinybn_tile_float(
        float *c, const Py_ssize_t *to, const float *start, int add, const float *a, const Py_ssize_t *row, Runs runs,
        const float *b, Py_ssize_t b_row, int rows, Py_ssize_t columns, int relu) nogil
    void tinybn_tile_double(
        double *c, const Py_ssize_t *to, const double *start, int add, const double *a, const Py_ssize_t *row, Runs runs,
        const double *b, Py_ssize_t b_row, int rows, Py_ssize_t columns, int relu) nogil
    void tinybn_transpose_float(
        float *to, Py_ssize_t to_row, const float *x, Py_ssize_t from_row, Py_ssize_t rows, Py_ssize_t columns) nogil
    void tinybn_transpose_double(
        double *to, Py_ssize_t to_row, const double *x, Py_ssize_t from_row, Py_ssize_t rows, Py_ssize_t columns) nogil


cdef inline void _tile(
    floating *c, const Py_ssize_t *to, const floating *start, bint add, const floating *a, const Py_ssize_t *row,
    Runs runs, const floating *b, Py_ssize_t b_row, Py_ssize_t rows, Py_ssize_t columns, bint relu=False,
) noexcept nogil:
    if floating is float:
        tinybn_tile_float(c, to, start, add, a, row, runs, b, b_row, <int>rows, columns, relu)
    else:
        tinybn_tile_double(c, to, start, add, a, row, runs, b, b_row, <int>rows, columns, relu)


cdef inline void _transpose(
    floating *to, Py_ssize_t to_row, const floating *x, Py_ssize_t from_row, Py_ssize_t rows, Py_ssize_t columns,
) noexcept nogil:
    if floating is float:
        tinybn_transpose_float(to, to_row, x, from_row, rows, columns)
    else:
        tinybn_transpose_double(to, to_row, x, from_row, rows, columns)


cdef inline Py_ssize_t _panel(const floating *x) noexcept nogil:
    """Columns of a tile."""
    return 2 * VECTOR // <Py_ssize_t>sizeof(floating)
