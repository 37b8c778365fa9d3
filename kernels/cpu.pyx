"""What the processor can do, and what the kernels were built with."""

cdef extern from "cpu.h":
    int tinybn_cpu_level()
    const char *TINYBN_COMPILER
    const char *TINYBN_FLAGS        # "baseline:-O3 ...;v3:-O3 ...", from setup.py
    bint TINYBN_DEBUG               # from setup.py
    bint TINYBN_OPENMP

_flags = dict(build.split(":", 1) for build in TINYBN_FLAGS.decode().split(";"))


def cpu_level():
    """The x86-64 level: 1 (baseline), 3 (AVX2), 4 (AVX-512); 0 on other processors."""
    return tinybn_cpu_level()


def compiler():
    """The compiler's name and version, such as "gcc 12.2.0"."""
    return TINYBN_COMPILER.decode()


def flags(build):
    """All flags that the compiler was given for a build: "baseline", "v3" or "v4".

    Raises:
        ValueError: there is no such build in this installation.
    """
    if build not in _flags:
        raise ValueError(f"cpu.flags: no build {build!r}; this installation has {', '.join(_flags)}")
    return _flags[build]


def debug():
    """Whether the kernels check bounds (TINYBN_DEBUG=1 when they were built)."""
    return TINYBN_DEBUG


def openmp():
    """Whether the ladder can use several threads: the other kernels have their own."""
    return TINYBN_OPENMP
