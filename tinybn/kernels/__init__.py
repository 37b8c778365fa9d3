"""The kernels: which build serves, the table of all, and the functions on arrays that ops call.

``KERNELS`` has every raw kernel as ``{name: (compiled or None, NumPy twin)}``; they work on arrays that the caller has
made, in the layouts that their names end with (`tinybn.kernels.layout`). The functions below check and view arguments,
make the outputs, and choose the number of threads.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinybn._typing import Array
from tinybn.errors import ShapeError
from tinybn.kernels import builds, layout, reference
from tinybn.threads import get_num_threads

_LAYOUTS = ("ncs", "mc")
_NAMES = {
    "batchnorm": [
        f"{kernel}_{suffix}"
        for kernel in ("batch_moments", "batch_norm", "normalize", "batch_norm_backward", "normalize_backward")
        for suffix in _LAYOUTS
    ],
    "pooling": ["max_pool2d", "scatter_plane"],
    "special": ["erf"],
}

BUILD, _modules = builds.load(*_NAMES)
COMPILED = BUILD != "numpy"

KERNELS: dict[str, tuple[Callable[..., None] | None, Callable[..., None]]] = {
    name: (getattr(module, name, None), getattr(reference, name))
    for module, names in zip(_modules, _NAMES.values(), strict=True)
    for name in names
}
_chosen = {name: compiled or twin for name, (compiled, twin) in KERNELS.items()}

# Below so many elements a second thread costs more than it saves. To wake one that sleeps takes 20 to 80 µs; that is
# what BatchNorm does with 2¹⁹ float32 on one core with AVX-512, and max-pooling and erf with a small part of them.
THREADED_SIZE = 1 << 20
THREADED_POOLING_SIZE = 1 << 16
THREADED_ERF_SIZE = 1 << 15


def batch_moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance per channel of x (N, C, ...), float64 (C,); zeros for an empty batch."""
    x, order = layout.prepared("batch_moments", x)
    mean, var = np.zeros((2, x.shape[1]))
    if x.size:
        _chosen[f"batch_moments_{order}"](mean, var, layout.view(x, order), _threads(x))
    return mean, var


def batch_norm(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """y = (x − mean)·rstd·weight + bias with the batch's own mean and biased variance.

    Args:
        x: (N, C, ...), float32 or float64. The output has its layout.
        weight, bias: (C,), or None for 1 and 0.
        eps: added to the variance, inside the root.

    Returns:
        y like x, and mean and variance, float64 (C,).

    Raises:
        ShapeError, DTypeError: arguments that do not go together.
    """
    x, order = layout.prepared("batch_norm", x)
    y = np.empty_like(x)
    mean, var = np.zeros((2, x.shape[1]))
    if x.size:
        affine = _channel_array("weight", weight, x, 1.0), _channel_array("bias", bias, x, 0.0)
        views = layout.view(y, order), mean, var, layout.view(x, order)
        _chosen[f"batch_norm_{order}"](*views, *affine, eps, _threads(x))
    return y, mean, var


def normalize(x: Array, mean: Array, var: Array, weight: Array | None, bias: Array | None, eps: float) -> Array:
    """`batch_norm` with a mean and a variance (C,) that are given."""
    x, order = layout.prepared("normalize", x)
    y = np.empty_like(x)
    if x.size:
        statistics = _channel_array("mean", mean, x, 0.0, np.float64), _channel_array("var", var, x, 1.0, np.float64)
        affine = _channel_array("weight", weight, x, 1.0), _channel_array("bias", bias, x, 0.0)
        views = layout.view(y, order), layout.view(x, order)
        _chosen[f"normalize_{order}"](*views, *statistics, *affine, eps, _threads(x))
    return y


def batch_norm_backward(
    dy: Array, x: Array, mean: Array, var: Array, weight: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias of `batch_norm`, whose mean and variance these are.

    dx = weight·rstd·(dy − Σdy/M − x̂·Σ(dy·x̂)/M), dweight = Σ dy·x̂, dbias = Σ dy
    """
    return _backward("batch_norm_backward", dy, x, mean, var, weight, eps)


def normalize_backward(
    dy: Array, x: Array, mean: Array, var: Array, weight: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias of `normalize`: dx = weight·rstd·dy, and the sums of `batch_norm_backward`."""
    return _backward("normalize_backward", dy, x, mean, var, weight, eps)


def _backward(
    name: str, dy: Array, x: Array, mean: Array, var: Array, weight: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    x, order = layout.prepared(name, x)
    dy = layout.like(x, dy, name)
    dx = np.empty_like(x)
    sums = np.zeros((2, x.shape[1]))  # dweight, dbias
    if x.size:
        statistics = _channel_array("mean", mean, x, 0.0, np.float64), _channel_array("var", var, x, 1.0, np.float64)
        views = layout.view(dx, order), *sums, layout.view(dy, order), layout.view(x, order)
        _chosen[f"{name}_{order}"](*views, *statistics, _channel_array("weight", weight, x, 1.0), eps, _threads(x))
    dweight, dbias = sums.astype(x.dtype)
    return dx, dweight, dbias


def max_pool2d(
    x: Array,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[Array, Array]:
    """The largest value of each window of x (N, C, H, W), and where it stood, h·W + w as int32: both (N, C, *size).

    NaN is larger than everything, the first of equal values wins, and a window on padding alone gives −inf and −1.
    """
    x, order = layout.prepared("max_pool2d", x)
    y, index = (layout.make(np.empty, order, (*x.shape[:2], *size), dtype) for dtype in (x.dtype, np.int32))
    if y.size:
        planes = [_planes(a, order) for a in (y, index, x)]
        _chosen["max_pool2d"](*planes, *kernel, *stride, *padding, *dilation, _threads(x, THREADED_POOLING_SIZE))
    return y, index


def scatter_plane(y: Array, index: Array, size: tuple[int, int]) -> Array:
    """Zeros (N, C, H, W), with each value of y (N, C, P, Q) added at the position h·W + w that index gives for it."""
    order = "mc" if layout.channels_last(index).flags.c_contiguous else "ncs"
    index = index if order == "mc" else np.ascontiguousarray(index)
    y = layout.like(np.empty_like(index, dtype=y.dtype), y, "scatter_plane")
    x = layout.make(np.zeros, order, (*y.shape[:2], *size), y.dtype)
    if x.size and y.size:
        flat = [a.reshape(a.shape[0], -1, a.shape[3]) for a in (_planes(a, order) for a in (x, y, index))]
        _chosen["scatter_plane"](*flat, _threads(x, THREADED_POOLING_SIZE))
    return x


def erf(x: Array) -> Array:
    """2/√π·∫ exp(−t²) dt from 0 to each x: a fresh array of x's shape, dtype and order of axes in memory."""
    out = np.array(x, dtype=np.result_type(x, np.float32))  # a float16 is computed in float32
    flat = out.ravel("K")  # a view, as out is dense
    if flat.size:
        _chosen["erf"](flat, flat, _threads(flat, THREADED_ERF_SIZE))
    return out.astype(x.dtype, copy=False)


def _planes(x: Array, order: str) -> Array:
    """(N, H, W, C) on the memory of x (N, C, H, W), or (N·C, H, W, 1) if its channels are not last."""
    return layout.channels_last(x) if order == "mc" else x.reshape(-1, *x.shape[2:], 1)


def _channel_array(name: str, value: Array | None, x: Array, default: float, dtype: Any = None) -> Array:
    """A contiguous (C,) array of x's dtype, or of the one given."""
    dtype = dtype or x.dtype
    if value is None:
        return _constant(x.shape[1], default, dtype)
    if value.shape != x.shape[1:2]:
        raise ShapeError(f"{name}: expected shape {x.shape[1:2]} for an input of {x.shape}, got {value.shape}")
    return np.ascontiguousarray(value, dtype)


@functools.lru_cache(maxsize=64)
def _constant(n: int, value: float, dtype: Any) -> Array:
    array = np.full(n, value, dtype)
    array.flags.writeable = False  # everybody gets the same one
    return array


def _threads(x: Array, least: int = THREADED_SIZE) -> int:
    return get_num_threads() if x.size >= least else 1
