"""Which build of a kernel module serves: the one for this processor, the one for any processor, or NumPy's twins.

Every module is built up to three times on x86-64: NAME for any processor, NAME_v3 for AVX2, NAME_v4 for AVX-512. The
environment variable ``TINYBN_KERNELS`` chooses among ``numpy``, ``baseline``, ``v3`` and ``v4``; by default it is the
highest that the processor has.
"""

import contextlib
import importlib
import os
import warnings
from collections.abc import Iterator
from types import ModuleType

CHOICES = {"numpy": None, "baseline": "", "v3": "_v3", "v4": "_v4"}


def load(*names: str) -> tuple[str, list[ModuleType | None]]:
    """The modules of the build that serves, and its name in CHOICES. No module is None unless all are.

    Raises:
        ValueError: TINYBN_KERNELS has an unknown value.
        ImportError: it names a build that does not exist, or that this processor cannot run.
    """
    wanted = os.environ.get("TINYBN_KERNELS")
    if wanted is not None and wanted not in CHOICES:
        raise ValueError(f"TINYBN_KERNELS is {wanted!r}; expected one of {', '.join(CHOICES)}")
    if wanted == "numpy":
        return "numpy", [None] * len(names)
    runnable = _runnable()
    if wanted is not None and wanted not in runnable:
        raise ImportError(f"TINYBN_KERNELS is {wanted!r}; this processor and this installation have: {runnable}")
    for choice in [wanted] if wanted else runnable:
        with contextlib.suppress(ModuleNotFoundError), _openmp_waiting():
            return choice, [importlib.import_module(f"tinybn.kernels.{name}{CHOICES[choice]}") for name in names]
    if wanted:
        raise ImportError(f"TINYBN_KERNELS is {wanted!r}; the kernels were not built for it")
    warnings.warn(
        "tinybn's kernels are not compiled: slower NumPy versions serve. "
        "Install a C compiler and reinstall tinybn to have them.",
        RuntimeWarning,
        stacklevel=5,
    )
    return "numpy", [None] * len(names)


def _runnable() -> list[str]:
    """The builds that this processor can run, best first."""
    try:
        from tinybn.kernels.cpu import cpu_level
    except ModuleNotFoundError:
        return []
    level = cpu_level()
    return [*(["v4"] if level >= 4 else []), *(["v3"] if level >= 3 else []), "baseline"]


# How OpenMP's idle threads wait for work: they look for it some 50 µs (libgomp counts turns of its loop), then they
# sleep. Asleep at once, each kernel would pay 30 to 80 µs for waking them; awake for longer, as by libgomp's default,
# they take the cores that BLAS needs next: a BatchNorm and a matrix product took turns in twice the time.
WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "3000"}


@contextlib.contextmanager
def _openmp_waiting() -> Iterator[None]:
    """Set that for the OpenMP library that is loaded meanwhile, unless the user has set something.

    The environment is put back, so that no other library is changed.
    """
    if any(name in os.environ for name in WAITING):
        yield
        return
    os.environ.update(WAITING)
    try:
        yield
    finally:
        for name in WAITING:
            del os.environ[name]
