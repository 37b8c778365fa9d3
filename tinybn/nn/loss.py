"""Losses as modules; `tinybn.functional` has the functions, with their arguments and what they refuse."""

from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor, as_tensor
from tinybn.functional.loss import REDUCTIONS, check_reduction
from tinybn.nn.module import Module


class _Loss(Module):
    """A loss with reduction "mean", "sum" or "none"."""

    reductions: tuple[str, ...] = REDUCTIONS

    def __init__(self, reduction: str) -> None:
        check_reduction(type(self).__name__, reduction, self.reductions)
        self.reduction = reduction

    def _register_weight(self, name: str, weight: Any) -> None:
        """Weights belong to the state, but are not trained."""
        self.register_buffer(name, None if weight is None else as_tensor(weight))


# --- of classes -------------------------------------------------------------------------------------------------------


class CrossEntropyLoss(_Loss):
    """−log softmax(x)[target].

    Args:
        weight: (classes,), how much each class counts.
        ignore_index: a label whose examples do not count.
        reduction: "mean", "sum" or "none".
        label_smoothing: the share of the target that is spread evenly over all classes (Szegedy 2016, §7).

    Shapes: logits (N, classes) and labels (N,) → a scalar, or (N,) with reduction="none".

    >>> import tinybn as tb
    >>> round(tb.nn.CrossEntropyLoss()(tb.zeros(2, 10), [3, 7]).item(), 4)
    2.3026
    """

    weight: Tensor | None

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(reduction)
        self._register_weight("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """−x[target], for log-probabilities: `CrossEntropyLoss` behind a `LogSoftmax`, and with its arguments.

    >>> import tinybn as tb
    >>> tb.nn.NLLLoss()([[-1.0, -2.0], [-3.0, -4.0]], [1, 0])
    tensor(2.5)
    """

    weight: Tensor | None

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._register_weight("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """−target·log sigmoid(x) − (1 − target)·log sigmoid(−x).

    Args:
        weight: how much each element counts; broadcasts to the shape of x.
        reduction: "mean", "sum" or "none".
        pos_weight: a factor for the first term, as for classes of unequal size; broadcasts too.

    >>> import tinybn as tb
    >>> round(tb.nn.BCEWithLogitsLoss()(tb.zeros(4), tb.ones(4)).item(), 4)
    0.6931
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self._register_weight("weight", weight)
        self._register_weight("pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class BCELoss(_Loss):
    """−target·log(x) − (1 − target)·log(1 − x) for probabilities x, with logarithms of −100 or more.

    `BCEWithLogitsLoss` is exact where this is limited.

    Args:
        weight: how much each element counts; broadcasts to the shape of x.
        reduction: "mean", "sum" or "none".

    >>> import tinybn as tb
    >>> round(tb.nn.BCELoss()([0.5, 0.5], [1.0, 0.0]).item(), 4)
    0.6931
    """

    weight: Tensor | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._register_weight("weight", weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class KLDivLoss(_Loss):
    """target·(log target − x), the terms of the Kullback-Leibler divergence, for log-probabilities x.

    Args:
        reduction: "batchmean" divides the sum by the number of rows, which makes it the divergence; or "mean" over
            all elements, "sum", "none".
        log_target: the target is log-probabilities too.

    >>> import tinybn as tb
    >>> tb.nn.KLDivLoss(reduction="batchmean")([[-1.0, -2.0]], [[1.0, 0.0]])
    tensor(1.)
    """

    reductions = ("mean", "batchmean", "sum", "none")

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


# --- of numbers -------------------------------------------------------------------------------------------------------


class MSELoss(_Loss):
    """(x − target)².

    >>> import tinybn as tb
    >>> tb.nn.MSELoss()([1.0, 4.0], [2.0, 2.0])
    tensor(2.5)
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """|x − target|.

    >>> import tinybn as tb
    >>> tb.nn.L1Loss()([1.0, 4.0], [2.0, 2.0])
    tensor(1.5)
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """d²/(2·beta) where d = |x − target| is below beta, d − beta/2 elsewhere.

    Source: Girshick 2015, "Fast R-CNN", §2.3.

    >>> import tinybn as tb
    >>> tb.nn.SmoothL1Loss(reduction="none")([0.0, 0.0], [1.0, 3.0])
    tensor([0.5, 2.5])
    """

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """d²/2 where d = |x − target| is up to delta, delta·(d − delta/2) elsewhere: delta times `SmoothL1Loss`.

    Source: Huber 1964, "Robust Estimation of a Location Parameter".

    >>> import tinybn as tb
    >>> tb.nn.HuberLoss(reduction="none", delta=2.0)([0.0, 0.0], [1.0, 3.0])
    tensor([0.5, 4. ])
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)
