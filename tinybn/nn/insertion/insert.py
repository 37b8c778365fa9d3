"""The builder: a copy of a model with normalization at named places."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinybn.nn import normalization
from tinybn.nn.blocks.bias import passes_shift, takes_shift_away
from tinybn.nn.container import Sequential
from tinybn.nn.insertion.places import WEIGHTED, Part, Spot, find_spots, is_plain, leaves_of, parse_places, parts_of
from tinybn.nn.insertion.width import Width, widths_from_example, widths_from_layers
from tinybn.nn.linear import Linear
from tinybn.nn.module import Module
from tinybn.nn.parameter import Parameter


def insert_normalization(
    model: Sequential,
    places: str | Sequence[str],
    make: str | Callable[..., Module] = "BatchNorm",
    *,
    example: Any = None,
    keep_bias: bool = False,
    **options: Any,
) -> Sequential:
    """A copy of a model, with the same values and a new normalization at each of some places.

    Places are named in a list, or in a string with "+" between them:

        input               in front of the first layer with weights
        before, after       each hidden activation: those with a layer with weights somewhere behind them
        logits              behind the last layer with weights
        output              at the end
        before X, after X   each X, which is "activation" (the hidden ones), "weight" (layers with weights), a class
                            such as Conv2d or MaxPool2d, or the name of one module, such as 3 or features.2
        none                nowhere

    Where two names mean one place, it gets one normalization. Parts of nested Sequentials count as if they stood in the
    model itself; other modules are looked at from outside.

    Args:
        model: a Sequential. It stays as it is.
        places: see above.
        make: called with the number of channels, which are axis 1; or the name of a normalization in `tinybn.nn`
            without "1d" or "2d", which is chosen from what stands there.
        example: a batch of inputs, which a copy of the model is run with in evaluation mode, to know how many channels
            there are. None: the layers around the place tell, if they can; a Linear is taken to get (N, features).
        keep_bias: keep biases that the new normalization takes away again.
        options: further arguments for ``make``.

    Returns:
        The copy. Children called by numbers are numbered again; among others a new one is called "before_conv1".

    Raises:
        TypeError: not a Sequential, or one with a forward of its own.
        ValueError: an unknown place, or one that the model does not have.
        ShapeError: a number of channels that is not known.

    >>> import tinybn as tb
    >>> net = tb.nn.Sequential(tb.nn.Linear(4, 8), tb.nn.ReLU(), tb.nn.Linear(8, 2))
    >>> insert_normalization(net, "input+before")
    Sequential(
      (0): BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
      (1): Linear(in_features=4, out_features=8, bias=False)
      (2): BatchNorm1d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
      (3): ReLU()
      (4): Linear(in_features=8, out_features=2, bias=True)
    )
    """
    if not is_plain(model):
        raise TypeError(
            f"insert_normalization: expected a Sequential, got {type(model).__name__}: places can only be found where "
            "modules run one after the other"
        )
    made = copy.deepcopy(model)
    parts = parts_of(made)
    leaves = leaves_of(parts)
    spots: dict[int, Spot] = {}  # by gap: where two names mean one place, the first counts
    for place in parse_places(places):
        for spot in find_spots(place, parts):
            spots.setdefault(spot.gap, spot)
    widths = widths_from_layers(leaves, spots) if example is None else widths_from_example(model, example, spots)
    norms = {gap: _made(make, width, options, made) for gap, width in widths.items()}
    if not keep_bias:
        _drop_biases(leaves, norms, widths)
    _insert(spots, norms)
    return made


def _made(make: str | Callable[..., Module], width: Width, options: dict[str, Any], model: Module) -> Module:
    """A normalization for a place, with the dtype of the model's parameters."""
    maker: Any = make
    if isinstance(make, str):
        kinds = [name for name in normalization.__all__ if name[-2:] in ("1d", "2d", "3d")]
        name = f"{make}{max(width.axes - 2, 1)}d"
        if name not in kinds:
            raise ValueError(
                f"insert_normalization: there is no {make!r} for an input of {width.axes} axes, which would be {name}; "
                f"expected a function of the number of channels, or one of {', '.join(kinds)} without its number"
            )
        maker = getattr(normalization, name)
    norm = maker(width.channels, **options)
    if not isinstance(norm, Module):
        raise TypeError(f"insert_normalization: make({width.channels}) gave a {type(norm).__name__}; expected a Module")
    dtypes = [parameter.dtype for parameter in model.parameters()]
    return norm.to(dtypes[0]) if dtypes else norm


def _drop_biases(leaves: Sequence[Part], norms: Mapping[int, Module], widths: Mapping[int, Width]) -> None:
    """Take the bias from layers in front of a normalization that takes it away again, wherever the layer stands."""
    redundant: set[int] = set()
    for gap, norm in norms.items():
        for position in reversed(range(gap)):
            layer = leaves[position].module
            if isinstance(layer, WEIGHTED):
                by_channel = widths[gap].axes == 2 or not isinstance(layer, Linear)
                redundant |= {position} if by_channel and takes_shift_away([norm]) else set()
                break
            if not passes_shift(layer):
                break
    for position in redundant:
        layer = leaves[position].module
        same = {leaf.start for leaf in leaves if leaf.module is layer}
        if same <= redundant and isinstance(vars(layer).get("bias"), Parameter):
            layer.bias = None


def _insert(spots: Mapping[int, Spot], norms: Mapping[int, Module]) -> None:
    for container in {id(spot.container): spot.container for spot in spots.values()}.values():
        own = {gap: spot for gap, spot in spots.items() if spot.container is container}
        _refill(container, {(spot.name, spot.behind): norms[gap] for gap, spot in own.items()})


def _refill(container: Sequential, beside: Mapping[tuple[str, bool], Module]) -> None:
    """Put modules in front of a container's parts, or behind them (True), which are named."""
    old = {name: part for name, part in vars(container).items() if isinstance(part, Module)}
    new: dict[str, Module] = {}
    for name, part in old.items():
        for behind in (False, True):
            if behind:
                new[name] = part
            if (name, behind) in beside:
                label = f"{'after' if behind else 'before'}_{name}"
                while label in old:  # by an insertion before
                    label += "_"
                new[label] = beside[name, behind].train(container.training)
    if all(name.isdigit() for name in old):
        new = {str(number): module for number, module in enumerate(new.values())}
    for name in old:
        delattr(container, name)
    for name, module in new.items():
        setattr(container, name, module)
