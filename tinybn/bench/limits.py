"""What the machine can do at most: copies of a size, and operations per second."""

import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np

from tinybn._typing import Array
from tinybn.bench.inputs import Case, aligned
from tinybn.bench.timing import threads_restored, use_threads
from tinybn.kernels.matmul import multiply

_PRODUCT = 1024  # rows and columns: 12 MB of float32, 2.1 GFLOP
_PRODUCTS = 7


def copy_call(case: Case, threads: int = 1) -> Callable[[], None]:
    """`np.copyto` from one array of the case into another; with several threads each copies a part.

    Both exist and have been touched, and both are in the caches if they fit.
    """
    x, y = case.empty().ravel("K"), case.empty().ravel("K")
    x.fill(1)
    if threads == 1:
        return functools.partial(np.copyto, y, x)
    return shared_copy(y, x, threads)


def shared_copy(y: Array, x: Array, threads: int) -> Callable[[], None]:
    """A copy of x (n,) to y that threads share."""
    (first, *others) = zip(np.array_split(y, threads), np.array_split(x, threads), strict=True)
    pool = ThreadPoolExecutor(threads - 1, "tinybn bench copy")

    def copy() -> None:
        tasks = [pool.submit(np.copyto, *part) for part in others]
        np.copyto(*first)
        wait(tasks)

    return copy


@functools.cache  # measured once in a run
def peak_flops(dtype: str, threads: int) -> float:
    """Operations per second of a large matrix product, NumPy's or ours: the best of several."""
    a, b, out = (aligned((_PRODUCT, _PRODUCT), dtype) for _ in range(3))
    a.fill(1)
    b.fill(0.5)
    products: list[Callable[[], Array]] = [lambda: np.matmul(a, b, out=out), lambda: multiply(a, b)]
    times = []
    with threads_restored():
        use_threads(threads)
        for _ in range(_PRODUCTS):
            for product in products:
                begin = time.perf_counter()
                product()
                times.append(time.perf_counter() - begin)
    return 2 * _PRODUCT**3 / min(times)
