from tinybn._typing import Array

def multiply(
    c: Array, a: Array, b: Array, bias: Array | None, scratch: Array, threads: int, relu: bool = False
) -> bool: ...
