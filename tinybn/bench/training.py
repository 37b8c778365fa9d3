"""The kernels of a training step beside BatchNorm's in the lab: products, convolution, activations, cross-entropy."""

import math
from collections.abc import Callable

import numpy as np

from tinybn._typing import Array, Generator
from tinybn.bench.inputs import Case, aligned
from tinybn.bench.registry import Arguments, register_kernel
from tinybn.kernels import reference
from tinybn.kernels.windows import Windows, forward_taps, windows

_KERNEL, _EDGE = (3, 3), (1, 1)  # of the convolutions: as many channels out as in
_ELEMENTWISE_FLOPS = {"sigmoid": 24, "sigmoid_backward": 3, "tanh_backward": 3, "relu": 1, "relu_backward": 2}
_EXPONENTIAL_FLOPS = 20
_PRODUCTS = {"float32": 1e-5, "float64": 1e-11}  # sums of hundreds of products, one after the other


def _flat(case: Case, generator: Generator) -> Array:
    return case.normal(generator, case.mean).ravel("K")


def one_input(case: Case, generator: Generator) -> Arguments:
    return {"out": case.empty().ravel("K"), "x": _flat(case, generator), "threads": 1}


def gradient_and_output(case: Case, generator: Generator) -> Arguments:
    return {"dx": case.empty().ravel("K"), "dy": _flat(case, generator), "y": _flat(case, generator), "threads": 1}


def product_arguments(case: Case, generator: Generator) -> Arguments:
    """(N, C) times (C, C)."""
    _, c = case.shape
    a, b = case.normal(generator), Case((c, c), case.dtype, "dense").noise(generator)
    scratch = aligned(((c + 1) * math.ceil(c / 32) * 32,), case.dtype)
    return {"c": case.empty(), "a": a, "b": b, "bias": case.per_channel(np.ones(c)), "scratch": scratch, "threads": 1}


def _windows(case: Case) -> Windows:
    _, c, h, w = case.shape
    itemsize = np.dtype(case.dtype).itemsize
    return windows((h, w, c), (h, w), forward_taps(_KERNEL, (1, 1)), (1, 1), _EDGE, 1, itemsize)


def _last(x: Array) -> Array:
    return x.transpose(0, 2, 3, 1)


def convolution_arguments(case: Case, generator: Generator) -> Arguments:
    view, c = _windows(case), case.channels
    matrix = aligned((1, len(view.reads), math.ceil(c / 16) * 16), case.dtype)
    matrix[...] = generator.standard_normal(matrix.shape, np.float32)
    return {
        "y": _last(case.empty()),
        "x": _last(case.normal(generator)),
        "matrix": matrix,
        "bias": None,
        "taps": view.runs,
        "length": view.length,
        "scratch": aligned((64, view.scratch), case.dtype),
        "window": view.shape,
        "threads": 1,
    }


def weights_gradient_arguments(case: Case, generator: Generator) -> Arguments:
    view, (n, c, _, w) = _windows(case), case.shape
    return {
        "sums": aligned((min(n, 8), 1, len(view.reads), c), case.dtype),
        "x": _last(case.normal(generator)),
        "dy": _last(case.noise(generator)),
        "taps": view.reads,
        "scratch": aligned((64, view.scratch + view.shape[-1] * w * c + 64), case.dtype),
        "window": view.shape,
        "parts": 1,
        "direct": False,
        "threads": 1,
    }


def planes_arguments(case: Case, generator: Generator) -> Arguments:
    n, c, h, w = case.shape
    x = case.normal(generator, case.mean).reshape(n, c, h * w)
    return {"out": aligned((n, h * w, c), case.dtype), "x": x, "threads": 1}


def cross_entropy_arguments(case: Case, generator: Generator) -> Arguments:
    n, c = case.shape
    labels = generator.integers(0, c, n)
    return {
        "losses": aligned((n,), case.dtype),
        "probabilities": case.empty(),
        "x": case.normal(generator),
        "labels": labels,
        "ignored": -100,
    }


def cross_entropy_backward_arguments(case: Case, generator: Generator) -> Arguments:
    n, c = case.shape
    dy = aligned((1,), case.dtype)
    dy[0] = 1 / n
    probabilities = case.empty()
    probabilities[...] = generator.dirichlet(np.ones(c), n)
    return {
        "dx": case.empty(),
        "dy": dy,
        "probabilities": probabilities,
        "labels": generator.integers(0, c, n),
        "ignored": -100,
    }


def _flops_of(each: int) -> Callable[[Arguments], int]:
    """So many operations for each value of the output, which is a kernel's first argument."""
    return lambda arguments: each * int(next(iter(arguments.values())).size)


for _name, _flops in _ELEMENTWISE_FLOPS.items():
    register_kernel(
        _name, twin=getattr(reference, _name), outputs=["dx" if "backward" in _name else "out"],
        arguments=gradient_and_output if "backward" in _name else one_input, layouts=["contiguous", "dense"],
        flops=_flops_of(_flops),
    )  # fmt: skip
register_kernel(
    "multiply", scratch=["scratch"], twin=reference.multiply, arguments=product_arguments,
    outputs=["c"], dimensions=[2], tolerance=_PRODUCTS,
    flops=lambda a: 2 * a["c"].size * a["a"].shape[1],
)  # fmt: skip
register_kernel(
    "correlate", scratch=["scratch"], twin=reference.correlate, arguments=convolution_arguments, outputs=["y"],
    dimensions=[4], layouts=["channels-last"], tolerance=_PRODUCTS,
    flops=lambda a: 2 * a["y"].size * a["matrix"].shape[1],
)  # fmt: skip
register_kernel(
    "correlate_weights", scratch=["scratch"], twin=reference.correlate_weights, arguments=weights_gradient_arguments,
    outputs=["sums"], dimensions=[4], layouts=["channels-last"], tolerance=_PRODUCTS,
    flops=lambda a: 2 * a["dy"].size * len(a["taps"]),
)  # fmt: skip
register_kernel(
    "transpose_planes", twin=reference.transpose_planes, arguments=planes_arguments, outputs=["out"], dimensions=[4],
    layouts=["contiguous"], flops=lambda a: 0,
)  # fmt: skip
register_kernel(
    "cross_entropy", twin=reference.cross_entropy, arguments=cross_entropy_arguments,
    outputs=["losses", "probabilities"], dimensions=[2], flops=lambda a: _EXPONENTIAL_FLOPS * a["x"].size,
)  # fmt: skip
register_kernel(
    "cross_entropy_backward", twin=reference.cross_entropy_backward, arguments=cross_entropy_backward_arguments,
    outputs=["dx"], dimensions=[2], flops=lambda a: 2 * a["dx"].size,
)  # fmt: skip
