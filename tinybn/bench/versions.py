"""The compiled versions of each kernel: one per build that this processor runs, and with stores past the caches."""

import contextlib
import functools
import importlib
from types import ModuleType

from tinybn.bench.registry import KERNELS, Kernel, Version, positional
from tinybn.kernels import builds
from tinybn.kernels.table import NAMES

_NEEDS = {"baseline": 0, "v3": 3, "v4": 4}  # the x86-64 level that a build is made for


@functools.cache
def available() -> dict[str, list[ModuleType]]:
    """The builds that are here and that this processor runs, and their modules.

    A module that is not built is left out; ``import tinybn`` loads but one of the builds.
    """
    found: dict[str, list[ModuleType]] = {}
    for build, needed in _NEEDS.items():
        for name in NAMES:
            if needed <= cpu_level():
                with contextlib.suppress(ModuleNotFoundError):
                    module = importlib.import_module(f"tinybn.kernels.{name}{builds.CHOICES[build]}")
                    found.setdefault(build, []).append(module)
    return found


def cpu_level() -> int:
    """The processor's x86-64 level: 4 has AVX-512, 3 AVX2, 1 is any, 0 another processor or nothing compiled."""
    try:
        from tinybn.kernels.cpu import cpu_level as level
    except ImportError:
        return 0
    return level()


@functools.cache  # once
def add_compiled() -> None:
    """Give every built-in kernel its compiled versions. Users' own stay as they are."""
    for build, modules in available().items():
        for kernel in KERNELS.values():
            for module in modules:
                _add(kernel, build, getattr(module, kernel.twin.__name__, None))


def _add(kernel: Kernel, build: str, function: object) -> None:
    is_ours = kernel.twin.__module__.startswith("tinybn.kernels.reference") and "numpy" in kernel.versions
    if not is_ours or not callable(function) or build in kernel.versions:
        return
    kernel.add(Version(build, positional(function), note=f"compiled, {build}"))
    if "stream" in kernel.twin.__code__.co_varnames:
        note = "outputs are written past the caches"
        kernel.add(Version(f"{build}+stream", positional(function, stream=True), note=note))
