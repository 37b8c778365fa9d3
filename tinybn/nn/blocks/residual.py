"""Residual blocks in the five orders of He et al. 2016."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import DTypeLike, Generator
from tinybn.functional.conv import pair
from tinybn.nn.activation import ReLU
from tinybn.nn.container import Sequential
from tinybn.nn.conv import Conv2d
from tinybn.nn.linear import Identity, Linear
from tinybn.nn.module import Module
from tinybn.nn.normalization import BatchNorm1d, BatchNorm2d

# Figure 4 (a) to (e) of the paper; + is the addition.
ORDERS = {
    "original": "weight bn act weight bn + act",
    "bn after addition": "weight bn act weight + bn act",
    "relu before addition": "weight bn act weight bn act +",
    "relu-only pre-activation": "act weight bn act weight bn +",
    "full pre-activation": "bn act weight bn act weight +",
}

SHORTCUTS = ("A", "B")


class _ResidualBlock(Module):
    """y = after(branch(before(x)) + shortcut), where ``before`` is what the order has in front of its first weight."""

    def _build(
        self,
        order: str,
        weights: tuple[Module, Module],
        projection: Module | None,
        norm: Callable[[int], Module],
        act: Callable[[], Module],
        channels: tuple[int, int],
        dtype: DTypeLike,
    ) -> None:
        """``projection``: what gives a shortcut the shape of the output, None where it has that."""
        inside, behind = (part.split() for part in ORDERS[order].split("+"))
        first, last = inside.index("weight"), len(inside) - 1 - inside[::-1].index("weight")
        weight, counts = iter(weights), Counter[str]()
        make: dict[str, Callable[[int], Module]] = {
            "weight": lambda width: next(weight),
            "bn": norm,
            "act": lambda width: act(),
        }

        def sequence(words: list[str], width: int) -> Sequential:
            parts: dict[str, Module] = {}
            for word in words:
                counts[word] += 1
                parts[f"{word}{counts[word]}"] = make[word](width)
                width = channels[1] if word == "weight" else width
            return Sequential(parts)

        self.order = order
        self.before = sequence(inside[:first], channels[0])
        self.branch = sequence(inside[first:], channels[0])
        self.shortcut = Identity() if projection is None else projection
        if projection is not None and not isinstance(projection, _Padded):
            after_it = {"bn": norm(channels[1])} if "bn" in inside[last:] else {}
            self.shortcut = Sequential({"weight": projection, **after_it})
        if projection is None and any(getattr(part, "inplace", False) for part in list(self.before)[:1]):
            raise ValueError(
                f"{type(self).__name__}: the first activation of order {order!r} works in place, on the input that the "
                "shortcut carries; give an act that does not"
            )
        self.after = sequence(behind, channels[1])
        self.to(dtype)

    def forward(self, input: Any) -> Tensor:
        x = as_tensor(input)
        ready = self.before(x)
        carried = x if isinstance(self.shortcut, Identity) else self.shortcut(ready)
        y: Tensor = self.after(self.branch(ready) + carried)
        return y


class ResidualBlock(_ResidualBlock):
    """Two convolutions and a shortcut around them, in one of the five orders of He et al. 2016.

        order                       branch                            behind the addition
        original                    weight bn act weight bn           act
        bn after addition           weight bn act weight              bn act
        relu before addition        weight bn act weight bn act
        relu-only pre-activation    act weight bn act weight bn
        full pre-activation         bn act weight bn act weight

    The shortcut is the input itself where stride and channels leave the shape as it is. Elsewhere it begins behind what
    the branch has in front of its first weight, as in the authors' code: so a full pre-activation block normalizes and
    activates once, for both. "B" is a 1×1 convolution, with a normalization behind it where the branch's last weight
    has one; "A" takes every stride-th place and adds channels of zeros.

    The parts are four: ``before`` (a pre-activation; elsewhere empty), ``branch``, ``shortcut`` and ``after``.

    Args:
        in_channels, out_channels: before and after.
        stride: of the first convolution.
        order: see above.
        kernel_size: of both convolutions, odd numbers.
        shortcut: "B" or "A", where the shape changes.
        bias: of the convolutions. The authors' code has none.
        norm: what "bn" stands for: called with the number of channels.
        act: what "act" stands for: called without arguments.
        dtype: of parameters and buffers, default float32.
        generator: draws the initial weights; default: that of `tinybn.manual_seed`.

    Shapes: (N, in_channels, H, W) → (N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉).

    Raises:
        ValueError: an unknown order or shortcut, an even kernel, fewer channels by shortcut "A", or a first activation
            that would write into the input.

    Source: He et al. 2016, "Identity Mappings in Deep Residual Networks", fig. 4 and table 2; He et al. 2015, "Deep
    Residual Learning for Image Recognition", §3.3, for the shortcuts.

    >>> import tinybn as tb
    >>> block = tb.nn.ResidualBlock(8, 16, stride=2, order="full pre-activation")
    >>> block(tb.zeros(4, 8, 14, 14)).shape
    (4, 16, 7, 7)
    >>> [name for name, _ in block.named_children()], [name for name, _ in block.branch.named_children()]
    (['before', 'branch', 'shortcut', 'after'], ['weight1', 'bn2', 'act2', 'weight2'])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: Any = 1,
        order: str = "original",
        *,
        kernel_size: Any = 3,
        shortcut: str = "B",
        bias: bool = False,
        norm: Callable[[int], Module] = BatchNorm2d,
        act: Callable[[], Module] = ReLU,
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
    ) -> None:
        _check("ResidualBlock", order, shortcut)
        kernel, steps = pair("ResidualBlock: kernel_size", kernel_size), pair("ResidualBlock: stride", stride)
        if not all(k % 2 for k in kernel):
            raise ValueError(f"ResidualBlock: kernel_size is {kernel_size}; expected odd numbers, to keep the size")
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, steps

        def conv(inputs: int, size: tuple[int, ...], step: Any) -> Module:
            padding = tuple(k // 2 for k in size)
            return Conv2d(inputs, out_channels, size, step, padding, bias=bias, dtype=dtype, generator=generator)

        weights = conv(in_channels, kernel, steps), conv(out_channels, kernel, 1)
        projection: Module | None = None
        if in_channels != out_channels or steps != (1, 1):
            padded = shortcut == "A"
            projection = _Padded(in_channels, out_channels, steps) if padded else conv(in_channels, (1, 1), steps)
        self._build(order, weights, projection, norm, act, (in_channels, out_channels), dtype)


class ResidualLinearBlock(_ResidualBlock):
    """`ResidualBlock` of vectors, with a Linear for each convolution.

    Args:
        in_features, out_features: before and after.
        order, shortcut, bias, norm, act, dtype, generator: as in `ResidualBlock`. "B" is a Linear, "A" adds zeros
            behind.

    Shapes: (N, in_features) → (N, out_features).

    Raises:
        ValueError: as in `ResidualBlock`.

    Source: He et al. 2016, "Identity Mappings in Deep Residual Networks", fig. 4, there of convolutions.

    >>> import tinybn as tb
    >>> tb.nn.ResidualLinearBlock(8, 16, "relu-only pre-activation").shortcut
    Sequential(
      (weight): Linear(in_features=8, out_features=16, bias=False)
      (bn): BatchNorm1d(16, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    )
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        order: str = "original",
        *,
        shortcut: str = "B",
        bias: bool = False,
        norm: Callable[[int], Module] = BatchNorm1d,
        act: Callable[[], Module] = ReLU,
        dtype: DTypeLike = "float32",
        generator: Generator | None = None,
    ) -> None:
        _check("ResidualLinearBlock", order, shortcut)
        self.in_features, self.out_features = in_features, out_features

        def linear(inputs: int) -> Module:
            return Linear(inputs, out_features, bias, dtype, generator)

        weights = linear(in_features), linear(out_features)
        projection: Module | None = None
        if in_features != out_features:
            projection = _Padded(in_features, out_features, ()) if shortcut == "A" else linear(in_features)
        self._build(order, weights, projection, norm, act, (in_features, out_features), dtype)


def _check(name: str, order: str, shortcut: str) -> None:
    if order not in ORDERS:
        raise ValueError(f"{name}: order is {order!r}; expected one of {', '.join(map(repr, ORDERS))}")
    if shortcut not in SHORTCUTS:
        raise ValueError(f"{name}: shortcut is {shortcut!r}; expected one of {', '.join(map(repr, SHORTCUTS))}")


class _Padded(Module):
    """The input at every stride-th place, with channels of zeros behind its own."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, ...]) -> None:
        if outputs < inputs:
            raise ValueError(f"shortcut 'A' adds channels, and cannot make {outputs} of {inputs}; shortcut 'B' can")
        self.added, self.stride = outputs - inputs, stride

    def forward(self, input: Tensor) -> Tensor:
        places = input[(slice(None), slice(None), *(slice(None, None, step) for step in self.stride))]
        return F.pad(places, (*(0, 0) * len(self.stride), 0, self.added))

    def extra_repr(self) -> str:
        return f"added={self.added}, stride={self.stride}"
