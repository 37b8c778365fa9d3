"""What users call, in the lab: ``F.batch_norm`` and its gradients, on Tensors, with what they allocate."""

from typing import Any

from tinybn._tensor import Tensor, from_numpy
from tinybn._typing import Array
from tinybn.autograd import grad
from tinybn.bench.batchnorm import backward_arguments, forward_arguments, normalize_arguments
from tinybn.bench.registry import KERNELS, Arguments, Call, Kernel, Version
from tinybn.functional.normalization import batch_norm
from tinybn.kernels import reference
from tinybn.modes import no_grad

_GRADIENTS = ("dx", "dweight", "dbias")


def _training(arguments: Arguments) -> Call:
    x, weight, bias = _leaves(arguments)
    running = arguments["running_mean"], arguments["running_var"]
    options = {"training": True, "momentum": arguments["momentum"], "eps": arguments["eps"]}
    return lambda: batch_norm(x, *running, weight, bias, **options)


def _eval(arguments: Arguments) -> Call:
    x, weight, bias = _leaves(arguments)
    running = arguments["mean"], arguments["var"]

    def call() -> Tensor:
        with no_grad():
            return batch_norm(x, *running, weight, bias, training=False, eps=arguments["eps"])

    return call


def _backward(arguments: Arguments) -> Call:
    leaves, dy = _leaves(arguments), from_numpy(arguments["dy"])
    x, weight, bias = leaves
    y = batch_norm(x, None, None, weight, bias, training=True, eps=arguments["eps"])
    return lambda: grad(y, leaves, dy, retain_graph=True)


def _leaves(arguments: Arguments) -> tuple[Tensor, Tensor, Tensor]:
    x, weight, bias = (from_numpy(arguments[name]) for name in ("x", "weight", "bias"))
    for leaf in (x, weight, bias):
        leaf.requires_grad = True
    return x, weight, bias


def _output(y: Tensor) -> dict[str, Array]:
    return {"y": y.data}


def _gradients(returned: Any) -> dict[str, Array]:
    return {name: gradient.data for name, gradient in zip(_GRADIENTS, returned, strict=True)}


def _add(name: str, version: Version, kernel: Kernel) -> None:
    kernel.name = name
    kernel.add(version)
    KERNELS[name] = kernel


_note = "as users call it, with its allocations"
_add(
    "F.batch_norm",
    Version("tinybn", _training, _output, note=_note),
    Kernel(
        "", reference.batch_norm, forward_arguments, ("y", "moments"), lambda a: 7 * a["x"].size,
        ("running_mean", "running_var"),
    ),
)  # fmt: skip
_add(
    "F.batch_norm eval",
    Version("tinybn", _eval, _output, note=_note),
    Kernel("", reference.normalize, normalize_arguments, ("y",), lambda a: 3 * a["x"].size),
)
_add(
    "F.batch_norm backward",
    Version("tinybn", _backward, _gradients, note=_note),
    Kernel("", reference.batch_norm_backward, backward_arguments, _GRADIENTS, lambda a: 9 * a["x"].size),
)
