"""The NumPy twins of the kernels: same names, same arguments, same results, written to be read.

They serve where there is no compiler, and the tests hold the compiled kernels against them. Legend: N batch,
C channels, S positions, M = N·S values per channel; ``threads`` is there for the compiled ones.
"""

from tinybn.kernels.reference.batchnorm import (
    batch_moments,
    batch_norm,
    batch_norm_backward,
    normalize,
    normalize_backward,
)
from tinybn.kernels.reference.convolution import (
    correlate,
    correlate_weights,
    gather_weights,
    multiply,
    spread,
    sum_weights,
    transpose_planes,
)
from tinybn.kernels.reference.loss import cross_entropy, cross_entropy_backward
from tinybn.kernels.reference.optim import adam, sgd
from tinybn.kernels.reference.pointwise import erf, relu, relu_backward, sigmoid, sigmoid_backward, tanh_backward
from tinybn.kernels.reference.pooling import max_pool2d, max_pool2d_backward, scatter_plane
from tinybn.kernels.reference.rownorm import group_norm, group_norm_backward, layer_norm, layer_norm_backward
from tinybn.kernels.reference.winograd import (
    transform_weights,
    weights_of_sums,
    winograd,
    winograd_scratch,
    winograd_weights,
)

__all__ = [
    "adam",
    "batch_moments",
    "batch_norm",
    "batch_norm_backward",
    "correlate",
    "correlate_weights",
    "cross_entropy",
    "cross_entropy_backward",
    "erf",
    "gather_weights",
    "group_norm",
    "group_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "multiply",
    "normalize",
    "normalize_backward",
    "relu",
    "relu_backward",
    "scatter_plane",
    "sgd",
    "sigmoid",
    "sigmoid_backward",
    "spread",
    "sum_weights",
    "tanh_backward",
    "transform_weights",
    "transpose_planes",
    "weights_of_sums",
    "winograd",
    "winograd_scratch",
    "winograd_weights",
]
