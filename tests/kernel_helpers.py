"""What the tests of the BatchNorm kernels share: their arguments, how to call them, and the formulas in float64."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tinybn import kernels

EPS = 1e-5
MOMENTUM = 0.1

KERNELS = ["batch_moments", "batch_norm", "normalize", "batch_norm_backward", "normalize_backward"]
WRITTEN = {"y", "moments", "dx", "dweight", "dbias", "running_mean", "running_var"}
PER_CHANNEL = ["weight", "bias", "running_mean", "running_var", "mean", "var"]

every_kernel = pytest.mark.parametrize("kernel", KERNELS)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": np.ascontiguousarray,
    "channels last": channels_last,
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def batchnorm_modules() -> dict[str, ModuleType]:
    """The compiled BatchNorm modules, one per instruction set, that this processor can run."""
    try:
        level = importlib.import_module("tinybn.kernels.cpu").cpu_level()
    except ModuleNotFoundError:
        return {}
    modules = {}
    for name, needed in {"batchnorm": 0, "batchnorm_v3": 3, "batchnorm_v4": 4}.items():
        if level >= needed:
            try:
                module = importlib.import_module(f"tinybn.kernels.{name}")
            except ModuleNotFoundError:  # left out by TINYBN_BUILDS
                continue
            assert module.__name__ == f"tinybn.kernels.{name}", "one build under another's name"
            modules[name] = module
    return modules


# --- ways to lie in memory --------------------------------------------------------------------------------------------


def misaligned(x: np.ndarray) -> np.ndarray:
    memory = np.empty(x.nbytes + 1, np.uint8)[1:]
    out = memory.view(x.dtype).reshape(x.shape)
    out[...] = x
    assert not out.flags.aligned
    return out


def read_only(x: np.ndarray) -> np.ndarray:
    out = x.copy()
    out.flags.writeable = False
    return out


def odd_strides(x: np.ndarray) -> np.ndarray:
    """An axis of size 1 may have any stride, as nobody ever takes a step along it."""
    strides = [stride if size > 1 else 12345 for size, stride in zip(x.shape, x.strides, strict=True)]
    return np.lib.stride_tricks.as_strided(x.copy(), strides=strides)


# Ways for x (N, C, ...) to lie in memory; each keeps its values, but for the broadcast one.
MEMORY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": lambda x: x.copy(),
    "read-only": read_only,
    "channels last": channels_last,
    "cut from contiguous": lambda x: np.repeat(x, 2, axis=0)[::2],
    "cut from channels last": lambda x: channels_last(np.repeat(x, 2, axis=0))[::2],
    "every other channel": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "Fortran order": np.asfortranarray,
    "transposed": lambda x: np.ascontiguousarray(x.swapaxes(1, -1)).swapaxes(1, -1),
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "broadcast channels": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "odd strides": odd_strides,
    "misaligned": misaligned,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
}
# --- arguments, and calls with them -----------------------------------------------------------------------------------


def arguments(shape: tuple[int, ...], layout: str, dtype: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Read-only inputs of every kernel. mean and var are not quite those of x, and with them no y is close to 0.

    Where y is 0, relu's gradient jumps: a value that is rounded differently would be an error of the size of dy.
    """
    rng, c = np.random.default_rng(seed), shape[1]
    x = rng.standard_normal(shape) * row(rng.uniform(0.1, 10, c), shape) + row(rng.uniform(-30, 30, c), shape)
    a = {"x": x, "dy": rng.standard_normal(shape) + 0.5}
    a["weight"] = rng.choice([-1, 1], c) * rng.uniform(0.5, 2, c)
    a["bias"], a["running_mean"], a["running_var"] = (
        rng.standard_normal(c),
        rng.standard_normal(c),
        rng.uniform(0, 2, c),
    )
    axes = reduced(x)
    a["mean"], a["var"] = (x.mean(axis=axes) + 0.3, x.var(axis=axes) + 0.2) if x.size else (np.zeros(c), np.ones(c))
    scale = row(a["weight"] / np.sqrt(a["var"] + EPS), shape)
    y = (x - row(a["mean"], shape)) * scale + row(a["bias"], shape)
    x += np.where(np.abs(y) < 1e-3, 0.1 / scale, 0)
    for name in a:
        a[name] = a[name].astype(a[name].dtype if name in ("mean", "var") else dtype)
        if a[name].ndim > 1:
            a[name] = LAYOUTS[layout](a[name])
        a[name].flags.writeable = False
    return a


def call(function: Callable[..., Any], given: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """The outputs of a raw kernel by name, with what it returned as "moved".

    It must leave its inputs alone and fill its outputs, which hold NaN before. An argument is None if it is an option
    of that value.
    """
    options = {
        "momentum": MOMENTUM,
        "eps": EPS,
        "relu": False,
        "threads": 1,
        "stream": False,
        "unbiased": True,
        **options,
    }
    x, outputs, values = given["x"], {}, []
    for name in inspect.signature(function).parameters:
        if name in options:
            values.append(options[name])
            continue
        if name in WRITTEN:
            outputs[name] = output(name, x) if name not in given else given[name].copy()
        values.append(outputs[name] if name in WRITTEN else given[name])
    before = {name: array.tobytes() for name, array in given.items()}
    returned = function(*values)
    assert before == {name: array.tobytes() for name, array in given.items()}, "an input has changed"
    return {**outputs, "moved": returned}


def output(name: str, x: np.ndarray) -> np.ndarray:
    if name in ("y", "dx"):
        return np.full_like(x, np.nan)
    return np.full((2, x.shape[1]), np.nan) if name == "moments" else np.full(x.shape[1], np.nan, x.dtype)


def chosen(kernel: str) -> Callable[..., Any]:
    """The raw kernel that serves."""
    compiled, twin = kernels.KERNELS[kernel]
    return compiled or twin


def bits(results: Mapping[str, Any]) -> dict[str, Any]:
    """To compare with ==: NaN equals NaN, and 0 does not equal -0."""
    return {name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in results.items()}


# --- formulas in float64 ----------------------------------------------------------------------------------------------


def reduced(x: np.ndarray) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def row(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """(C,) so that it lines up with axis 1 of a shape."""
    return np.reshape(values, (-1,) + (1,) * (len(shape) - 2))


def rows(x: np.ndarray) -> np.ndarray:
    """(M, C) in float64, from any layout."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]).astype(np.float64)


def moments_of(x: np.ndarray) -> np.ndarray:
    """(2, C): mean and variance. What rounding leaves in the mean is found by a second look, and taken out of both."""
    x = x.astype(np.float64)
    mean = x.mean(axis=reduced(x))
    deviation = x - row(mean, x.shape)
    left = deviation.mean(axis=reduced(x))
    return np.array([mean + left, (deviation**2).mean(axis=reduced(x)) - left**2])


def normalized(x: np.ndarray, mean: Any, var: Any, weight: Any = 1.0, bias: Any = 0.0, eps: float = EPS) -> np.ndarray:
    x_hat = (x.astype(np.float64) - row(mean, x.shape)) / np.sqrt(row(np.asarray(var, np.float64) + eps, x.shape))
    return x_hat * row(np.asarray(weight, np.float64), x.shape) + row(np.asarray(bias, np.float64), x.shape)


def gradients(
    dy: np.ndarray, x: np.ndarray, mean: Any, var: Any, weight: Any = 1.0, own: bool = True, eps: float = EPS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dweight, dbias; `own`: the statistics are the batch's, and depend on x."""
    dy, x_hat = dy.astype(np.float64), normalized(x, mean, var, eps=eps)
    dweight, dbias, count = (dy * x_hat).sum(axis=reduced(x)), dy.sum(axis=reduced(x)), x.size // x.shape[1]
    inner = dy - row(dbias / count, x.shape) - x_hat * row(dweight / count, x.shape) if own else dy
    return (
        inner * row(np.asarray(weight, np.float64) / np.sqrt(np.asarray(var, np.float64) + eps), x.shape),
        dweight,
        dbias,
    )


def term_sizes(a: Mapping[str, np.ndarray], kernel: str, tolerance: float) -> dict[str, np.ndarray]:
    """How large the terms are that each output is the sum of; `a` as from `arguments`."""
    x, dy, shape = a["x"], np.abs(a["dy"].astype(np.float64)), a["x"].shape
    mean, var = moments_of(x) if kernel in ("batch_moments", "batch_norm") else (a["mean"], a["var"])
    weight, bias = (np.abs(a[name].astype(np.float64)) for name in ("weight", "bias"))
    x_hat, rstd = np.abs(normalized(x, mean, var)), 1 / np.sqrt(var + EPS)
    dweight, dbias, count = (dy * x_hat).sum(axis=reduced(x)), dy.sum(axis=reduced(x)), x.size // x.shape[1]
    # float64 holds the mean itself to 1e-16; the tolerance is of the spread, which is smaller than the mean here.
    rounding = np.abs(mean) * (1e-15 / tolerance)
    return {
        "y": row(weight, shape) * (x_hat + 1) + row(bias, shape),  # + 1: the mean's own error
        "moments": np.array([np.sqrt(var) + rounding, var + 1e-30]),
        "running_mean": np.abs(a["running_mean"]) + np.abs(mean) + np.sqrt(var),
        "running_var": a["running_var"] + 2 * var,
        "dx": row(weight * rstd, shape) * (dy + row(dbias / count, shape) + x_hat * row(dweight / count, shape)),
        "dweight": dweight,
        "dbias": dbias,
    }
