"""BatchNorm's raw kernels in the lab: their arguments, and what they count."""

import functools
from typing import Any

import numpy as np

from tinybn._typing import Array, Generator
from tinybn.bench.inputs import Case, aligned
from tinybn.bench.registry import Arguments, register_kernel
from tinybn.kernels import reference

_EPS = 1e-5
_MOMENTUM = 0.1
_MARGIN = 1e-4  # outputs closer to 0 than this are moved away, lest ReLU's derivative depend on their rounding


def moments_arguments(case: Case, generator: Generator) -> Arguments:
    return {"moments": aligned((2, case.channels), np.float64), "x": case.normal(generator, case.mean), "threads": 1}


def forward_arguments(case: Case, generator: Generator, relu: bool = False) -> Arguments:
    return {
        "y": case.empty(),
        "moments": aligned((2, case.channels), np.float64),
        "x": case.normal(generator, case.mean),
        **_affine(case, generator),
        "running_mean": case.per_channel(np.zeros(case.channels)),
        "running_var": case.per_channel(np.ones(case.channels)),
        "momentum": _MOMENTUM,
        **_options(relu),
    }


def normalize_arguments(case: Case, generator: Generator) -> Arguments:
    x = case.normal(generator, case.mean)
    mean, var = (case.per_channel(values) for values in _moments(x))  # as running statistics are
    return {"y": case.empty(), "x": x, "mean": mean, "var": var, **_affine(case, generator), **_options(False)}


def backward_arguments(case: Case, generator: Generator, relu: bool = False) -> Arguments:
    x, affine = case.normal(generator, case.mean), _affine(case, generator)
    if relu:
        _move_from_zero(x, **affine)
    mean, var = _moments(x)
    return _gradients(case) | {"dy": case.noise(generator), "x": x, "mean": mean, "var": var} | affine | _options(relu)


def normalize_backward_arguments(case: Case, generator: Generator) -> Arguments:
    arguments = backward_arguments(case, generator)
    return {**arguments, **{name: case.per_channel(arguments[name]) for name in ("mean", "var")}}


def _affine(case: Case, generator: Generator) -> dict[str, Array]:
    weight, bias = generator.uniform(0.5, 1.5, case.channels), generator.standard_normal(case.channels)
    return {"weight": case.per_channel(weight), "bias": case.per_channel(bias)}


def _options(relu: bool) -> Arguments:
    return {"eps": _EPS, "relu": relu, "threads": 1, "stream": False}


def _gradients(case: Case) -> Arguments:
    channels = {name: aligned((case.channels,), case.dtype) for name in ("dweight", "dbias")}
    return {"dx": case.empty(), **channels}


def _moments(x: Array) -> Array:
    moments = np.empty((2, x.shape[1]))
    reference.batch_moments(moments, x, 1)
    return moments


def _move_from_zero(x: Array, weight: Array, bias: Array) -> None:
    y, (mean, var) = np.empty(x.shape), _moments(x)
    reference.normalize(y, x, mean, var, weight, bias, _EPS, False, 1, False)
    x[np.abs(y) < _MARGIN] += 100 * _MARGIN


def _per_element(count: int) -> Any:
    return lambda arguments: count * arguments["x"].size


# Operations on each element, in the formulas that the kernels use:
#   moments     d = x - shift, Σd, d², Σd²                                             4
#   normalize   (x - mean)·scale + bias                                                3
#   sums        d = x - mean, dy·d, Σ, Σdy                                             4
#   dx          ((dy - level) - (x - mean)·slope)·scale, or dy·scale                   5 or 1
# and one comparison where there is a ReLU; its backward needs y, which is 2 more.
_with_relu = functools.partial(forward_arguments, relu=True)
_backward_with_relu = functools.partial(backward_arguments, relu=True)
_running = ("running_mean", "running_var")
_gradient_names = ("dx", "dweight", "dbias")

register_kernel(
    "batch_moments", twin=reference.batch_moments, arguments=moments_arguments, outputs=["moments"],
    flops=_per_element(4),
)  # fmt: skip
register_kernel(
    "batch_norm", twin=reference.batch_norm, arguments=forward_arguments, outputs=["y", "moments"], updated=_running,
    flops=_per_element(7),
)  # fmt: skip
register_kernel(
    "batch_norm relu", twin=reference.batch_norm, arguments=_with_relu, outputs=["y", "moments"], updated=_running,
    flops=_per_element(8),
)  # fmt: skip
register_kernel(
    "normalize", twin=reference.normalize, arguments=normalize_arguments, outputs=["y"], flops=_per_element(3)
)
register_kernel(
    "batch_norm_backward", twin=reference.batch_norm_backward, arguments=backward_arguments, outputs=_gradient_names,
    flops=_per_element(9),
)  # fmt: skip
register_kernel(
    "batch_norm_backward relu", twin=reference.batch_norm_backward, arguments=_backward_with_relu,
    outputs=_gradient_names, flops=_per_element(12),
)  # fmt: skip
register_kernel(
    "normalize_backward", twin=reference.normalize_backward, arguments=normalize_backward_arguments,
    outputs=_gradient_names, flops=_per_element(5),
)  # fmt: skip
