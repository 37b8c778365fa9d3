"""Batch Renormalization: training that normalizes nearly as evaluation will."""

from typing import Any

import numpy as np

from tinybn import kernels
from tinybn._tensor import Tensor
from tinybn._typing import Array, DTypeLike
from tinybn.functional.arguments import whole
from tinybn.functional.normalization import batch_norm_training
from tinybn.nn.normalization.batchnorm import BatchNorm
from tinybn.nn.normalization.conventions import EPS, MOMENTUM

# Ioffe 2017, §4, gives steps: BatchNorm for 5k, limits that reach their ends at 40k (r_max) and at 25k (d_max). As
# shares of a run these are ours, of one of 130k steps.
PLAIN, R_GROWN, D_GROWN = 5 / 130, 40 / 130, 25 / 130


class _BatchRenorm(BatchNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = EPS,
        momentum: float | None = MOMENTUM,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DTypeLike = "float32",
        *,
        bias: bool = True,
        convention: str = "torch",
        debias: bool = False,
        r_max: float = 3.0,
        d_max: float = 5.0,
        total_steps: int | None = None,
    ) -> None:
        name = type(self).__name__
        if not track_running_stats:
            raise ValueError(f"{name}: track_running_stats=False; training needs running statistics to be corrected by")
        if not r_max >= 1:
            raise ValueError(f"{name}: r_max is {r_max!r}; r is kept in [1/r_max, r_max], so expected 1 or more")
        if not d_max >= 0:
            raise ValueError(f"{name}: d_max is {d_max!r}; d is kept in [-d_max, d_max], so expected 0 or more")
        if total_steps is not None and whole(f"{name}: total_steps", total_steps) < 1:
            raise ValueError(f"{name}: total_steps is {total_steps!r}; expected a whole number from 1 on, or None")
        super().__init__(
            num_features,
            eps,
            momentum,
            affine,
            track_running_stats,
            dtype,
            bias=bias,
            convention=convention,
            debias=debias,
        )
        self.r_max, self.d_max, self.total_steps = r_max, d_max, total_steps

    def limits(self) -> tuple[float, float]:
        """r_max and d_max as they are for the next batch."""
        if self.total_steps is None:
            return self.r_max, self.d_max
        done = self.num_batches_tracked.item() / self.total_steps  # type: ignore[union-attr]
        return 1 + (self.r_max - 1) * _grown(done, R_GROWN), self.d_max * _grown(done, D_GROWN)

    def _train_on(self, x: Tensor, relu: bool) -> Tensor:
        r, d = self._correction(x)
        weight: Any = r if self.weight is None else self.weight * r
        bias: Any = d if self.weight is None else self.weight * d
        bias = bias if self.bias is None else self.bias + bias
        share = self._new_share(self.num_batches_tracked.array)  # type: ignore[union-attr]
        mean, var = self.running_mean, self.running_var
        y, moved = batch_norm_training(x, mean, var, weight, bias, share, self.eps, relu, self._unbiased)
        self._count(x, moved)
        return y

    def _correction(self, x: Tensor) -> tuple[Array, Array]:
        """r and d, which are constants to the gradient."""
        running_mean, running_var = self.running_mean.array, self.running_var.array  # type: ignore[union-attr]
        mean, var = kernels.batch_moments(x.array)
        std = np.sqrt(running_var.astype(np.float64) + self.eps)
        r_max, d_max = self.limits()
        r = np.clip(np.sqrt(var + self.eps) / std, 1 / r_max, r_max)
        d = np.clip((mean - running_mean) / std, -d_max, d_max)
        return r.astype(running_mean.dtype), d.astype(running_mean.dtype)

    def extra_repr(self) -> str:
        text = f"{super().extra_repr()}, r_max={self.r_max}, d_max={self.d_max}"
        return text if self.total_steps is None else f"{text}, total_steps={self.total_steps}"


class BatchRenorm1d(_BatchRenorm):
    """Batch Renormalization of vectors: in training y = (x̂·r + d) · weight + bias, per feature.

        x̂ = (x − mean)/√(var + eps)                                     of the batch, as in `BatchNorm1d`
        r = √(var + eps)/√(running_var + eps)     kept in [1/r_max, r_max]
        d = (mean − running_mean)/√(running_var + eps)     kept in [−d_max, d_max]

    Inside the limits this is what evaluation makes of x. No gradient flows through r and d, so that the one of the
    batch's statistics stays. r_max = 1 with d_max = 0 is BatchNorm. Evaluation, and how the running statistics move,
    are as in BatchNorm. (The paper averages √(var + eps) where this averages var.)

    Args:
        r_max, d_max: the limits. For batches of 4 Wu & He 2018 found 1.5 and 0.5 best.
        total_steps: the number of batches in the whole training. The limits then begin at 1 and 0, those of BatchNorm,
            stay there for 1/26 of it and grow linearly until 8/26 (r_max) and 5/26 (d_max). The paper has steps, 5,000
            and 40,000 and 25,000 of them; these shares give the same with 130,000. They follow
            ``num_batches_tracked``, so that training goes on from a state_dict as if it had not been interrupted.
            None: the limits are the same from the first batch on, where running statistics are still 0 and 1.
        num_features, eps, momentum, affine, dtype, bias, convention, debias: as in `BatchNorm1d`. The paper's momentum
            is 0.01.
        track_running_stats: True; it is here for BatchNorm's order of arguments.

    Shapes: (N, C) or (N, C, L) → the same; weight, bias, running_mean, running_var (C,).

    Raises:
        ValueError: limits or a number of steps that cannot be, or no running statistics.
        ShapeError, AnomalyError: as in `BatchNorm1d`.

    Source: Ioffe 2017, "Batch Renormalization", §3, algorithm 1, and §4.

    >>> import tinybn as tb
    >>> layer = tb.nn.BatchRenorm1d(1, eps=0.0)
    >>> layer(tb.tensor([[1.0], [2.0]])).tolist()  # inside the limits: with the running mean 0 and variance 1
    [[1.0], [2.0]]
    """

    input_ndims = (2, 3)
    input_shapes = "(N, C) or (N, C, L)"


class BatchRenorm2d(_BatchRenorm):
    """Batch Renormalization of images, per channel. `BatchRenorm1d` has formula and arguments.

    Shapes: (N, C, H, W) → the same; weight, bias, running_mean, running_var (C,).

    Source: Ioffe 2017, "Batch Renormalization", §3, algorithm 1.

    >>> import tinybn as tb
    >>> layer = tb.nn.BatchRenorm2d(3, total_steps=1000)
    >>> layer.limits()
    (1.0, 0.0)
    >>> layer.num_batches_tracked += 1000
    >>> layer.limits()
    (3.0, 5.0)
    """

    input_ndims = (4,)
    input_shapes = "(N, C, H, W)"


def _grown(done: float, end: float) -> float:
    """The part of a limit's growth that lies behind, when so much of the training does."""
    return min(max((done - PLAIN) / (end - PLAIN), 0.0), 1.0)
