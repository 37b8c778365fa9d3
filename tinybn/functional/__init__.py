"""Functions on Tensors, under the names and with the arguments of ``torch.nn.functional``.

Tensors, arrays and lists are taken alike. What is composed of ops also becomes a method of Tensor, by the table at the
end of this file.
"""

from tinybn._tensor import Tensor, matmul
from tinybn.functional.activation import log_softmax, relu, sigmoid, softmax, tanh
from tinybn.functional.arithmetic import clamp, max, maximum, min, minimum, square, std, var, where
from tinybn.functional.conv import conv2d
from tinybn.functional.creation import (
    arange,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    rand,
    randint,
    randn,
    zeros,
    zeros_like,
)
from tinybn.functional.dropout import dropout
from tinybn.functional.linear import linear
from tinybn.functional.loss import cross_entropy
from tinybn.functional.normalization import batch_norm
from tinybn.functional.pooling import avg_pool2d, max_pool2d
from tinybn.functional.shape import cat, flatten, squeeze, stack, unsqueeze, view

__all__ = [
    "arange",
    "avg_pool2d",
    "batch_norm",
    "cat",
    "clamp",
    "conv2d",
    "cross_entropy",
    "dropout",
    "eye",
    "flatten",
    "full",
    "full_like",
    "linear",
    "linspace",
    "log_softmax",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "min",
    "minimum",
    "ones",
    "ones_like",
    "rand",
    "randint",
    "randn",
    "relu",
    "sigmoid",
    "softmax",
    "square",
    "squeeze",
    "stack",
    "std",
    "tanh",
    "unsqueeze",
    "var",
    "view",
    "where",
    "zeros",
    "zeros_like",
]

_METHODS = {
    "abs": Tensor.__abs__,
    "clamp": clamp,
    "flatten": flatten,
    "log_softmax": log_softmax,
    "matmul": matmul,
    "max": max,
    "min": min,
    "pow": Tensor.__pow__,
    "softmax": softmax,
    "square": square,
    "squeeze": squeeze,
    "std": std,
    "unsqueeze": unsqueeze,
    "var": var,
    "view": view,
}

for _name, _function in _METHODS.items():
    setattr(Tensor, _name, _function)
