from tinybn._typing import Array

def batch_moments(moments: Array, x: Array, threads: int) -> None: ...
def batch_norm(
    y: Array,
    moments: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    momentum: float,
    eps: float,
    relu: bool,
    threads: int,
    stream: bool,
    unbiased: bool = True,
) -> bool: ...
def normalize(
    y: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
    threads: int,
    stream: bool,
) -> None: ...
def batch_norm_backward(
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
    threads: int,
    stream: bool,
) -> None: ...
def normalize_backward(
    dx: Array,
    dweight: Array,
    dbias: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
    threads: int,
    stream: bool,
) -> None: ...
def ready(
    x: Array,
    like: Array | None,
    weight: Array | None,
    bias: Array | None,
    mean: Array | None,
    var: Array | None,
    given: bool,
) -> bool: ...
