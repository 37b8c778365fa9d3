"""The ladder: BatchNorm's forward from the first loops that one writes to the kernel that serves, a change at a time.

The steps are a few lines each, in kernels/ladder.pyx; docs/kernels.md tells what each of them bought.
"""

import functools
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import numpy as np

from tinybn import kernels
from tinybn._typing import Array
from tinybn.errors import DTypeError, ShapeError
from tinybn.kernels import builds

_DTYPES = np.dtype(np.float32), np.dtype(np.float64)

Forward = Callable[[Array, Array, Array, Array, float, int], None]


class Step(NamedTuple):
    """A version of y = (x − mean)·rstd·weight + bias, with the batch's own mean and biased variance.

    Args:
        name: of the function in kernels/ladder.pyx.
        function: ``function(y, x, weight, bias, eps, threads)`` writes y. Arrays are contiguous, of one dtype, float32
            or float64: y and x (N, C, S), weight and bias (C,). It raises ShapeError or DTypeError for others.
        note: what it changes, in a line.
        exact: whether a float32 output is within 2e-6·(|weight·x̂| + |bias| + 1) of the exact one even where the mean
            is 1e5 standard deviations from 0. The others are wrong there; a threaded exact step gives the same bits for
            any number of threads.
        threaded: whether it uses more than one thread.
    """

    name: str
    function: Forward
    note: str
    exact: bool = True
    threaded: bool = False


def step_named(name: str) -> Step:
    """The step of the ladder with that name.

    Raises:
        ValueError: there is no such step.
        ImportError: there is one, but the kernels are not compiled, or not in use.
    """
    if name not in {step.name for step in _STEPS}:
        raise ValueError(f"ladder: no step {name!r}; there are {', '.join(step.name for step in _STEPS)}")
    if name not in {step.name for step in LADDER}:
        _compiled()
    return next(step for step in _STEPS if step.name == name)


@functools.cache
def _compiled() -> ModuleType:
    """The ladder's module of the build that serves."""
    suffix = builds.CHOICES[kernels.BUILD]
    if suffix is None:
        raise ImportError(
            "the ladder's steps are compiled, and NumPy's twins serve here: install a C compiler and reinstall tinybn; "
            "if the environment variable TINYBN_KERNELS is numpy, unset it"
        )
    try:
        return importlib.import_module(f"tinybn.kernels.ladder{suffix}")
    except ModuleNotFoundError as missing:
        raise ImportError(
            f"the ladder was not built for {kernels.BUILD}: reinstall tinybn, and see {missing}"
        ) from None


def _check(y: Array, x: Array, weight: Array, bias: Array) -> None:
    """The compiled steps trust sizes."""
    if x.ndim != 3 or y.shape != x.shape or not weight.shape == bias.shape == x.shape[1:2]:
        shapes = ", ".join(str(array.shape) for array in (y, x, weight, bias))
        raise ShapeError(f"ladder: expected y and x (N, C, S), weight and bias (C,); got {shapes}")
    if x.dtype not in _DTYPES or not y.dtype == weight.dtype == bias.dtype == x.dtype:
        dtypes = ", ".join(str(array.dtype) for array in (y, x, weight, bias))
        raise DTypeError(f"ladder: expected y, x, weight, bias all of float32 or all of float64; got {dtypes}")
    if not (y.flags.c_contiguous and x.flags.c_contiguous and weight.flags.c_contiguous and bias.flags.c_contiguous):
        raise ShapeError("ladder: expected contiguous arrays; make them so with np.ascontiguousarray")


def _step(name: str, note: str, exact: bool = True, threaded: bool = False) -> Step:
    def forward(y: Array, x: Array, weight: Array, bias: Array, eps: float, threads: int) -> None:
        _check(y, x, weight, bias)
        if x.size:
            getattr(_compiled(), name)(y, x, weight, bias, eps, threads)

    return Step(name, forward, note, exact, threaded)


def numpy_expression(y: Array, x: Array, weight: Array, bias: Array, eps: float, threads: int) -> None:
    """The forward as somebody writes it who knows NumPy and has not read further."""
    _check(y, x, weight, bias)
    if x.size:
        mean, var = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
        y[...] = (x - mean) / np.sqrt(var + eps) * weight[:, None] + bias[:, None]


def kernel_that_serves(y: Array, x: Array, weight: Array, bias: Array, eps: float, threads: int) -> None:
    """The kernel behind `tinybn.functional.batch_norm`, compiled or not, streaming from the size where that does."""
    _check(y, x, weight, bias)
    compiled, twin = kernels.KERNELS["batch_norm"]
    stream = 2 * x.nbytes >= kernels.STREAMED_BYTES
    moments = np.empty((2, x.shape[1]))
    (compiled or twin)(y, moments, x, weight, bias, None, None, 0.0, eps, False, threads, stream)


_STEPS = [
    Step("numpy", numpy_expression, "the formula in NumPy, for scale", exact=False),
    _step("naive", "the formula in loops, sums in the data's dtype", exact=False),
    _step("one_pass", "E[x²] − E[x]², to read x once for both sums", exact=False),
    _step("two_pass", "the variance about the mean, in double"),
    _step("hoisted", "rows are loops of their own; y is x·scale + offset, in the data's dtype"),
    _step("vectorized", "sums in independent lanes"),
    _step("cached", "channel by channel"),
    _step("shifted", "one pass again, about a value near the mean"),
    _step("threaded", "threads share the channels", threaded=True),
    _step("streaming", "y is stored past the caches", threaded=True),
    _step("prefetching", "the next channel is read while this one is written", threaded=True),
    Step("tinybn", kernel_that_serves, "the kernel that serves", threaded=True),
]


def _runs(step: Step) -> bool:
    if step.name in ("numpy", "tinybn"):
        return True
    try:
        return hasattr(_compiled(), step.name)
    except ImportError:
        return False


# What can run here: without compiled kernels the two steps that do not need them.
LADDER = [step for step in _STEPS if _runs(step)]
