# Statistics per channel: those that are given, and the moments that are made.

cdef struct Statistics:
    const void *mean
    const void *var
    bint single


cdef Statistics _statistics(Taken *taken, np.ndarray mean, np.ndarray var, np.ndarray x) except *:
    """Mean and variance, both of x's dtype or both of float64."""
    cdef Statistics s
    if not _are_statistics(mean, var, x):
        raise ShapeError(
            f"mean and var: expected two contiguous ({x.shape[1]},), both {x.dtype} or both float64, got "
            f"{_described(mean)}, {_described(var)}")
    s.mean = _take(taken, "mean", mean, False)
    s.var = _take(taken, "var", var, False)
    s.single = np.PyArray_TYPE(mean) == np.NPY_FLOAT
    return s


cdef inline bint _are_statistics(np.ndarray mean, np.ndarray var, np.ndarray x) noexcept:
    cdef int type = np.PyArray_TYPE(mean)
    return (
        type == np.PyArray_TYPE(var) and (type == np.NPY_DOUBLE or type == np.PyArray_TYPE(x))
        and _per_channel(mean, x) and _per_channel(var, x)
    )


cdef double *_moments_of(Taken *taken, np.ndarray moments, np.ndarray x) except NULL:
    """The memory of moments (2, C), an output."""
    if (np.PyArray_NDIM(moments) != 2 or moments.shape[0] != 2 or moments.shape[1] != x.shape[1]
            or np.PyArray_TYPE(moments) != np.NPY_DOUBLE or not np.PyArray_ISCARRAY_RO(moments)):
        raise ShapeError(f"moments: expected a contiguous float64 (2, {x.shape[1]}), got {_described(moments)}")
    return <double *>_take(taken, "moments", moments, True)


cdef inline void _load_statistics(
    double *mean, double *rstd, Statistics given, double eps, Py_ssize_t first, Py_ssize_t n,
) noexcept nogil:
    """The mean and 1 / √(var + eps) of n channels."""
    cdef const float *mean32 = <const float *>given.mean
    cdef const float *var32 = <const float *>given.var
    cdef const double *mean64 = <const double *>given.mean
    cdef const double *var64 = <const double *>given.var
    cdef Py_ssize_t c
    if given.single:
        for c in range(n):
            mean[c] = mean32[first + c]
            rstd[c] = 1.0 / sqrt(var32[first + c] + eps)
    else:
        for c in range(n):
            mean[c] = mean64[first + c]
            rstd[c] = 1.0 / sqrt(var64[first + c] + eps)
