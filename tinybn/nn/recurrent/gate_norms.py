"""Normalization of the terms W_ih·x and W_hh·h that gates are sums of, and of an LSTM's cell state.

The terms' normalizations have a weight and no bias: the biases of the layer stand behind them.
"""

from collections.abc import Sequence

import numpy as np

from tinybn import functional as F
from tinybn._tensor import Tensor
from tinybn._typing import Array, DTypeLike
from tinybn.functional.arguments import whole
from tinybn.nn import init
from tinybn.nn.container import ModuleList
from tinybn.nn.module import Module
from tinybn.nn.normalization import BatchNorm1d, LayerNorm
from tinybn.nn.parameter import Parameter
from tinybn.nn.recurrent.kinds import Kind

STEP_WEIGHT = 0.1  # with 1, tanh and sigmoid saturate and gradients vanish over time: Cooijmans et al. 2016, §4
ALIKE = 8  # roundings; elementwise functions may round the same number in two ways, by its place in memory
FLAT = 1e-4  # of eps: a product's rounding is a variance below 1e-9 in float32, and makes normalized values of 1e-2


class GateNorm(Module):
    """A normalization within a recurrent net."""

    def forward(self, term: Tensor, source: Array, step: int = 0) -> Tensor:
        """A term normalized: that of a step (N, C), or those of all steps (T, N, C), where the kind allows it.

        Args:
            term: what to normalize.
            source: what the term was computed from, (N, ...) or (T, N, ...).
            step: which step it is, from 0 on.
        """
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """The initial weights and biases, and no statistics."""
        for part in self.modules():
            if isinstance(part, BatchNorm1d | LayerNorm):
                part.reset_parameters()


def gate_norms(
    name: str, kind: Kind, hidden_size: int, normalization: str | None, max_length: int | None, dtype: DTypeLike
) -> dict[str, GateNorm | None]:
    """The normalizations of W_ih·x, of W_hh·h and of an LSTM's cell state, as far as there are some."""
    length = _checked_length(name, normalization, max_length)
    sizes = [gates * hidden_size for gates in kind.blocks]
    norms: dict[str, GateNorm | None] = dict.fromkeys(("norm_ih", "norm_hh", "norm_cell"))
    has_cell = "c" in kind.state_names
    if normalization == "sequence":
        norms["norm_ih"] = SequenceBatchNorm(sum(sizes), dtype)
    elif normalization == "step":
        norms["norm_ih"] = StepBatchNorm(sum(sizes), length, dtype=dtype)
        norms["norm_hh"] = StepBatchNorm(sum(sizes), length, dtype=dtype)
        norms["norm_cell"] = StepBatchNorm(hidden_size, length, bias=True, dtype=dtype) if has_cell else None
    elif normalization == "layer":
        norms["norm_ih"] = GateLayerNorm(sizes, dtype=dtype)
        norms["norm_hh"] = GateLayerNorm(sizes, dtype=dtype)
        norms["norm_cell"] = GateLayerNorm([hidden_size], bias=True, dtype=dtype) if has_cell else None
    return norms


def _checked_length(name: str, normalization: str | None, max_length: int | None) -> int:
    """max_length, or 0 where there is none, if it goes together with the normalization."""
    if normalization not in (None, "sequence", "step", "layer"):
        raise ValueError(f"{name}: normalization is {normalization!r}; expected None, 'sequence', 'step' or 'layer'")
    if normalization != "step":
        if max_length is not None:
            raise ValueError(f"{name}: max_length is {max_length!r}, which means nothing with {normalization=}")
        return 0
    if max_length is None:
        raise ValueError(
            f"{name}: normalization='step' needs max_length, the number of steps with statistics of their own; the "
            "length of the longest training sequence is usual"
        )
    length = whole(f"{name}: max_length", max_length)
    if length < 1:
        raise ValueError(f"{name}: max_length is {max_length}; expected at least one step")
    return length


class SequenceBatchNorm(GateNorm):
    """Batch normalization with one mean and variance over all steps and examples, times a weight (1 at first).

    Shapes: (T, N, C) → the same; weight (C,).

    Source: Laurent et al. 2015, "Batch Normalized Recurrent Neural Networks"; Amodei et al. 2015, "Deep Speech 2",
    §3.2.
    """

    def __init__(self, features: int, dtype: DTypeLike = "float32") -> None:
        self.weight = Parameter(F.ones(features, dtype=dtype))
        self.statistics = BatchNorm1d(features, affine=False, dtype=dtype)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        init.ones_(self.weight)

    def forward(self, term: Tensor, source: Array, step: int = 0) -> Tensor:
        steps, n, c = term.shape
        return self.statistics(term.reshape(steps * n, c)).reshape(term.shape) * self.weight


class StepBatchNorm(GateNorm):
    """Batch normalization with statistics for each step, times a weight that all steps share (0.1 at first).

    In training, a batch whose examples are all alike (in what the term is computed from) gives 0, and no gradient flows
    back through it; in evaluation a feature gives 0 whose running variance is 0. This is how the first pixels of images
    are that are read pixel by pixel, and behind them the states, for a hundred steps and more. With the usual formula
    each step would multiply rounding errors, gradients and what the running mean lags behind by weight/√eps = 32. What
    flows back from there to parameters adds up to 0 over the batch.

    The running statistics are debiased: what is left of the 1 that a variance begins with would be mistaken for
    variance.

    Args:
        features: C.
        max_length: so many steps have statistics of their own; those behind them have the last one's.
        bias: add a bias (0 at first), shared by all steps.
        dtype: of parameters and buffers, default float32.

    Shapes: (N, C) → the same; weight and bias (C,).

    Source: Cooijmans et al. 2016, "Recurrent Batch Normalization", §3 and §4. On features that do not vary, §5.1, they
    keep the formula and start from noisy states.
    """

    def __init__(self, features: int, max_length: int, bias: bool = False, dtype: DTypeLike = "float32") -> None:
        self.max_length = max_length
        self.has_warned = False
        self.weight = Parameter(F.full((features,), STEP_WEIGHT, dtype=dtype))
        self.bias = Parameter(F.zeros(features, dtype=dtype)) if bias else None
        self.steps = ModuleList(
            BatchNorm1d(features, affine=False, dtype=dtype, debias=True) for _ in range(max_length)
        )

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.has_warned = False
        init.constant_(self.weight, STEP_WEIGHT)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, term: Tensor, source: Array, step: int = 0) -> Tensor:
        # By its name: the list would look at all its modules to find one by its index, at each of their steps.
        norm = getattr(self.steps, str(min(step, self.max_length - 1)))
        y = self._normalize(norm, term)
        varies = _varies(norm, source)
        y = y * (self.weight if varies.all() else self.weight * varies.astype(y.dtype))
        return y if self.bias is None else y + self.bias

    def _normalize(self, norm: BatchNorm1d, term: Tensor) -> Tensor:
        """The step's own normalization. It warns of a first batch that is not finite if no other step has."""
        told = self.has_warned and norm.skipped_batches == 0
        norm.skipped_batches += told
        try:
            y: Tensor = norm(term)
        finally:
            norm.skipped_batches -= told
            self.has_warned = self.has_warned or norm.skipped_batches > 0
        return y


def _varies(norm: BatchNorm1d, source: Array) -> Array:
    """Whether the features vary, by the statistics that serve: those of the batch, or the running ones."""
    if norm.running_var is None or (norm.training and not norm.frozen_statistics):
        spread = np.ptp(source, axis=0).max() if source.size else 0
        return np.asarray(spread > ALIKE * np.finfo(source.dtype).eps * np.abs(source).max(initial=0))
    return norm.running_var.array > FLAT * norm.eps


class GateLayerNorm(GateNorm):
    """Layer normalization over the gates of a block, for each block.

    Args:
        sizes: of the blocks, which add up to C.
        bias: have a bias.
        dtype: of the parameters, default float32.

    Shapes: (..., C) → the same.

    Source: Ba, Kiros & Hinton 2016, "Layer Normalization", §3.1 and supplementary material.
    """

    def __init__(self, sizes: Sequence[int], bias: bool = False, dtype: DTypeLike = "float32") -> None:
        self.sizes = list(sizes)
        self.blocks = ModuleList(LayerNorm(size, bias=bias, dtype=dtype) for size in sizes)

    def forward(self, term: Tensor, source: Array, step: int = 0) -> Tensor:
        if len(self.sizes) == 1:
            return self.blocks[0](term)
        parts = zip(self.blocks, F.split(term, self.sizes, -1), strict=True)
        return F.cat([block(part) for block, part in parts], -1)
