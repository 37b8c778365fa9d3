"""Gradients compared with central differences, in float64."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinybn._tensor import Tensor, tensor
from tinybn._typing import Array
from tinybn.autograd import Node, grad
from tinybn.errors import DTypeError, GradcheckError

Function = Callable[..., Any]


def gradcheck(
    func: Function,
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients of ``func(*inputs)`` with (f(x + eps) − f(x − eps))/(2·eps), element by element.

    Args:
        func: takes and returns tensors; a tuple or list of outputs is fine. What is not floating is passed over.
        inputs: a tensor or a tuple of arguments; the tensors among them that require grad are varied. float64.
        eps: the step of the differences.
        atol, rtol: a gradient g passes beside a difference d if \\|g − d\\| ≤ atol + rtol·\\|d\\|.
        raise_exception: False returns False instead of raising.

    Returns:
        True.

    Raises:
        GradcheckError: a gradient is wrong; the message has the output, the input, their indices, both values and the
            ops. Or the function is not differentiable at this point, gives other values when it is called again, or
            values that are not finite.
        DTypeError, ValueError: an input that requires grad is not float64, or none requires grad.

    All elements of all outputs are weighed with random numbers and summed, so that one backward serves them all; only
    after a failure are they looked at one by one.

    >>> import tinybn as tb
    >>> x = tb.tensor([0.5, 2.0], dtype="float64", requires_grad=True)
    >>> tb.gradcheck(lambda x: x * tb.exp(x), x)
    True
    >>> tb.gradcheck(tb.relu, tb.zeros(1, dtype="float64", requires_grad=True))
    Traceback (most recent call last):
    tinybn.errors.GradcheckError: gradcheck: relu is not differentiable here: along input 0[(0,)] = 0.0 the slope of \
output 0[(0,)] is 0.0 from the left and 1.0 from the right; check it at another point
    """
    return _checked("gradcheck", func, _arguments(inputs), eps, atol, rtol, raise_exception)


def gradgradcheck(
    func: Function,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """`gradcheck` of the gradients of ``func``, as functions of its inputs and of the gradients that come in.

    Args:
        grad_outputs: what the gradients of the outputs are; default: random numbers.
        func, inputs, eps, atol, rtol, raise_exception: as in `gradcheck`. In the message the outputs are the gradients.

    >>> import tinybn as tb
    >>> x = tb.tensor([0.5, 2.0], dtype="float64", requires_grad=True)
    >>> tb.gradgradcheck(lambda x: x * tb.exp(x), x)
    True
    """
    arguments = _arguments(inputs)
    count = len(arguments)
    rng = np.random.default_rng(1)
    outputs = _floats(func(*arguments))
    if grad_outputs is None:
        grad_outputs = [tensor(rng.standard_normal(y.shape), np.float64, requires_grad=True) for y in outputs]
    starts = list(grad_outputs) if isinstance(grad_outputs, tuple | list) else [grad_outputs]

    def gradients(*varied: Any) -> list[Tensor]:
        xs = [x for x in varied[:count] if _is_varied(x)]
        pairs = [(y, dy) for y, dy in zip(_floats(func(*varied[:count])), varied[count:], strict=True) if y.tracked]
        if not pairs:
            return [x * 0 for x in xs]
        ys, dys = zip(*pairs, strict=True)
        return list(grad(ys, xs, dys, create_graph=True, materialize_grads=True))

    gradients.__name__ = getattr(func, "__name__", repr(func))
    return _checked("gradgradcheck", gradients, [*arguments, *starts], eps, atol, rtol, raise_exception)


def _arguments(inputs: Any) -> list[Any]:
    arguments = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    if not any(_is_varied(x) for x in arguments):
        raise ValueError("gradcheck: no input requires grad; make one with requires_grad=True")
    for i, x in enumerate(arguments):
        if _is_varied(x) and x.dtype != np.float64:
            raise DTypeError(
                f"gradcheck: input {i} is {x.dtype}, whose rounding would hide errors; use float64 (.double())"
            )
    return arguments


def _checked(
    name: str, func: Function, arguments: list[Any], eps: float, atol: float, rtol: float, raise_exception: bool
) -> bool:
    try:
        _check(name, func, arguments, eps, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(name: str, func: Function, arguments: list[Any], eps: float, atol: float, rtol: float) -> None:
    varied = [(i, x) for i, x in enumerate(arguments) if _is_varied(x)]
    outputs = _floats(func(*arguments))
    values = [y.data.copy() for y in outputs]
    what = _named(func, outputs)
    for k, (y, again) in enumerate(zip(values, _floats(func(*arguments)), strict=True)):
        if not np.isfinite(y).all() and any(x.numel() for _, x in varied):
            raise GradcheckError(f"{name}: output {k} of {what} is not finite: {y}")
        if not np.array_equal(y, again.data, equal_nan=True):
            raise GradcheckError(f"{name}: {what} gave other values when it was called again with the same inputs")
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(y.shape) for y in values]
    gradients = _gradients(outputs, [x for _, x in varied], weights)
    for (i, x), gradient in zip(varied, gradients, strict=True):
        for index in np.ndindex(x.shape):
            slopes = _slopes(name, what, func, arguments, i, index, values, eps)
            expected = sum(float((w * s).sum()) for w, s in zip(weights, slopes, strict=True))
            if not abs(gradient[index] - expected) <= atol + rtol * abs(expected):
                _blame(name, what, func(*arguments), (i, x, index), slopes, float(gradient[index]), expected)


def _slopes(
    name: str,
    what: str,
    func: Function,
    arguments: list[Any],
    i: int,
    index: tuple[int, ...],
    values: list[Array],
    eps: float,
) -> list[Array]:
    """The central differences of every output along one element of input i, after a look at both sides."""
    before, after = (_moved(func, arguments, i, index, step) for step in (-eps, eps))
    for k, (low, y, high) in enumerate(zip(before, values, after, strict=True)):
        left, right = (y - low) / eps, (high - y) / eps
        jump = np.abs(right - left)
        # Of a smooth function this is about eps·|f''|, and rounding of f is divided by eps.
        smooth = jump <= 1e-3 * np.maximum(np.abs(left), np.abs(right)) + 1e-12 * np.abs(y).max(initial=1.0) / eps
        if not smooth.all():
            worst = np.unravel_index(np.argmax(np.where(smooth, 0, jump)), y.shape)
            closer = [_moved(func, arguments, i, index, step)[k][worst] for step in (-eps / 4, eps / 4)]
            ratio = abs(closer[1] - 2 * y[worst] + closer[0]) / (eps / 4) / jump[worst]
            if not 1 / 8 < ratio < 1 / 2:  # a smooth function's jump shrinks with the step, to a quarter
                x = arguments[i].data[index]
                raise GradcheckError(
                    f"{name}: {what} is not differentiable here: along input {i}{_at(index)} = {x} the slope of output "
                    f"{k}{_at(worst)} is {left[worst]:.6} from the left and {right[worst]:.6} from the right; check it "
                    "at another point"
                )
    return [(high - low) / (2 * eps) for low, high in zip(before, after, strict=True)]


def _moved(func: Function, arguments: list[Any], i: int, index: tuple[int, ...], step: float) -> list[Array]:
    """The outputs with one element of input i moved by a step."""
    x = arguments[i]
    array = x.data.copy()
    array[index] += step
    changed = [*arguments[:i], type(x)(array) if type(x) is not Tensor else Tensor(array, True), *arguments[i + 1 :]]
    return [y.data for y in _floats(func(*changed))]


def _blame(name: str, what: str, result: Any, source: Any, slopes: list[Array], got: float, expected: float) -> None:
    """Raise for the output element whose derivative is off most."""
    i, x, index = source
    worst: tuple[float, str, float, float] | None = None
    for k, (y, slope) in enumerate(zip(_floats(result), slopes, strict=True)):
        for place in np.ndindex(y.shape):
            one = np.zeros(y.shape)
            one[place] = 1
            derivative = float(_gradients([y], [x], [one])[0][index])
            error = abs(derivative - float(slope[place]))
            if worst is None or not error <= worst[0]:
                worst = (error, f"output {k}{_at(place)}", derivative, float(slope[place]))
    _, output, got, expected = worst or (0.0, "the weighted sum of the outputs", got, expected)
    raise GradcheckError(
        f"{name}: {what}: the derivative of {output} for input {i}{_at(index)} = {x.data[index]} is {got:.10} by "
        f"backward and {expected:.10} by central differences"
    )


def _gradients(outputs: Sequence[Any], inputs: list[Tensor], starts: Sequence[Array]) -> list[Array]:
    pairs = [(y, dy) for y, dy in zip(outputs, starts, strict=True) if y.tracked]
    if not pairs:
        return [np.zeros(x.shape) for x in inputs]
    ys, dys = zip(*pairs, strict=True)
    made = grad(ys, inputs, dys, retain_graph=True, materialize_grads=True)
    return [g.data for g in made]


def _floats(result: Any) -> list[Any]:
    """The floating tensors of a result."""
    parts = result if isinstance(result, tuple | list) else [result]
    return [y for y in parts if isinstance(y, Tensor) and y.dtype.kind == "f"]


def _is_varied(x: Any) -> bool:
    return isinstance(x, Tensor) and x.tracked


def _named(func: Function, outputs: Sequence[Any]) -> str:
    """The function and the ops that it is made of."""
    name = getattr(func, "__name__", repr(func))
    ops = list(dict.fromkeys(_ops(outputs)))
    if not ops or ops == [name]:
        return name
    return f"{name} ({', '.join(ops[:8])}{', …' if len(ops) > 8 else ''})"


def _ops(outputs: Sequence[Any]) -> Iterator[str]:
    """The names of the ops behind the outputs."""
    stack, seen = [y.node for y in outputs], set()
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node not in seen:
            seen.add(node)
            yield node.op.__name__
            stack.extend(node.inputs)


def _at(index: Any) -> str:
    return f"[{tuple(map(int, index))}]" if index else ""
