"""States of batch normalization from one framework's meaning to another's, and from its names to ours."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinybn._typing import Array
from tinybn.errors import StateError
from tinybn.nn.normalization.conventions import MOMENTUM, Convention, Default, find_convention

# Chainer's N is not here: it counts the batches of fine-tuning alone.
NAMES = {
    "torch": ("weight", "bias", "running_mean", "running_var"),
    "keras": ("gamma", "beta", "moving_mean", "moving_variance"),
    "flax": ("scale", "bias", "mean", "var"),
    "mlx": ("weight", "bias", "running_mean", "running_var"),
    "onnx": ("scale", "B", "input_mean", "input_var"),
    "chainer": ("gamma", "beta", "avg_mean", "avg_var"),
}


def convert_batch_norm(
    state_dict: Mapping[str, Any],
    source: str,
    target: str,
    values_per_channel: float | Mapping[str, float],
    momentum: float | None = MOMENTUM,
) -> dict[str, Array]:
    """A new state with each ``running_var`` as the target's layers would have it: biased, or unbiased.

        var_target = initial + (var_source − initial)·factor,    factor (M − 1)/M, M/(M − 1) or 1

    ``initial`` is what is left in the running variance of the 1 that it begins with, which is nobody's estimate and
    stays: (1 − momentum)ᵗ with t = ``num_batches_tracked``, or 0 where the state has no such counter. The result is
    exact if all batches had M values per channel and momentum did not change. All else is copied as it is. eps and
    momentum are not in a state: the layers that load it have to be given those of the source, if they are to stay.

    Args:
        state_dict: of a layer or of a model, with tinybn's names (`rename_batch_norm` makes them of others').
        source, target: conventions, "torch", "keras", "flax", "mlx", "onnx" or "chainer".
        values_per_channel: M, the batch's size times the positions; one number for all layers, or a mapping from each
            layer's name, such as "blocks.1", to its own ("" is a layer that stands alone).
        momentum: what the layers were trained with, in the meaning of the source; default: the source's own. None for
            the average of all batches, with ``debias=True`` and behind `update_bn`, which leave nothing of the 1.

    Raises:
        ValueError: an unknown convention, or an M of 1 or less, or infinite.
        StateError: a layer without its M.

    >>> import tinybn as tb
    >>> layer = tb.nn.BatchNorm1d(1, momentum=None, dtype="float64")  # PyTorch's, unbiased
    >>> _ = layer(tb.tensor([[1.0], [3.0]], dtype="float64"))
    >>> state = tb.nn.convert_batch_norm(layer.state_dict(), "torch", "keras", 2, momentum=None)
    >>> layer.running_var.tolist(), state["running_var"].tolist()
    ([2.0], [1.0])
    """
    given, wanted = find_convention(source), find_convention(target)
    converted = {name: np.asarray(value).copy() for name, value in state_dict.items()}
    for name, var in converted.items():
        layer, _, last = name.rpartition(".")
        if last == "running_var":
            m = _values_of(layer, name, values_per_channel)
            factor = (m / (m - 1)) ** (wanted.unbiased - given.unbiased)
            seen = converted.get(name.removesuffix(last) + "num_batches_tracked")
            initial = 0.0 if seen is None else _initial_share(given, momentum, int(seen))
            converted[name] = (initial + (var.astype(np.float64) - initial) * factor).astype(var.dtype)
    return converted


def _values_of(layer: str, name: str, values_per_channel: float | Mapping[str, float]) -> float:
    if isinstance(values_per_channel, Mapping):
        if layer not in values_per_channel:
            raise StateError(
                f"convert_batch_norm: {name}: values_per_channel has no {layer!r}, only {list(values_per_channel)}"
            )
        values_per_channel = values_per_channel[layer]
    if not 1 < values_per_channel < np.inf:
        raise ValueError(
            f"convert_batch_norm: {name}: {values_per_channel!r} values per channel; expected 2 or more, as one value "
            "has no unbiased variance"
        )
    return values_per_channel


def _initial_share(convention: Convention, momentum: float | None, seen: int) -> float:
    """How much of the initial variance is left after so many batches."""
    if momentum is None:
        return 0.0 if seen else 1.0
    if isinstance(momentum, Default):
        momentum = convention.momentum
    kept = 1 - momentum if convention.weighs_new else momentum
    return kept**seen


def rename_batch_norm(state_dict: Mapping[str, Any], source: str, target: str = "torch") -> dict[str, Array]:
    """A new state with the names that another framework has for weight, bias, mean and variance.

    ===========  ==========  ==========  ==============  ==================
    "torch"      ``weight``  ``bias``    running_mean    running_var
    "keras"      ``gamma``   ``beta``    moving_mean     moving_variance
    "flax"       ``scale``   ``bias``    mean            var
    "mlx"        ``weight``  ``bias``    running_mean    running_var
    "onnx"       ``scale``   ``B``       input_mean      input_var
    "chainer"    ``gamma``   ``beta``    avg_mean        avg_var
    ===========  ==========  ==========  ==============  ==================

    Of each name only what stands behind the last dot is looked at; tinybn has the names of "torch", whatever a layer's
    convention is. What has another name is copied as it is. No values change: load the state into a layer with that
    convention, with ``strict=False``, as others have no ``num_batches_tracked``; or let `convert_batch_norm` follow.

    Args:
        state_dict: a layer's arrays, or those of a model with dots in their names.
        source, target: whose names they are, and whose they become.

    Raises:
        ValueError: an unknown convention.
        StateError: two arrays that would have one name.

    >>> import tinybn as tb
    >>> keras = {"gamma": [2.0], "beta": [0.0], "moving_mean": [1.0], "moving_variance": [4.0]}
    >>> layer = tb.nn.BatchNorm1d(1, convention="keras", eps=0.0)
    >>> layer.load_state_dict(tb.nn.rename_batch_norm(keras, "keras"), strict=False)
    LoadResult(missing_keys=['num_batches_tracked'], unexpected_keys=[])
    >>> layer.eval()(tb.tensor([[3.0]])).tolist()
    [[2.0]]
    """
    find_convention(source), find_convention(target)
    others = dict(zip(NAMES[source], NAMES[target], strict=True))
    renamed: dict[str, Array] = {}
    for name, value in state_dict.items():
        last = name.rpartition(".")[2]
        new = name.removesuffix(last) + others.get(last, last)
        if new in renamed:
            raise StateError(f"rename_batch_norm: {name} would be {new}, which is there already")
        renamed[new] = np.asarray(value).copy()
    return renamed
