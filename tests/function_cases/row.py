"""What a row of the table is, and how it is run here and in PyTorch.

Row("sum", "over one axis", normal((2, 3)), {"dim": 0})
Refused("sum", "no such axis", normal((2, 3)), {"dim": 2})
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from oracle import load_torch, to_torch, torch_dtype

import tinybn as tb

Rng = np.random.Generator
Build = Callable[[Rng], tuple[Any, ...]]


@dataclass(frozen=True)
class Row:
    """A call of a public function.

    Attributes:
        function: its name in ``tb``, else in ``tb.functional``; in PyTorch the same, unless ``torch`` says otherwise.
        name: what is special about the call; the two together are unique.
        inputs: makes the positional arguments. Float arrays become tensors that are differentiated, other arrays
            tensors that are not, all the rest (numbers, tuples, lists of arrays, None) is passed as it is.
        options: keyword arguments, the same for both; arrays and NumPy dtypes are converted.
        torch: called with the module, the arguments and the options, where PyTorch's call differs.
        smooth: the function is differentiable twice at these inputs: central differences are compared. False for
            ties, kinks, infinities and NaN, where the derivative is a convention; PyTorch's is still compared.
        method: also try it as a method of the first argument.
    """

    function: str
    name: str
    inputs: Build
    options: dict[str, Any] = field(default_factory=dict)
    torch: Callable[..., Any] | None = None
    smooth: bool = True
    method: bool = True

    def __str__(self) -> str:
        return f"{self.function} {self.name}"

    def arguments(self, dtype: Any = np.float64) -> list[Any]:
        """The positional arguments, the same at every call, float arrays in ``dtype``."""
        made = self.inputs(np.random.default_rng(zlib.crc32(str(self).encode())))
        return [_map_arrays(a, lambda x: x.astype(dtype) if x.dtype.kind == "f" else x) for a in made]

    def call(self, *arguments: Any) -> Any:
        """tinybn's result."""
        function = getattr(tb, self.function, None) or getattr(tb.functional, self.function)
        return function(*arguments, **self.options)

    def call_torch(self, *arguments: Any) -> Any:
        """PyTorch's result."""
        torch = load_torch()
        options = {key: _torch_option(value) for key, value in self.options.items()}
        if self.torch is not None:
            return self.torch(torch, *arguments, **options)
        function = getattr(torch, self.function, None) or getattr(torch.nn.functional, self.function)
        return function(*arguments, **options)


@dataclass(frozen=True)
class Refused(Row):
    """A call that raises, here and in PyTorch. The message names the function."""


def tensors(arguments: list[Any], requires_grad: bool = False) -> list[Any]:
    """Arrays as Tensors that share their memory; float ones require grad if that is asked for."""

    def convert(x: Any) -> tb.Tensor:
        tensor = tb.from_numpy(x)
        return tensor.requires_grad_() if requires_grad and x.dtype.kind == "f" else tensor

    return [_map_arrays(a, convert) for a in arguments]


def torch_tensors(arguments: list[Any], requires_grad: bool = False) -> list[Any]:
    """The same for PyTorch, copied."""
    return [_map_arrays(a, lambda x: to_torch(x, requires_grad and x.dtype.kind == "f")) for a in arguments]


def flat(value: Any) -> Iterator[Any]:
    """The leaves of nested tuples and lists."""
    if isinstance(value, tuple | list):
        for part in value:
            yield from flat(part)
    else:
        yield value


def _map_arrays(value: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, list):
        return [_map_arrays(part, convert) for part in value]
    return convert(value) if isinstance(value, np.ndarray) else value


def _torch_option(value: Any) -> Any:
    if isinstance(value, type) and issubclass(value, np.generic):
        return torch_dtype(value)
    return to_torch(value)


# --- inputs -----------------------------------------------------------------------------------------------------------


def normal(*shapes: Any) -> Build:
    """Normal numbers of the given shapes; a list of shapes makes a list; what is no shape is passed on."""
    return _made(shapes, lambda rng, shape: rng.standard_normal(shape))


def positive(*shapes: Any) -> Build:
    """Numbers from ½ to 2."""
    return _made(shapes, lambda rng, shape: rng.uniform(0.5, 2, shape))


def distinct(*shapes: Any) -> Build:
    """Within each array numbers at least 0.2 from one another and 0.1 from 0."""

    def draw(rng: Rng, shape: Any) -> Any:
        n = int(np.prod(shape))
        return (0.2 * (rng.permutation(n) - n // 2) + 0.1).reshape(shape)

    return _made(shapes, draw)


def values(*arguments: Any) -> Build:
    """These: lists become arrays (of floats where a float is among them), all else is passed on."""
    return lambda rng: tuple(np.array(a) if isinstance(a, list) else a for a in arguments)


def followed_by(build: Build, *more: Any) -> Build:
    """The inputs of ``build``, then these."""
    return lambda rng: (*build(rng), *(m(rng) if callable(m) else m for m in more))


def integers(low: int, high: int, shape: tuple[int, ...]) -> Callable[[Rng], Any]:
    """Whole numbers from low to high − 1, for `followed_by`."""
    return lambda rng: rng.integers(low, high, shape)


def _made(shapes: Any, draw: Callable[[Rng, Any], Any]) -> Build:
    def make(rng: Rng, shape: Any) -> Any:
        if isinstance(shape, list):
            return [make(rng, s) for s in shape]
        return np.asarray(draw(rng, shape)) if isinstance(shape, tuple) else shape

    return lambda rng: tuple(make(rng, shape) for shape in shapes)
