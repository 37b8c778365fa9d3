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


cdef void _run(Task task, Work *w) noexcept nogil:
    """A task for each block; threads take whole blocks, if there are enough of them or nothing else to share."""
    cdef bint shared = w.cut.blocks >= 2 * w.threads or w.cut.slices == 1
    w.inner = 1 if shared else w.threads
    tinybn_share(task, w, w.cut.blocks, w.threads if shared else 1, False)


cdef void _moments_task(void *work, Py_ssize_t block) noexcept nogil:
    cdef Work w = (<Work *>work)[0]
    w.block = block
    if w.cut.form.single:
        _block_moments(<const float *>w.x, &w)
    else:
        _block_moments(<const double *>w.x, &w)


cdef void _batch_norm_task(void *work, Py_ssize_t block) noexcept nogil:
    _moments_task(work, block)
    _normalize_task(work, block)


cdef void _normalize_task(void *work, Py_ssize_t block) noexcept nogil:
    cdef Work w = (<Work *>work)[0]
    w.block = block
    if w.cut.form.single:
        _block_normalize(<const float *>w.x, &w)
    else:
        _block_normalize(<const double *>w.x, &w)


cdef void _gradients_task(void *work, Py_ssize_t block) noexcept nogil:
    cdef Work w = (<Work *>work)[0]
    w.block = block
    if w.cut.form.single:
        _block_gradients(<const float *>w.x, &w)
    else:
        _block_gradients(<const double *>w.x, &w)


cdef void _squares_task(void *work, Py_ssize_t slice) noexcept nogil:
    cdef Work *w = <Work *>work
    if w.cut.form.single:
        _slice_squares(<const float *>w.x, w, slice)
    else:
        _slice_squares(<const double *>w.x, w, slice)


cdef void _normalize_slice_task(void *work, Py_ssize_t slice) noexcept nogil:
    cdef Work *w = <Work *>work
    if w.cut.form.single:
        _slice_normalize(<const float *>w.x, w, slice)
    else:
        _slice_normalize(<const double *>w.x, w, slice)


cdef void _products_task(void *work, Py_ssize_t slice) noexcept nogil:
    cdef Work *w = <Work *>work
    if w.cut.form.single:
        _slice_products(<const float *>w.x, w, slice)
    else:
        _slice_products(<const double *>w.x, w, slice)


cdef void _gradient_task(void *work, Py_ssize_t slice) noexcept nogil:
    cdef Work *w = <Work *>work
    if w.cut.form.single:
        _slice_gradient(<const float *>w.x, w, slice)
    else:
        _slice_gradient(<const double *>w.x, w, slice)
