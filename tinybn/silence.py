"""NumPy's floating-point warnings off for the length of an op, at a tenth of the cost of ``np.errstate``.

Infinity and NaN are values here, as in PyTorch; `tinybn.detect_anomaly` finds where they come from.

    before = set_state(SILENT)
    try:
        ...
    finally:
        restore(before)
"""

import contextvars
from collections.abc import Callable
from typing import Any

import numpy as np


def _functions() -> tuple[Callable[[Any], Any], Any, Callable[[Any], Any]]:
    """NumPy keeps the state in a context variable; setting that one takes 0.1 µs, np.errstate 0.9."""
    with np.errstate(all="ignore"):
        inside = contextvars.copy_context()
    for variable, value in inside.items():
        if variable.name == "numpy.ufunc.extobj":
            return variable.set, value, variable.reset
    return lambda state: np.seterr(**state), {"all": "ignore"}, lambda before: np.seterr(**before)


set_state, SILENT, restore = _functions()
