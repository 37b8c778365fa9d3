# The rectangles that the loops run over.

cdef struct Sheet:          # `rows` × `width` values and one more row of `tail` values
    Py_ssize_t start        # where its first value is
    Py_ssize_t rows, pitch, width, tail
    Py_ssize_t channels, S  # the value in column j is of channel (j // S) % channels


cdef inline void _spread(floating *line, const floating *values, Sheet *a) noexcept nogil:
    """A line with each column's value, from those of the channels."""
    cdef Py_ssize_t i, c, s
    if a.S == 1:
        for i in range(a.width // a.channels):
            for c in range(a.channels):
                line[i * a.channels + c] = values[c]
    else:
        for c in range(a.channels):
            for s in range(min(a.S, a.width)):
                line[c * a.S + s] = values[c]
