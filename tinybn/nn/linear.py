"""Linear, and the layers that only give their input another shape, or none."""

from collections.abc import Sequence
from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import DTypeLike, Generator
from tinybn.nn import init
from tinybn.nn.fusing import with_relu
from tinybn.nn.module import Module
from tinybn.nn.parameter import Parameter


class Linear(Module):
    """y = x·weightᵀ + bias.

    Args:
        in_features, out_features: sizes of the last axis before and after.
        bias: add a bias.
        dtype: of the parameters, default float32.
        generator: draws the initial weights; default: that of `tinybn.manual_seed`.

    Shapes: (..., in_features) → (..., out_features); weight (out_features, in_features), bias (out_features,).
    Both start uniform on ±1/√in_features, as in PyTorch.

    Raises:
        ShapeError, DTypeError: an input that does not fit.

    >>> import tinybn as tb
    >>> tb.nn.Linear(3, 4)(tb.zeros(2, 3)).shape
    (2, 4)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
    ) -> None:
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(F.zeros(out_features, in_features, dtype=dtype))
        self.bias = Parameter(F.zeros(out_features, dtype=dtype)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw new initial weights."""
        init.linear_defaults_(self.weight, self.bias, generator)

    def forward(self, input: Any, relu: bool = False) -> Tensor:
        """``relu``: the output of a ReLU behind, made in the same pass."""
        return F.linear(input, self.weight, self.bias, relu)

    fuses = True

    def fusing(self, following: Sequence[Module]) -> tuple[int, dict[str, bool]]:
        return with_relu(self, Linear.forward, following)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Flatten(Module):
    """The axes from start_dim to end_dim as one; default: all but the batch.

    >>> import tinybn as tb
    >>> tb.nn.Flatten()(tb.zeros(2, 3, 4)).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Any) -> Tensor:
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """The axis ``dim`` as several, whose sizes multiply to its own; −1 stands for what is left.

    >>> import tinybn as tb
    >>> tb.nn.Unflatten(1, (3, -1))(tb.zeros(2, 12)).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        if not isinstance(unflattened_size, list | tuple) or not all(isinstance(n, int) for n in unflattened_size):
            raise TypeError(f"Unflatten: unflattened_size is {unflattened_size!r}; expected a tuple of ints")
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Any) -> Tensor:
        return F.unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Identity(Module):
    """The input itself. Takes any arguments, so that it can stand in for any layer.

    >>> import tinybn as tb
    >>> tb.nn.Identity(64, bias=False)(tb.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def forward(self, input: Any) -> Tensor:
        return as_tensor(input)
