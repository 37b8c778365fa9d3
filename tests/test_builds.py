"""What the compiled kernels know about how they were built, and that builds made to find errors do find them."""

import importlib
import os
import re
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import tinybn as tb
from tinybn.kernels.builds import CHOICES

cpu = pytest.importorskip("tinybn.kernels.cpu", reason="the kernels are not compiled", exc_type=ModuleNotFoundError)

ROOT = Path(__file__).parents[1]
KERNELS = Path(tb.kernels.__file__).parent
MODULES = ("batchnorm", "pooling", "special")
BUILT = {
    build: suffix
    for build, suffix in CHOICES.items()
    if suffix is not None and any((KERNELS / f"batchnorm{suffix}{ending}").exists() for ending in EXTENSION_SUFFIXES)
}
SANITIZED = any("-fsanitize" in cpu.flags(build) for build in BUILT)

every_build = pytest.mark.parametrize("build", BUILT)


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in a Python of its own, which has this tinybn and, if it is sanitized, the sanitizer's library."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)


# --- what a build knows -----------------------------------------------------------------------------------------------


def test_the_compiler_has_a_name_and_a_version() -> None:
    assert re.fullmatch(r"(gcc|clang|Apple clang) \d+\.\d+\.\d+|MSVC \d+", cpu.compiler())


@every_build
def test_the_flags_are_those_of_the_build(build: str) -> None:
    words = cpu.flags(build).split()
    level = {"baseline": [], "v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4"]}[build]
    assert [word for word in words if word.startswith("-march=x86-64-v")] == level
    assert cpu.openmp() == any(word.endswith("openmp") for word in words)
    if not cpu.compiler().startswith("MSVC"):
        assert "-ffp-contract=off" in words
        optimization = [word for word in words if re.fullmatch("-O.*", word)][-1]  # the last one counts
        assert optimization == ("-O1" if SANITIZED else "-O0" if cpu.debug() else "-O3")


def test_what_was_not_built_has_no_flags() -> None:
    with pytest.raises(ValueError, match=f"no build 'fast'; this installation has {', '.join(BUILT)}"):
        cpu.flags("fast")


@pytest.mark.parametrize("name", MODULES)
@every_build
def test_each_build_is_a_module_of_its_own(build: str, name: str) -> None:
    if cpu.cpu_level() < {"baseline": 0, "v3": 3, "v4": 4}[build]:
        pytest.skip("this processor cannot run it")
    module = importlib.import_module(f"tinybn.kernels.{name}{CHOICES[build]}")
    assert module.__name__ == f"tinybn.kernels.{name}{CHOICES[build]}"
    assert Path(module.__file__).name.split(".")[0] == f"{name}{CHOICES[build]}"


# --- builds made to find errors ---------------------------------------------------------------------------------------

# The output is shorter than the input.
BEYOND = """
import numpy as np
from tinybn.kernels import ladder
y, x, channels = np.ones((1, 1, 100)), np.ones((1, 1, 200)), np.ones(1)
ladder.naive(y, x, channels, channels, 1e-5, 1)
"""

# A tensor that says it is two rows longer than its memory is.
TOO_LONG = """
import numpy as np
from numpy.lib.stride_tricks import as_strided
from tinybn.kernels import batchnorm
x = np.ones((5, 7), np.float32)
y = as_strided(np.ones((3, 7), np.float32), (5, 7))
batchnorm.normalize(y, x, np.zeros(7), np.ones(7), None, None, 1e-5, False, 1, {stream})
"""


@pytest.mark.skipif(not cpu.debug(), reason="needs kernels built with TINYBN_DEBUG=1")
def test_a_debug_build_checks_bounds() -> None:
    done = run(BEYOND)
    assert done.returncode == 1 and "IndexError: Out of bounds on buffer access" in done.stderr, done.stderr


@pytest.mark.skipif(not SANITIZED, reason="needs kernels built with TINYBN_SANITIZE=1")
@pytest.mark.parametrize("program", [BEYOND, TOO_LONG.format(stream=False), TOO_LONG.format(stream=True)])
def test_a_sanitized_build_stops_at_memory_that_is_not_the_array_s(program: str) -> None:
    if cpu.debug() and program == BEYOND:
        pytest.skip("bounds checks come first")
    if cpu.compiler().startswith("gcc") and "True" in program:
        pytest.skip("gcc's sanitizer does not see streamed stores")
    done = run(program)
    assert done.returncode != 0 and "AddressSanitizer: heap-buffer-overflow" in done.stderr, done.stderr


# --- options ----------------------------------------------------------------------------------------------------------


def test_unknown_builds_are_refused() -> None:
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    done = subprocess.run(
        [sys.executable, "setup.py", "--name"],
        cwd=ROOT,
        env={**os.environ, "TINYBN_BUILDS": "baseline,v9"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "TINYBN_BUILDS has v9; expected some of baseline,v3,v4" in done.stderr


MEMORY = "import numpy as np, tinybn; block = np.ones(1 << 16); del block; print(*tinybn.memory.stats())"


@pytest.mark.parametrize(("given", "kept"), [("0", 0), (str(1 << 19), 1 << 19), ("1000", 0)])
def test_tinybn_memory_limits_what_is_kept(given: str, kept: int) -> None:
    done = run(MEMORY, TINYBN_MEMORY=given)
    assert done.stdout.split()[:3] == [str(kept), str(int(kept > 0)), given], done.stderr


@pytest.mark.parametrize("given", ["-1", "much", ""])
def test_tinybn_memory_that_is_no_number_is_refused(given: str) -> None:
    done = run(MEMORY, TINYBN_MEMORY=given)
    assert f"ValueError: TINYBN_MEMORY is {given!r}; expected a number of bytes" in done.stderr
