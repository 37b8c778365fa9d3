"""What users call of the normalizations of rows and groups, in the lab: on Tensors, with what they allocate."""

from collections.abc import Callable
from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor, from_numpy
from tinybn._typing import Array
from tinybn.autograd import grad
from tinybn.bench import rows  # noqa: F401  # the kernels that these are made of
from tinybn.bench.registry import KERNELS, Arguments, Call, Kernel, Version

Forward = Callable[[Arguments, list[Tensor]], Tensor]


def _layer_norm(arguments: Arguments, leaves: list[Tensor]) -> Tensor:
    x, weight, bias = leaves
    return F.layer_norm(x, x.shape[1:], weight, bias, eps=arguments["eps"])


def _rms_norm(arguments: Arguments, leaves: list[Tensor]) -> Tensor:
    x, weight = leaves
    return F.rms_norm(x, x.shape[1:], weight, eps=arguments["eps"])


def _group_norm(arguments: Arguments, leaves: list[Tensor]) -> Tensor:
    x, weight, bias = leaves
    return F.group_norm(x, arguments["groups"], weight, bias, eps=arguments["eps"])


def _forward(function: Forward) -> Callable[[Arguments], Call]:
    def bind(arguments: Arguments) -> Call:
        leaves = _leaves(arguments)
        return lambda: function(arguments, leaves)

    return bind


def _backward(function: Forward) -> Callable[[Arguments], Call]:
    def bind(arguments: Arguments) -> Call:
        leaves = _leaves(with_bias(arguments))
        y, dy = function(arguments, leaves), from_numpy(arguments["dy"])
        return lambda: grad(y, leaves, dy, retain_graph=True)

    return bind


def with_bias(arguments: Arguments) -> Arguments:
    """A backward's arguments with the bias that its forward had, which they do not need."""
    has_bias = arguments.get("centered", True)
    return {**arguments, "bias": arguments["weight"].copy()} if has_bias else arguments


def _leaves(arguments: Arguments) -> list[Tensor]:
    given = [arguments[name] for name in ("x", "weight", "bias") if arguments.get(name) is not None]
    return [from_numpy(array).requires_grad_() for array in given]


def _output(y: Tensor) -> dict[str, Array]:
    return {"y": y.data}


def _gradients(returned: Any) -> dict[str, Array]:
    return {name: gradient.data for name, gradient in zip(("dx", "dweight", "dbias"), returned, strict=False)}


for _name, _function in (("layer_norm", _layer_norm), ("rms_norm", _rms_norm), ("group_norm", _group_norm)):
    for _suffix, _bind, _results in (("", _forward, _output), ("_backward", _backward, _gradients)):
        _raw = KERNELS[_name + _suffix]
        _user = Kernel(
            f"F.{_name}{_suffix.replace('_', ' ')}", _raw.twin, _raw.arguments, _raw.outputs, _raw.flops,
            layouts=_raw.layouts, scratch=_raw.scratch,
        )  # fmt: skip
        _user.add(Version("tinybn", _bind(_function), _results, note="as users call it, with its allocations"))
        KERNELS[_user.name] = _user
