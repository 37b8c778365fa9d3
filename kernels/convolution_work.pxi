# A band of windows is a task, or, for the gradient of the weights, a chunk of the batch and some rows of the result.

cdef struct Planes:
    bint single
    Py_ssize_t A, B, parts
    void *out
    const void *x


cdef void _band_task(void *work, Py_ssize_t i, int who) noexcept nogil:
    if (<Work *>work).single:
        _correlate_band(<float *>(<Work *>work).y, <Work *>work, i, who)
    else:
        _correlate_band(<double *>(<Work *>work).y, <Work *>work, i, who)


cdef void _weights_task(void *work, Py_ssize_t i, int who) noexcept nogil:
    if (<Work *>work).single:
        _correlate_chunk(<float *>(<Work *>work).y, <Work *>work, i, who)
    else:
        _correlate_chunk(<double *>(<Work *>work).y, <Work *>work, i, who)


cdef void _spread_task(void *work, Py_ssize_t i, int who) noexcept nogil:
    if (<Work *>work).single:
        _spread_image(<float *>(<Work *>work).y, <Work *>work, i, who)
    else:
        _spread_image(<double *>(<Work *>work).y, <Work *>work, i, who)


cdef void _planes_task(void *work, Py_ssize_t i, int who) noexcept nogil:
    if (<Planes *>work).single:
        _transpose_part(<float *>(<Planes *>work).out, <Planes *>work, i)
    else:
        _transpose_part(<double *>(<Planes *>work).out, <Planes *>work, i)


cdef void _correlate_band(floating *y, Work *w, Py_ssize_t i, int who) noexcept nogil:
    cdef Bands *b = &w.bands
    cdef Py_ssize_t n = i // b.bands, first = i % b.bands * b.band, count = min(b.band, b.P - first) * b.Q, g, p, j, m, r
    cdef Py_ssize_t panel = _panel(y), columns, rows, line, place, depth = w.T * w.length
    cdef const floating *x = _windows(_scratch_of(y, w, who), w, n, first)
    cdef const floating *matrix = <const floating *>w.matrix
    cdef const floating *bias
    cdef Py_ssize_t y_h = w.y_h, y_w = w.y_w
    cdef bint lines_are_one
    cdef floating *pooled = y + n * w.y_n + first // 2 * w.y_h
    cdef Py_ssize_t to[ROWS]
    cdef Py_ssize_t row[ROWS]
    cdef Runs runs
    runs.segment, runs.segments, runs.length, runs.step = w.tap, w.T, w.length, 1
    if w.unpooled == NULL:
        y += n * w.y_n + first * w.y_h
    else:
        y = <floating *>(w.unpooled + who * w.unpooled_size)
        y_w = w.G * w.B
        y_h = b.Q * y_w
    lines_are_one = w.G == 1 and y_w == w.B and y_h == b.Q * w.B
    for g in range(w.G):
        for p in range((w.B + panel - 1) // panel):
            j = p * panel
            bias = NULL
            if w.bias != NULL:
                bias = <const floating *>w.bias + g * w.columns + j
            line, place = 0, 0
            for m in range((count + ROWS - 1) // ROWS):
                rows = min(<Py_ssize_t>ROWS, count - m * ROWS)
                for r in range(rows):
                    to[r] = line * y_h + place * y_w
                    row[r] = line * b.stride_h * b.pitch + place * b.stride_w * b.C
                    place += 1
                    if place == b.Q:
                        line, place = line + 1, 0
                # Fewer channels than a vector has: it is stored whole where the next places' values overwrite the rest.
                if lines_are_one and w.B < panel // 2 and (count - m * ROWS - rows) * w.B >= panel // 2:
                    columns = panel // 2
                else:
                    columns = min(panel, w.B - j)
                _tile(y + g * w.B + j, to, bias, False, x + g * w.A, row, runs, matrix + j, w.columns, rows, columns,
                      w.relu)
        matrix += depth * w.columns
    if w.unpooled != NULL:
        for line in range(count // b.Q // 2):
            for place in range(b.Q // 2):
                _largest_of_four(pooled + line * w.y_h + place * w.y_w, y + 2 * (line * y_h + place * y_w), y_h, y_w)


cdef inline void _largest_of_four(floating *y, const floating *x, Py_ssize_t row, Py_ssize_t channels) noexcept nogil:
    """The largest values of a 2×2 window, whose rows are so far apart; NaN is larger than everything."""
    cdef floating best, v
    cdef Py_ssize_t c
    for c in range(channels):
        best = x[c]
        v = x[channels + c]
        best = v if (v > best) | (v != v) else best
        v = x[row + c]
        best = v if (v > best) | (v != v) else best
        v = x[row + channels + c]
        y[c] = v if (v > best) | (v != v) else best


cdef void _correlate_chunk(floating *sums, Work *w, Py_ssize_t i, int who) noexcept nogil:
    cdef Bands *b = &w.bands
    cdef Py_ssize_t chunk = i // w.parts, part = i % w.parts, tiles = (w.T + ROWS - 1) // ROWS
    cdef Py_ssize_t begin = tiles * part // w.parts * ROWS, end = min(tiles * (part + 1) // w.parts * ROWS, w.T)
    cdef Py_ssize_t first_image = w.N * chunk // w.chunks, last_image = w.N * (chunk + 1) // w.chunks
    cdef Py_ssize_t n, first, g
    cdef floating *scratch = _scratch_of(sums, w, who)
    cdef const floating *x
    cdef const floating *dy
    sums += chunk * w.G * w.T * w.B
    for g in range(w.G):
        memset(sums + (g * w.T + begin) * w.B, 0, max(end - begin, 0) * w.B * sizeof(floating))
    for n in range(first_image, last_image):
        for i in range(b.bands):
            first = i * b.band
            x = _windows(scratch, w, n, first)
            dy = _whole_vectors(scratch + (b.height * b.width * b.C if b.copied else 0), w, n, first)
            for g in range(w.G):
                _add_products(sums + g * w.T * w.B, x + g * w.A, dy + g * w.B, w, begin, end, min(b.band, b.P - first))


cdef void _add_products(
    floating *sums, const floating *x, const floating *dy, Work *w, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t lines,
) noexcept nogil:
    """The rows from begin to end of a group's sums, with some lines of windows, LINES at a time."""
    cdef Bands *b = &w.bands
    cdef Py_ssize_t panel = _panel(sums), p, j, tile, m, r, rows, block, first, line
    cdef Py_ssize_t to[ROWS]
    cdef Py_ssize_t run[LINES]
    cdef Runs runs
    runs.segment, runs.length, runs.step = run, b.Q, b.stride_w * b.C
    for r in range(<Py_ssize_t>ROWS):
        to[r] = r * w.B
    for block in range((lines + LINES - 1) // LINES):
        first = block * LINES
        runs.segments = min(lines - first, <Py_ssize_t>LINES)
        for line in range(runs.segments):
            run[line] = (first + line) * b.stride_h * b.pitch
        for p in range((w.B + panel - 1) // panel):
            j = p * panel
            for tile in range((end - begin + ROWS - 1) // ROWS):
                m = begin + tile * ROWS
                rows = min(<Py_ssize_t>ROWS, end - m)
                _tile(sums + m * w.B + j, to, NULL, True, x, w.tap + m, runs, dy + first * b.Q * w.G * w.B + j,
                      w.G * w.B, rows, min(panel, w.B - j))


cdef void _spread_image(floating *dx, Work *w, Py_ssize_t n, int who) noexcept nogil:
    cdef Bands *b = &w.bands
    cdef floating *image = _scratch_of(dx, w, who)
    cdef const floating *dy = <const floating *>w.x + n * b.P * b.Q * w.B
    cdef const floating *matrix = <const floating *>w.matrix
    cdef floating *into
    cdef Py_ssize_t panel = _panel(dx), count = b.P * b.Q, m, r, t, p, j, k, rows, columns, line = 0, place = 0, zero = 0
    cdef floating part[ROWS * PANEL]                # of the windows' values: a tile
    cdef Py_ssize_t to[ROWS]
    cdef Py_ssize_t row[ROWS]
    cdef Py_ssize_t window[ROWS]
    cdef Runs runs
    runs.segment, runs.segments, runs.length, runs.step = &zero, 1, w.B, 1
    memset(image, 0, (b.height * b.width * b.C + w.columns) * sizeof(floating))
    for r in range(<Py_ssize_t>ROWS):
        to[r], row[r] = r * panel, r * w.B
    for m in range((count + ROWS - 1) // ROWS):
        rows = min(<Py_ssize_t>ROWS, count - m * ROWS)
        for r in range(rows):
            window[r] = line * b.stride_h * b.pitch + place * b.stride_w * b.C
            place += 1
            if place == b.Q:
                line, place = line + 1, 0
        for t in range(w.T):
            for p in range((w.columns + panel - 1) // panel):
                j = p * panel
                columns = min(panel, w.columns - j)
                _tile(part, to, NULL, False, dy + m * ROWS * w.B, row, runs, matrix + t * w.columns + j, w.T * w.columns,
                      rows, columns)
                for r in range(rows):               # one after the other: their windows overlap
                    into = image + window[r] + w.tap[t] + j
                    for k in range(min(columns, w.length - j)):     # the rest is 0·dy, NaN where dy is not finite
                        into[k] += part[r * panel + k]
    for r in range(b.H):
        memcpy(dx + (n * b.H + r) * b.W * b.C, image + (r + b.top) * b.pitch + b.left * b.C, b.W * b.C * sizeof(floating))


cdef inline floating *_scratch_of(const floating *like, Work *w, int who) noexcept nogil:
    """A thread's scratch memory; NULL if there is none."""
    return <floating *>(w.scratch + who * w.scratch_size) if w.scratch != NULL else NULL


cdef const floating *_windows(floating *copy, Work *w, Py_ssize_t n, Py_ssize_t first) noexcept nogil:
    """Where the first window of a band begins: in x, or in a copy of its rows with zeros around them."""
    cdef Bands *b = &w.bands
    cdef const floating *x = <const floating *>w.x + n * b.H * b.W * b.C
    cdef Py_ssize_t rows = (min(b.band, b.P - first) - 1) * b.stride_h + b.height - (b.band - 1) * b.stride_h
    cdef Py_ssize_t top = first * b.stride_h - b.top, h, begin, end
    if not b.copied:
        return x + first * b.stride_h * b.pitch
    begin = min(max(b.left, 0), b.width)                        # columns of the copy that x has
    end = max(begin, min(b.left + b.W, b.width))
    for h in range(rows):
        if top + h < 0 or top + h >= b.H:
            memset(copy + h * b.pitch, 0, b.pitch * sizeof(floating))
            continue
        memset(copy + h * b.pitch, 0, begin * b.C * sizeof(floating))
        memcpy(copy + h * b.pitch + begin * b.C, x + ((top + h) * b.W + begin - b.left) * b.C,
               (end - begin) * b.C * sizeof(floating))
        memset(copy + h * b.pitch + end * b.C, 0, (b.width - end) * b.C * sizeof(floating))
    return copy


cdef const floating *_whole_vectors(floating *copy, Work *w, Py_ssize_t n, Py_ssize_t first) noexcept nogil:
    """dy at the windows of a band, from which whole vectors can be read: where it ends too early, a copy."""
    cdef Bands *b = &w.bands
    cdef Py_ssize_t row = w.G * w.B, begin = (n * b.P + first) * b.Q * row, count = min(b.band, b.P - first) * b.Q * row
    cdef const floating *dy = <const floating *>w.matrix
    if begin + count + _panel(copy) <= w.N * b.P * b.Q * row:
        return dy + begin
    memcpy(copy, dy + begin, count * sizeof(floating))
    memset(copy + count, 0, _panel(copy) * sizeof(floating))
    return copy


cdef void _gather(
    floating *matrix, const floating *weight, const Py_ssize_t *tap, Py_ssize_t G, Py_ssize_t T, Py_ssize_t RS,
    Py_ssize_t kernels, Py_ssize_t channels, Py_ssize_t columns, bint turned,
) noexcept nogil:
    cdef Py_ssize_t a_step = channels * RS if turned else RS, b_step = RS if turned else channels * RS, g, t, a, b
    cdef Py_ssize_t A = kernels if turned else channels, B = channels if turned else kernels
    for g in range(G):
        for t in range(T):
            for a in range(A):
                for b in range(B):
                    matrix[b] = weight[a * a_step + b * b_step + tap[t]]
                for b in range(B, columns):
                    matrix[b] = 0
                matrix += columns
        weight += kernels * channels * RS


cdef void _sum(
    floating *weight, const floating *sums, Py_ssize_t chunks, Py_ssize_t G, Py_ssize_t RS, Py_ssize_t channels,
    Py_ssize_t kernels,
) noexcept nogil:
    cdef Py_ssize_t size = G * RS * channels * kernels, g, t, c, k, chunk
    cdef floating total
    for g in range(G):
        for t in range(RS):
            for c in range(channels):
                for k in range(kernels):
                    total = sums[k]
                    for chunk in range(1, chunks):
                        total += sums[chunk * size + k]
                    weight[((g * kernels + k) * channels + c) * RS + t] = total
                sums += kernels


cdef void _transpose_part(floating *out, Planes *p, Py_ssize_t i) noexcept nogil:
    """32 rows of one plane: so many make whole lines of the output."""
    cdef Py_ssize_t n = i // p.parts, first = i % p.parts * 32
    _transpose(out + n * p.A * p.B + first, p.A, <const floating *>p.x + (n * p.A + first) * p.B, p.B,
               min(<Py_ssize_t>32, p.A - first), p.B)
