"""Names for the types that signatures share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Axis = int | tuple[int, ...] | None
Shape = tuple[int, ...]

# What an op returns: the output (or the output and its by-products), its backward, and what the backward needs.
Backward = Callable[..., tuple[Any, ...]]
Op = tuple[Any, Backward, tuple[Any, ...]]

DTypeLike = npt.DTypeLike | None
Generator = np.random.Generator
