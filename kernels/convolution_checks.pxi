# What a call is given has to fit together, and no window may read outside of its band.

cdef _check(
    str name, np.ndarray y, int y_axes, np.ndarray x, int x_axes, np.ndarray other, int other_axes, np.ndarray bias,
    np.ndarray scratch, np.ndarray taps,
):
    if np.PyArray_NDIM(y) != y_axes or np.PyArray_NDIM(x) != x_axes or np.PyArray_NDIM(other) != other_axes:
        raise ShapeError(f"{name}: got arrays of shapes {_shape(y)}, {_shape(x)}, {_shape(other)}")
    _check_arrays(name, np.PyArray_TYPE(x), (x, other, bias, scratch))
    if np.PyArray_TYPE(y) != np.PyArray_TYPE(x) or not np.PyArray_ISBEHAVED(y):
        raise DTypeError(f"{name}: expected a writable output of {x.dtype}, got {y.dtype}")
    if taps.ndim != 1 or np.PyArray_TYPE(taps) != np.NPY_INTP or not np.PyArray_ISCARRAY_RO(taps):
        raise DTypeError(f"{name}: expected taps as a contiguous array of intp, got {taps.dtype}")


cdef _check_arrays(str name, int type, tuple arrays):
    for a in arrays:
        if a is not None and (
            np.PyArray_TYPE(a) != type or (type != np.NPY_FLOAT and type != np.NPY_DOUBLE) or not np.PyArray_ISCARRAY_RO(a)
        ):
            raise DTypeError(f"{name}: expected contiguous arrays, all float32 or all float64, got {a.dtype} {a.shape}")


cdef _check_weights(str name, np.ndarray matrix, int axes, np.ndarray weight, np.ndarray taps, np.ndarray output):
    if np.PyArray_NDIM(matrix) != axes or np.PyArray_NDIM(weight) != 4 or matrix.shape[0] < 1 or matrix.shape[axes - 3] < 1:
        raise ShapeError(f"{name}: got arrays of shapes {_shape(matrix)}, {_shape(weight)}")
    _check_arrays(name, np.PyArray_TYPE(weight), (matrix, weight))
    _check_writable(name, output)
    if taps is not None and (
        taps.ndim != 1 or np.PyArray_TYPE(taps) != np.NPY_INTP or not np.PyArray_ISCARRAY_RO(taps)
        or (taps.size and not 0 <= taps.min() <= taps.max() < weight.shape[2] * weight.shape[3])
    ):
        raise ShapeError(f"{name}: taps are no places in a weight {_shape(weight)}")


cdef _set_bands(Bands *bands, np.ndarray x, Py_ssize_t P, Py_ssize_t Q, bint copied, tuple window):
    cdef Py_ssize_t band
    bands.H, bands.W, bands.C, bands.P, bands.Q = x.shape[1], x.shape[2], x.shape[3], P, Q
    (bands.stride_h, bands.stride_w, bands.top, bands.left, bands.height, bands.width, band) = window
    if min(bands.stride_h, bands.stride_w, band) < 1 or band > max(P, 1) or min(bands.height, bands.width) < 0 or (
        copied and bands.height < (band - 1) * bands.stride_h
    ):
        raise ShapeError(f"convolution: a window {window}: strides from 1 on, and a band of 1 to {P} rows that it holds")
    bands.band, bands.bands, bands.copied = band, (P + band - 1) // band, copied
    bands.pitch = (bands.width if copied else bands.W) * bands.C
    if not copied and (bands.top or bands.left):
        raise ShapeError("convolution: windows that reach over the edge need scratch memory")


cdef _check_reach(Work *w, np.ndarray taps, Py_ssize_t length, Py_ssize_t A):
    """The last value that the last window reads is in its band, or in x."""
    cdef Bands *b = &w.bands
    cdef Py_ssize_t rows = min(b.band, b.P) if b.copied else b.P
    cdef Py_ssize_t size = b.height * b.width * b.C if b.copied else b.H * b.W * b.C, last
    w.tap = <const Py_ssize_t *>np.PyArray_DATA(taps)
    if w.T and rows > 0 and b.Q > 0 and length:
        if not 0 <= <Py_ssize_t>taps.min() <= <Py_ssize_t>taps.max() <= size:   # so that the sum below does not overflow
            raise ShapeError(f"convolution: taps lie outside of {size} values")
        last = ((rows - 1) * b.stride_h * b.pitch + (b.Q - 1) * b.stride_w * b.C + <Py_ssize_t>taps.max() + length
                + (w.G - 1) * A)
        if last > size:
            raise ShapeError(f"convolution: windows reach to {last} of {size} values")


cdef _set_unpooled(Work *w, np.ndarray unpooled, np.ndarray y, int threads):
    """Scratch memory for a band of y before it is pooled, or None."""
    cdef Py_ssize_t needed = w.bands.band * w.bands.Q * y.shape[3]
    w.unpooled, w.unpooled_size = NULL, 0
    if unpooled is None:
        return
    if (np.PyArray_NDIM(unpooled) != 2 or unpooled.shape[0] < threads or unpooled.shape[1] < needed
            or np.PyArray_TYPE(unpooled) != np.PyArray_TYPE(y) or not np.PyArray_ISCARRAY(unpooled)):
        raise ShapeError(f"correlate: expected unpooled of ({threads}, {needed}) like y, got {_shape(unpooled)}")
    if w.bands.band % 2 and w.bands.bands:
        raise ShapeError(f"correlate: windows of 2×2 need a band of an even number of rows, got {w.bands.band}")
    w.unpooled = <char *>np.PyArray_DATA(unpooled)
    w.unpooled_size = unpooled.shape[1] * np.PyArray_ITEMSIZE(unpooled)


cdef _set_scratch(Work *w, np.ndarray scratch, int threads, Py_ssize_t size, Py_ssize_t needed):
    w.scratch, w.scratch_size, w.single = NULL, 0, size == 4
    if scratch is not None:
        if (np.PyArray_NDIM(scratch) != 2 or scratch.shape[0] < threads or scratch.shape[1] < needed
                or not np.PyArray_ISWRITEABLE(scratch)):
            raise ShapeError(f"convolution: expected writable scratch of ({threads}, {needed}), got {_shape(scratch)}")
        w.scratch = <char *>np.PyArray_DATA(scratch)
        w.scratch_size = scratch.shape[1] * np.PyArray_ITEMSIZE(scratch)


cdef _check_writable(str name, np.ndarray output):
    if not np.PyArray_ISWRITEABLE(output):
        raise ValueError(f"{name}: the output is read-only")


cdef _check_groups(str name, Py_ssize_t G, Py_ssize_t C, Py_ssize_t K):
    if G < 1 or C % G or K % G:
        raise ShapeError(f"{name}: {C} and {K} channels cannot be split into {G} groups")


def _shape(np.ndarray a):
    return None if a is None else (<object>a).shape
