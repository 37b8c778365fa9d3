"""Functions on Tensors, under the names and with the arguments of ``torch`` and ``torch.nn.functional``.

Tensors, arrays and lists are taken alike. Each subject has a room of its own, a file. What stands in one of
``TENSOR_ROOMS`` is also a function of ``tinybn`` itself, and a method of Tensor if its first parameter is ``input``.
"""
# ruff: noqa: F403  # what a room offers is its __all__

from collections.abc import Callable
from typing import Any

from tinybn import inplace
from tinybn._tensor import Tensor
from tinybn.functional import (
    activation,
    affine,
    arithmetic,
    comparison,
    conv,
    creation,
    drawing,
    elementwise,
    extremes,
    index,
    joining,
    linalg,
    lookup,
    loss,
    methods,
    new,
    noise,
    nonlinearity,
    normalization,
    padding,
    pooling,
    products,
    reduction,
    regression_loss,
    row_normalization,
    sets,
    shape,
    sorting,
    triangle,
)
from tinybn.functional.activation import *
from tinybn.functional.affine import *
from tinybn.functional.arithmetic import *
from tinybn.functional.comparison import *
from tinybn.functional.conv import *
from tinybn.functional.creation import *
from tinybn.functional.drawing import *
from tinybn.functional.elementwise import *
from tinybn.functional.extremes import *
from tinybn.functional.index import *
from tinybn.functional.joining import *
from tinybn.functional.linalg import *
from tinybn.functional.lookup import *
from tinybn.functional.loss import *
from tinybn.functional.new import *
from tinybn.functional.noise import *
from tinybn.functional.nonlinearity import *
from tinybn.functional.normalization import *
from tinybn.functional.numpy_protocol import array_function, array_ufunc
from tinybn.functional.padding import *
from tinybn.functional.pooling import *
from tinybn.functional.products import *
from tinybn.functional.reduction import *
from tinybn.functional.regression_loss import *
from tinybn.functional.row_normalization import *
from tinybn.functional.sets import *
from tinybn.functional.shape import *
from tinybn.functional.sorting import *
from tinybn.functional.triangle import *

TENSOR_ROOMS = (
    shape,
    joining,
    arithmetic,
    elementwise,
    comparison,
    reduction,
    extremes,
    index,
    triangle,
    sorting,
    sets,
    linalg,
    products,
    activation,
    new,
)
OTHER_ROOMS = (
    creation,
    drawing,
    lookup,
    nonlinearity,
    affine,
    conv,
    pooling,
    padding,
    normalization,
    row_normalization,
    noise,
    loss,
    regression_loss,
)

__all__ = [name for room in (*TENSOR_ROOMS, *OTHER_ROOMS) for name in room.__all__]

for _room in (*TENSOR_ROOMS, methods):
    for _name in _room.__all__:
        _function = getattr(_room, _name)
        if _function.__code__.co_varnames[:1] == ("input",):
            setattr(Tensor, _name, _function)

# These have a sibling that works in place, under the name with an underscore behind it.
IN_PLACE = (
    *arithmetic.__all__,
    *elementwise.__all__,
    "relu",
    "masked_fill",
    "tril",
    "triu",
    "scatter",
    "scatter_add",
    "index_add",
)


def _in_place(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **options: Any) -> Tensor:
        return inplace.change(name, self, function, *args, **options)

    method.__name__ = name
    method.__doc__ = f"`{name[:-1]}` in place."
    return method


for _name in IN_PLACE:
    setattr(Tensor, f"{_name}_", _in_place(f"{_name}_", globals()[_name]))

setattr(Tensor, "__array_ufunc__", array_ufunc)  # noqa: B010  # mypy knows no such attribute
setattr(Tensor, "__array_function__", array_function)  # noqa: B010
