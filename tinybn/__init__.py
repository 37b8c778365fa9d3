"""tinybn: a reverse-mode autograd mini-framework for the CPU, and the study of where BatchNorm should stand.

>>> import tinybn as tb
>>> model = tb.nn.Sequential(tb.nn.Linear(4, 8, bias=False), tb.nn.BatchNorm1d(8), tb.nn.ReLU(), tb.nn.Linear(8, 2))
>>> loss = tb.functional.cross_entropy(model(tb.randn(16, 4)), [0, 1] * 8)
>>> loss.backward()
>>> tb.optim.SGD(model.parameters(), lr=0.1).step()
"""

from tinybn import data, errors, functional, kernels, memory, nn, ops, optim, train
from tinybn._tensor import Tensor, as_tensor, from_numpy, matmul, tensor
from tinybn.autograd import grad
from tinybn.functional.arithmetic import clamp, maximum, minimum, where
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
from tinybn.functional.shape import cat, stack
from tinybn.grad_mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from tinybn.random import default_generator, manual_seed
from tinybn.threads import get_num_threads, set_num_threads

__version__ = "0.1.0"

memory.enable()

__all__ = [
    "Tensor",
    "arange",
    "as_tensor",
    "cat",
    "clamp",
    "data",
    "default_generator",
    "enable_grad",
    "errors",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "functional",
    "get_num_threads",
    "grad",
    "is_grad_enabled",
    "kernels",
    "linspace",
    "manual_seed",
    "matmul",
    "maximum",
    "memory",
    "minimum",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "ops",
    "optim",
    "rand",
    "randint",
    "randn",
    "set_grad_enabled",
    "set_num_threads",
    "stack",
    "tensor",
    "train",
    "where",
    "zeros",
    "zeros_like",
]
