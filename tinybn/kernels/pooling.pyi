from tinybn._typing import Array

def max_pool2d(
    y: Array,
    index: Array,
    x: Array,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    threads: int,
) -> None: ...
def max_pool2d_backward(
    dx: Array,
    dy: Array,
    index: Array,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    threads: int,
) -> None: ...
def scatter_plane(x: Array, y: Array, index: Array, threads: int) -> None: ...
