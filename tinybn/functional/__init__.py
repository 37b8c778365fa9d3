"""Functions on Tensors, under the names and with the arguments of ``torch`` and ``torch.nn.functional``.

Tensors, arrays and lists are taken alike. Each subject has a room of its own, a file. What stands in one of
``TENSOR_ROOMS`` is also a function of ``tinybn`` itself, and a method of Tensor if its first parameter is ``input``.
"""
# ruff: noqa: F403  # what a room offers is its __all__

from collections.abc import Callable
from typing import Any

from tinybn import inplace
from tinybn._tensor import Tensor
from tinybn.functional import activation, comparison, elementwise, index, linalg, reduction, shape, sorting
from tinybn.functional.activation import *
from tinybn.functional.comparison import *
from tinybn.functional.conv import *
from tinybn.functional.creation import *
from tinybn.functional.dropout import *
from tinybn.functional.elementwise import *
from tinybn.functional.index import *
from tinybn.functional.linalg import *
from tinybn.functional.linear import *
from tinybn.functional.loss import *
from tinybn.functional.normalization import *
from tinybn.functional.numpy_protocol import array_function, array_ufunc
from tinybn.functional.padding import *
from tinybn.functional.pooling import *
from tinybn.functional.reduction import *
from tinybn.functional.shape import *
from tinybn.functional.sorting import *

TENSOR_ROOMS = (shape, elementwise, comparison, reduction, index, sorting, linalg, activation)

__all__ = [name for name, value in globals().items() if callable(value) and name != "Tensor" and name[0] != "_"]

for _room in TENSOR_ROOMS:
    for _name in _room.__all__:
        _function = getattr(_room, _name)
        if _function.__code__.co_varnames[:1] == ("input",):
            setattr(Tensor, _name, _function)

IN_PLACE = (
    "abs add addcdiv addcmul ceil clamp cos div exp expm1 fmod floor index_add log log10 log1p log2 logical_and "
    "logical_not logical_or logical_xor lerp masked_fill mul nan_to_num neg pow reciprocal relu remainder round rsqrt "
    "scatter scatter_add sigmoid sign sin sqrt square sub tan tanh tril triu trunc"
).split()


def _in_place(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **options: Any) -> Tensor:
        return inplace.change(name, self, function, *args, **options)

    method.__name__ = name
    method.__doc__ = f"`{name[:-1]}` in place."
    return method


for _name in IN_PLACE:
    setattr(Tensor, f"{_name}_", _in_place(f"{_name}_", globals()[_name]))

Tensor.__array_ufunc__ = array_ufunc
Tensor.__array_function__ = array_function
