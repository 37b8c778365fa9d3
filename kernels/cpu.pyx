"""What the processor can do."""

cdef extern from "cpu.h":
    int tinybn_cpu_level()


def cpu_level():
    """The x86-64 level: 1 (baseline), 3 (AVX2), 4 (AVX-512); 0 on other processors."""
    return tinybn_cpu_level()
