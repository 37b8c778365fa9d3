"""Builds the Cython kernels, and compiles the Python that runs at each op; the rest stands in pyproject.toml.

Every ``kernels/NAME.pyx`` becomes the module ``tinybn.kernels.NAME``, and on x86-64 also ``NAME_v3`` (AVX2) and
``NAME_v4`` (AVX-512): the same C, compiled for those levels. Which one serves is decided at import.

The modules of COMPILED_PYTHON are compiled as they stand: the same source, without the interpreter.

* No OpenMP in the compiler: the ladder, which alone uses it, runs on one thread.
* No compiler at all: the package installs without them and falls back on the NumPy twins.

Environment variables:

* ``CC``, ``CFLAGS``, ``LDFLAGS``: the compiler and its further flags, as setuptools understands them.
* ``TINYBN_REQUIRE_COMPILED=1``: a kernel that does not build fails the installation.
* ``TINYBN_BUILDS=baseline,v4``: make only these of the builds ``baseline``, ``v3`` and ``v4``.
* ``TINYBN_COMPILE_PYTHON=0``: leave Python to the interpreter. The debug and sanitizer builds do so anyway.
* ``TINYBN_DEBUG=1``: checks of bounds, negative indices and uninitialized memoryviews, C assertions and debug symbols.
* ``TINYBN_SANITIZE=1``: stop at the first bad access to memory (AddressSanitizer) or undefined behaviour. Python has
  to run with the sanitizer's library: CONTRIBUTING.md tells how. Goes together with ``TINYBN_DEBUG=1``.

What was built, with which compiler and flags, `tinybn.kernels.cpu` knows.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

DEBUG = os.environ.get("TINYBN_DEBUG") == "1"
SANITIZE = os.environ.get("TINYBN_SANITIZE") == "1"
BUILDS = os.environ.get("TINYBN_BUILDS", "baseline,v3,v4").split(",")
REQUIRED = os.environ.get("TINYBN_REQUIRE_COMPILED") == "1"

# Never -ffast-math, -Ofast or -fassociative-math: they drop NaN handling, flush subnormals in the whole process when
# they stand on the link line, and fold (x - high) - low into x - (high + low), which the exact mean relies on.
# -ffp-contract=off keeps the bits equal between instruction sets.
FLAGS = ["-O3", "-g0", "-DNDEBUG"]
WARNINGS = ["-Wall", "-Wextra"]
SANITIZERS = []
MSVC_FLAGS = ["/O2", "/fp:precise"]
if DEBUG or SANITIZE:
    # glibc fortifies nothing without optimization, and a fortified memcpy is one that the sanitizer does not see.
    FLAGS = ["-O1" if SANITIZE else "-O0", "-g", "-U_FORTIFY_SOURCE"]
    # Where little is optimized, gcc suspects Cython's own error handling of uninitialized variables.
    WARNINGS += ["-Wno-uninitialized"]
if DEBUG:
    FLAGS += ["-UNDEBUG"]
    MSVC_FLAGS = ["/Od", "/Zi", "/UNDEBUG"]
if SANITIZE:
    SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    # Python's own flags have -fwrapv, with which an overflow is not undefined any more, and not reported.
    FLAGS += ["-fno-omit-frame-pointer", "-fno-wrapv"]
# -fno-trapping-math changes no value: it gives up the flags of floating-point exceptions, which nobody reads. Otherwise
# gcc makes branches of choices between two values: the backward with ReLU was ten times slower without AVX-512.
UNIX_FLAGS = [*FLAGS, *SANITIZERS, *WARNINGS, "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]

# The flags that make the difference. A compiler that refuses them leaves that build out.
LEVELS = {"baseline": [], "v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4"]}

# Python that runs at each op of a training step. Compiled, a step of small layers spends 100 µs in it instead of 160.
# Each is still what runs where there is no compiler, and in a clone as soon as it has been edited (tinybn/_edited.py).
COMPILED_PYTHON = [
    *("_tensor", "autograd", "saved", "starts", "storage"),
    *("functional/activation", "functional/affine", "functional/arguments", "functional/conv", "functional/loss"),
    *("functional/normalization", "functional/pooling", "functional/row_normalization", "functional/shape"),
    *("kernels/batch_normalize", "kernels/convolve", "kernels/convolve_winograd", "kernels/losses", "kernels/pool"),
    *("kernels/matmul", "kernels/pointwise", "kernels/row_normalize", "kernels/updates"),
    *("nn/activation", "nn/container", "nn/conv", "nn/linear", "nn/module", "nn/pooling"),
    *("nn/normalization/batchnorm", "nn/normalization/rows"),
    *("ops/_call", "ops/conv", "ops/elementwise", "ops/linalg", "ops/loss", "ops/normalization"),
    *("ops/pool", "ops/row_normalization", "ops/shape"),
    *("optim/adam", "optim/optimizer", "optim/sgd"),
]
COMPILE_PYTHON = "baseline" in BUILDS and not DEBUG and not SANITIZE
COMPILE_PYTHON = COMPILE_PYTHON and os.environ.get("TINYBN_COMPILE_PYTHON", "1") == "1"
PYTHON_DIRECTIVES = {"language_level": 3, "binding": True, "annotation_typing": False}
PYTHON_FLAGS = ["-O2", "-g0", "-w"]  # -w: what gcc suspects in the C is Cython's, which has written it

# Products may be fused with the addition behind them: twice the speed, and one rounding less. Their bits are those of
# the instruction set. clang would use half of a v4 processor's vectors.
PRODUCTS = ("products", "convolution", "winograd")
PRODUCT_FLAGS = ["-ffp-contract=fast"]
WIDE_VECTORS = {"v4": ["-mprefer-vector-width=512"]}

# These have no loops that would gain: one build serves.
PLAIN = ("cpu", "memory", "workers")

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": DEBUG,
    "initializedcheck": DEBUG,
    "cdivision": True,  # in the debug build too: 1/0 is infinity, which the kernels rely on, and no exception
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


class Kernel(Extension):
    """One source, built for one level."""

    def __init__(self, source: Path, level: str) -> None:
        self.level = level
        self.original = f"tinybn.kernels.{source.stem}"
        super().__init__(
            self.original + ("" if level == "baseline" else f"_{level}"),
            [source.as_posix()],
            include_dirs=["kernels", numpy.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
            optional=not REQUIRED,  # a kernel that this compiler refuses: its NumPy twin serves
        )


class PythonModule(Extension):
    """A module of the package, compiled as it stands."""

    level = "baseline"  # for any processor

    def __init__(self, name: str) -> None:
        super().__init__(f"tinybn.{name.replace('/', '.')}", [f"tinybn/{name}.py"], optional=not REQUIRED)


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
            print("tinybn: this compiler has no OpenMP; the ladder will run on one thread", file=sys.stderr)
            openmp = []

        levels = [level for level, flags in LEVELS.items() if not (flags and msvc) and self._compiles(PROBE, flags)]
        self.extensions = [kernel for kernel in self.extensions if kernel.level in levels]
        self._translate()
        common = [*(MSVC_FLAGS if msvc else UNIX_FLAGS), *openmp]
        for kernel in self.extensions:
            if isinstance(kernel, PythonModule):
                kernel.extra_compile_args = [] if msvc else PYTHON_FLAGS
                continue
            kernel.extra_compile_args = [*common, *LEVELS[kernel.level]]
            if kernel.original.rpartition(".")[2] in PRODUCTS and not msvc:
                kernel.extra_compile_args += [*PRODUCT_FLAGS, *WIDE_VECTORS.get(kernel.level, [])]
            kernel.extra_link_args = [] if msvc else [*openmp, *SANITIZERS]
            if kernel.name == "tinybn.kernels.cpu":
                kernel.define_macros += self._record(common)
        self.force = True  # the flags come from the environment, which timestamps do not see
        self.parallel = self.parallel or True
        super().build_extensions()

    def _translate(self) -> None:
        """Cython to C, once for each source; each level gets a copy of the C that carries its own module's name.

        The name must be right within the C as well: by it a module enters itself into sys.modules.
        """
        python = {module.name: module for module in self.extensions if isinstance(module, PythonModule)}
        kernels = [kernel for kernel in self.extensions if isinstance(kernel, Kernel)]
        for module in cythonize(
            [Extension(module.name, module.sources) for module in python.values()],
            compiler_directives=PYTHON_DIRECTIVES,
            build_dir="build/cython",
            force=True,
            quiet=True,
        ):
            python[module.name].sources = module.sources
        once = {kernel.original: Extension(kernel.original, kernel.sources) for kernel in kernels}
        translated = cythonize(
            list(once.values()),
            compiler_directives=DIRECTIVES,
            emit_linenums=DEBUG or SANITIZE,  # reports and debuggers then name lines of the .pyx
            build_dir="build/cython",
            force=True,
            quiet=True,
        )
        sources = {extension.name: Path(extension.sources[0]) for extension in translated}
        for kernel in kernels:
            source = sources[kernel.original]
            if kernel.name != kernel.original:
                text = source.read_text(encoding="utf-8")
                text = text.replace(f'"{kernel.original}"', f'"{kernel.name}"')
                text = text.replace(f"PyInit_{source.stem}", f"PyInit_{source.stem}_{kernel.level}")
                source = source.with_stem(f"{source.stem}_{kernel.level}")
                source.write_text(text, encoding="utf-8")
            kernel.sources = [str(source)]

    def _record(self, common: list[str]) -> list[tuple[str, str]]:
        """Macros by which `tinybn.kernels.cpu` knows what it and its neighbours were built with."""
        given = getattr(self.compiler, "compiler_so", [])[1:]  # by Python's own configuration and by CFLAGS
        kernels = [kernel for kernel in self.extensions if isinstance(kernel, Kernel)]
        levels = {kernel.level for kernel in kernels if kernel.name.rpartition(".")[2] not in PLAIN}
        flags = {level: " ".join([*given, *common, *LEVELS[level]]) for level in sorted(levels)}
        text = ";".join(f"{level}:{words}" for level, words in flags.items())
        text = text.replace("\\", "\\\\").replace('"', '\\"')
        return [("TINYBN_FLAGS", f'"{text}"'), ("TINYBN_DEBUG", str(int(DEBUG)))]

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


if unknown := set(BUILDS) - set(LEVELS):
    sys.exit(f"tinybn: TINYBN_BUILDS has {', '.join(sorted(unknown))}; expected some of {','.join(LEVELS)}")

setup(
    ext_modules=[
        Kernel(source, level)
        for source in sorted(Path("kernels").glob("*.pyx"))
        for level in (BUILDS if source.stem not in PLAIN else ["baseline"])
    ]
    + [PythonModule(name) for name in COMPILED_PYTHON if COMPILE_PYTHON],
    cmdclass={"build_ext": BuildKernels},
)
