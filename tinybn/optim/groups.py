"""Which parameters are decayed."""

from typing import Any

from tinybn.nn.module import Module
from tinybn.nn.normalization import NORMALIZATIONS


def parameter_groups(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimizer, its ``param_groups``: the parameters that are decayed, and those that are not.

    Not decayed are all parameters of normalization layers, and vectors and scalars anywhere: biases, slopes, gains of
    a user's own layers. Decay is there to keep the weights of products small; on γ and β it would only pull the scale
    and the offset of what a layer puts out towards zero. Weights of linear and recurrent layers, convolutions and
    embeddings are decayed, and so is what `tinybn.nn.utils.parametrizations.weight_norm` computes a weight of.

    A parameter that several modules share is there once, and is not decayed if one of them is a normalization layer.
    Frozen ones are there too, as in ``model.parameters()``: an optimizer leaves alone what has no gradient, and they
    need no new optimizer once they are unfrozen.

    Args:
        weight_decay: of the first group; that of the second is 0, whatever the optimizer's own is.

    Returns:
        ``[{"params": [...], "weight_decay": weight_decay}, {"params": [...], "weight_decay": 0.0}]``, each in the order
        of ``model.parameters()``. A group may be empty.

    Raises:
        ValueError: the model has no parameters.

    Source: Goyal et al. 2017, "Accurate, Large Minibatch SGD", §5.1; He et al. 2019, "Bag of Tricks for Image
    Classification with Convolutional Neural Networks", §3.1.

    >>> import tinybn as tb
    >>> model = tb.nn.Sequential(tb.nn.Linear(2, 3), tb.nn.BatchNorm1d(3), tb.nn.Linear(3, 1))
    >>> optimizer = tb.optim.SGD(tb.optim.parameter_groups(model, weight_decay=1e-4), lr=0.1)
    >>> [([p.shape for p in group["params"]], group["weight_decay"]) for group in optimizer.param_groups]
    [([(3, 2), (1, 3)], 0.0001), ([(3,), (3,), (3,), (1,)], 0.0)]
    """
    if not isinstance(model, Module):
        raise TypeError(f"parameter_groups: expected a Module, got a {type(model).__name__}")
    parameters = list(model.parameters())
    if not parameters:
        raise ValueError(f"parameter_groups: {type(model).__name__} has no parameters")
    of_norms = {id(p) for module in model.modules() if isinstance(module, NORMALIZATIONS) for p in module.parameters()}
    kept = [p.ndim < 2 or id(p) in of_norms for p in parameters]
    return [
        {"params": [p for p, keep in zip(parameters, kept, strict=True) if not keep], "weight_decay": weight_decay},
        {"params": [p for p, keep in zip(parameters, kept, strict=True) if keep], "weight_decay": 0.0},
    ]
