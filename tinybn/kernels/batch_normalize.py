"""BatchNorm on arrays."""

from collections.abc import Callable

import numpy as np

from tinybn._typing import Array
from tinybn.kernels import layout
from tinybn.kernels.table import chosen, modules, useful_threads
from tinybn.threads import get_num_threads

# What is asked of a kernel once, so that a call on a small batch is not mostly lookups.
_batch_moments, _batch_norm, _normalize = (chosen[name] for name in ("batch_moments", "batch_norm", "normalize"))
_batch_norm_backward, _normalize_backward = chosen["batch_norm_backward"], chosen["normalize_backward"]
_module = modules["batchnorm"]
_ready = layout.never_ready if _module is None else _module.ready

# Below so many elements a second thread costs more than it saves.
THREADED_SIZE = 1 << 16

# `batch_norm` and its backward stream their output past the caches, block by block, when a call's tensors have so many
# bytes together: three quarters of a third-level cache of 32 MB. Below, where two sweeps find everything in that cache,
# streaming costs up to 75 % (6 MB, two cores); above, it saves a third (25 MB, one core). `normalize` gains a fifth (25
# and 51 MB, one core), and loses a tenth where channels are last. (``python -m tinybn bench --version v4 v4+stream``)
STREAMED_BYTES = 24 << 20


def batch_moments(x: Array) -> Array:
    """Mean and biased variance per channel of x (N, C, ...): float64 (2, C); zeros for an empty batch."""
    if not _ready(x, None, None, None, None, None, False):
        x = layout.prepared("batch_moments", x)
    moments = np.empty((2, x.shape[1]))
    _batch_moments(moments, x, workers(x, 1))
    return moments


def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    momentum: float = 0.1,
    relu: bool = False,
    unbiased: bool = True,
) -> tuple[Array, Array, bool]:
    """y = (x − mean)·rstd·weight + bias with the batch's own mean and biased variance.

    Args:
        x: (N, C, ...), float32 or float64. The output has its layout.
        weight, bias: (C,), or None for 1 and 0.
        eps: added to the variance, inside the root.
        running_mean, running_var: (C,) of x's dtype, changed in place, or None: running = (1 − momentum)·running +
            momentum·new. A batch that is empty or not finite leaves them alone.
        momentum: the weight of the new statistics.
        relu: max(y, 0) instead of y.
        unbiased: the new variance is the unbiased one.

    Returns:
        y like x; mean and variance, float64 (2, C); whether the batch was one that moves running statistics.

    Raises:
        ShapeError, DTypeError: arguments that do not go together.
    """
    if not _ready(x, None, weight, bias, running_mean, running_var, False):
        x = layout.prepared("batch_norm", x)
        weight, bias = layout.channels("weight", weight, x), layout.channels("bias", bias, x)
        mean, var = layout.channels("running_mean", running_mean, x), layout.channels("running_var", running_var, x)
        if mean is not running_mean or var is not running_var:  # copies, or new views
            layout.check_writable(running_mean=running_mean, running_var=running_var)
            made = batch_norm(x, weight, bias, eps, mean, var, momentum, relu, unbiased)
            if made[2]:
                layout.write_back((running_mean, mean), (running_var, var))
            return made
    y, moments = np.empty_like(x), np.empty((2, x.shape[1]))
    moved = _batch_norm(
        y,
        moments,
        x,
        weight,
        bias,
        running_mean,
        running_var,
        momentum,
        eps,
        relu,
        workers(x, 3),
        2 * x.nbytes >= STREAMED_BYTES,
        unbiased,
    )
    return y, moments, moved


def normalize(
    x: Array, mean: Array, var: Array, weight: Array | None, bias: Array | None, eps: float, relu: bool = False
) -> Array:
    """`batch_norm` with a mean and a variance (C,) that are given."""
    if not _ready(x, None, weight, bias, mean, var, True):
        x = layout.prepared("normalize", x)
        weight, bias = layout.channels("weight", weight, x), layout.channels("bias", bias, x)
        mean, var = layout.statistics(mean, var, x)
    y = np.empty_like(x)
    stream = 2 * x.nbytes >= STREAMED_BYTES and x.flags.c_contiguous and x.ndim > 2
    _normalize(y, x, mean, var, weight, bias, eps, relu, workers(x, 2), stream)
    return y


def batch_norm_backward(
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    eps: float,
    bias: Array | None = None,
    relu: bool = False,
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias of `batch_norm`, whose mean and variance these are; bias matters with relu only.

    dx = weight·rstd·(dy − Σdy/M − x̂·Σ(dy·x̂)/M), dweight = Σ dy·x̂, dbias = Σ dy
    """
    return _backward(_batch_norm_backward, dy, x, mean, var, weight, bias, eps, relu)


def normalize_backward(
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    eps: float,
    bias: Array | None = None,
    relu: bool = False,
) -> tuple[Array, Array, Array]:
    """dx, dweight, dbias of `normalize`: dx = weight·rstd·dy, and the sums of `batch_norm_backward`."""
    return _backward(_normalize_backward, dy, x, mean, var, weight, bias, eps, relu)


def _backward(
    kernel: Callable[..., None],
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    relu: bool,
) -> tuple[Array, Array, Array]:
    if not _ready(x, dy, weight, bias, mean, var, True):
        x = layout.prepared(kernel.__name__, x)
        dy = layout.like(x, dy, kernel.__name__)
        weight, bias = layout.channels("weight", weight, x), layout.channels("bias", bias, x)
        mean, var = layout.statistics(mean, var, x)
    dx, dweight, dbias = np.empty_like(x), np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    streamed = 3 * x.nbytes >= STREAMED_BYTES
    kernel(dx, dweight, dbias, dy, x, mean, var, weight, bias, eps, relu, workers(x, 5), streamed)
    return dx, dweight, dbias


def workers(x: Array, passes: int) -> int:
    """Threads for a normalization, which goes over so many tensors like x: who sleeps may not be worth waking."""
    threads = get_num_threads()
    return 1 if threads == 1 or x.size < THREADED_SIZE else useful_threads(threads, passes * x.nbytes)
