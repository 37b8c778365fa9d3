"""Products of two matrices."""

import numpy as np

from tinybn._typing import Array
from tinybn.kernels.table import chosen, useful_threads
from tinybn.threads import get_num_threads

_multiply = chosen["multiply"]

# Operations that take as long as to move one byte, by which useful_threads reckons: 250 a nanosecond, and 80 bytes.
_OPERATIONS_PER_BYTE = 3
# Fewer operations stay on one thread: 2 µs of work, of which a second one, even if it is awake, takes 1 to share.
_SHARED_OPERATIONS = 500_000


def multiply(a: Array, b: Array, bias: Array | None = None, relu: bool = False) -> Array:
    """a (M, K) · b (K, N) + bias (N,): a fresh array (M, N), all of one dtype; relu: max(·, 0) of it."""
    m, (k, n) = len(a), b.shape
    c = np.empty((m, n), a.dtype)
    scratch = np.empty((k + 1) * (-(-n // 32) * 32), a.dtype)
    threads, operations = get_num_threads(), 2 * m * n * k
    if threads > 1:
        threads = useful_threads(threads, operations // _OPERATIONS_PER_BYTE) if operations > _SHARED_OPERATIONS else 1
    if not _multiply(c, a, b, bias, scratch, threads, relu):
        if a.dtype.char not in "fd":
            c = a @ b if bias is None else a @ b + bias
            return np.maximum(c, 0) if relu else c
        native = a.dtype.newbyteorder("=")
        a, b = (np.require(x, native, ["C", "A"]) for x in (a, b))
        bias = None if bias is None else np.require(bias, native, ["C", "A"])
        c = np.empty((m, n), a.dtype)
        _multiply(c, a, b, bias, scratch.view(a.dtype), threads, relu)
    return c
