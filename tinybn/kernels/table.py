"""Which build serves, and the table of all kernels."""

from collections.abc import Callable
from typing import Any

from tinybn.kernels import builds, reference

__all__ = ["BUILD", "COMPILED", "KERNELS", "NAMES", "chosen", "modules", "useful_threads"]

# The compiled modules, and the kernels of each.
NAMES = {
    "activation": ["sigmoid", "sigmoid_backward", "tanh_backward", "relu", "relu_backward"],
    "batchnorm": ["batch_moments", "batch_norm", "normalize", "batch_norm_backward", "normalize_backward"],
    "convolution": ["correlate", "correlate_weights", "spread", "gather_weights", "sum_weights", "transpose_planes"],
    "loss": ["cross_entropy", "cross_entropy_backward"],
    "optim": ["sgd", "adam"],
    "pooling": ["max_pool2d", "max_pool2d_backward", "scatter_plane"],
    "products": ["multiply"],
    "rownorm": ["layer_norm", "layer_norm_backward", "group_norm", "group_norm_backward"],
    "special": ["erf"],
    "winograd": ["winograd_scratch", "transform_weights", "winograd", "winograd_weights", "weights_of_sums"],
}

BUILD, _modules = builds.load(*NAMES)
COMPILED = BUILD != "numpy"
modules = dict(zip(NAMES, _modules, strict=True))

KERNELS: dict[str, tuple[Callable[..., Any] | None, Callable[..., Any]]] = {
    name: (getattr(module, name, None), getattr(reference, name))
    for module, names in zip(_modules, NAMES.values(), strict=True)
    for name in names
}
chosen = {name: compiled or twin for name, (compiled, twin) in KERNELS.items()}

try:
    from tinybn.kernels.workers import useful_threads
except ImportError:  # not compiled

    def useful_threads(threads: int, size: int) -> int:
        return threads
