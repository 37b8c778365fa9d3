from tinybn._typing import Array

def layer_norm(
    y: Array,
    moments: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    period: int,
    eps: float,
    centered: bool,
    threads: int,
) -> None: ...
def layer_norm_backward(
    dx: Array,
    dweight: Array | None,
    dbias: Array | None,
    dy: Array,
    x: Array,
    moments: Array,
    weight: Array | None,
    period: int,
    eps: float,
    centered: bool,
    scratch: Array,
    threads: int,
) -> None: ...
def group_norm(
    y: Array,
    moments: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    groups: int,
    eps: float,
    scratch: Array,
    threads: int,
) -> None: ...
def group_norm_backward(
    dx: Array,
    dweight: Array | None,
    dbias: Array | None,
    dy: Array,
    x: Array,
    moments: Array,
    weight: Array | None,
    groups: int,
    eps: float,
    scratch: Array,
    threads: int,
) -> None: ...
def contiguous(x: Array, a: Array | None, b: Array | None) -> bool: ...
