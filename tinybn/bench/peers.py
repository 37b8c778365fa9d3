"""PyTorch, where it is installed, doing the same work: same arrays, same layout, same number of threads."""

import functools
from collections.abc import Callable
from typing import Any

from tinybn._typing import Array
from tinybn.bench.registry import KERNELS, Arguments, Call, Version
from tinybn.bench.row_users import with_bias

NAME = "torch"


def torch_or_none() -> Any:
    """The module, or None. Importing it takes a second, so only a run that wants peers asks."""
    try:
        import torch
    except ImportError:
        return None
    return torch


@functools.cache  # once
def add_peers() -> bool:
    """Give kernels that PyTorch has, too, its version of them. False if it is not installed."""
    torch = torch_or_none()
    if torch is None:
        return False
    for name, (make, results) in _PEERS.items():
        bind = functools.partial(make, torch)
        KERNELS[name].add(Version(NAME, bind, results, peer=True, note=f"PyTorch {torch.__version__}"))
    return True


def _training(torch: Any, arguments: Arguments) -> Call:
    x, weight, bias = _leaves(torch, arguments)
    running = _tensors(torch, arguments, "running_mean", "running_var")
    function, options = torch.nn.functional.batch_norm, (True, arguments["momentum"], arguments["eps"])
    if arguments["relu"]:
        return lambda: torch.relu(function(x, *running, weight, bias, *options))
    return lambda: function(x, *running, weight, bias, *options)


def _eval(torch: Any, arguments: Arguments) -> Call:
    x, mean, var, weight, bias = _tensors(torch, arguments, "x", "mean", "var", "weight", "bias")
    function, eps = torch.nn.functional.batch_norm, arguments["eps"]

    def call() -> Any:
        with torch.no_grad():
            return function(x, mean, var, weight, bias, False, 0.1, eps)

    return call


def _backward(torch: Any, arguments: Arguments) -> Call:
    leaves, (dy,) = _leaves(torch, arguments), _tensors(torch, arguments, "dy")
    y = torch.nn.functional.batch_norm(leaves[0], None, None, *leaves[1:], True, 0.1, arguments["eps"])
    if arguments["relu"]:
        y = torch.relu(y)
    return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


def _eval_backward(torch: Any, arguments: Arguments) -> Call:
    leaves, (dy, mean, var) = _leaves(torch, arguments), _tensors(torch, arguments, "dy", "mean", "var")
    y = torch.nn.functional.batch_norm(leaves[0], mean, var, *leaves[1:], False, 0.1, arguments["eps"])
    return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


def _layer_norm(torch: Any, arguments: Arguments) -> Call:
    x, *parameters = _row_leaves(torch, arguments)
    shape, eps = x.shape[1:], arguments["eps"]
    function = torch.nn.functional.layer_norm if arguments["centered"] else torch.nn.functional.rms_norm
    return lambda: function(x, shape, *parameters, eps=eps)


def _group_norm(torch: Any, arguments: Arguments) -> Call:
    x, weight, bias = _row_leaves(torch, arguments)
    groups, eps = arguments["groups"], arguments["eps"]
    return lambda: torch.nn.functional.group_norm(x, groups, weight, bias, eps)


def _row_backward(forward: Callable[[Any, Arguments], Call]) -> Callable[[Any, Arguments], Call]:
    """The gradients of a forward whose bias, if it has one, is not among the arguments."""

    def bind(torch: Any, arguments: Arguments) -> Call:
        leaves = _row_leaves(torch, with_bias(arguments))
        y = forward(torch, {**arguments, "leaves": leaves})()
        (dy,) = _tensors(torch, arguments, "dy")
        return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)

    return bind


def _row_leaves(torch: Any, arguments: Arguments) -> list[Any]:
    names = [name for name in ("x", "weight", "bias") if arguments.get(name) is not None]
    return arguments.get("leaves") or [tensor.requires_grad_() for tensor in _tensors(torch, arguments, *names)]


def _max_pool(torch: Any, arguments: Arguments) -> Call:
    x = torch.from_numpy(arguments["x"]).permute(0, 3, 1, 2)
    function, size = torch.nn.functional.max_pool2d, arguments["R"]
    return lambda: function(x, size, return_indices=True)


def _erf(torch: Any, arguments: Arguments) -> Call:
    out, x = _tensors(torch, arguments, "out", "x")
    return lambda: torch.erf(x, out=out)


def _multiply(torch: Any, arguments: Arguments) -> Call:
    c, a, b, bias = _tensors(torch, arguments, "c", "a", "b", "bias")
    return lambda: torch.addmm(bias, a, b, out=c)


def _sigmoid(torch: Any, arguments: Arguments) -> Call:
    out, x = _tensors(torch, arguments, "out", "x")
    return lambda: torch.sigmoid(x, out=out)


def _relu(torch: Any, arguments: Arguments) -> Call:
    out, x = _tensors(torch, arguments, "out", "x")
    return lambda: torch.clamp_min(x, 0, out=out)


def _convolution(torch: Any, arguments: Arguments) -> Call:
    x, c = torch.from_numpy(arguments["x"]).permute(0, 3, 1, 2), arguments["x"].shape[3]
    matrix = arguments["matrix"][0, :, :c].reshape(3, 3, c, c)
    weight = torch.from_numpy(matrix.transpose(3, 2, 0, 1).copy()).contiguous(memory_format=torch.channels_last)
    return lambda: torch.nn.functional.conv2d(x, weight, padding=1)


def _channels_last_output(y: Any) -> dict[str, Array]:
    return {"y": y.permute(0, 2, 3, 1).numpy()}


def _leaves(torch: Any, arguments: Arguments) -> list[Any]:
    return [tensor.requires_grad_() for tensor in _tensors(torch, arguments, "x", "weight", "bias")]


def _tensors(torch: Any, arguments: Arguments, *names: str) -> list[Any]:
    return [torch.from_numpy(arguments[name]) for name in names]


def _output(y: Any) -> dict[str, Array]:
    return {"y": y.detach().numpy()}


def _pooled(returned: Any) -> dict[str, Array]:
    y, index = (tensor.permute(0, 2, 3, 1).numpy() for tensor in returned)
    return {"y": y, "index": index}


def _gradients(returned: Any) -> dict[str, Array]:
    return {name: tensor.numpy() for name, tensor in zip(("dx", "dweight", "dbias"), returned, strict=False)}


_PEERS: dict[str, tuple[Callable[[Any, Arguments], Call], Callable[[Any], dict[str, Array]] | None]] = {
    "batch_norm": (_training, _output),
    "batch_norm relu": (_training, _output),
    "normalize": (_eval, _output),
    "batch_norm_backward": (_backward, _gradients),
    "batch_norm_backward relu": (_backward, _gradients),
    "normalize_backward": (_eval_backward, _gradients),
    "max_pool2d": (_max_pool, _pooled),
    "erf": (_erf, None),
    "multiply": (_multiply, None),
    "correlate": (_convolution, _channels_last_output),
    "sigmoid": (_sigmoid, None),
    "relu": (_relu, None),
    **{
        name: peer
        for kind, forward in (("layer_norm", _layer_norm), ("rms_norm", _layer_norm), ("group_norm", _group_norm))
        for name, peer in (
            (kind, (forward, _output)),
            (f"F.{kind}", (forward, _output)),
            (f"{kind}_backward", (_row_backward(forward), _gradients)),
            (f"F.{kind} backward", (_row_backward(forward), _gradients)),
        )
    },
    "F.batch_norm": (_training, _output),
    "F.batch_norm eval": (_eval, _output),
    "F.batch_norm backward": (_backward, _gradients),
}
