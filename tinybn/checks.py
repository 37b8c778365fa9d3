"""Gradients compared with central differences, in float64."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinybn._tensor import Tensor, tensor
from tinybn._typing import Array
from tinybn.autograd import Node, grad
from tinybn.errors import DTypeError, GradcheckError
from tinybn.modes import enable_grad

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
        func: takes and returns tensors; a tuple or list of outputs is fine. What is not floating is passed over, and
            so is what requires no grad, unless nothing does.
        inputs: a tensor or a tuple of arguments; the tensors among them that require grad are varied. float64.
        eps: the step of the differences.
        atol, rtol: a gradient g passes beside a difference d if \\|g − d\\| ≤ atol + rtol·\\|d\\|.
        raise_exception: False returns False instead of raising.

    Returns:
        True.

    Raises:
        GradcheckError: a gradient is wrong; the message has the output, the input, their indices, both values and the
            ops. Or the function is not differentiable at this point, gives other values when it is called again, or
            values that are not finite, or no floating tensor at all.
        DTypeError, ValueError: an input that requires grad is not float64, or none requires grad.

    The elements of an output are weighed with random numbers and summed, so that one backward serves them all; only
    after a failure are they looked at one by one. A ``no_grad`` around the call changes nothing.

    >>> import tinybn as tb
    >>> x = tb.tensor([0.5, 2.0], dtype="float64", requires_grad=True)
    >>> tb.gradcheck(lambda x: x * tb.exp(x), x)
    True
    >>> tb.gradcheck(tb.relu, tb.zeros(1, dtype="float64", requires_grad=True))
    Traceback (most recent call last):
    tinybn.errors.GradcheckError: gradcheck: relu is not differentiable here: along input 0[(0,)] = 0.0 the slope of \
output 0[(0,)] is 0.0 from the left and 1.0 from the right; check it at another point
    """

    def outputs(*varied: Any) -> list[Tensor]:
        floats = _outputs("gradcheck", func, varied)
        return [y for y in floats if y.tracked] or floats

    with enable_grad(), _suppressed(raise_exception):
        _Check("gradcheck", func, outputs, _arguments(inputs), eps, atol, rtol).run()
        return True
    return False


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

    def gradients(*varied: Any) -> list[Tensor]:
        xs = [x for _, x in _varied(varied[:count])]
        outputs = _outputs("gradgradcheck", func, varied[:count])
        pairs = [(y, dy) for y, dy in zip(outputs, varied[count:], strict=True) if y.tracked]
        if not pairs:
            return [x * 0 for x in xs]
        ys, dys = zip(*pairs, strict=True)
        return list(grad(ys, xs, dys, create_graph=True, materialize_grads=True))

    with enable_grad(), _suppressed(raise_exception):
        if grad_outputs is None:
            rng = np.random.default_rng(1)
            outputs = _outputs("gradgradcheck", func, arguments)
            grad_outputs = [tensor(rng.standard_normal(y.shape), np.float64, requires_grad=True) for y in outputs]
        starts = grad_outputs if isinstance(grad_outputs, tuple | list) else [grad_outputs]
        _Check("gradgradcheck", func, gradients, [*arguments, *starts], eps, atol, rtol).run()
        return True
    return False


def described(value: Any) -> str:
    """What a function has returned, for messages."""
    if isinstance(value, tuple):
        return f"a tuple ({', '.join(type(part).__name__ for part in value)})"
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


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


def _suppressed(raise_exception: bool) -> suppress:
    return suppress(*[] if raise_exception else [GradcheckError])


def _varied(arguments: Sequence[Any]) -> list[tuple[int, Tensor]]:
    """The tensors that require grad, each once, with their positions."""
    return [
        (i, x) for i, x in enumerate(arguments) if _is_varied(x) and not any(x is before for before in arguments[:i])
    ]


def _is_varied(x: Any) -> bool:
    return isinstance(x, Tensor) and x.tracked


def _outputs(name: str, func: Function, arguments: Sequence[Any]) -> list[Tensor]:
    """The floating tensors that the function returns."""
    result = func(*arguments)
    outputs = _floats(result)
    if not outputs:
        raise GradcheckError(
            f"{name}: {_named(func)} returned {described(result)}; expected a floating tensor, or a tuple or list with "
            "one"
        )
    return outputs


def _floats(result: Any) -> list[Tensor]:
    if isinstance(result, tuple | list):
        return [y for part in result for y in _floats(part)]
    return [result] if isinstance(result, Tensor) and result.dtype.kind == "f" else []


@dataclass
class _Check:
    """The derivatives of ``outputs(*arguments)``, which ``func`` has a part in, compared with differences."""

    name: str
    func: Function
    outputs: Callable[..., list[Tensor]]
    arguments: list[Any]
    eps: float
    atol: float
    rtol: float

    def run(self) -> None:
        varied = _varied(self.arguments)
        xs = [x for _, x in varied]
        outputs = self.outputs(*self.arguments)
        self.values = [y.data.copy() for y in outputs]
        self.what = _named(self.func, outputs)
        for k, (y, again) in enumerate(zip(self.values, self.outputs(*self.arguments), strict=True)):
            if not np.isfinite(y).all() and any(x.numel() for x in xs):
                raise GradcheckError(f"{self.name}: output {k} of {self.what} is not finite: {y}")
            if not np.array_equal(y, again.data, equal_nan=True):
                raise GradcheckError(
                    f"{self.name}: {self.what} gave other values when it was called again with the same inputs"
                )
        rng = np.random.default_rng(0)
        weights = [rng.standard_normal(y.shape) for y in self.values]
        gradients = [_gradients(y, xs, dy) for y, dy in zip(outputs, weights, strict=True)]
        for j, (i, x) in enumerate(varied):
            for index in np.ndindex(x.shape):
                for k, slope in enumerate(self.slopes(i, index)):
                    got, expected = gradients[k][j][index], float((weights[k] * slope).sum())
                    if not abs(got - expected) <= self.atol + self.rtol * abs(expected):
                        self.blame(k, i, index, slope)

    def slopes(self, i: int, index: tuple[int, ...]) -> list[Array]:
        """The central differences of every output along one element of input i, after a look at both sides."""
        eps = self.eps
        before, after = (self.moved(i, index, step) for step in (-eps, eps))
        for k, (low, y, high) in enumerate(zip(before, self.values, after, strict=True)):
            left, right = (y - low) / eps, (high - y) / eps
            jump = np.abs(right - left)
            # Of a smooth function this is about eps·|f''|, and rounding of f is divided by eps.
            rounding = 1e-12 * np.maximum(np.abs(y), 1) / eps
            smooth = jump <= 1e-3 * np.maximum(np.abs(left), np.abs(right)) + rounding
            if not smooth.all():
                worst = np.unravel_index(np.argmax(np.where(smooth, 0, jump)), y.shape)
                closer = [self.moved(i, index, step)[k][worst] for step in (-eps / 4, eps / 4)]
                ratio = abs(closer[1] - 2 * y[worst] + closer[0]) / (eps / 4) / jump[worst]
                if not 1 / 8 < ratio < 1 / 2:  # a smooth function's jump shrinks with the step, to a quarter
                    raise GradcheckError(
                        f"{self.name}: {self.what} is not differentiable here: along {self.element(i, index)} the "
                        f"slope of output {k}{_at(worst)} is {left[worst]:.6} from the left and {right[worst]:.6} from "
                        "the right; check it at another point"
                    )
        return [(high - low) / (2 * eps) for low, high in zip(before, after, strict=True)]

    def moved(self, i: int, index: tuple[int, ...], step: float) -> list[Array]:
        """The outputs with one element of input i moved by a step."""
        x = self.arguments[i]
        array = x.data.copy()
        array[index] += step
        other = Tensor(array, True) if type(x) is Tensor else type(x)(array)
        return [y.data for y in self.outputs(*(other if a is x else a for a in self.arguments))]

    def blame(self, k: int, i: int, index: tuple[int, ...], slope: Array) -> None:
        """Raise for the element of output k whose derivative is off most."""
        y, x = self.outputs(*self.arguments)[k], self.arguments[i]
        derivative = np.zeros(y.shape)
        for place in np.ndindex(y.shape):
            one = np.zeros(y.shape)
            one[place] = 1
            derivative[place] = _gradients(y, [x], one)[0][index]
        error = np.abs(derivative - slope)
        worst = np.unravel_index(np.argmax(error), y.shape)  # the first NaN, if there is one
        raise GradcheckError(
            f"{self.name}: {self.what}: the derivative of output {k}{_at(worst)} for {self.element(i, index)} is "
            f"{derivative[worst]:.10} by backward and {slope[worst]:.10} by central differences"
        )

    def element(self, i: int, index: tuple[int, ...]) -> str:
        return f"input {i}{_at(index)} = {self.arguments[i].data[index]}"


def _gradients(output: Tensor, inputs: list[Tensor], dy: Array) -> list[Array]:
    if not output.tracked:
        return [np.zeros(x.shape) for x in inputs]
    return [g.data for g in grad(output, inputs, dy, retain_graph=True, materialize_grads=True)]


def _named(func: Function, outputs: Sequence[Tensor] = ()) -> str:
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
