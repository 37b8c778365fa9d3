"""The kernels: which build serves, the table of all, and the functions on arrays that ops call.

``KERNELS`` has every raw kernel as ``{name: (compiled or None, NumPy twin)}``; they work on arrays that the caller has
made, in the layouts that their names end with (`tinybn.kernels.layout`). The functions of the other modules here check
and view arguments, make the outputs, and choose the number of threads.
"""

from tinybn.kernels.batch_normalize import (
    STREAMED_BYTES,
    batch_moments,
    batch_norm,
    batch_norm_backward,
    normalize,
    normalize_backward,
)
from tinybn.kernels.pointwise import erf
from tinybn.kernels.pool import max_pool2d, max_pool2d_backward, scatter_plane
from tinybn.kernels.row_normalize import group_norm, group_norm_backward, layer_norm, layer_norm_backward
from tinybn.kernels.table import BUILD, COMPILED, KERNELS

__all__ = [
    "BUILD",
    "COMPILED",
    "KERNELS",
    "STREAMED_BYTES",
    "batch_moments",
    "batch_norm",
    "batch_norm_backward",
    "erf",
    "group_norm",
    "group_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "normalize",
    "normalize_backward",
    "scatter_plane",
]
