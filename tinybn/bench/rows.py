"""LayerNorm, RMSNorm and GroupNorm in the lab."""

from collections.abc import Callable

import numpy as np

from tinybn._typing import Array, Generator
from tinybn.bench.inputs import Case, aligned
from tinybn.bench.registry import Arguments, register_kernel
from tinybn.kernels import reference
from tinybn.kernels.row_normalize import MOST_CHUNKS

GROUPS = 4
_EPS = 1e-5


def _places(case: Case, generator: Generator) -> Array:
    """A weight or a bias for each place of an example."""
    values = aligned(case.shape[1:], case.dtype)
    values[...] = generator.uniform(0.5, 2, case.shape[1:])
    return values


def _channels(case: Case, generator: Generator) -> Array:
    return case.per_channel(generator.uniform(0.5, 2, case.channels))


def layer_norm_arguments(case: Case, generator: Generator, centered: bool = True) -> Arguments:
    return {
        "y": case.empty(),
        "moments": aligned((2, case.shape[0]), np.float64),
        "x": case.normal(generator, case.mean),
        "weight": _places(case, generator),
        "bias": _places(case, generator) if centered else None,
        "period": 1,
        "eps": _EPS,
        "centered": centered,
        "threads": 1,
    }


def layer_norm_backward_arguments(case: Case, generator: Generator, centered: bool = True) -> Arguments:
    forward = layer_norm_arguments(case, generator, centered)
    reference.layer_norm(*forward.values())
    places = forward["weight"].size
    return {
        "dx": case.empty(),
        "dweight": aligned(case.shape[1:], case.dtype),
        "dbias": aligned(case.shape[1:], case.dtype),
        "dy": case.noise(generator),
        "x": forward["x"],
        "moments": forward["moments"],
        "weight": forward["weight"],
        "period": 1,
        "eps": _EPS,
        "centered": centered,
        "scratch": aligned((MOST_CHUNKS, 4 * places), np.float64),
        "threads": 1,
    }


def group_norm_arguments(case: Case, generator: Generator) -> Arguments:
    return {
        "y": case.empty(),
        "moments": aligned((2, case.shape[0] * GROUPS), np.float64),
        "x": case.normal(generator, case.mean),
        "weight": _channels(case, generator),
        "bias": _channels(case, generator),
        "groups": GROUPS,
        "eps": _EPS,
        "scratch": aligned((case.shape[0], 2 * case.channels), np.float64),
        "threads": 1,
    }


def group_norm_backward_arguments(case: Case, generator: Generator) -> Arguments:
    forward = group_norm_arguments(case, generator)
    reference.group_norm(*forward.values())
    return {
        "dx": case.empty(),
        "dweight": aligned((case.channels,), case.dtype),
        "dbias": aligned((case.channels,), case.dtype),
        "dy": case.noise(generator),
        "x": forward["x"],
        "moments": forward["moments"],
        "weight": forward["weight"],
        "groups": GROUPS,
        "eps": _EPS,
        "scratch": aligned((case.shape[0], 2 * case.channels), np.float64),
        "threads": 1,
    }


def _rms(arguments: Callable[..., Arguments]) -> Callable[[Case, Generator], Arguments]:
    return lambda case, generator: arguments(case, generator, centered=False)


_ROWS = ["contiguous", "dense"]
_GRADIENTS = ["dx", "dweight", "dbias"]
for _name, _arguments, _backward in [
    ("layer_norm", layer_norm_arguments, layer_norm_backward_arguments),
    ("rms_norm", _rms(layer_norm_arguments), _rms(layer_norm_backward_arguments)),
]:
    register_kernel(
        _name, twin=reference.layer_norm, arguments=_arguments, outputs=["y", "moments"], layouts=_ROWS,
        flops=lambda a: 8 * a["x"].size,
    )  # fmt: skip
    register_kernel(
        f"{_name}_backward", twin=reference.layer_norm_backward, arguments=_backward, outputs=_GRADIENTS,
        layouts=_ROWS, scratch=["scratch"], flops=lambda a: 16 * a["x"].size,
    )  # fmt: skip
register_kernel(
    "group_norm", twin=reference.group_norm, arguments=group_norm_arguments, outputs=["y", "moments"],
    scratch=["scratch"], dimensions=[4], flops=lambda a: 7 * a["x"].size,
)  # fmt: skip
register_kernel(
    "group_norm_backward", twin=reference.group_norm_backward, arguments=group_norm_backward_arguments,
    outputs=_GRADIENTS, scratch=["scratch"], dimensions=[4], flops=lambda a: 11 * a["x"].size,
)  # fmt: skip
