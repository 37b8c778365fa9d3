"""Max-pooling, its derivatives, and erf in the lab."""

import numpy as np

from tinybn._typing import Array, Generator
from tinybn.bench.inputs import Case, aligned
from tinybn.bench.registry import Arguments, register_kernel
from tinybn.kernels import reference

_WINDOW = 2  # size and stride: the pooling of most small networks
_WINDOWS = dict.fromkeys(("R", "S", "stride_h", "stride_w"), _WINDOW)
_PLAIN = {"pad_h": 0, "pad_w": 0, "dilation_h": 1, "dilation_w": 1}
# A rational approximation of some ten coefficients above and below, a division, and an exponential that is one more.
_ERF_FLOPS = 40


def _pooled(case: Case) -> tuple[int, ...]:
    """(N, H, W, C) of the channels-last input, or (N·C, H, W, 1): what the kernel sees."""
    n, c, h, w = case.shape
    return (n, h, w, c) if case.layout == "channels-last" else (n * c, h, w, 1)


def max_pool_arguments(case: Case, generator: Generator) -> Arguments:
    planes, h, w, c = _pooled(case)
    size = planes, h // _WINDOW, w // _WINDOW, c
    x = case.normal(generator, case.mean)
    return {
        "y": aligned(size, case.dtype),
        "index": aligned(size, np.int32),
        "x": x.transpose(0, 2, 3, 1) if case.layout == "channels-last" else x.reshape(planes, h, w, c),
        **_WINDOWS,
        **_PLAIN,
        "threads": 1,
    }


def max_pool_backward_arguments(case: Case, generator: Generator) -> Arguments:
    pool = max_pool_arguments(case, generator)
    reference.max_pool2d(*pool.values())
    dy = aligned(pool["y"].shape, case.dtype)
    dy[...] = generator.standard_normal(dy.shape, np.float32)
    sizes = {name: pool[name] for name in (*_WINDOWS, "pad_h", "pad_w")}
    return {"dx": aligned(pool["x"].shape, case.dtype), "dy": dy, "index": pool["index"], **sizes, "threads": 1}


def scatter_arguments(case: Case, generator: Generator) -> Arguments:
    pool = max_pool_arguments(case, generator)
    reference.max_pool2d(*pool.values())
    (planes, h, w, c), index = pool["x"].shape, _flat(pool["index"])
    x, y = aligned((planes, h * w, c), case.dtype), aligned(index.shape, case.dtype)
    x.fill(0)
    y[...] = generator.standard_normal(y.shape, np.float32)
    return {"x": x, "y": y, "index": index, "threads": 1}


def _flat(a: Array) -> Array:
    return a.reshape(a.shape[0], -1, a.shape[3])


def erf_arguments(case: Case, generator: Generator) -> Arguments:
    return {"out": case.empty().ravel("K"), "x": case.normal(generator, case.mean).ravel("K"), "threads": 1}


register_kernel(
    "max_pool2d", twin=reference.max_pool2d, arguments=max_pool_arguments, outputs=["y", "index"], dimensions=[4],
    flops=lambda a: a["y"].size * _WINDOW**2,
)  # fmt: skip
register_kernel(
    "max_pool2d_backward", twin=reference.max_pool2d_backward, arguments=max_pool_backward_arguments, outputs=["dx"],
    dimensions=[4], flops=lambda a: a["dx"].size,
)  # fmt: skip
register_kernel(
    "scatter_plane", twin=reference.scatter_plane, arguments=scatter_arguments, outputs=[], updated=["x"],
    dimensions=[4], flops=lambda a: a["y"].size,
)  # fmt: skip
register_kernel(
    "erf", twin=reference.erf, arguments=erf_arguments, outputs=["out"], layouts=["contiguous", "dense"],
    flops=lambda a: a["x"].size * _ERF_FLOPS,
)  # fmt: skip
