from tinybn._typing import Array

def correlate(
    y: Array,
    x: Array,
    matrix: Array,
    bias: Array | None,
    taps: Array,
    length: int,
    scratch: Array | None,
    window: tuple[int, ...],
    threads: int,
    relu: bool = False,
    unpooled: Array | None = None,
) -> None: ...
def correlate_weights(
    sums: Array,
    x: Array,
    dy: Array,
    taps: Array,
    scratch: Array,
    window: tuple[int, ...],
    parts: int,
    direct: bool,
    threads: int,
) -> None: ...
def spread(
    dx: Array,
    dy: Array,
    matrix: Array,
    taps: Array,
    length: int,
    scratch: Array,
    window: tuple[int, ...],
    threads: int,
) -> None: ...
def gather_weights(matrix: Array, weight: Array, taps: Array, turned: bool) -> None: ...
def sum_weights(weight: Array, sums: Array) -> None: ...
def transpose_planes(out: Array, x: Array, threads: int) -> None: ...
