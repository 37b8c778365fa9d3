"""The exceptions that tinybn raises, next to Python's own.

Each is both what a NumPy user and what a PyTorch user would catch: NumPy raises ``ValueError`` or ``TypeError`` where
PyTorch raises ``RuntimeError``.
"""

from typing import Any


class ShapeError(ValueError, RuntimeError):
    """Arrays whose shapes do not go together, or not with the layer that was given them."""


class DTypeError(TypeError, RuntimeError):
    """Arrays whose dtypes do not go together, or a dtype that the operation does not take."""


class GraphError(RuntimeError):
    """A gradient that cannot be computed: no graph, a freed graph, or an output that needs a starting gradient."""


class AnomalyError(ArithmeticError, RuntimeError):
    """A NaN or an infinity that an op has made of finite numbers, under `tinybn.detect_anomaly`."""


class ContractError(TypeError):
    """An op of a user's own that does not return what an op has to."""


class GradcheckError(AssertionError, RuntimeError):
    """A gradient that differs from the central differences, or a point where the function is not differentiable."""


class DataError(ValueError):
    """A data file that is missing, truncated or altered."""


class StateError(KeyError, RuntimeError):
    """A state with names that the module does not have, or without some that it has."""

    __str__ = Exception.__str__  # KeyError's would put the message in quotes


def misfit(name: str, arrays: Any, error: ValueError) -> ValueError:
    """What to raise where an op's NumPy has raised: a ShapeError with the op's name and the shapes that it got."""
    if isinstance(error, ShapeError):
        return error
    shapes = [str(array.shape) for array in arrays if hasattr(array, "shape")]
    if "broadcast" in str(error):
        return ShapeError(f"{name}: shapes {' and '.join(shapes)} do not broadcast")
    return ShapeError(f"{name}: shapes {', '.join(shapes)}: {error}")
