from tinybn._typing import Array

def winograd_scratch(P: int, Q: int, C: int, K: int) -> int: ...
def transform_weights(u: Array, weight: Array, turned: bool) -> None: ...
def winograd(
    y: Array,
    x: Array,
    u: Array,
    bias: Array | None,
    scratch: Array,
    top: int,
    left: int,
    threads: int,
    relu: bool = False,
    pool: bool = False,
) -> None: ...
def winograd_weights(
    sums: Array,
    x: Array,
    dy: Array,
    scratch: Array,
    top: int,
    left: int,
    threads: int,
) -> None: ...
def weights_of_sums(weight: Array, sums: Array, threads: int) -> None: ...
