"""The ladder in the lab: every step of `tinybn.bench.ladder` as a version of one kernel."""

import numpy as np

from tinybn._typing import Array, Generator
from tinybn.bench.batchnorm import forward_arguments
from tinybn.bench.inputs import Case
from tinybn.bench.ladder import LADDER
from tinybn.bench.registry import KERNELS, Arguments, Kernel, Version, positional
from tinybn.kernels import reference

# The first steps sum in the data's dtype, one number after the other, so that even at mean 0 the sum of 50,000 float32
# has lost a digit and a half. A one-pass variance at mean 1e4 is off by more than 1.
_TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
_MEANS = (0.0, 1e4)


def training_forward(y: Array, x: Array, weight: Array, bias: Array, eps: float, threads: int) -> None:
    """y = (x − mean)·rstd·weight + bias on (N, C, S), with the batch's own mean and biased variance."""
    moments = np.empty((2, x.shape[1]))
    reference.batch_norm(y, moments, x, weight, bias, None, None, 0.0, eps, False, threads, False)


def step_arguments(case: Case, generator: Generator) -> Arguments:
    made = forward_arguments(case, generator)
    n, c = case.shape[:2]
    views = {name: made[name].reshape(n, c, -1) for name in ("y", "x")}
    return {**views, **{name: made[name] for name in ("weight", "bias", "eps", "threads")}}


_ladder = Kernel(
    "ladder",
    training_forward,
    step_arguments,
    outputs=("y",),
    flops=lambda arguments: 7 * arguments["x"].size,
    dimensions=(4,),
    layouts=("contiguous",),
    means=_MEANS,
    tolerance=_TOLERANCE,
)
for _step in LADDER:
    _bound = positional(_step.function)
    _ladder.add(Version(_step.name, _bound, threaded=_step.threaded, inexact=not _step.exact, note=_step.note))
KERNELS[_ladder.name] = _ladder
