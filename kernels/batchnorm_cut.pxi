# How a tensor is cut: into blocks of channels that stay in the cache between two passes, these into slices of rows, and
# these into sheets, the rectangles that the loops run over. What is added in which order depends on the shape alone.

cdef enum:
    LINE = 3200             # bytes of the longest row that a loop takes. Some of them fit the 32 KB L1; and they are not 4 KB
                            # apart, which puts them into the same few lines of it: a quarter slower at (4096, 256)
    BLOCK = 13 << 15        # bytes of a block, of all its inputs together: less than half of a 1 MB L2
    NARROW = 256            # (M, C) with fewer channels is one block: whole rows lie one behind the other
    SLICES = 8              # a block's sums have at most 8 slices ...
    SLICE_ROWS = 512        # ... of at least so many rows
    LONG = 400              # from so many positions on, rows are summed by themselves if they are of two inputs
    RUN = 1 << 14           # bytes of a block's row, then: so long a run of lines is read as fast as any

cdef struct Cut:
    Form form
    Py_ssize_t width        # the most values in a row of a sheet
    Py_ssize_t channels     # of a block
    Py_ssize_t blocks
    Py_ssize_t rows         # of a slice
    Py_ssize_t slices
    bint by_rows            # each channel's rows are summed by themselves
    Py_ssize_t spread_below # fewer positions, and the second pass runs over lines with parameters spread over them
    bint ahead              # read the next block's rows while this one's are written


cdef Cut _cut(Form form, int inputs, bint again) noexcept nogil:
    """For sums over the inputs: blocks that stay in the cache for a pass that goes over them again, or long runs of lines;
    slices whose sums are merged."""
    cdef Cut cut
    cdef Py_ssize_t C = form.C, size = sizeof(float) if form.single else sizeof(double), most
    cut.form = form
    cut.width = LINE // size
    cut.by_rows = form.S > cut.width or (inputs == 2 and form.S >= LONG)
    most = max(1, BLOCK // (size * inputs * form.N * form.S))               # channels that fit
    if form.S == 1:
        cut.channels = C if C <= NARROW else min(C, max(<Py_ssize_t>NARROW, min(most, cut.width) // 32 * 32))
    elif cut.by_rows and not again:
        cut.channels = min(C, _whole_lines(max(1, RUN // (size * form.S)), WIDTH, &cut))
    else:
        cut.channels = min(C, _whole_lines(min(most, max(1, cut.width // form.S)), 2 * most, &cut))
    _even_blocks(&cut)
    cut.rows = max(<Py_ssize_t>SLICE_ROWS, (form.N + SLICES - 1) // SLICES)
    cut.slices = (form.N + cut.rows - 1) // cut.rows
    cut.ahead, cut.spread_below = True, 512         # shorter ones lose more at their ends than lines of parameters cost
    return cut


cdef Cut _cut_for_one_pass(Form form) noexcept nogil:
    """In the order of memory, as far as lines go."""
    cdef Cut cut
    cut.form = form
    cut.width = LINE // (sizeof(float) if form.single else sizeof(double))
    cut.channels = min(form.C, cut.width if form.S == 1 or form.S >= 64 else cut.width // form.S)
    _even_blocks(&cut)
    cut.rows = max((form.N + 15) // 16, 1 if form.S >= 64 else 32)
    cut.slices = (form.N + cut.rows - 1) // cut.rows
    cut.by_rows = False
    cut.ahead, cut.spread_below = False, 64         # rows of all channels one after the other: in the order of memory
    return cut


cdef inline Py_ssize_t _whole_lines(Py_ssize_t channels, Py_ssize_t most, Cut *cut) noexcept nogil:
    """So many channels or a few less, or up to `most`, whose values together fill whole lines of the cache."""
    cdef Py_ssize_t values = 16 if cut.form.single else 8, unit = 1         # of a line; channels that fill whole lines
    while cut.form.S * unit % values:
        unit *= 2
    if channels >= unit:
        return channels // unit * unit
    return unit if unit <= most and unit * cut.form.S <= cut.width else channels


cdef inline void _even_blocks(Cut *cut) noexcept nogil:
    """If there are several blocks, make them an even number of nearly the same size, for two threads or four."""
    cdef Py_ssize_t C = cut.form.C
    cut.blocks = (C + cut.channels - 1) // cut.channels
    if cut.blocks > 1:
        cut.blocks += cut.blocks % 2
        cut.channels = _whole_lines((C + cut.blocks - 1) // cut.blocks, cut.channels, cut)
        cut.blocks = (C + cut.channels - 1) // cut.channels


cdef Sheet _sheet(Cut *cut, Py_ssize_t block, Py_ssize_t slice) noexcept nogil:
    cdef Sheet a
    cdef Py_ssize_t C = cut.form.C, S = cut.form.S, rows = _slice_rows(cut, slice), folds
    a.channels = _block_channels(cut, block)
    a.S = S
    a.start = (slice * cut.rows * C + block * cut.channels) * S
    a.rows, a.pitch, a.width, a.tail = rows, C * S, a.channels * S, 0
    if S == 1 and a.channels == C:                  # whole rows: several in a line make longer loops
        folds = max(1, min(rows // TREE, cut.width // C))
        a.rows, a.pitch, a.width, a.tail = rows // folds, folds * C, folds * C, rows % folds * C
    return a


cdef inline Py_ssize_t _block_channels(Cut *cut, Py_ssize_t block) noexcept nogil:
    return min(cut.channels, cut.form.C - block * cut.channels)


cdef inline Py_ssize_t _slice_rows(Cut *cut, Py_ssize_t slice) noexcept nogil:
    return min(cut.rows, cut.form.N - slice * cut.rows)
