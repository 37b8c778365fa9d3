"""Ghost batch normalization: statistics of small parts of a large batch."""

import numpy as np

from tinybn import functional as F
from tinybn._tensor import Tensor
from tinybn._typing import Array, DTypeLike
from tinybn.errors import ShapeError
from tinybn.functional.arguments import whole
from tinybn.functional.normalization import batch_norm_training
from tinybn.kernels import layout
from tinybn.nn.normalization.batchnorm import BatchNorm
from tinybn.nn.normalization.conventions import EPS, MOMENTUM
from tinybn.storage import mark_changed


class _GhostBatchNorm(BatchNorm):
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
        ghost_size: int,
    ) -> None:
        if whole(f"{type(self).__name__}: ghost_size", ghost_size) < 1:
            raise ValueError(f"{type(self).__name__}: ghost_size is {ghost_size!r}; expected a whole number from 1 on")
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
        self.ghost_size = ghost_size

    def _train_on(self, x: Tensor, relu: bool) -> Tensor:
        count, positions = x.array.shape[0], x.array[:1, :1].size  # N, S
        if count > 1 and self.ghost_size * positions == 1:
            raise ShapeError(
                f"one value per channel in each ghost batch (input of shape {x.shape}, ghost_size=1): its variance is "
                "0 and every output would be the bias. Use a ghost_size of 2 or more"
            )
        whole, rest = divmod(count, self.ghost_size)
        if rest * positions == 1:  # joins the ghost before
            whole, rest = whole - 1, rest + self.ghost_size
        if whole + (rest > 0) <= 1 or not positions:
            return super()._train_on(x, relu)
        parts = [(x[: count - rest], whole), (x[count - rest :], 1)] if rest else [(x, whole)]
        made = [self._with_ghosts(part, ghosts, relu) for part, ghosts in parts]
        if self.training and self.num_batches_tracked is not None:
            moved = all(part[2] for part in made)
            if moved:
                self._move(np.concatenate([part[1] for part in made], axis=1))
            self._count(x, moved)
        return made[0][0] if len(made) == 1 else F.cat([part[0] for part in made])

    def _with_ghosts(self, x: Tensor, ghosts: int, relu: bool) -> tuple[Tensor, Array, bool]:
        """x, cut into so many equal ghosts, normalized; their mean and variance (2, ghosts, C); whether all are finite.

        The channels of each ghost are taken for channels of their own, so that one call of the kernel serves all.
        """
        n, c, *space = x.shape
        if space and layout.order(x.array) == "mc":  # its rows in memory are the examples of a dense batch
            y, statistics, finite = self._with_ghosts(x.movedim(1, -1).reshape(-1, c), ghosts, relu)
            return y.reshape(n, *space, c).movedim(-1, 1), statistics, finite
        side_by_side = x.reshape(ghosts, n // ghosts, c, *space).transpose(0, 1).reshape(-1, ghosts * c, *space)
        weight, bias = (p if p is None else p.expand(ghosts, c).reshape(-1) for p in (self.weight, self.bias))
        statistics = np.zeros((2, ghosts * c), x.dtype if self.running_mean is None else self.running_mean.dtype)
        mean, var = statistics
        y, finite = batch_norm_training(side_by_side, mean, var, weight, bias, 1.0, self.eps, relu, self._unbiased)
        y = y.reshape(-1, ghosts, c, *space).transpose(0, 1).reshape(x.shape)
        return y, statistics.reshape(2, ghosts, c), finite

    def _move(self, statistics: Array) -> None:
        """Move the running statistics towards those of each ghost (2, ghosts, C), one after the other."""
        ghosts = statistics.shape[1]
        before = int(self.num_batches_tracked.array) * ghosts  # type: ignore[union-attr]
        shares = [self._new_share(before + i) for i in range(ghosts)]
        for running, news in zip((self.running_mean, self.running_var), statistics, strict=True):
            value = running.array.astype(np.float64)  # type: ignore[union-attr]
            for share, new in zip(shares, news, strict=True):
                value = (1 - share) * value + share * new
            running.array[...] = value  # type: ignore[union-attr]
            mark_changed(running.array, "GhostBatchNorm in training")  # type: ignore[union-attr]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, ghost_size={self.ghost_size}"


class GhostBatchNorm1d(_GhostBatchNorm):
    """`BatchNorm1d` with statistics of each ``ghost_size`` examples of a batch, in the order in which they come.

    So a large batch trains with the noise of small ones. The last ghost batch has what remains, if that is more than
    one value per channel; a single one joins the ghost batch before. A batch of up to ``ghost_size`` examples is
    BatchNorm's. Evaluation with running statistics is BatchNorm's, too.

    In training the running statistics move towards those of each ghost batch in turn, with the same momentum, while
    ``num_batches_tracked`` counts whole batches. With momentum=None all ghost batches of a batch count alike, and so do
    all batches. A batch with a ghost that is not finite moves nothing.

    Args:
        ghost_size: the examples of a ghost batch.
        num_features, eps, momentum, affine, track_running_stats, dtype, bias, convention, debias: as in `BatchNorm1d`.

    Shapes: (N, C) or (N, C, L) → the same; weight, bias, running_mean, running_var (C,).

    Raises:
        ValueError, TypeError: a ghost_size below 1, or one that is not a whole number.
        ShapeError: an input that does not fit, or ghosts of one value per channel in training.
        AnomalyError: as in `BatchNorm1d`.

    Source: Hoffer, Hubara & Soudry 2017, "Train longer, generalize better", §4.1, algorithm 1.

    >>> import tinybn as tb
    >>> layer = tb.nn.GhostBatchNorm1d(1, eps=0.0, ghost_size=2)
    >>> layer(tb.tensor([[1.0], [3.0], [10.0], [30.0]])).flatten().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """

    input_ndims = (2, 3)
    input_shapes = "(N, C) or (N, C, L)"


class GhostBatchNorm2d(_GhostBatchNorm):
    """`BatchNorm2d` with statistics of each ``ghost_size`` images. `GhostBatchNorm1d` says more and has the arguments.

    Shapes: (N, C, H, W) → the same; weight, bias, running_mean, running_var (C,).

    Source: Hoffer, Hubara & Soudry 2017, "Train longer, generalize better", §4.1, algorithm 1.

    >>> import tinybn as tb
    >>> tb.nn.GhostBatchNorm2d(3, ghost_size=4)(tb.rand(10, 3, 5, 5)).shape
    (10, 3, 5, 5)
    """

    input_ndims = (4,)
    input_shapes = "(N, C, H, W)"
