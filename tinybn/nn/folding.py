"""BatchNorm in evaluation is a scale and a shift per channel: the layer in front can have them in its weights."""

import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tinybn.nn.container import Sequential
from tinybn.nn.conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from tinybn.nn.linear import Identity, Linear
from tinybn.nn.module import Module
from tinybn.nn.normalization import BatchNorm, MeanOnlyBatchNorm1d, VarianceOnlyBatchNorm1d
from tinybn.nn.parameter import Parameter

LAYERS = {Linear: 2, Conv1d: 3, ConvTranspose1d: 3, Conv2d: 4, ConvTranspose2d: 4}  # with the axes of their outputs
NORMS = (BatchNorm, MeanOnlyBatchNorm1d, VarianceOnlyBatchNorm1d)  # all ways to evaluate; the other kinds inherit one


def fold_bn(model: Module, pairs: Iterable[tuple[str, str]] | None = None) -> Module:
    """A copy in evaluation mode without the BatchNorms that the layers in front of them can do as well.

    With s = γ/√(var + eps), the layer's weight becomes weight·s and its bias (bias − mean)·s + β, in float64 until they
    are stored in the layer's dtype.

    Folded is a BatchNorm of any kind, frozen or not, directly behind a `Linear`, `Conv1d`, `Conv2d`, `ConvTranspose1d`
    or `ConvTranspose2d`, where a `Sequential` runs both, also if one of them stands in another Sequential inside. The
    BatchNorm is taken out, and the others keep their names: keys of `state_dict` stay what they are, indices do not.
    In modules of other kinds only their ``forward`` knows what follows what: there ``pairs`` names what to fold, and an
    `Identity` takes the BatchNorm's place.

    Left as it is: a BatchNorm without running statistics, or in front of its layer (a convolution's padding is not
    normalized); a layer or a BatchNorm with hooks, with a ``forward`` of its own or with other neighbours elsewhere in
    the model; a layer whose weight or bias is computed from other parameters, as `weight_norm` does.

    Args:
        model: stays as it is. Inputs of a Linear in front of a BatchNorm are taken to be (N, C).
        pairs: of names as in `named_modules`, a layer's and that of the BatchNorm that alone gets what it returns.

    Raises:
        ValueError: a pair that cannot be folded, with the reason.

    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", §3.2, equation 14.

    >>> import tinybn as tb
    >>> fold_bn(tb.nn.Sequential(tb.nn.Conv2d(1, 4, 3, bias=False), tb.nn.BatchNorm2d(4), tb.nn.ReLU()))
    Sequential(
      (0): Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1))
      (2): ReLU()
    )
    """
    if not isinstance(model, Module):
        raise TypeError(f"fold_bn: expected a Module, got a {type(model).__name__}")
    folded = copy.deepcopy(model)
    names = [_checked_names(pair) for pair in pairs or ()]
    named = [(_named_place(folded, layer_name), _named_place(folded, norm_name)) for layer_name, norm_name in names]
    into: dict[Module, Module] = {}  # the layer of each BatchNorm
    for layer, norm in _inseparable(folded, named):
        if _obstacle(layer, norm) is None:
            _fold(layer, norm)
            into[norm] = layer
    for (first, second), (layer_name, norm_name) in zip(named, names, strict=True):
        if into.get(second.module) is not first.module:
            reason = _obstacle(first.module, second.module) or "one of them has other neighbours, too"
            raise ValueError(f"fold_bn: {norm_name!r} cannot be folded into {layer_name!r}: {reason}")
    for place in [place for module in folded.modules() for place in _places(module) if place.module in into]:
        if _is_row(place.container):
            delattr(place.container, place.name)
        else:
            setattr(place.container, place.name, Identity())
    return folded.eval()


# --- a layer and a BatchNorm ------------------------------------------------------------------------------------------


def _fold(layer: Any, norm: Any) -> None:
    """Give the layer the weight and bias that do what both do."""
    weight, dtype, trained = layer.weight.data.astype(np.float64), layer.weight.dtype, layer.weight.requires_grad
    scale, bias = np.ones(norm.num_features), np.zeros(norm.num_features)
    with np.errstate(all="ignore"):  # a model that is not finite, folded or not
        if norm.running_var is not None:
            scale /= np.sqrt(norm.running_var.data.astype(np.float64) + norm.eps)
        if norm.weight is not None:
            scale *= norm.weight.data
        if layer.bias is not None:
            bias += layer.bias.data
        if norm.running_mean is not None:
            bias -= norm.running_mean.data
        bias *= scale
        if norm.bias is not None:
            bias += norm.bias.data
        factor = scale[:, None]  # (K, 1), for a weight (K, ...)
        if isinstance(layer, ConvTranspose1d | ConvTranspose2d):  # (C, K/groups), for a weight (C, K/groups, ...)
            factor = np.repeat(scale.reshape(layer.groups, -1), layer.in_channels // layer.groups, axis=0)
        weight *= factor.reshape(*factor.shape, *(1,) * (weight.ndim - 2))
        layer.weight = Parameter(weight.astype(dtype), trained)
        layer.bias = Parameter(bias.astype(dtype), trained)


def _obstacle(layer: Any, norm: Any) -> str | None:
    """Why the second cannot be folded into the first, if one follows the other; None if it can."""
    kind = next((kind for kind in LAYERS if isinstance(layer, kind)), None)
    if kind is None:
        return f"{type(layer).__name__} is none of {', '.join(kind.__name__ for kind in LAYERS)}"
    if not isinstance(norm, BatchNorm):
        return f"{type(norm).__name__} is no BatchNorm"
    for module, known in ((layer, LAYERS), (norm, NORMS)):
        if "forward" in vars(module) or not any(_runs_as(type(module), kind) for kind in known):
            return f"{type(module).__name__} has a forward of its own"
        if _has_hooks(module):
            return f"{type(module).__name__} has hooks"
    if norm.num_batches_tracked is None or (norm.running_mean is None and norm.running_var is None):
        return f"{norm!r} has no running statistics"
    if not isinstance(vars(layer).get("weight"), Parameter) or "bias" not in vars(layer):
        return f"weight or bias of {type(layer).__name__} is computed from other parameters"
    channels = layer.out_features if isinstance(layer, Linear) else layer.out_channels
    if channels != norm.num_features or LAYERS[kind] not in norm.input_ndims:
        return f"{norm!r} does not take what {layer!r} gives"
    return None


def _runs_as(own: type, kind: type) -> bool:
    """Whether a class runs as one that is known, in evaluation."""
    return all(getattr(own, name, None) is getattr(kind, name, None) for name in ("forward", "_with_running"))


# --- what runs behind what --------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """Where a module stands in another one."""

    container: Module
    name: str

    @property
    def module(self) -> Module:
        return vars(self.container)[self.name]


def _checked_names(pair: Any) -> tuple[str, str]:
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)):
        raise TypeError(f'fold_bn: expected pairs of two names, such as [("conv1", "bn1")], got {pair!r} among them')
    return pair[0], pair[1]


def _named_place(model: Module, name: str) -> _Place:
    *path, last = name.split(".")
    container: Any = model
    for part in path:
        container = vars(container).get(part) if isinstance(container, Module) else None
    if not isinstance(container, Module) or not isinstance(vars(container).get(last), Module):
        raise ValueError(f"fold_bn: {type(model).__name__} has no module {name!r}")
    return _Place(container, last)


def _places(module: Module) -> Iterator[_Place]:
    return (_Place(module, name) for name, _ in module._parts())


def _inseparable(model: Module, named: list[tuple[_Place, _Place]]) -> Iterator[tuple[Module, Module]]:
    """Two modules that run one behind the other wherever they stand, as far as that is known."""
    behind: dict[Module, set[Module | None]] = defaultdict(set)
    front: dict[Module, set[Module | None]] = defaultdict(set)
    for row in _rows(model):
        modules = [place.module for place in row]
        for module, following in pairwise(modules):
            behind[module].add(following)
            front[following].add(module)
        behind[modules[-1]] |= {second.module for first, second in named if first == row[-1]} or {None}
        front[modules[0]] |= {first.module for first, second in named if second == row[0]} or {None}
    for module, followers in behind.items():
        only = next(iter(followers))
        if only is not None and len(followers) == 1 and front[only] == {module}:
            yield module, only


def _rows(model: Module) -> Iterator[list[_Place]]:
    """Places whose modules run one behind the other; one alone where a ``forward`` decides."""
    rows = [model] if _is_row(model) else []
    for container in model.modules():
        for place in _places(container):
            if not _is_row(container):
                yield [place]
            if _is_row(place.module) and not _is_open(place.module, container):
                rows.append(place.module)
    yield from filter(None, (list(_in_order(row)) for row in rows))


def _in_order(row: Module) -> Iterator[_Place]:
    for place in _places(row):
        if _is_open(place.module, row):
            yield from _in_order(place.module)
        else:
            yield place


def _is_open(module: Module, container: Module) -> bool:
    """Whether what runs in a module runs as if it stood in its container."""
    return _is_row(module) and _is_row(container) and not _has_hooks(module)


def _is_row(module: Module) -> bool:
    plain = type(module).forward is Sequential.forward and "forward" not in vars(module)
    return isinstance(module, Sequential) and plain


def _has_hooks(module: Module) -> bool:
    return module._hooks is not None and any(vars(module._hooks).values())
