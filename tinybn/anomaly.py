"""Where NaN and infinity come from, and which line of the user's code called."""

import linecache
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tinybn.errors import AnomalyError
from tinybn.modes import CHECK, SITES

_PACKAGE = str(Path(__file__).parent) + os.sep

Site = tuple[str, int]  # file and line


def call_site() -> Site:
    """The innermost frame outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def described(site: Site | None) -> str:
    """ ", called at file:line: source", or nothing."""
    if site is None:
        return ""
    source = linecache.getline(*site).strip()
    return f", called at {site[0]}:{site[1]}" + (f": {source}" if source else "")


def watch(mode: int, name: str, arrays: Any, y: Any) -> None:
    """What the modes of `tinybn.detect_anomaly` ask for when an op of that name has made the tensor y."""
    if mode & CHECK:
        check(name, y.array, arrays, call_site())
    if mode & SITES and y.node is not None:
        y.node.site = call_site()


def check(what: str, made: Any, given: Any, site: Site | None) -> None:
    """Raise if an array is not finite though the arrays that it was made from are."""
    made = _array(made)
    if _is_finite(made) or not all(_is_finite(_array(x)) for x in given):
        return
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(made))[0])
    place = f" at {index}" if index else ""
    raise AnomalyError(
        f"{what} made {made[index]}{place} of {'its output' if 'backward' not in what else 'a gradient'} of shape "
        f"{made.shape}, from finite inputs{described(site)}"
    )


def _array(value: Any) -> Any:
    """A Tensor's array; anything else is itself."""
    return value.data if isinstance(getattr(value, "data", None), np.ndarray) else value


def _is_finite(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind != "f" or bool(np.isfinite(value).all())
    return not isinstance(value, float) or np.isfinite(value)
