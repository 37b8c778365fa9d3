"""JAX's side of the race: one jitted step that donates parameters, optimizer state and running statistics."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_EPS, _MOMENTUM = 1e-5, 0.1
_BETA1, _BETA2, _ADAM_EPS = 0.9, 0.999, 1e-8


class Trainer:
    """The model of a list of layers, its optimizer, and steps with them; see `with_tinybn`.

    Images are channels-last (NHWC), which is XLA's faster layout on the CPU, with the variant "channels_last";
    otherwise NCHW. `batch` copies to JAX's arrays, so that a step begins with its data in place, like the others'.
    """

    version = jax.__version__

    def __init__(self, layers: Any, weights: list[Any], optimizer: str, lr: float, threads: int, variant: str) -> None:
        self.layers, self.last = layers, variant == "channels_last"
        parameters = [jnp.array(weight) for weight in weights]
        moments = [[jnp.zeros_like(p) for p in parameters] for _ in range(1 if optimizer == "sgd" else 2)]
        channels = [sizes[0] for kind, *sizes in layers if kind.startswith("batchnorm")]
        running = [(jnp.zeros(c), jnp.ones(c)) for c in channels]
        self.state = (parameters, moments, running, jnp.zeros((), jnp.int32))
        update = _sgd if optimizer == "sgd" else _adam
        self._step = jax.jit(partial(_step, layers, self.last, update, lr), donate_argnums=0)
        self._predict = jax.jit(partial(_forward, layers, self.last, training=False))

    def batch(self, images: Any, labels: Any) -> Any:
        x = images.transpose(0, 2, 3, 1) if self.last else images
        return jax.block_until_ready((jnp.array(x), jnp.array(labels.astype(np.int32))))

    def step(self, batch: Any) -> Any:
        self.state, loss = self._step(self.state, *batch)
        jax.block_until_ready(self.state)
        return loss

    def predict(self, images: Any) -> Any:
        x, _ = self.batch(images, np.zeros(len(images), np.int64))
        return np.asarray(self._predict(self.state[0], self.state[2], x)[0])


def _step(layers: Any, last: bool, update: Any, lr: float, state: Any, x: Any, labels: Any) -> Any:
    parameters, moments, running, count = state

    def loss_of(parameters: Any) -> Any:
        logits, moved = _forward(layers, last, parameters, running, x, training=True)
        rows = jnp.arange(labels.shape[0])
        return -jax.nn.log_softmax(logits)[rows, labels].mean(), moved

    (loss, running), gradients = jax.value_and_grad(loss_of, has_aux=True)(parameters)
    count += 1
    parameters, moments = update(lr, count, parameters, gradients, moments)
    return (parameters, moments, running, count), loss


def _forward(layers: Any, last: bool, parameters: Any, running: Any, x: Any, training: bool) -> Any:
    weights, statistics, moved = iter(parameters), iter(running), []
    for kind, *sizes in layers:
        if kind == "conv":
            w, pad = next(weights), sizes[3]
            axes = ("NHWC", "OIHW", "NHWC") if last else ("NCHW", "OIHW", "NCHW")
            x = lax.conv_general_dilated(x, w, (1, 1), [(pad, pad), (pad, pad)], dimension_numbers=axes)
        elif kind == "linear":
            x = x @ next(weights).T
            x = x + next(weights) if sizes[2] else x
        elif kind.startswith("batchnorm"):
            x, new = _batch_norm(x, next(weights), next(weights), next(statistics), last, training)
            moved.append(new)
        elif kind == "relu":
            x = jax.nn.relu(x)
        elif kind == "sigmoid":
            x = jax.nn.sigmoid(x)
        elif kind == "pool":
            window = (1, sizes[0], sizes[0], 1) if last else (1, 1, sizes[0], sizes[0])
            x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
        else:  # flatten, in the order that PyTorch's weights expect
            x = (x.transpose(0, 3, 1, 2) if last and x.ndim == 4 else x).reshape(x.shape[0], -1)
    return x, moved


def _batch_norm(x: Any, weight: Any, bias: Any, running: Any, last: bool, training: bool) -> Any:
    channel = x.ndim - 1 if last or x.ndim == 2 else 1
    axes = tuple(i for i in range(x.ndim) if i != channel)
    shape = [-1 if i == channel else 1 for i in range(x.ndim)]
    mean, var = running
    if training:
        mean, var = x.mean(axes), x.var(axes)
        count = x.size // x.shape[channel]
        new = (mean, var * (count / (count - 1)))
        running = tuple((1 - _MOMENTUM) * old + _MOMENTUM * value for old, value in zip(running, new, strict=True))
    scale = weight * lax.rsqrt(var + _EPS)
    return (x - mean.reshape(shape)) * scale.reshape(shape) + bias.reshape(shape), running


def _sgd(lr: float, count: Any, parameters: Any, gradients: Any, moments: Any) -> Any:
    velocity = [0.9 * v + g for v, g in zip(moments[0], gradients, strict=True)]
    return [p - lr * v for p, v in zip(parameters, velocity, strict=True)], [velocity]


def _adam(lr: float, count: Any, parameters: Any, gradients: Any, moments: Any) -> Any:
    mean = [_BETA1 * m + (1 - _BETA1) * g for m, g in zip(moments[0], gradients, strict=True)]
    square = [_BETA2 * v + (1 - _BETA2) * g * g for v, g in zip(moments[1], gradients, strict=True)]
    first, second = 1 - _BETA1**count, 1 - _BETA2**count
    moved = [
        p - lr * (m / first) / (jnp.sqrt(v / second) + _ADAM_EPS)
        for p, m, v in zip(parameters, mean, square, strict=True)
    ]
    return moved, [mean, square]
