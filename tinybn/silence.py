"""NumPy's floating-point warnings off for the length of an op, at a tenth of the cost of ``np.errstate``.

Infinity and NaN are values here, as in PyTorch; `tinybn.detect_anomaly` finds where they come from.

    before = silence()
    try:
        ...
    finally:
        restore(before)
"""

import contextvars
import functools
from collections.abc import Callable
from typing import Any

import numpy as np


def _silence_and_restore() -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """NumPy keeps the state in a context variable; setting that one takes 0.1 µs, np.errstate 0.9."""
    with np.errstate(all="ignore"):
        inside = contextvars.copy_context()
    for variable, value in inside.items():
        if variable.name == "numpy.ufunc.extobj":
            return functools.partial(variable.set, value), variable.reset
    return functools.partial(np.seterr, all="ignore"), lambda before: np.seterr(**before)


silence, restore = _silence_and_restore()
