"""tinybn: a reverse-mode autograd mini-framework for the CPU, and the study of where BatchNorm should stand.

>>> import tinybn as tb
>>> model = tb.nn.Sequential(tb.nn.Linear(4, 8, bias=False), tb.nn.BatchNorm1d(8), tb.nn.ReLU(), tb.nn.Linear(8, 2))
>>> loss = tb.functional.cross_entropy(model(tb.randn(16, 4)), [0, 1] * 8)
>>> loss.backward()
>>> tb.optim.SGD(model.parameters(), lr=0.1).step()
"""

# ruff: noqa: E402, F401, F403  # edited sources first; and what a room of tinybn.functional offers is its __all__

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from numpy import dtype

from tinybn._edited import prefer_edited_sources as _prefer_edited_sources

_prefer_edited_sources()

from tinybn import data, errors, functional, kernels, memory, nn, ops, optim, train
from tinybn._tensor import Tensor, as_tensor, from_numpy, tensor
from tinybn.autograd import grad
from tinybn.checks import gradcheck, gradgradcheck
from tinybn.functional.activation import *
from tinybn.functional.arithmetic import *
from tinybn.functional.comparison import *
from tinybn.functional.creation import *
from tinybn.functional.drawing import *
from tinybn.functional.elementwise import *
from tinybn.functional.extremes import *
from tinybn.functional.index import *
from tinybn.functional.joining import *
from tinybn.functional.linalg import *
from tinybn.functional.products import *
from tinybn.functional.reduction import *
from tinybn.functional.sets import *
from tinybn.functional.shape import *
from tinybn.functional.sorting import *
from tinybn.functional.triangle import *
from tinybn.kernels.convolve_winograd import set_winograd
from tinybn.modes import detect_anomaly, enable_grad, is_grad_enabled, no_grad, set_grad_enabled, strict_float32
from tinybn.random import default_generator, manual_seed
from tinybn.saved import needs
from tinybn.threads import get_num_threads, set_num_threads
from tinybn.user_ops import check_op, custom_op

# dtypes under PyTorch's names
bool = dtype("bool")
uint8, int8, int16, int32, int64 = map(dtype, ("uint8", "int8", "int16", "int32", "int64"))
float16, float32, float64 = map(dtype, ("float16", "float32", "float64"))
short, int, long, half, float, double = int16, int32, int64, float16, float32, float64

__version__ = "0.1.0"

memory.enable()

if TYPE_CHECKING:
    from tinybn import bench
else:

    def __getattr__(name):
        if name == "bench":  # the lab takes a tenth of the time that the rest takes, and few programs need it
            return _import_module("tinybn.bench")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Modules of the engine's inside are reached by their names; they are no part of what `from tinybn import *` brings.
_INSIDE = {"anomaly", "checks", "hooks", "inplace", "modes", "saved", "silence", "starts", "storage", "user_ops"}
_INSIDE.add("TYPE_CHECKING")
__all__ = [name for name in globals() if name[0] != "_" and name not in _INSIDE]
