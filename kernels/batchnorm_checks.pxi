# What the kernels take: tensors in one of two orders of memory, and arrays with a value per channel.

cdef enum Order:
    NCS                 # contiguous (N, C, S)
    MC                  # (M, C): channels last in memory, as dense data always is
    OTHER

cdef struct Form:       # a tensor as the loops see it: N·C rows of S values, or, if S is 1, N rows of C
    Py_ssize_t N, C, S
    bint single         # float32

cdef struct Taken:      # what a call has been given, to see whether an output overlaps anything
    int count
    const char *name[12]
    const char *start[12]
    Py_ssize_t size[12]
    bint output[12]

cdef Order _order(np.ndarray x) noexcept:
    cdef int type = np.PyArray_TYPE(x), axes = np.PyArray_NDIM(x), i, axis
    cdef Py_ssize_t stride = np.PyArray_ITEMSIZE(x)
    if axes < 2 or (type != np.NPY_FLOAT and type != np.NPY_DOUBLE) or not np.PyArray_ISBEHAVED_RO(x):
        return OTHER
    if np.PyArray_SIZE(x) == 0:
        return NCS                                      # whatever its strides are
    for i in range(axes):
        axis = 1 if i == 0 else 0 if i == axes - 1 else axes - i     # of (N, ..., C), from the last to the first
        if x.shape[axis] != 1 and x.strides[axis] != stride:
            return NCS if np.PyArray_IS_C_CONTIGUOUS(x) else OTHER
        stride *= x.shape[axis]
    return MC


cdef Form _form(Taken *taken, str name, np.ndarray x) except *:
    cdef Form form
    cdef Order order = _order(x)
    if order == OTHER:
        raise _refused(name, x)
    form.single = np.PyArray_TYPE(x) == np.NPY_FLOAT
    form.C = x.shape[1]
    form.N = x.shape[0]
    form.S = 0 if form.N * form.C == 0 else np.PyArray_SIZE(x) // (form.N * form.C)
    if order == MC:
        form.N *= form.S
        form.S = min(form.S, 1)
    taken.count = 0
    _take(taken, "x", x, False)
    return form


def _refused(str name, np.ndarray x):
    if np.PyArray_NDIM(x) < 2:
        return ShapeError(f"{name}: expected a tensor of shape (N, C, ...), got {_described(x)}")
    if np.PyArray_TYPE(x) not in (np.NPY_FLOAT, np.NPY_DOUBLE) or not np.PyArray_ISBEHAVED_RO(x):
        return DTypeError(f"{name}: expected aligned float32 or float64 in the machine's byte order, got {_described(x)}")
    return ValueError(f"{name}: expected a tensor that is contiguous or channels-last in memory, got {_described(x)}")


cdef void *_tensor(Taken *taken, const char *name, np.ndarray a, np.ndarray x, bint output) except NULL:
    """The memory of a tensor that has the shape, the dtype and the order of x."""
    if not _alike(a, x) or _order(a) != _order(x):
        raise ShapeError(f"{_text(name)}: expected {_described(x)}, as x is, got {_described(a)}")
    return _take(taken, name, a, output)


cdef inline bint _alike(np.ndarray a, np.ndarray x) noexcept:
    cdef int i
    if np.PyArray_NDIM(a) != np.PyArray_NDIM(x) or np.PyArray_TYPE(a) != np.PyArray_TYPE(x):
        return False
    for i in range(np.PyArray_NDIM(x)):
        if a.shape[i] != x.shape[i]:
            return False
    return True


cdef void *_channels(Taken *taken, const char *name, np.ndarray a, np.ndarray x, bint output) except? NULL:
    """The memory of an array (C,) of x's dtype; NULL for None."""
    if a is None:
        return NULL
    if not _fits_channels(a, x):
        raise _wrong_channels(name, a, x)
    return _take(taken, name, a, output)


cdef inline bint _fits_channels(np.ndarray a, np.ndarray x) noexcept:
    return np.PyArray_TYPE(a) == np.PyArray_TYPE(x) and _per_channel(a, x)


cdef inline bint _per_channel(np.ndarray a, np.ndarray x) noexcept:
    return np.PyArray_NDIM(a) == 1 and a.shape[0] == x.shape[1] and np.PyArray_ISCARRAY_RO(a)


cdef _wrong_channels(const char *name, np.ndarray a, np.ndarray x):
    return ShapeError(f"{_text(name)}: expected a contiguous {x.dtype} ({x.shape[1]},), as x needs, got {_described(a)}")


cdef void *_take(Taken *taken, const char *name, np.ndarray a, bint output) except NULL:
    if output and not np.PyArray_ISWRITEABLE(a):
        raise ValueError(f"{_text(name)} is an output, and read-only")
    taken.name[taken.count] = name
    taken.start[taken.count] = <const char *>np.PyArray_DATA(a)
    taken.size[taken.count] = np.PyArray_NBYTES(a)
    taken.output[taken.count] = output
    taken.count += 1
    return np.PyArray_DATA(a)


cdef int _check_apart(Taken *taken) except -1:
    """Inputs may share memory; an output must have its own, or what has been written would be read."""
    cdef int i, j
    for i in range(taken.count):
        for j in range(i):
            if (taken.output[i] or taken.output[j]) and (
                taken.start[i] < taken.start[j] + taken.size[j] and taken.start[j] < taken.start[i] + taken.size[i]
            ):
                raise ValueError(f"{_text(taken.name[i])} and {_text(taken.name[j])} overlap in memory, one is an output")
    return 0


cdef str _text(const char *name):
    return name.decode()


def _described(np.ndarray a):
    return f"{a.dtype} {(<object>a).shape} with strides {(<object>a).strides}"
