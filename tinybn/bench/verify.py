"""How wrong a version is, measured against the twin in float64. Nothing is timed that has not passed."""

import inspect
from typing import Any

import numpy as np

from tinybn._typing import Array
from tinybn.bench.registry import PEER_TOLERANCE, Arguments, Call, Kernel, Version


def written(kernel: Kernel) -> tuple[str, ...]:
    return (*kernel.outputs, *kernel.updated)


def expected(kernel: Kernel, arguments: Arguments) -> dict[str, Array]:
    """What the twin writes when every array of floating numbers is float64. The arguments stay as they are.

    Raises:
        ValueError: the arguments are not the twin's, or the outputs not among the arguments.
    """
    signature = inspect.signature(kernel.twin).parameters
    parameters = list(signature)
    others = [signature[name] for name in parameters[len(arguments) :]]
    if list(arguments) != parameters[: len(arguments)] or any(p.default is p.empty for p in others):
        raise ValueError(f"bench: {kernel.name!r} has arguments {list(arguments)}, but its twin takes {parameters}")
    unknown = set(written(kernel)) - set(parameters)
    if unknown or not written(kernel):
        raise ValueError(f"bench: the outputs of {kernel.name!r} must be among {parameters}; got {written(kernel)}")
    exact = {name: _exact(value) for name, value in arguments.items()}
    kernel.twin(*exact.values())
    return {name: exact[name] for name in written(kernel)}


def _exact(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    # Contiguous: there NumPy adds in pairs, and elsewhere one number after the other.
    return value.astype(np.float64 if value.dtype.kind == "f" else value.dtype, order="C")


def results(version: Version, call: Call, arguments: Arguments, names: tuple[str, ...]) -> dict[str, Array]:
    """What one call gives: what it returns, or what it has written into these of its arguments."""
    returned = call()
    if version.results is None:
        return {name: arguments[name] for name in names}
    return version.results(returned)


def error(got: dict[str, Array], wanted: dict[str, Array]) -> float:
    """The largest difference, relative to |expected| + the root mean square of what is expected.

    The mean square is that of ``expected[i]`` for an array of two and more axes: the mean and the variance, which are
    the rows of an array of moments, have scales of their own. A NaN that is not expected counts as infinity.

    >>> error({"y": np.array([1.0, 2.0])}, {"y": np.array([1.0, 1.0])})
    0.5
    """
    return max((_array_error(array, wanted[name]) for name, array in got.items()), default=np.inf)


def _array_error(got: Array, wanted: Array) -> float:
    if got.shape != wanted.shape:
        return np.inf
    if wanted.dtype.kind != "f":
        return 0.0 if np.array_equal(got, wanted) else np.inf
    with np.errstate(all="ignore"):
        axes = tuple(range(1, wanted.ndim)) if wanted.ndim > 1 else None
        scale = np.sqrt(np.mean(wanted * wanted, axis=axes, keepdims=True))
        difference = np.abs(got - wanted)
        relative = np.where(difference == 0, 0.0, difference / (np.abs(wanted) + scale))
    same_nan = np.isnan(got) & np.isnan(wanted)
    return float(np.max(np.where(same_nan, 0.0, np.nan_to_num(relative, nan=np.inf, posinf=np.inf)), initial=0.0))


def allowed(kernel: Kernel, version: Version, dtype: str) -> float:
    """The error up to which a version counts as right."""
    if version.peer:
        return PEER_TOLERANCE
    return kernel.tolerance[dtype]
