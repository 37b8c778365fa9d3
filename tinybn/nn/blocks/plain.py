"""A weight, its normalization, activation and dropout, in an order that is an argument."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tinybn._typing import DTypeLike, Generator
from tinybn.functional.conv import pair
from tinybn.nn.activation import ReLU
from tinybn.nn.blocks.bias import has_bias
from tinybn.nn.container import Sequential
from tinybn.nn.conv import Conv2d
from tinybn.nn.dropout import Dropout
from tinybn.nn.linear import Linear
from tinybn.nn.module import Module
from tinybn.nn.normalization import BatchNorm1d, BatchNorm2d
from tinybn.nn.pooling import MaxPool2d

ORDER = "weight bn act drop"
HALVED = partial(MaxPool2d, 2)


class _Block(Sequential):
    """A Sequential whose parts have the words of its order as names. A slice of it is a plain Sequential."""

    words: tuple[str, ...] = ("weight", "bn", "act", "drop")

    def _build(
        self,
        order: str | Sequence[str],
        weight: Callable[[bool], Module],
        bias: Any,
        norm: Callable[[int], Module],
        channels: tuple[int, int],
        others: dict[str, Callable[[], Module]],
        dtype: DTypeLike,
    ) -> None:
        """``weight`` is given whether to have a bias; ``channels`` are those in front of the weight and behind it."""
        words = self._checked_order(order)
        position = words.index("weight")
        parts: dict[str, Any] = {word: others[word]() for word in words if word in others}
        if "bn" in words:
            parts["bn"] = norm(channels[words.index("bn") > position])
        following = [parts[word] for word in words[position + 1 :]]
        parts["weight"] = weight(has_bias(type(self).__name__, bias, following))
        super().__init__({word: parts[word] for word in words})
        self.to(dtype)

    def _checked_order(self, order: str | Sequence[str]) -> list[str]:
        words = order.split() if isinstance(order, str) else list(order)
        wrong = [f"{word!r} is not one of them" for word in words if word not in self.words]
        wrong += [f"{word!r} stands there {words.count(word)} times" for word in self.words if words.count(word) > 1]
        wrong += ["there is no 'weight'"] if "weight" not in words else []
        if wrong:
            raise ValueError(
                f"{type(self).__name__}: order is {order!r}, but {' and '.join(wrong)}; expected the words "
                f"{', '.join(self.words)}, each at most once, and 'weight' among them"
            )
        return words

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Sequential({name: part for name, part in vars(self).items() if isinstance(part, Module)})[index]
        return super().__getitem__(index)


class LinearBlock(_Block):
    """A Linear with normalization, activation and dropout in the order of the words, each under its word as name.

    Args:
        in_features, out_features: of the Linear.
        order: the words "weight", "bn", "act" and "drop" in a string or a list. Each may be left out but for "weight".
        bias: of the Linear; "auto": none exactly if the normalization takes it away again, as it does behind the weight
            with nothing between that is not linear.
        norm: what "bn" stands for: called with the number of channels, which is in_features in front of the weight and
            out_features behind it.
        act: what "act" stands for: called without arguments.
        drop: the rate of dropout.
        dtype: of parameters and buffers, default float32.
        generator: draws the initial weights; default: that of `tinybn.manual_seed`.
        drop_generator: draws the masks; default: that of `tinybn.manual_seed`.

    Shapes: (N, in_features) → (N, out_features).

    Raises:
        ValueError: an order with unknown words, a word twice, or no "weight".

    Source: Ioffe & Szegedy 2015, "Batch Normalization", §3.2: before the activation, and without a bias.

    >>> import tinybn as tb
    >>> tb.nn.LinearBlock(8, 4, "weight bn act")
    LinearBlock(
      (weight): Linear(in_features=8, out_features=4, bias=False)
      (bn): BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
      (act): ReLU()
    )
    >>> tb.nn.LinearBlock(8, 4, ["bn", "weight"], norm=tb.nn.LayerNorm)
    LinearBlock(
      (bn): LayerNorm((8,), eps=1e-05, elementwise_affine=True, bias=True)
      (weight): Linear(in_features=8, out_features=4, bias=True)
    )
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        order: str | Sequence[str] = ORDER,
        *,
        bias: bool | str = "auto",
        norm: Callable[[int], Module] = BatchNorm1d,
        act: Callable[[], Module] = ReLU,
        drop: float = 0.0,
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
        drop_generator: Generator | None = None,
    ) -> None:
        def weight(with_bias: bool) -> Module:
            return Linear(in_features, out_features, with_bias, dtype, generator)

        others = {"act": act, "drop": lambda: Dropout(drop, generator=drop_generator)}
        self._build(order, weight, bias, norm, (in_features, out_features), others, dtype)


class ConvBlock(_Block):
    """A Conv2d with normalization, activation, dropout and pooling in the order of the words; see `LinearBlock`.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode: of the `Conv2d`.
        padding: of the `Conv2d`; None: dilation·(kernel_size − 1)/2, which keeps the size if kernel_size is odd and
            stride 1.
        order: the words "weight", "bn", "act", "drop" and "pool" in a string or a list. Each may be left out but for
            "weight".
        bias, act, drop, dtype, generator, drop_generator: as in `LinearBlock`. A pooling between the weight and the
            normalization lets a bias through, and so does not make it less redundant.
        norm: what "bn" stands for: called with in_channels in front of the weight, with out_channels behind it.
        pool: what "pool" stands for: called without arguments; default 2×2 max-pooling.

    Shapes: (N, in_channels, H, W) → (N, out_channels, P, Q).

    Raises:
        ValueError: an order with unknown words, a word twice, or no "weight".

    >>> import tinybn as tb
    >>> tb.nn.ConvBlock(1, 8, 3, "weight bn act pool")
    ConvBlock(
      (weight): Conv2d(1, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
      (bn): BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
      (act): ReLU()
      (pool): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    )
    """

    words = (*_Block.words, "pool")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any = 3,
        order: str | Sequence[str] = ORDER,
        *,
        stride: Any = 1,
        padding: Any = None,
        dilation: Any = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        bias: bool | str = "auto",
        norm: Callable[[int], Module] = BatchNorm2d,
        act: Callable[[], Module] = ReLU,
        drop: float = 0.0,
        pool: Callable[[], Module] = HALVED,
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
        drop_generator: Generator | None = None,
    ) -> None:
        if padding is None:
            kernels, holes = pair("ConvBlock: kernel_size", kernel_size), pair("ConvBlock: dilation", dilation)
            padding = tuple(hole * (k - 1) // 2 for k, hole in zip(kernels, holes, strict=True))

        def weight(with_bias: bool) -> Module:
            channels = (in_channels, out_channels)
            return Conv2d(
                *channels, kernel_size, stride, padding, dilation, groups, with_bias, padding_mode, dtype, generator
            )

        others = {"act": act, "drop": lambda: Dropout(drop, generator=drop_generator), "pool": pool}
        self._build(order, weight, bias, norm, (in_channels, out_channels), others, dtype)
