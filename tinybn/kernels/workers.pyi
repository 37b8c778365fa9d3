from typing import Any

api: Any

def useful_threads(threads: int, size: int) -> int: ...
