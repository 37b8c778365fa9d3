"""Every differentiable primitive: pure functions on arrays, each with its backward nested below its forward.

An op returns ``(output, backward, saved)``; the contract stands in ``docs/design.md``. No Tensors in here.
"""

from tinybn.kernels.windows import Geometry
from tinybn.ops._call import call, sum_to
from tinybn.ops.conv import conv2d, conv2d_input_grad, conv2d_weight_grad
from tinybn.ops.elementwise import (
    absolute,
    add,
    cast,
    cos,
    divide,
    erf,
    exp,
    expm1,
    log,
    log1p,
    logaddexp,
    maximum,
    minimum,
    multiply,
    negative,
    piecewise_constant,
    power,
    relu,
    sigmoid,
    sin,
    sqrt,
    subtract,
    tanh,
    where,
)
from tinybn.ops.index import diagonal, getitem, put, scatter
from tinybn.ops.linalg import linear, matmul
from tinybn.ops.loss import cross_entropy, log_softmax, softmax
from tinybn.ops.normalization import batch_norm, normalize
from tinybn.ops.pool import gather_plane, max_pool2d, scatter_plane, spread_windows, sum_windows
from tinybn.ops.reduce import amax, amin, cumsum, mean, sum
from tinybn.ops.row_normalization import group_norm, layer_norm
from tinybn.ops.shape import broadcast_to, clone, concatenate, flip, reshape, transpose

__all__ = [
    "Geometry",
    "absolute",
    "add",
    "amax",
    "amin",
    "batch_norm",
    "broadcast_to",
    "call",
    "cast",
    "clone",
    "concatenate",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "cos",
    "cross_entropy",
    "cumsum",
    "diagonal",
    "divide",
    "erf",
    "exp",
    "expm1",
    "flip",
    "gather_plane",
    "getitem",
    "group_norm",
    "layer_norm",
    "linear",
    "log",
    "log1p",
    "log_softmax",
    "logaddexp",
    "matmul",
    "max_pool2d",
    "maximum",
    "mean",
    "minimum",
    "multiply",
    "negative",
    "normalize",
    "piecewise_constant",
    "power",
    "put",
    "relu",
    "reshape",
    "scatter",
    "scatter_plane",
    "sigmoid",
    "sin",
    "softmax",
    "spread_windows",
    "sqrt",
    "subtract",
    "sum",
    "sum_to",
    "sum_windows",
    "tanh",
    "transpose",
    "where",
]
