"""LayerNorm, RMSNorm, GroupNorm and InstanceNorm: statistics of each example's own."""

from collections.abc import Sequence
from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import DTypeLike
from tinybn.errors import ShapeError
from tinybn.functional.row_normalization import instance_norm_training, normalized_axes
from tinybn.nn import init
from tinybn.nn.module import Module
from tinybn.nn.normalization.batchnorm import BatchNorm
from tinybn.nn.parameter import Parameter


class LayerNorm(Module):
    """y = (x − mean)/√(var + eps) · weight + bias, with mean and biased variance over the last axes of each example.

    Args:
        normalized_shape: of these axes; a number stands for one axis.
        eps: added to the variance, inside the root.
        elementwise_affine: have a weight (1 at first) and a bias (0).
        bias: have a bias.
        dtype: of the parameters, default float32.

    Shapes: (..., *normalized_shape) → the same; weight and bias of normalized_shape.

    Raises:
        ShapeError, DTypeError: an input that does not fit.

    Source: Ba, Kiros & Hinton 2016, "Layer Normalization", §3.

    >>> import tinybn as tb
    >>> tb.nn.LayerNorm(3)(tb.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]])).shape
    (2, 3)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: DTypeLike = "float32",
    ) -> None:
        self.normalized_shape = normalized_axes(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = Parameter(F.ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None
        self.bias = Parameter(F.zeros(self.normalized_shape, dtype=dtype)) if elementwise_affine and bias else None

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        _reset(self.weight, self.bias)

    def forward(self, input: Any) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """y = x/√(mean(x²) + eps) · weight, with the mean over the last axes of each example.

    Args:
        normalized_shape: of these axes; a number stands for one axis.
        eps: added to the mean, inside the root; None: the dtype's rounding, 1.2e-7 for float32.
        elementwise_affine: have a weight (1 at first).
        dtype: of the weight, default float32.

    Shapes: (..., *normalized_shape) → the same; weight of normalized_shape.

    Raises:
        ShapeError, DTypeError: an input that does not fit.

    Source: Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", §3.

    >>> import tinybn as tb
    >>> tb.nn.RMSNorm(2, eps=0.0)(tb.tensor([3.0, -3.0])).tolist()
    [1.0, -1.0]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: DTypeLike = "float32",
    ) -> None:
        self.normalized_shape = normalized_axes(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = Parameter(F.ones(self.normalized_shape, dtype=dtype)) if elementwise_affine else None

    def reset_parameters(self) -> None:
        """Weight 1."""
        _reset(self.weight)

    def forward(self, input: Any) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """y = (x − mean)/√(var + eps) · weight + bias, with mean and biased variance of groups of an example's channels.

    One group normalizes an example as a whole; as many groups as channels are `InstanceNorm2d`.

    Args:
        num_groups: the channels are divided into so many groups of neighbours.
        num_channels: C.
        eps: added to the variance, inside the root.
        affine: have a weight (1 at first) and a bias (0) for each channel.
        dtype: of the parameters, default float32.
        bias: have a bias, if affine.

    Shapes: (N, C, ...) → the same; weight and bias (C,).

    Raises:
        ValueError: channels that cannot be divided so.
        ShapeError, DTypeError: an input that does not fit.

    Source: Wu & He 2018, "Group Normalization", §3.

    >>> import tinybn as tb
    >>> tb.nn.GroupNorm(2, 4)(tb.rand(1, 4, 3, 3)).mean().abs().item() < 1e-6
    True
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = "float32",
        *,
        bias: bool = True,
    ) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels cannot be divided into {num_groups} groups")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.weight = Parameter(F.ones(num_channels, dtype=dtype)) if affine else None
        self.bias = Parameter(F.zeros(num_channels, dtype=dtype)) if affine and bias else None

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        _reset(self.weight, self.bias)

    def forward(self, input: Any) -> Tensor:
        x = input if type(input) is Tensor else as_tensor(input)
        if x.array.ndim < 2 or x.array.shape[1] != self.num_channels:
            raise ShapeError(f"expected an input of shape (N, {self.num_channels}, ...), got {x.shape}")
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _InstanceNorm(BatchNorm):
    """Its running statistics, if it keeps some, are means over the examples' own."""

    fuses = False  # with a ReLU: the kernel does not know that

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: DTypeLike = "float32",
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias=bias)

    def forward(self, input: Any, relu: bool = False) -> Tensor:
        x = input if type(input) is Tensor else as_tensor(input)
        if x.array.ndim == self.input_ndims[0] - 1:  # one example
            return self.forward(x.unsqueeze(0)).squeeze(0)
        return super().forward(x, relu)

    def _train_on(self, x: Tensor, relu: bool) -> Tensor:
        tracked = self.training and self.running_mean is not None
        running = (self.running_mean, self.running_var) if tracked else (None, None)
        momentum = 0.0 if self.momentum is None else self.momentum
        y, moved = instance_norm_training(x, *running, self.weight, self.bias, momentum, self.eps)
        if tracked and not moved and x.array.size:
            self._skip(x)
        return F.relu(y) if relu else y


class InstanceNorm1d(_InstanceNorm):
    """y = (x − mean)/√(var + eps) · weight + bias, per channel of each example.

    Args:
        num_features: C.
        eps: added to the variance, inside the root.
        momentum: the weight of the new statistics in the running ones.
        affine: have a weight (1 at first) and a bias (0).
        track_running_stats: keep running statistics, means over the examples, which evaluation then uses.
        dtype: of parameters and buffers, default float32.
        bias: have a bias, if affine.

    Shapes: (N, C, L) or (C, L) → the same; weight, bias, running_mean, running_var (C,).

    Raises:
        ShapeError: an input that does not fit, or one value per channel.
        AnomalyError: running statistics and a batch that is not finite, under `tinybn.detect_anomaly`.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, "Instance Normalization", §2.

    >>> import tinybn as tb
    >>> tb.nn.InstanceNorm1d(3)(tb.rand(2, 3, 5)).shape
    (2, 3, 5)
    """

    input_ndims = (3,)
    input_shapes = "(N, C, L) or (C, L)"


class InstanceNorm2d(_InstanceNorm):
    """`InstanceNorm1d` of images: per channel of each image over height and width.

    Shapes: (N, C, H, W) or (C, H, W) → the same; weight, bias, running_mean, running_var (C,).

    >>> import tinybn as tb
    >>> tb.nn.InstanceNorm2d(3)(tb.rand(3, 4, 4)).shape
    (3, 4, 4)
    """

    input_ndims = (4,)
    input_shapes = "(N, C, H, W) or (C, H, W)"


def _reset(weight: Parameter | None, bias: Parameter | None = None) -> None:
    for parameter, value in ((weight, 1), (bias, 0)):
        if parameter is not None:
            init.constant_(parameter, value)
