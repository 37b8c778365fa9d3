# Who does what: threads share blocks, or the slices of each block. A task gets all that it needs in one struct, because a
# worker can be handed no more than one pointer; the functions behind it are told the dtype by x.

cdef struct Work:
    Cut cut
    int threads             # of the call ...
    int inner               # ... and within a block
    bint own, relu, stream
    double eps
    const void *x
    const void *dy
    void *out               # y or dx
    double *moments
    void *dweight
    void *dbias
    const void *weight
    const void *bias
    Statistics given
    Py_ssize_t block        # from here on: what the slices of a block share
    const void *shift
    const void *high
    const void *scale
    const void *offset
    const void *slope
    const void *level
    double *total
    double *other
    double *sums            # between two sweeps: of each channel, Σdy and Σdy·x̂


cdef enum:
    SUMS = 2048             # channels whose sums are kept between two sweeps
    SWEPT = 1 << 23         # bytes of all tensors from which on two sweeps are faster

# What the caches do not hold is worked through block by block: memory is read once, as a block's second pass finds it in
# the second-level cache, and outputs are streamed. What the third level holds is swept twice in the order of memory: long
# runs of lines are read and written faster than blocks, which are spread over all rows (a third faster at 6 MB on two
# cores). What is hardly larger than the second level goes in blocks again (a tenth faster at 1.6 MB on one core).

cdef void _run_moments(Work *w, Form form) noexcept nogil:
    w.cut = _cut(form, 1, False)
    _run(_moments_task, w)


cdef void _run_batch_norm(Work *w, Form form) noexcept nogil:
    cdef bint blocks = _in_blocks(form, 2, w.stream)
    w.cut = _cut(form, 1, blocks)
    if blocks:
        _run(_batch_norm_task, w)
    else:
        _run(_moments_task, w)
        w.cut = _cut_for_one_pass(form)
        _run(_normalize_task, w)


cdef void _run_normalize(Work *w, Form form) noexcept nogil:
    w.cut = _cut_for_one_pass(form)
    _run(_normalize_task, w)


cdef void _run_gradients(Work *w, Form form) noexcept nogil:
    cdef double sums[2 * SUMS]
    cdef bint blocks = form.C > SUMS or _in_blocks(form, 3, w.stream)
    w.cut = _cut(form, 2, blocks)
    if blocks:
        _run(_gradients_task, w)
    else:
        w.sums = sums
        _run(_sums_sweep_task, w)
        w.cut = _cut_for_one_pass(form)
        _run(_gradient_sweep_task, w)


cdef inline bint _in_blocks(Form form, int tensors, bint stream) noexcept nogil:
    return stream or form.N * form.S * form.C * (sizeof(float) if form.single else sizeof(double)) * tensors < SWEPT


cdef void _run(Task task, Work *w) noexcept nogil:
    """A task for each block; threads take whole blocks, if there are enough of them or nothing else to share."""
    cdef bint shared = w.cut.blocks >= 2 * w.threads or w.cut.slices == 1
    w.inner = 1 if shared else w.threads
    _share(task, w, w.cut.blocks, w.threads if shared else 1, False)


cdef void _moments_task(void *work, Py_ssize_t block, int who) noexcept nogil:
    cdef Work w = (<Work *>work)[0]
    w.block = block
    if w.cut.form.single:
        _block_moments(<const float *>w.x, &w)
    else:
        _block_moments(<const double *>w.x, &w)


cdef void _batch_norm_task(void *work, Py_ssize_t block, int who) noexcept nogil:
    _moments_task(work, block, who)
    _normalize_task(work, block, who)


cdef void _normalize_task(void *work, Py_ssize_t block, int who) noexcept nogil:
    cdef Work w = (<Work *>work)[0]
    w.block = block
    if w.cut.form.single:
        _block_normalize(<const float *>w.x, &w)
    else:
        _block_normalize(<const double *>w.x, &w)


cdef void _gradients_task(void *work, Py_ssize_t block, int who) noexcept nogil:
    cdef Work w = (<Work *>work)[0]
    cdef double total[SLICES * WIDTH]
    cdef double product[SLICES * WIDTH]
    w.block = block
    if w.cut.form.single:
        _block_products(<const float *>w.x, &w, total, product)
        _block_gradient(<const float *>w.x, &w, total, product)
    else:
        _block_products(<const double *>w.x, &w, total, product)
        _block_gradient(<const double *>w.x, &w, total, product)


cdef void _sums_sweep_task(void *work, Py_ssize_t block, int who) noexcept nogil:
    cdef Work w = (<Work *>work)[0]
    cdef double total[SLICES * WIDTH]
    cdef double product[SLICES * WIDTH]
    cdef Py_ssize_t first = block * w.cut.channels, c
    w.block = block
    if w.cut.form.single:
        _block_products(<const float *>w.x, &w, total, product)
    else:
        _block_products(<const double *>w.x, &w, total, product)
    for c in range(_block_channels(&w.cut, block)):
        w.sums[first + c], w.sums[SUMS + first + c] = total[c], product[c]


cdef void _gradient_sweep_task(void *work, Py_ssize_t block, int who) noexcept nogil:
    cdef Work w = (<Work *>work)[0]
    cdef Py_ssize_t first = block * w.cut.channels
    w.block = block
    if w.cut.form.single:
        _block_gradient(<const float *>w.x, &w, &w.sums[first], &w.sums[SUMS + first])
    else:
        _block_gradient(<const double *>w.x, &w, &w.sums[first], &w.sums[SUMS + first])


cdef void _squares_task(void *work, Py_ssize_t slice, int who) noexcept nogil:
    cdef Work *w = <Work *>work
    if w.cut.form.single:
        _slice_squares(<const float *>w.x, w, slice)
    else:
        _slice_squares(<const double *>w.x, w, slice)


cdef void _normalize_slice_task(void *work, Py_ssize_t slice, int who) noexcept nogil:
    cdef Work *w = <Work *>work
    if w.cut.form.single:
        _slice_normalize(<const float *>w.x, w, slice)
    else:
        _slice_normalize(<const double *>w.x, w, slice)


cdef void _products_task(void *work, Py_ssize_t slice, int who) noexcept nogil:
    cdef Work *w = <Work *>work
    if w.cut.form.single:
        _slice_products(<const float *>w.x, w, slice)
    else:
        _slice_products(<const double *>w.x, w, slice)


cdef void _gradient_task(void *work, Py_ssize_t slice, int who) noexcept nogil:
    cdef Work *w = <Work *>work
    if w.cut.form.single:
        _slice_gradient(<const float *>w.x, w, slice)
    else:
        _slice_gradient(<const double *>w.x, w, slice)
