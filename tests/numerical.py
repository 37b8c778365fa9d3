"""Gradients checked against central differences, in float64.

    check_gradients("multiply", lambda x, y: x * y, [x, y])

A function takes and returns Tensors. What it is given besides float arrays (None, labels, scalars) is passed on as it
is and not differentiated.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from tolerances import NUMERICAL, NUMERICAL_STEP

import tinybn as tb


def differentiable(arguments: Sequence[Any]) -> tuple[int, ...]:
    """The positions of the float arrays."""
    return tuple(i for i, a in enumerate(arguments) if isinstance(a, np.ndarray) and a.dtype.kind == "f")


def check_gradients(
    name: str, function: Callable[..., tb.Tensor], arguments: Sequence[Any], positions: Iterable[int] | None = None
) -> None:
    """Compare d⟨v, function⟩/dx with its central differences, for a random v and every element of every input.

    Raises:
        AssertionError: naming the function, the input, the index and both values.
    """
    positions = differentiable(arguments) if positions is None else tuple(positions)
    tensors = _tensors(arguments, positions, requires_grad=True)
    y = function(*tensors)
    v = np.random.default_rng(0).standard_normal(y.shape)
    gradients = tb.grad(y, [tensors[i] for i in positions], v, allow_unused=True)

    def projection(*varied: Any) -> float:
        return float((function(*_tensors(varied, positions)).data * v).sum())

    for i, gradient in zip(positions, gradients, strict=True):
        numerical = central_differences(projection, arguments, i)
        got = np.zeros_like(numerical) if gradient is None else gradient.data
        assert got.shape == numerical.shape, f"{name}: input {i} has shape {numerical.shape}, its gradient {got.shape}"
        if not numerical.size:
            continue
        error = np.abs(got - numerical)
        index = np.unravel_index(np.argmax(error), error.shape)
        where = f"input {i} at {tuple(map(int, index))}" if index else f"input {i}"
        assert error[index] <= NUMERICAL * max(1.0, np.abs(numerical).max()), (
            f"{name}: the gradient for {where} is {got[index]}, central differences say {numerical[index]}"
        )


def check_second_gradients(
    name: str, function: Callable[..., tb.Tensor], arguments: Sequence[Any], positions: Iterable[int] | None = None
) -> None:
    """The same for the derivatives of the first gradients, for the inputs and for the gradient that comes in."""
    positions = differentiable(arguments) if positions is None else tuple(positions)
    rng = np.random.default_rng(1)
    dy = rng.standard_normal(function(*_tensors(arguments, positions)).shape)
    directions = [rng.standard_normal(arguments[i].shape) for i in positions]

    def first_gradients(*varied: Any) -> tb.Tensor:
        *inputs, dy = (x if not isinstance(x, tb.Tensor) or x.requires_grad else x.requires_grad_() for x in varied)
        gradients = tb.grad(function(*inputs), [inputs[i] for i in positions], dy, create_graph=True, allow_unused=True)
        total = (dy * 0.0).sum()
        for gradient, direction in zip(gradients, directions, strict=True):
            if gradient is not None:
                total = total + (gradient * direction).sum()
        return total

    check_gradients(f"{name}, differentiated twice", first_gradients, [*arguments, dy], [*positions, len(arguments)])


def central_differences(function: Callable[..., float], arguments: Sequence[Any], position: int) -> np.ndarray:
    """(f(x + h) − f(x − h))/2h for every element x of ``arguments[position]``."""
    varied = list(arguments)
    x = varied[position] = np.array(arguments[position])
    out = np.empty_like(x)
    for index in np.ndindex(x.shape):
        centre = x[index]
        values = []
        for step in (NUMERICAL_STEP, -NUMERICAL_STEP):
            x[index] = centre + step
            values.append(function(*varied))
        x[index] = centre
        out[index] = (values[0] - values[1]) / (2 * NUMERICAL_STEP)
    return out


def _tensors(arguments: Sequence[Any], positions: Iterable[int], requires_grad: bool = False) -> list[Any]:
    return [tb.tensor(a, requires_grad=requires_grad) if i in positions else a for i, a in enumerate(arguments)]
