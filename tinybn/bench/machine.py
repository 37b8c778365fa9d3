"""What the figures were measured on: processor, caches, BLAS, compiler, kernels, versions, commit."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from tinybn import memory, threads
from tinybn.bench import versions
from tinybn.kernels import BUILD

try:
    from tinybn.kernels import cpu
except ImportError:  # not compiled
    cpu = None  # type: ignore[assignment]

_ROOT = Path(__file__).parents[2]
_CPUS = Path("/sys/devices/system/cpu")
_LEVELS = {0: "not x86-64, or unknown", 1: "x86-64", 2: "x86-64-v2", 3: "x86-64-v3 (AVX2)", 4: "x86-64-v4 (AVX-512)"}
_ABSENT = {"TINYBN_KERNELS": "not set", "commit": "not run from a clone", "pytorch": "not installed"}


def describe(tinybn_version: str) -> dict[str, Any]:
    """Everything by name, fit for JSON; what cannot be found out is None."""
    return {
        "tinybn": tinybn_version,
        "commit": commit(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "pytorch": pytorch(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": load(),
        "caches": caches(),
        "instruction set": _LEVELS[versions.cpu_level()],
        "kernels": BUILD,
        "kernels available": ["numpy", *versions.available()],
        "TINYBN_KERNELS": os.environ.get("TINYBN_KERNELS"),
        "compiler": _built_with("compiler"),
        "flags": {build: flags for build in versions.available() if (flags := _built_with("flags", build))},
        "debug build": _built_with("debug"),
        "openmp": _built_with("openmp"),
        "threads": threads.get_num_threads(),
        "blas": blas(),
        "memory pool": memory.stats()._asdict(),
    }


def _built_with(what: str, *arguments: str) -> Any:
    """What `tinybn.kernels.cpu` knows; None where it is not compiled, or older than the question."""
    answer = getattr(cpu, what, None)
    try:
        return answer(*arguments) if answer else None
    except ValueError:  # of a build that was left here by an earlier installation
        return None


def commit() -> str | None:
    """The commit of the clone that this runs from, with a "+" if files have changed since; None outside of a clone."""
    if not (_ROOT / ".git").exists():
        return None
    command = ["git", "--no-optional-locks", "-C", str(_ROOT), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def pytorch() -> str | None:
    """The version that is installed, if one is. It is not imported for that."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name, or at least its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def load() -> float | None:
    """Processes that ran or waited for a core in the last minute, on average; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def caches() -> dict[str, int]:
    """Bytes of L1d, L2 and L3 as the first core sees them."""
    found = {}
    for folder in sorted(_CPUS.glob("cpu0/cache/index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level}{'d' if kind == 'Data' else ''}"] = _bytes(size)
    return found or _caches_of_sysconf()


def _bytes(size: str) -> int:
    """32K, 1024K, 8M: in the kernel's notation."""
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(size[-1:], 1)
    return int(size.rstrip("KMG")) * factor


def _caches_of_sysconf() -> dict[str, int]:
    names = {"L1d": "SC_LEVEL1_DCACHE_SIZE", "L2": "SC_LEVEL2_CACHE_SIZE", "L3": "SC_LEVEL3_CACHE_SIZE"}
    known = getattr(os, "sysconf_names", {})
    sizes = {level: os.sysconf(name) for level, name in names.items() if name in known}
    return {level: size for level, size in sizes.items() if size > 0}


def blas() -> list[dict[str, Any]]:
    """Name, version, threads and architecture of each BLAS that is loaded."""
    wanted = "internal_api", "version", "num_threads", "architecture"
    loaded = [info for info in threadpool_info() if info["user_api"] == "blas"]
    return [{name: info[name] for name in wanted if name in info} for info in loaded]


def text(description: dict[str, Any]) -> str:
    """For reading: a line for each thing."""
    lines = {name: _shown(name, value) for name, value in description.items()}
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {line}" for name, line in lines.items())


def _shown(name: str, value: Any) -> str:
    if value is None:
        return _ABSENT.get(name, "unknown")
    if name == "caches":
        return ", ".join(f"{level} {size >> 10:,} KiB" for level, size in value.items()) or "unknown"
    if name == "blas":
        return "; ".join(
            f"{b['internal_api']} {b['version']}, {b['num_threads']} threads, {b.get('architecture', '')}".rstrip(", ")
            for b in value
        )
    if name == "flags":
        return "; ".join(f"{build}: {flags}" for build, flags in value.items()) or "unknown"
    if name == "memory pool":
        served = f"{value['hits']:,} requests served, {value['misses']:,} not"
        return f"{value['kept_bytes'] / 2**20:.1f} of {value['limit'] / 2**20:.0f} MiB kept; {served}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)
