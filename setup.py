"""Builds the Cython kernels; everything else about the package stands in pyproject.toml.

Every ``kernels/NAME.pyx`` becomes the module ``tinybn.kernels.NAME``, and on x86-64 also ``NAME_v3`` (AVX2) and
``NAME_v4`` (AVX-512): the same C, compiled for those levels. Which one serves is decided at import.

* No OpenMP in the compiler: the kernels are built without it and run on one thread.
* No compiler at all: the package installs without them and falls back on the NumPy twins.
* ``TINYBN_DEBUG=1``: bounds checks, wraparound checks, C assertions and debug symbols.
* ``TINYBN_REQUIRE_COMPILED=1``: a kernel that does not build fails the installation.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

DEBUG = os.environ.get("TINYBN_DEBUG") == "1"
REQUIRED = os.environ.get("TINYBN_REQUIRE_COMPILED") == "1"

# Never -ffast-math, -Ofast or -fassociative-math: they drop NaN handling, flush subnormals in the whole process when
# they stand on the link line, and fold (x - high) - low into x - (high + low), which the exact mean relies on.
# -ffp-contract=off keeps the bits equal between instruction sets.
# Without optimization gcc suspects Cython's own error handling of uninitialized variables, and glibc will not fortify.
FLAGS = ["-O0", "-g", "-UNDEBUG", "-U_FORTIFY_SOURCE", "-Wno-uninitialized"] if DEBUG else ["-O3", "-g0"]
UNIX_FLAGS = [*FLAGS, "-ffp-contract=off", "-fno-math-errno"]
MSVC_FLAGS = ["/Od", "/Zi", "/UNDEBUG"] if DEBUG else ["/O2", "/fp:precise"]

# What a module's name ends with, and the flags that make the difference. A compiler that refuses them leaves it out.
LEVELS = {"": [], "_v3": ["-march=x86-64-v3"], "_v4": ["-march=x86-64-v4"]}

# These have no loops that would gain: one build serves.
PLAIN = ("cpu", "memory")

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": DEBUG,
    "initializedcheck": DEBUG,
    "cdivision": not DEBUG,
}

PROBE = """
#include <Python.h>
int main(void) { return PY_VERSION_HEX == 0; }
"""

OPENMP_PROBE = """
#include <omp.h>
int main(void) { int n = 0;
#pragma omp parallel reduction(+:n)
  n += omp_get_num_threads(); return n == 0; }
"""


def level_of(extension: Extension) -> str:
    return next(level for level in sorted(LEVELS, reverse=True) if extension.name.endswith(level))


class BuildKernels(build_ext):
    """Translates and compiles the kernels with the flags that the compiler at hand understands."""

    def build_extensions(self) -> None:
        if not self._compiles(PROBE):
            message = "tinybn: no C compiler that finds Python.h"
            if REQUIRED:
                raise CompileError(f"{message}, and TINYBN_REQUIRE_COMPILED=1")
            print(f"{message}; installing without the compiled kernels, NumPy serves instead", file=sys.stderr)
            self.extensions = []
            return

        msvc = self.compiler.compiler_type == "msvc"
        openmp = ["/openmp" if msvc else "-fopenmp"]
        if not self._compiles(OPENMP_PROBE, openmp, link=not msvc):
            print("tinybn: this compiler has no OpenMP; the kernels will run on one thread", file=sys.stderr)
            openmp = []

        levels = [level for level, flags in LEVELS.items() if not (flags and msvc) and self._compiles(PROBE, flags)]
        self.extensions = [extension for extension in self.extensions if level_of(extension) in levels]
        self._translate()
        for extension in self.extensions:
            flags = MSVC_FLAGS if msvc else UNIX_FLAGS
            extension.extra_compile_args = [*flags, *LEVELS[level_of(extension)], *openmp]
            extension.extra_link_args = [] if msvc else openmp
        self.force = True  # the flags come from the environment, which timestamps do not see
        self.parallel = self.parallel or True
        super().build_extensions()

    def _translate(self) -> None:
        """Cython to C, once for each source; each level gets a copy of the C that carries its own module's name."""
        baseline = [extension for extension in self.extensions if not level_of(extension)]
        translated = cythonize(
            baseline, compiler_directives=DIRECTIVES, build_dir="build/cython", force=True, quiet=True
        )
        for extension in self.extensions:
            level = level_of(extension)
            [source] = [Path(t.sources[0]) for t in translated if t.name == extension.name.removesuffix(level)]
            if level:
                original, source = source, source.with_stem(source.stem + level)
                shutil.copyfile(original, source)
                extension.define_macros.append((f"PyInit_{original.stem}", f"PyInit_{source.stem}"))
            extension.sources = [str(source)]

    def _compiles(self, program: str, flags: list[str] | None = None, link: bool = False) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe.c"
            source.write_text(program)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=flags)
                if link:
                    self.compiler.link_executable(objects, str(Path(folder) / "probe"), extra_postargs=flags)
            except (CompileError, LinkError, OSError):
                return False
        return True


def kernel(source: Path, level: str) -> Extension:
    return Extension(
        f"tinybn.kernels.{source.stem}{level}",
        [source.as_posix()],
        include_dirs=["kernels", numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        optional=not REQUIRED,  # a kernel that this compiler refuses: its NumPy twin serves
    )


setup(
    ext_modules=[
        kernel(source, level)
        for source in sorted(Path("kernels").glob("*.pyx"))
        for level in (LEVELS if source.stem not in PLAIN else [""])
    ],
    cmdclass={"build_ext": BuildKernels},
)
