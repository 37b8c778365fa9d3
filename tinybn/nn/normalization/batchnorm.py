"""BatchNorm1d, BatchNorm2d and BatchNorm3d."""

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from tinybn import functional as F
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import Array, DTypeLike
from tinybn.errors import AnomalyError, ShapeError, StateError
from tinybn.functional.normalization import batch_norm_training
from tinybn.modes import CHECK, state
from tinybn.nn import init
from tinybn.nn.fusing import with_relu
from tinybn.nn.module import Module
from tinybn.nn.names import name_of
from tinybn.nn.normalization.conventions import EPS, MOMENTUM, Default, find_convention
from tinybn.nn.parameter import Parameter
from tinybn.storage import mark_changed


class BatchNorm(Module):
    """What all kinds of batch normalization share: parameters, running statistics, modes. Kinds differ in `_train_on`.

    Attributes:
        frozen_statistics, frozen_affine: what `freeze` has frozen.
        skipped_batches: how many batches moved no statistics because they were not finite.
    """

    input_ndims: tuple[int, ...]  # how many axes an input may have
    input_shapes: str
    left_out: tuple[str, ...] = ()  # which parameters and buffers a kind does without
    frozen_statistics = False
    frozen_affine = False
    skipped_batches = 0

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
    ) -> None:
        meant = find_convention(convention)
        self.num_features = num_features
        self.eps = meant.eps if isinstance(eps, Default) else eps
        self.momentum = meant.momentum if isinstance(momentum, Default) else momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.convention, self.debias = convention, debias
        self._weighs_new, self._unbiased = meant.weighs_new, meant.unbiased
        self.weight = Parameter(F.ones(num_features, dtype=dtype)) if affine else None
        self.bias = Parameter(F.zeros(num_features, dtype=dtype)) if affine and bias else None
        tracked = track_running_stats
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        self.register_buffer("running_mean", F.zeros(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", F.ones(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", F.zeros((), dtype="int64") if tracked else None)
        for name in self.left_out:
            setattr(self, name, None)

    def reset_running_stats(self) -> None:
        """Forget the statistics: mean 0, variance 1, no batches seen."""
        for buffer, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if buffer is not None:
                buffer.data.fill(value)
                mark_changed(buffer.data, "reset_running_stats")
        self.skipped_batches = 0

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and no statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    # --- freezing ---------------------------------------------------------------------------------------------------

    def freeze(self, statistics: bool = True, affine: bool = True) -> Self:
        """Keep what the layer has learned, whatever `train` says from now on; `state_dict` remembers it.

        Args:
            statistics: normalize with the running statistics in training too, and leave them as they are.
            affine: weight and bias require no grad.

        Raises:
            StateError: the statistics of a layer that keeps none.

        >>> import tinybn as tb
        >>> layer = tb.nn.BatchNorm1d(3).freeze().train()
        >>> _ = layer(tb.rand(8, 3))
        >>> layer.num_batches_tracked.item(), layer.weight.requires_grad
        (0, False)
        """
        return self._set_frozen(self.frozen_statistics or statistics, self.frozen_affine or affine)

    def unfreeze(self, statistics: bool = True, affine: bool = True) -> Self:
        """Undo `freeze`, of both or of one."""
        return self._set_frozen(self.frozen_statistics and not statistics, self.frozen_affine and not affine)

    def _set_frozen(self, statistics: bool, affine: bool) -> Self:
        if statistics and self.running_mean is None and self.running_var is None:
            raise StateError(
                f"freeze: {self!r} keeps no running statistics that could be frozen; freeze(statistics=False) freezes "
                "weight and bias alone"
            )
        if affine or self.frozen_affine:  # else their requires_grad is the user's own
            for parameter in (self.weight, self.bias):
                if parameter is not None:
                    parameter.requires_grad_(not affine)
        self.frozen_statistics, self.frozen_affine = statistics, affine
        return self

    def get_extra_state(self) -> Array | None:
        frozen = (self.frozen_statistics, self.frozen_affine)
        return np.array(frozen, np.uint8) if any(frozen) else None

    def set_extra_state(self, value: Array | None) -> None:
        flags = [0, 0] if value is None else value.tolist()
        if flags not in ([0, 0], [0, 1], [1, 0], [1, 1]):
            raise StateError(f"extra state of {self!r}: expected two flags that are 0 or 1, got {flags}")
        self._set_frozen(bool(flags[0]), bool(flags[1]))

    # --- forward ----------------------------------------------------------------------------------------------------

    def forward(self, input: Any, relu: bool = False) -> Tensor:
        """``relu``: the output of a ReLU behind, made in the same pass."""
        x = input if type(input) is Tensor else as_tensor(input)
        shape = x.array.shape
        if len(shape) not in self.input_ndims or shape[1] != self.num_features:
            shapes = self.input_shapes.replace("C", str(self.num_features))
            raise ShapeError(f"expected an input of shape {shapes}, got {x.shape}")
        if self.num_batches_tracked is not None and (not self.training or self.frozen_statistics):
            return self._with_running(x, relu)
        return self._train_on(x, relu)

    def _with_running(self, x: Tensor, relu: bool) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps, relu=relu)

    def _train_on(self, x: Tensor, relu: bool) -> Tensor:
        """The output with the batch's own statistics, which the running ones move towards in training."""
        seen = self.num_batches_tracked
        if not self.training or seen is None:
            return batch_norm_training(x, None, None, self.weight, self.bias, eps=self.eps, relu=relu)[0]
        mean, var, share = self.running_mean, self.running_var, self._new_share(seen.array)
        y, moved = batch_norm_training(x, mean, var, self.weight, self.bias, share, self.eps, relu, self._unbiased)
        self._count(x, moved)
        return y

    def _new_share(self, seen: Array | int) -> float:
        """The weight of new statistics in the running ones, which have been moved so many times."""
        momentum = self.momentum
        if momentum is None:  # all batches alike
            return 1 / (int(seen) + 1)
        share = momentum if self._weighs_new else 1 - momentum
        if self.debias and 0 < share < 1:  # what mean 0 and variance 1 of the beginning would weigh is taken out
            return min(1.0, share / (1 - (1 - share) ** (int(seen) + 1)))
        return share

    def _count(self, x: Tensor, moved: bool) -> None:
        """Count a batch of training that has moved the statistics; say so if it could not."""
        if moved:
            self.num_batches_tracked.array += 1  # type: ignore[union-attr]
        elif x.array.size:
            self._skip(x)

    def _skip(self, x: Tensor) -> None:
        """Count a batch that is not finite, and say so, once."""
        self.skipped_batches += 1
        anomaly = state.mode & CHECK
        if anomaly or self.skipped_batches == 1:
            name = name_of(self)
            message = (
                f"{repr(name) + ', ' if name else ''}{self!r}: the statistics of a batch of shape {x.shape} are not "
                "finite; the running statistics stay as they are"
            )
            if anomaly:
                raise AnomalyError(message)
            warnings.warn(f"{message}. Under tb.detect_anomaly() this is an error", RuntimeWarning, stacklevel=2)

    fuses = True

    def fusing(self, following: Sequence[Module]) -> tuple[int, dict[str, bool]]:
        return with_relu(self, BatchNorm.forward, following)

    def extra_repr(self) -> str:
        text = (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )
        text += f", convention={self.convention!r}" if self.convention != "torch" else ""
        text += ", debias=True" if self.debias else ""
        frozen = [name for name in ("statistics", "affine") if getattr(self, f"frozen_{name}")]
        return text + (f", frozen: {' and '.join(frozen)}" if frozen else "")


class BatchNorm1d(BatchNorm):
    """Batch normalization of vectors: y = (x − mean)/√(var + eps) · weight + bias, per feature.

    In training, mean and biased variance are those of the batch, and the running statistics, which evaluation uses,
    move towards them: running = (1 − momentum)·running + momentum·new, with the unbiased variance.

    A batch whose statistics are not finite moves nothing, with one warning that names the layer; under
    `tinybn.detect_anomaly` it is an error.

    Args:
        num_features: C.
        eps: added to the variance, inside the root.
        momentum: the weight of the new statistics; None averages over all batches so far.
        affine: have a weight (1 at first) and a bias (0).
        track_running_stats: keep running statistics; without them evaluation uses the batch's own, too.
        dtype: of parameters and buffers, default float32.
        bias: have a bias, if affine.
        convention: whose batch normalization this is: "torch", "keras", "flax", "mlx", "onnx" or "chainer". It says
            which weight momentum is, of the new statistics or of the old ones, whether the running variance is the
            unbiased one, and what eps and momentum are where they are not given.
        debias: the running statistics are averages of batches alone, without a share of the 0 and 1 that they begin
            with: the weight of the new ones is momentum/(1 − (1 − momentum)ᵗ) in batch t (Kingma & Ba 2015, §3).

    Shapes: (N, C) or (N, C, L) → the same; weight, bias, running_mean, running_var (C,).

    Raises:
        ShapeError: an input that does not fit, or one value per channel in training.
        AnomalyError: statistics that are not finite, under `tinybn.detect_anomaly`.

    Source: Ioffe & Szegedy 2015, "Batch Normalization", §3, algorithms 1 and 2.

    >>> import tinybn as tb
    >>> y = tb.nn.BatchNorm1d(2)(tb.tensor([[1.0, 10.0], [3.0, 30.0]]))
    >>> [[round(v, 3) for v in row] for row in y.tolist()]
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    input_ndims = (2, 3)
    input_shapes = "(N, C) or (N, C, L)"


class BatchNorm2d(BatchNorm):
    """Batch normalization of images, per channel over batch, height and width. `BatchNorm1d` has formula and arguments.

    Shapes: (N, C, H, W) → the same; weight, bias, running_mean, running_var (C,).

    Source: Ioffe & Szegedy 2015, "Batch Normalization", §3.2.

    >>> import tinybn as tb
    >>> tb.nn.BatchNorm2d(3)(tb.rand(2, 3, 4, 4)).mean().abs().item() < 1e-6
    True
    """

    input_ndims = (4,)
    input_shapes = "(N, C, H, W)"


class BatchNorm3d(BatchNorm):
    """Batch normalization of volumes, per channel. `BatchNorm1d` has formula and arguments.

    Shapes: (N, C, D, H, W) → the same; weight, bias, running_mean, running_var (C,).

    >>> import tinybn as tb
    >>> tb.nn.BatchNorm3d(3)(tb.rand(2, 3, 4, 4, 4)).mean().abs().item() < 1e-6
    True
    """

    input_ndims = (5,)
    input_shapes = "(N, C, D, H, W)"
