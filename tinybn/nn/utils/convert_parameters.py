"""All parameters as one vector."""

from collections.abc import Iterable

from tinybn import functional
from tinybn._tensor import Tensor, as_tensor
from tinybn.errors import ShapeError
from tinybn.nn.utils.arguments import listed_tensors
from tinybn.storage import mark_changed


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters in one row, which gradients flow through.

    >>> import tinybn as tb
    >>> tb.nn.utils.parameters_to_vector(tb.nn.Linear(2, 3).parameters()).shape
    (9,)
    """
    parts = listed_tensors("parameters_to_vector", parameters)
    if not parts:
        raise ShapeError("parameters_to_vector: expected at least one parameter, got none")
    return functional.cat([functional.flatten(p) for p in parts])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the elements of a vector into parameters, one behind the other, outside the graph.

    Raises:
        ShapeError: the vector has another shape than (n,), or too few elements. Nothing has changed then.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: expected a Tensor, got {type(vec).__name__}")
    parts = listed_tensors("vector_to_parameters", parameters)
    values, needed = as_tensor(vec).data, sum(p.numel() for p in parts)
    if values.ndim != 1 or values.size < needed:
        raise ShapeError(f"vector_to_parameters: expected {needed} elements in one row, got shape {values.shape}")
    start = 0
    for p in parts:
        p.data[...] = values[start : start + p.numel()].reshape(p.shape)
        mark_changed(p.data, "vector_to_parameters")
        start += p.numel()
