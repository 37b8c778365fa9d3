"""How many threads the kernels and BLAS use. One function sets both, so that they do not fight over cores."""

import os

from threadpoolctl import ThreadpoolController

_MAX_THREADS = 1024


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _default() -> int:
    """OMP_NUM_THREADS where it is set, which BLAS obeys too, else every core that this process may run on."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else _available_cores()


_num_threads = _default()


def get_num_threads() -> int:
    """Threads that the kernels and BLAS use; by default OMP_NUM_THREADS, or all cores that this process may run on."""
    return _num_threads


def set_num_threads(n: int) -> None:
    """Let the kernels and BLAS use ``n`` threads, in the whole process (as in PyTorch).

    Results of the kernels, layers and optimizers are the same bits for any number. BLAS makes `matmul` (``@``) and what
    is built on it, such as `bmm` and `einsum`: those may differ in the last bit.

    Raises:
        ValueError: ``n`` is not a whole number from 1 to 1024.

    >>> import tinybn as tb
    >>> before = tb.get_num_threads()
    >>> tb.set_num_threads(1); tb.get_num_threads()
    1
    >>> tb.set_num_threads(before)
    """
    global _num_threads
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _MAX_THREADS:
        raise ValueError(f"set_num_threads: n is {n!r}; expected a whole number from 1 to {_MAX_THREADS}")
    ThreadpoolController().limit(limits=n, user_api="blas")
    _num_threads = n
