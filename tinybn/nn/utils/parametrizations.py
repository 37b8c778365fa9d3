"""Weight normalization and weight standardization, as parametrizations of a layer's weight."""

from functools import partial
from typing import Any, TypeVar

import numpy as np

from tinybn import functional as F
from tinybn._tensor import Tensor
from tinybn._typing import Array
from tinybn.errors import ShapeError, StateError
from tinybn.functional.arguments import axis_number
from tinybn.modes import no_grad
from tinybn.nn.conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from tinybn.nn.linear import Linear
from tinybn.nn.module import Module
from tinybn.nn.utils.parametrize import (
    is_parametrized,
    register_parametrization,
    type_before_parametrizations,
)
from tinybn.storage import mark_changed

__all__ = ["initialize_weight_norm", "weight_norm", "weight_standardization"]

_M = TypeVar("_M", bound=Module)


# --- weight normalization ---------------------------------------------------------------------------------------------


def weight_norm(module: _M, name: str = "weight", dim: int | None = 0) -> _M:
    """Train a weight as length and direction: weight = g·v/‖v‖.

    The layer computes what it did before; g is ``parametrizations.weight.original0``, v ``original1``, as in PyTorch.

    Args:
        module: a layer.
        name: of its parameter.
        dim: the axis whose entries have a length each, 0 for a Linear's or Conv's output channels and 1 for a
            ConvTranspose's; None, or −1 as in PyTorch, for one length of the whole.

    Shapes: v that of the weight, g the same with 1 for all axes but ``dim``; () for one length of the whole.

    Raises:
        ValueError: no such parameter, or one that is parametrized already.
        IndexError: no such axis.

    Source: Salimans & Kingma 2016, "Weight Normalization", §2.

    >>> import tinybn as tb
    >>> layer = tb.nn.utils.parametrizations.weight_norm(tb.nn.Linear(20, 40))
    >>> {name: p.shape for name, p in layer.named_parameters() if name != "bias"}
    {'parametrizations.weight.original0': (40, 1), 'parametrizations.weight.original1': (40, 20)}
    """
    if is_parametrized(module, name):
        raise ValueError(
            f"weight_norm: {name!r} of {type_before_parametrizations(module).__name__} is parametrized already, and "
            "weight_norm can only be the first parametrization; remove_parametrizations makes it a plain parameter"
        )
    own = getattr(module, name, None)
    if dim is not None and isinstance(own, Tensor):
        axis_number("weight_norm", own, dim)
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _WeightNorm(Module):
    def __init__(self, dim: int | None) -> None:
        self.dim = -1 if dim is None else dim

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return v * (g / self._length(v))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._length(weight), weight

    def _length(self, v: Tensor) -> Tensor:
        if self.dim == -1:
            return (v * v).sum().sqrt()
        others = tuple(axis for axis in range(v.ndim) if axis != self.dim % v.ndim)
        return (v * v).sum(others, keepdim=True).sqrt() if others else v.abs()


def initialize_weight_norm(model: Module, *inputs: Any) -> None:
    """Set g and bias so that each weight-normalized layer gives mean 0 and variance 1 per channel on these inputs.

    With t = v·x/‖v‖: g = 1/std(t), bias = −mean(t)/std(t), layer by layer, each behind those in front of it. A layer
    without a bias gets the variance alone. Everything else stays as it is, but for what the model's forward changes
    itself, such as running statistics in training mode.

    Args:
        model: with layers under `weight_norm`.
        inputs: a batch, as the model takes it.

    Raises:
        ValueError: no such layer; one whose g is not one number per output channel; outputs that are constant or not
            finite. Nothing has changed then.
        StateError: a layer that runs twice: there is no one g for both.

    Source: Salimans & Kingma 2016, "Weight Normalization", §3.

    >>> import tinybn as tb
    >>> layer = tb.nn.utils.parametrizations.weight_norm(tb.nn.Linear(5, 3))
    >>> x = tb.rand(100, 5)
    >>> tb.nn.utils.parametrizations.initialize_weight_norm(layer, x)
    >>> [round(v, 4) for v in layer(x).var(0, correction=0).tolist()]
    [1.0, 1.0, 1.0]
    """
    layers = {name: layer for name, layer in model.named_modules() if _is_weight_normed(layer)}
    if not layers:
        raise ValueError(
            f"initialize_weight_norm: {type(model).__name__} has no layer whose weight is under weight_norm"
        )
    found: dict[str, tuple[Array, Array]] = {}

    def standardize(name: str, layer: Any, args: Any, output: Tensor) -> Tensor:
        if name in found:
            raise StateError(f"initialize_weight_norm: layer {name!r} runs more than once")
        found[name] = mean, std = _channel_moments(name, layer, output)
        shape = [1] * output.ndim
        shape[_output_axis(layer)] = -1
        return (output - Tensor(mean.reshape(shape))) / Tensor(std.reshape(shape))

    for name, layer in layers.items():
        _check_one_length_per_channel(name, layer)
    handles = [layer.register_forward_hook(partial(standardize, name)) for name, layer in layers.items()]
    try:
        with no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    for name, (mean, std) in found.items():
        _rescale(layers[name], mean, std)


_LAYERS = (Linear, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d)


def _is_weight_normed(layer: Any) -> bool:
    return is_parametrized(layer, "weight") and isinstance(layer.parametrizations.weight[0], _WeightNorm)


def _check_one_length_per_channel(name: str, layer: Any) -> None:
    g, norm = layer.parametrizations.weight.original0, layer.parametrizations.weight[0]
    axis = 1 if isinstance(layer, ConvTranspose1d | ConvTranspose2d) else 0
    if not isinstance(layer, _LAYERS) or norm.dim != axis or getattr(layer, "groups", 1) > 1 == axis:
        raise ValueError(
            f"initialize_weight_norm: layer {name!r}, {layer!r}, has a g of shape {g.shape}; expected one number per "
            f"output channel of a Linear, Conv or ConvTranspose: weight_norm(dim={axis}), without groups if dim is 1"
        )


def _output_axis(layer: Any) -> int:
    """The axis of a layer's channels in its output, counted from the end."""
    return -1 if isinstance(layer, Linear) else -1 - layer.axes


def _channel_moments(name: str, layer: Any, output: Tensor) -> tuple[Array, Array]:
    """Mean and standard deviation of each channel, in the output's dtype."""
    values = np.moveaxis(output.data, _output_axis(layer), 0).astype(np.float64)
    rows = values.reshape(len(values), -1)
    mean, std = rows.mean(1), rows.std(1)
    wrong = np.flatnonzero(~(np.isfinite(std) & (std > 0)))
    if wrong.size:
        raise ValueError(
            f"initialize_weight_norm: channel {wrong[0]} of layer {name!r} has standard deviation {std[wrong[0]]} on "
            "these inputs; expected a finite one above 0"
        )
    return mean.astype(output.dtype), std.astype(output.dtype)


def _rescale(layer: Any, mean: Array, std: Array) -> None:
    g = layer.parametrizations.weight.original0.data
    g /= std.reshape(g.shape)
    mark_changed(g, "initialize_weight_norm")
    if layer.bias is not None:
        bias = layer.bias.data
        bias[...] = (bias - mean) / std
        mark_changed(bias, "initialize_weight_norm")


# --- weight standardization -------------------------------------------------------------------------------------------


def weight_standardization(module: _M, name: str = "weight", eps: float = 1e-5) -> _M:
    """Have a weight with mean 0 and variance 1 per output channel: weight = (v − mean(v))/√(var(v) + eps).

    Mean and biased variance are those of an output channel's in·h·w values. v is trained, the parameter
    ``parametrizations.weight.original``, which begins as the weight that the layer has. So the layer computes something
    else than before; a normalization behind it is meant to set the scale, as in the paper.

    eps stands inside the root, as in the paper's equation. The authors' code divides by √(unbiased variance) + 1e-5.

    Args:
        module: a Linear, Conv or ConvTranspose layer; of other modules, axis 0 of the parameter is taken for that of
            the output channels.
        name: of its parameter.
        eps: added to the variance.

    Raises:
        ValueError: no such parameter.
        ShapeError: fewer than two values per output channel, which would all become 0.

    Source: Qiao et al. 2019, "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization", §3.

    >>> import tinybn as tb
    >>> conv = tb.nn.utils.parametrizations.weight_standardization(tb.nn.Conv2d(3, 8, 3))
    >>> conv.weight.flatten(1).mean(1).abs().max().item() < 1e-6
    True
    """
    weight = getattr(module, name, None)
    groups = module.groups if name == "weight" and isinstance(module, ConvTranspose1d | ConvTranspose2d) else None
    standardization = _WeightStandardization(eps, groups)
    if isinstance(weight, Tensor) and (weight.ndim < 2 or standardization.rows(weight).shape[1] < 2):
        raise ShapeError(
            f"weight_standardization: {name!r} of {type(module).__name__} has shape {weight.shape}; expected two or "
            "more values for each output channel"
        )
    return register_parametrization(module, name, standardization)


class _WeightStandardization(Module):
    """``groups``: of a transposed convolution, whose weight is (in, out/groups, ...); None for (out, ...)."""

    def __init__(self, eps: float, groups: int | None) -> None:
        self.eps, self.groups = eps, groups

    def forward(self, v: Tensor) -> Tensor:
        rows = self.rows(v)
        standardized = F.layer_norm(rows, rows.shape[1], eps=self.eps)
        if self.groups is None:
            return standardized.reshape(v.shape)
        by_group = (self.groups, v.shape[1], v.shape[0] // self.groups, *v.shape[2:])
        return standardized.reshape(by_group).transpose(1, 2).reshape(v.shape)

    def rows(self, v: Tensor) -> Tensor:
        """One row for each output channel, with all that goes into it."""
        if self.groups is None:
            return v.flatten(1)
        by_group = v.reshape(self.groups, v.shape[0] // self.groups, *v.shape[1:])
        return by_group.transpose(1, 2).flatten(2).flatten(0, 1)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight

    def extra_repr(self) -> str:
        return f"eps={self.eps}"
