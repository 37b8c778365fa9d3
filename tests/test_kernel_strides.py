"""Random shapes and random strides: the right answer, or a clear error from the raw kernels, never a wrong result."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_helpers import (
    EPS,
    WRITTEN,
    every_kernel,
    gradients,
    moments_of,
    normalized,
)
from tolerances import KERNEL

from tinybn import kernels

SHAPES = st.one_of(
    st.tuples(st.integers(1, 20), st.integers(1, 40)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 3, 63, 64, 70])),
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)),
)
OPTIONS = {"momentum", "eps", "relu", "threads", "stream"}
DTYPES = st.sampled_from(["float32", "float64"])


@st.composite
def laid_out(draw, values):
    """The values somewhere in memory whose other places hold NaN: axes in any order, with any steps, in any direction.

    Also misaligned, byte-swapped, read-only, and broadcast, which changes the values.
    """
    dtype = values.dtype.newbyteorder() if draw(st.integers(0, 9)) == 0 else values.dtype
    axes = draw(st.permutations(range(values.ndim)))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=values.ndim, max_size=values.ndim))
    signs = draw(st.lists(st.sampled_from([1, 1, 1, -1]), min_size=values.ndim, max_size=values.ndim))
    extent = tuple(values.shape[axis] * step for axis, step in zip(axes, steps, strict=True))
    shift = draw(st.sampled_from([0, 0, 0, dtype.itemsize, 1]))
    memory = np.zeros(int(np.prod(extent)) * dtype.itemsize + shift, np.uint8)[shift:]
    everything = memory.view(dtype).reshape(extent)
    everything[...] = np.nan
    view = everything[tuple(slice(None, None, step * sign) for step, sign in zip(steps, signs, strict=True))]
    view = view.transpose(np.argsort(axes))
    view[...] = values
    for axis in range(view.ndim):
        if draw(st.integers(0, 15)) == 0:
            first = tuple(slice(0, 1) if i == axis else slice(None) for i in range(view.ndim))
            view = np.broadcast_to(view[first], view.shape)
    if draw(st.booleans()):  # an axis of size 1 may have any stride
        odd = [stride if size > 1 else 8 * 12345 for size, stride in zip(view.shape, view.strides, strict=True)]
        view = np.lib.stride_tricks.as_strided(view, strides=odd, writeable=view.flags.writeable)
    if draw(st.booleans()):
        view.flags.writeable = False
    return view


@st.composite
def user_arrays(draw):
    """x, dy, weight, bias, mean, var as users might have them, of several dtypes."""
    shape, dtype, rng = draw(SHAPES), draw(DTYPES), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    made = {name: rng.standard_normal(shape).astype(dtype) for name in ("x", "dy")}
    for name in ("weight", "bias", "mean", "var"):
        made[name] = (rng.uniform(0.5, 2, shape[1])).astype(draw(DTYPES))
    return {name: draw(laid_out(values)) for name, values in made.items()}


@given(user_arrays())
def test_any_strides_give_the_right_answer_through_the_functions(a):
    x, dy, weight, bias, mean, var = a.values()
    before = {name: array.tobytes() for name, array in a.items()}
    exact, atol = moments_of(x), 100 * KERNEL[x.dtype.newbyteorder("=").name]
    for relu in (False, True):
        y, moments, _ = kernels.batch_norm(x, weight, bias, EPS, relu=relu)
        for got, statistics in ((y, exact), (kernels.normalize(x, mean, var, weight, bias, EPS, relu), (mean, var))):
            wanted = normalized(x, *statistics, weight, bias)
            np.testing.assert_allclose(got, np.maximum(wanted, 0) if relu else wanted, rtol=0, atol=atol)
        np.testing.assert_allclose(moments, exact, rtol=0, atol=atol)
    for backward, own in ((kernels.batch_norm_backward, True), (kernels.normalize_backward, False)):
        statistics = exact if own else (mean, var)
        scale = 20 * max(1, (1 / np.sqrt(np.asarray(statistics[1]) + EPS)).max())
        got = backward(dy, x, *statistics, weight, EPS)
        for one, other in zip(got, gradients(dy, x, *statistics, weight, own), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=scale * atol)
    assert before == {name: array.tobytes() for name, array in a.items()}


# --- the raw kernels --------------------------------------------------------------------------------------------------

# What may be unusual about an array that a raw kernel is given.
TWISTS = ["size", "dtype", "layout", "overlap", "misaligned", "steps", "reversed", "read-only", "odd strides"]


def carve(memory, at, shape, dtype, last):
    """An array in the bytes of a memory from `at` on, channels-last or contiguous."""
    flat = memory[at : at + int(np.prod(shape)) * np.dtype(dtype).itemsize].view(dtype)
    if not last or len(shape) < 3:
        return flat.reshape(shape)
    n, c, *space = shape
    return np.moveaxis(flat.reshape(n, *space, c), -1, 1)


@st.composite
def raw_arrays(draw, kernel):
    """The arrays of a raw kernel, all in one memory, most of them as it wants them; and the memory."""
    shape, dtype, last = draw(SHAPES), draw(DTYPES), draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    memory, end, arrays = np.zeros(1 << 18, np.uint8), 0, {}
    names = [name for name in inspect.signature(kernels.KERNELS[kernel][1]).parameters if name not in OPTIONS]
    odd = draw(st.lists(st.sampled_from(names), max_size=2))
    for name in names:
        size = {"moments": (2, shape[1])}.get(name, shape if name in ("x", "y", "dx", "dy") else shape[1:2])
        kind, at = "float64" if name == "moments" else dtype, end
        twist = draw(st.sampled_from(TWISTS)) if name in odd else None
        if twist == "size":
            size = (*size[:-1], size[-1] + 1)
        elif twist == "steps":
            size = (*size[:-1], size[-1] * 2)
        elif twist == "dtype":
            kind = "float64" if kind == "float32" else "float32"
        elif twist == "overlap":
            at = draw(st.integers(0, end // 8)) * 8
        at += twist == "misaligned"
        array = carve(memory, at, size, kind, last != (twist == "layout"))
        end = -(-max(end, at + array.nbytes) // 8) * 8
        if twist == "steps":
            array = array[..., ::2]
        elif twist == "reversed":
            array = array[::-1]
        elif twist == "odd strides":
            strides = [stride if n > 1 else 80 for n, stride in zip(array.shape, array.strides, strict=True)]
            array = np.lib.stride_tricks.as_strided(array, strides=strides)
        array[...] = rng.uniform(0.5, 2, array.shape)
        if twist == "read-only":
            array.flags.writeable = False
        missing = name in ("weight", "bias", "running_mean", "running_var") and draw(st.integers(0, 5)) == 0
        arrays[name] = None if missing else array
    return memory, arrays


@every_kernel
@given(data=st.data())
def test_any_strides_give_the_right_answer_or_an_error_through_the_raw_kernels(kernel, data):
    compiled, twin = kernels.KERNELS[kernel]
    if compiled is None:
        pytest.skip("the kernels are not compiled; their twins take anything")
    memory, arrays = data.draw(raw_arrays(kernel))
    relu = data.draw(st.booleans()) and "dy" not in arrays  # its gradient jumps where y is 0
    options = {"momentum": 0.1, "eps": EPS, "relu": relu, "threads": 1, "stream": data.draw(st.booleans())}
    names, before = inspect.signature(compiled).parameters, memory.copy()
    copies = {name: None if array is None else array.copy("K") for name, array in arrays.items()}
    try:
        compiled(*({**arrays, **options}[name] for name in names))
    except (ValueError, TypeError):
        assert memory.tobytes() == before.tobytes(), "written before it was refused"
        return
    got = {name: array.copy("K") for name, array in arrays.items() if name in WRITTEN and array is not None}
    for name in got:
        arrays[name][...] = copies[name]
    assert memory.tobytes() == before.tobytes(), "written outside of the outputs"
    if all(((a >= 0.5) & (a <= 2)).all() for a in copies.values() if a is not None):  # else bytes of another dtype
        twin(*({**copies, **options}[name] for name in names))
        for name, value in got.items():
            np.testing.assert_allclose(value, copies[name], rtol=0, atol=2000 * KERNEL[str(arrays["x"].dtype)])
