"""BatchNorm1d and BatchNorm2d."""

from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import DTypeLike
from tinybn.errors import ShapeError
from tinybn.functional.normalization import batch_norm_training
from tinybn.nn.activation import ReLU
from tinybn.nn.module import Module
from tinybn.nn.parameter import Parameter


class _BatchNorm(Module):
    input_ndims: tuple[int, ...]  # how many axes an input may have
    input_shapes: str

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DTypeLike = "float32",
    ) -> None:
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(F.ones(num_features, dtype=dtype)) if affine else None
        self.bias = Parameter(F.zeros(num_features, dtype=dtype)) if affine else None
        tracked = track_running_stats
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        self.register_buffer("running_mean", F.zeros(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", F.ones(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", F.zeros((), dtype="int64") if tracked else None)

    def reset_running_stats(self) -> None:
        """Forget the statistics: mean 0, variance 1, no batches seen."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.data.fill(0)
            self.running_var.data.fill(1)
            self.num_batches_tracked.data.fill(0)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and no statistics."""
        self.reset_running_stats()
        if self.weight is not None and self.bias is not None:
            self.weight.data.fill(1)
            self.bias.data.fill(0)

    def forward(self, input: Any, relu: bool = False) -> Tensor:
        """``relu``: the output of a ReLU behind, made in the same pass."""
        x = input if type(input) is Tensor else as_tensor(input)
        shape = x.array.shape
        if len(shape) not in self.input_ndims or shape[1] != self.num_features:
            shapes = self.input_shapes.replace("C", str(self.num_features))
            raise ShapeError(f"expected an input of shape {shapes}, got {x.shape}")
        mean, var, seen = self.running_mean, self.running_var, self.num_batches_tracked
        if not self.training and mean is not None:
            return F.batch_norm(x, mean, var, self.weight, self.bias, eps=self.eps, relu=relu)
        if not self.training or seen is None:
            return batch_norm_training(x, None, None, self.weight, self.bias, eps=self.eps, relu=relu)[0]
        momentum = (
            1 / (int(seen.array) + 1) if self.momentum is None else self.momentum
        )  # None weighs all batches alike
        y, moved = batch_norm_training(x, mean, var, self.weight, self.bias, momentum, self.eps, relu)
        if moved:
            seen.array += 1
        return y

    fuses = True

    def fuses_with(self, following: Module) -> bool:
        """A ReLU, if neither is a subclass or has hooks that would see what is between the two."""
        plain = type(following) is ReLU and "forward" not in vars(following) and "forward" not in vars(self)
        return plain and type(self).forward is _BatchNorm.forward and self._hooks is None and following._hooks is None

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalization of vectors: y = (x − mean)/√(var + eps) · weight + bias, per feature.

    In training, mean and biased variance are those of the batch, and the running statistics, which evaluation uses,
    move towards them: running = (1 − momentum)·running + momentum·new, with the unbiased variance.

    Args:
        num_features: C.
        eps: added to the variance, inside the root.
        momentum: the weight of the new statistics; None averages over all batches so far.
        affine: have a weight (1 at first) and a bias (0).
        track_running_stats: keep running statistics; without them evaluation uses the batch's own, too.
        dtype: of parameters and buffers, default float32.

    Shapes: (N, C) or (N, C, L) → the same; weight, bias, running_mean, running_var (C,).

    Raises:
        ShapeError: an input that does not fit, or one value per channel in training.

    Source: Ioffe & Szegedy 2015, "Batch Normalization", §3, algorithms 1 and 2.

    >>> import tinybn as tb
    >>> y = tb.nn.BatchNorm1d(2)(tb.tensor([[1.0, 10.0], [3.0, 30.0]]))
    >>> [[round(v, 3) for v in row] for row in y.tolist()]
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    input_ndims = (2, 3)
    input_shapes = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Batch normalization of images, per channel over batch, height and width. `BatchNorm1d` has formula and arguments.

    Shapes: (N, C, H, W) → the same; weight, bias, running_mean, running_var (C,).

    Source: Ioffe & Szegedy 2015, "Batch Normalization", §3.2.

    >>> import tinybn as tb
    >>> tb.nn.BatchNorm2d(3)(tb.rand(2, 3, 4, 4)).mean().abs().item() < 1e-6
    True
    """

    input_ndims = (4,)
    input_shapes = "(N, C, H, W)"
