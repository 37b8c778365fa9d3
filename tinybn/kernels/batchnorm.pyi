from tinybn._typing import Array

def batch_moments_ncs(mean: Array, var: Array, x: Array, threads: int) -> None: ...
def batch_moments_mc(mean: Array, var: Array, x: Array, threads: int) -> None: ...
def batch_norm_ncs(
    y: Array, mean: Array, var: Array, x: Array, weight: Array, bias: Array, eps: float, threads: int
) -> None: ...
def batch_norm_mc(
    y: Array, mean: Array, var: Array, x: Array, weight: Array, bias: Array, eps: float, threads: int
) -> None: ...
def normalize_ncs(
    y: Array, x: Array, mean: Array, var: Array, weight: Array, bias: Array, eps: float, threads: int
) -> None: ...
def normalize_mc(
    y: Array, x: Array, mean: Array, var: Array, weight: Array, bias: Array, eps: float, threads: int
) -> None: ...
def batch_norm_backward_ncs(
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array,
    eps: float,
    threads: int,
) -> None: ...
def batch_norm_backward_mc(
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array,
    eps: float,
    threads: int,
) -> None: ...
def normalize_backward_ncs(
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array,
    eps: float,
    threads: int,
) -> None: ...
def normalize_backward_mc(
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array,
    eps: float,
    threads: int,
) -> None: ...
