"""Large arrays' memory is kept for the next array of that size, instead of going back to the system.

A training step makes the same arrays as the step before. Without this the CNN of `tools/cnn_step.py` takes 6,700 page
faults a step, which is 13 of its 49 ms (batch 64, one core). ``import tinybn`` turns it on for the thread that imports;
other threads call `enable` if they want it. It serves every NumPy array of 32 KB or more, whoever makes it: NumPy asks
its allocator, and this is one. Where the kernels are not compiled, NumPy's own allocator stays, and the functions here
do nothing.

The environment variable ``TINYBN_MEMORY`` is the number of bytes to keep where `enable` is not told, 256 MB by default.
With 0 it is off: a tool that watches memory (AddressSanitizer, Valgrind) then sees every block come and go.
"""

import os
import sys
from types import ModuleType
from typing import NamedTuple

from tinybn.kernels import COMPILED

try:
    from tinybn.kernels import memory as _allocator
except ImportError:
    _allocator = None  # type: ignore[assignment]  # the twins serve

# In bytes; a step of the CNN of the examples, batch 64, keeps some 60 MB.
_given = os.environ.get("TINYBN_MEMORY", str(256 << 20))
if not _given.isdecimal():
    raise ValueError(f"TINYBN_MEMORY is {_given!r}; expected a number of bytes from 0 on")
DEFAULT_LIMIT = int(_given)


class MemoryStats(NamedTuple):
    """What is kept for reuse, and how often that helped."""

    kept_bytes: int
    kept_blocks: int
    limit: int
    hits: int
    misses: int


_gil = getattr(sys, "_is_gil_enabled", lambda: True)()  # which guards the allocator's list
_pool: ModuleType | None = _allocator if COMPILED and _gil else None


def enable(limit: int = DEFAULT_LIMIT) -> None:
    """Keep freed blocks of 32 KB or more, up to ``limit`` bytes, and serve this thread's arrays from them.

    A limit of 0 is `disable`.

    Raises:
        ValueError: a negative limit.
    """
    if limit < 0:
        raise ValueError(f"memory.enable: limit is {limit}; expected a number of bytes from 0 on")
    if limit == 0:
        disable()
    elif _pool is not None:
        _pool.set_limit(limit)
        _pool.install()


def disable() -> None:
    """Let NumPy allocate this thread's arrays by itself, and keep nothing any more, in any thread."""
    if _pool is not None:
        _pool.uninstall()
        _pool.set_limit(0)  # arrays from before go on to be freed here, and must not pile up


def empty() -> None:
    """Give what is kept back to the system; go on keeping what is freed from now on."""
    if _pool is not None:
        _pool.empty()


def stats() -> MemoryStats:
    """What is kept now, and how many requests were served from it (hits) or not (misses).

    >>> import numpy as np, tinybn as tb
    >>> before = tb.memory.stats()
    >>> for _ in range(10):
    ...     block = np.ones(1 << 20); del block
    >>> tb.memory.stats().hits - before.hits >= 9 or not tb.kernels.COMPILED
    True
    """
    return MemoryStats(*(_pool.counts() if _pool is not None else (0, 0, 0, 0, 0)))
