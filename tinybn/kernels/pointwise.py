"""Activations and their gradients, and erf, on arrays. What the kernels cannot take as it lies, their twins do."""

from collections.abc import Callable

import numpy as np

from tinybn._typing import Array
from tinybn.kernels.table import KERNELS, chosen
from tinybn.threads import get_num_threads

# Fewer elements stay on one thread: 2 to 10 µs of work.
THREADED_SIZE = 1 << 15


def _function(name: str) -> Callable[..., Array]:
    """The kernel of that name as a function that returns a fresh array, in the memory layout of its first argument."""
    compiled, twin = KERNELS[name]

    def function(*arrays: Array) -> Array:
        if not arrays[0].ndim:  # NumPy's arithmetic makes scalars of 0-d arrays
            arrays = tuple(map(np.asarray, arrays))
        out = np.empty_like(arrays[0])
        threads = get_num_threads() if out.size >= THREADED_SIZE else 1
        if compiled is None or not compiled(out, *arrays, threads):
            twin(out, *arrays, threads)
        return out

    function.__name__ = function.__qualname__ = name
    function.__doc__ = twin.__doc__
    return function


sigmoid = _function("sigmoid")
sigmoid_backward = _function("sigmoid_backward")
tanh_backward = _function("tanh_backward")
relu = _function("relu")
relu_backward = _function("relu_backward")


def erf(x: Array) -> Array:
    """2/√π·∫ exp(−t²) dt from 0 to each x: a fresh array of x's shape, dtype and order of axes in memory."""
    out = np.array(x, dtype=np.result_type(x, np.float32))  # a float16 is computed in float32
    flat = out.ravel("K")  # a view, as out is dense
    if flat.size:
        chosen["erf"](flat, flat, get_num_threads() if flat.size >= THREADED_SIZE else 1)
    return out.astype(x.dtype, copy=False)
