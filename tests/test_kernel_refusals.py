"""What the raw BatchNorm kernels cannot take is refused by name before anything is written."""

import inspect

import numpy as np
import pytest
from kernel_helpers import (
    EPS,
    PER_CHANNEL,
    WRITTEN,
    arguments,
    call,
    channels_last,
    every_kernel,
    every_layout,
    misaligned,
    output,
    read_only,
)

from tinybn import kernels
from tinybn.errors import DTypeError, ShapeError


def raw(kernel):
    compiled, _ = kernels.KERNELS[kernel]
    if compiled is None:
        pytest.skip("the kernels are not compiled; their twins take anything")
    return compiled


def call_refused(kernel, error, match, **changed):
    """Call a raw kernel with some arguments replaced: it must raise, and write nothing."""
    function = raw(kernel)
    given = {name: value.copy("K") for name, value in arguments((6, 5, 4), "contiguous", "float32").items()}
    values = {**given, **{name: output(name, given["x"]) for name in WRITTEN - given.keys()}, **changed}
    values |= {"momentum": 0.1, "eps": EPS, "relu": False, "threads": 1, "stream": False, "unbiased": True}
    names = list(inspect.signature(function).parameters)
    before = {name: np.array(values[name], copy=True) for name in names if isinstance(values[name], np.ndarray)}
    with pytest.raises(error, match=match):
        function(*(values[name] for name in names))
    for name, value in before.items():
        assert value.tobytes() == np.array(values[name]).tobytes(), f"{name} was written"


def arrays_of(kernel):
    """The names of a raw kernel's arguments that are arrays."""
    names = WRITTEN | {"x", "dy", *PER_CHANNEL}
    return [name for name in inspect.signature(raw(kernel)).parameters if name in names]


@every_kernel
def test_raw_kernels_refuse_a_wrong_size_and_name_the_argument(kernel):
    for name in arrays_of(kernel):
        if name in ("y", "dx", "dy"):
            wrong = [(6, 4, 5), (6, 5, 3), (6, 5), (6, 5, 4, 1), (7, 5, 4)]
        elif name == "x":
            wrong = [(5,), ()]
        else:
            wrong = [(2, 4), (3, 5), (5, 2), (10,)] if name == "moments" else [(4,), (6,), (5, 1), (1, 5), ()]
        for shape in wrong:
            array = np.zeros(shape, "float64" if name in ("moments", "mean", "var") else "float32")
            call_refused(kernel, ShapeError, kernel if name == "x" else name, **{name: array})


@every_kernel
def test_raw_kernels_refuse_a_wrong_dtype_and_name_the_argument(kernel):
    for name in arrays_of(kernel):
        right = {**arguments((6, 5, 4), "contiguous", "float32"), "moments": np.zeros((2, 5))}
        like = right[name] if name in right else output(name, right["x"])
        for dtype in ("int32", "float16", "float64", "complex64", ">f4", ">f8"):
            if like.dtype == dtype or (name == "x" and dtype == "float64"):
                continue
            match = kernel if name == "x" else name
            call_refused(kernel, (ShapeError, DTypeError), match, **{name: np.zeros_like(like, dtype)})


@every_kernel
def test_raw_kernels_refuse_other_strides_and_misaligned_memory(kernel):
    for name in arrays_of(kernel):
        right = {**arguments((6, 5, 4), "contiguous", "float32"), "moments": np.zeros((2, 5))}
        like = right[name] if name in right else output(name, right["x"])
        for memory in ("every other", "reversed", "zero", "misaligned", "Fortran order", "channels last"):
            if memory == "every other":
                array = np.repeat(like, 2, axis=-1)[..., ::2]
            elif memory == "reversed":
                array = like[::-1]
            elif memory == "zero":
                array = np.lib.stride_tricks.as_strided(like.copy(), strides=[0] * like.ndim)
            elif memory == "misaligned":
                array = misaligned(like)
            elif like.ndim == 1 or (memory == "channels last" and name in ("x", "moments")):
                continue
            else:
                array = np.asfortranarray(like) if memory == "Fortran order" else channels_last(like)
            match = kernel if name == "x" else name
            call_refused(kernel, (ValueError, TypeError), match, **{name: array})


@every_kernel
def test_raw_kernels_refuse_read_only_outputs(kernel):
    for name in arrays_of(kernel):
        if name in WRITTEN:
            array = read_only(output(name, np.zeros((6, 5, 4), "float32")))
            call_refused(kernel, ValueError, f"{name}.*read-only", **{name: array})


@every_kernel
def test_raw_kernels_refuse_what_is_no_array(kernel):
    for name in arrays_of(kernel):
        call_refused(kernel, TypeError, name, **{name: [1.0, 2.0]})
        if name not in ("weight", "bias", "running_mean", "running_var"):
            call_refused(kernel, TypeError, name, **{name: None})


@every_kernel
def test_raw_kernels_refuse_an_output_that_overlaps_another_argument(kernel):
    """For each pair of which one is an output: the same memory, and memory that shares one value."""
    names = arrays_of(kernel)
    right = {**arguments((6, 5, 4), "contiguous", "float32"), "moments": np.zeros((2, 5))}
    right |= {name: output(name, right["x"]) for name in WRITTEN - right.keys()}
    for i, one in enumerate(names):
        for other in names[:i]:
            if not {one, other} & WRITTEN:
                continue
            for shared in ("first", "last"):
                pair = overlapping(right[one], right[other], shared)
                call_refused(kernel, ValueError, "overlap", **dict(zip((one, other), pair, strict=True)))


def overlapping(a, b, shared):
    """Copies of a and b in one memory: b begins where a does, or with a's last bytes."""
    memory = np.zeros(a.nbytes + b.nbytes + 16, np.uint8)
    memory = memory[-memory.ctypes.data % 8 :]
    at = (a.nbytes - 1) // 8 * 8 if shared == "last" else 0
    views = [memory[start : start + v.nbytes].view(v.dtype).reshape(v.shape) for start, v in ((0, a), (at, b))]
    for view, values in zip(views, (a, b), strict=True):
        view[...] = np.nan_to_num(values)
    return views


@every_layout
@every_kernel
def test_raw_kernels_take_inputs_that_share_memory(kernel, layout):
    a = arguments((6, 6, 4), layout, "float32")
    ones = np.abs(a["weight"])
    shared = {**a, "dy": a["x"], "bias": ones, "weight": ones, "mean": ones, "var": ones}
    apart = {name: value.copy("K") for name, value in shared.items()}
    got, expected = call(raw(kernel), shared), call(raw(kernel), apart)
    for name in got.keys() - {"moved"}:
        assert got[name].tobytes() == expected[name].tobytes(), name
