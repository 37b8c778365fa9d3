"""Halves of batch normalization: the mean alone, and the variance alone."""

import numpy as np

from tinybn import functional as F
from tinybn import kernels
from tinybn._tensor import Tensor
from tinybn.modes import no_grad
from tinybn.nn.normalization.batchnorm import BatchNorm


class _PartialBatchNorm(BatchNorm):
    """Kinds say what they do without and how they normalize, in `left_out`, `_normalized` and `_with_running`."""

    def _train_on(self, x: Tensor, relu: bool) -> Tensor:
        if not x.array.size:
            return super()._train_on(x, relu)
        with no_grad():  # refuses what BatchNorm refuses, and moves as BatchNorm does what statistics there are
            super()._train_on(x, relu)
        wide = x.to(np.float64)
        y = self._normalized(wide, _centered(wide)).to(x.dtype)
        return F.relu(y) if relu else y

    def _normalized(self, x: Tensor, centered: Tensor) -> Tensor:
        """The output, in float64, as are x and x about its mean."""
        raise NotImplementedError


class _MeanOnlyBatchNorm(_PartialBatchNorm):
    left_out = ("weight", "running_var")

    def _normalized(self, x: Tensor, centered: Tensor) -> Tensor:
        return centered if self.bias is None else centered + _per_channel(self.bias, x)

    def _with_running(self, x: Tensor, relu: bool) -> Tensor:
        one = np.ones(self.num_features, x.dtype)
        return F.batch_norm(x, self.running_mean, one, None, self.bias, eps=0.0, relu=relu)


class _VarianceOnlyBatchNorm(_PartialBatchNorm):
    left_out = ("running_mean",)

    def _normalized(self, x: Tensor, centered: Tensor) -> Tensor:
        scale = ((centered * centered).mean(_reduced_axes(x), keepdim=True) + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * _per_channel(self.weight, x)
        y = x * scale
        return y if self.bias is None else y + _per_channel(self.bias, x)

    def _with_running(self, x: Tensor, relu: bool) -> Tensor:
        zero = np.zeros(self.num_features, x.dtype)
        return F.batch_norm(x, zero, self.running_var, self.weight, self.bias, eps=self.eps, relu=relu)


class MeanOnlyBatchNorm1d(_MeanOnlyBatchNorm):
    """Mean-only batch normalization of vectors: y = x − mean + bias, per feature.

    It has `BatchNorm1d`'s arguments, modes and refusals, one value per channel included, so that the one can stand in
    the other's place; eps has no effect. It has a bias (0 at first) if ``affine``, and keeps running_mean and
    num_batches_tracked if ``track_running_stats``; there is no weight and no running_var.

    Training computes in float64, so that nothing is lost where the mean is large beside the deviations.

    Shapes: (N, C) or (N, C, L) → the same; bias, running_mean (C,).

    Raises:
        ShapeError, AnomalyError: as in `BatchNorm1d`.

    Source: Salimans & Kingma 2016, "Weight Normalization", §3.2.

    >>> import tinybn as tb
    >>> tb.nn.MeanOnlyBatchNorm1d(1)(tb.tensor([[1.0], [5.0]])).tolist()
    [[-2.0], [2.0]]
    """

    input_ndims = (2, 3)
    input_shapes = "(N, C) or (N, C, L)"


class MeanOnlyBatchNorm2d(_MeanOnlyBatchNorm):
    """Mean-only batch normalization of images, per channel. `MeanOnlyBatchNorm1d` says more.

    Shapes: (N, C, H, W) → the same; bias, running_mean (C,).

    Source: Salimans & Kingma 2016, "Weight Normalization", §3.2.

    >>> import tinybn as tb
    >>> list(tb.nn.MeanOnlyBatchNorm2d(3).state_dict())
    ['bias', 'running_mean', 'num_batches_tracked']
    """

    input_ndims = (4,)
    input_shapes = "(N, C, H, W)"


class VarianceOnlyBatchNorm1d(_VarianceOnlyBatchNorm):
    """Batch normalization of vectors that leaves the mean: y = x/√(var + eps) · weight + bias, per feature.

    The variance is the biased one about the batch's mean, as in `BatchNorm1d`, whose arguments, modes and refusals it
    has. It has weight and bias if ``affine``, and keeps running_var and num_batches_tracked if ``track_running_stats``;
    there is no running_mean.

    Training computes in float64, so that nothing is lost where the mean is large beside the deviations.

    Shapes: (N, C) or (N, C, L) → the same; weight, bias, running_var (C,).

    Raises:
        ShapeError, AnomalyError: as in `BatchNorm1d`.

    Source: the other half of Salimans & Kingma 2016, "Weight Normalization", §3.2, as a control.

    >>> import tinybn as tb
    >>> tb.nn.VarianceOnlyBatchNorm1d(1, eps=0.0)(tb.tensor([[1.0], [5.0]])).tolist()
    [[0.5], [2.5]]
    """

    input_ndims = (2, 3)
    input_shapes = "(N, C) or (N, C, L)"


class VarianceOnlyBatchNorm2d(_VarianceOnlyBatchNorm):
    """`VarianceOnlyBatchNorm1d` of images: y = x/√(var + eps) · weight + bias, per channel.

    Shapes: (N, C, H, W) → the same; weight, bias, running_var (C,).

    >>> import tinybn as tb
    >>> list(tb.nn.VarianceOnlyBatchNorm2d(3).state_dict())
    ['weight', 'bias', 'running_var', 'num_batches_tracked']
    """

    input_ndims = (4,)
    input_shapes = "(N, C, H, W)"


def _reduced_axes(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _centered(x: Tensor) -> Tensor:
    """x − mean. The exact mean goes first, as a constant, so that what is summed with gradients is small."""
    near = x - kernels.batch_moments(x.array)[0].reshape(_channel_shape(x))
    return near - near.mean(_reduced_axes(x), keepdim=True)


def _per_channel(parameter: Tensor, x: Tensor) -> Tensor:
    return parameter.to(x.dtype).reshape(_channel_shape(x))


def _channel_shape(x: Tensor) -> tuple[int, ...]:
    return (1, -1) + (1,) * (x.ndim - 2)
