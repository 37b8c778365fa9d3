"""2-D convolution (cross-correlation, as everywhere in deep learning).

Legend: N batch, C input channels, K output channels, G groups, H×W input, P×Q output, R×S kernel.

    y[n, k, p, q] = Σ_{c,r,s} x[n, c, p·stride + r·dilation − padding, q·stride + s·dilation − padding] · w[k, c, r, s]

The three primitives are each other's derivatives, so convolution can be differentiated any number of times:

    conv2d(x, w) → y        conv2d_input_grad(y, w) → x        conv2d_weight_grad(y, x) → w
"""

from __future__ import annotations  # those of nested functions would be computed at each call

from typing import Any

from tinybn._typing import Array, Op, Shape
from tinybn.errors import GraphError
from tinybn.kernels import convolve
from tinybn.kernels.windows import Geometry
from tinybn.ops._call import call
from tinybn.ops.elementwise import relu_gradient
from tinybn.saved import needs


@needs((1,), (0,), ())
def conv2d(
    x: Array, weight: Array, bias: Array | None, geometry: Geometry, relu: bool = False, pool: bool = False
) -> Op:
    """x (N, C, H, W), weight (K, C/G, R, S), bias (K,) or None → (N, K, P, Q); with relu max(y, 0), in one pass.

    With pool, the largest values of its 2×2 windows (N, K, P//2, Q//2), without a gradient: their places are not kept.
    """
    y = convolve.conv2d(x, weight, bias, geometry, relu, pool)
    x_shape, weight_shape = x.shape, weight.shape

    def backward(dy: Any, x: Any, weight: Any, y: Any = None) -> tuple[Any, ...]:
        if pool:
            raise GraphError("conv2d: no gradient flows through pool=True; call max_pool2d behind it")
        if relu:
            dy = relu_gradient(dy, y)
        return (
            lambda: call(conv2d_input_grad, dy, weight, geometry, x_shape),
            lambda: call(conv2d_weight_grad, dy, x, geometry, weight_shape),
            lambda: dy.sum(axis=(0, 2, 3)),
        )

    return y, backward, (x, weight, y) if relu else (x, weight)


@needs((1,), (0,))
def conv2d_input_grad(y: Array, weight: Array, geometry: Geometry, shape: Shape) -> Op:
    """The gradient of conv2d for its input, of the given shape (N, C, H, W). A transposed convolution of y."""
    x = convolve.conv2d_input_grad(y, weight, geometry, shape)
    weight_shape = weight.shape

    def backward(dx: Any, y: Any, weight: Any) -> tuple[Any, ...]:
        return (
            lambda: call(conv2d, dx, weight, None, geometry),
            lambda: call(conv2d_weight_grad, y, dx, geometry, weight_shape),
        )

    return x, backward, (y, weight)


@needs((1,), (0,))
def conv2d_weight_grad(y: Array, x: Array, geometry: Geometry, shape: Shape) -> Op:
    """The gradient of conv2d for its weight, of the given shape (K, C/G, R, S)."""
    weight = convolve.conv2d_weight_grad(y, x, geometry, shape)
    x_shape = x.shape

    def backward(dweight: Any, y: Any, x: Any) -> tuple[Any, ...]:
        return (
            lambda: call(conv2d, x, dweight, None, geometry),
            lambda: call(conv2d_input_grad, y, dweight, geometry, x_shape),
        )

    return weight, backward, (y, x)
