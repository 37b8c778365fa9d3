"""One table of cases: every op, the inputs to try it on, and what PyTorch calls it. ``test_ops.py`` walks over it.

A new op is one function in ``tinybn/ops`` and one row here. Legend of the shapes: N batch, C channels, H W space.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numerical import differentiable
from oracle import to_torch

import tinybn as tb
from tinybn import ops
from tinybn.autograd import apply
from tinybn.ops import Geometry

Rng = np.random.Generator
Build = Callable[[Rng], tuple[Any, ...]]


@dataclass(frozen=True)
class Case:
    """An op on some inputs.

    Attributes:
        inputs: makes the leading arguments: float64 arrays, and whatever else (None, labels, scalars).
        torch: the same in PyTorch, called with the module, the arguments as torch tensors, and the options.
        options: what the op is given behind the arrays.
        constants: positions of float arrays that the op does not differentiate.
        result_dtype: None where the result has the inputs' dtype.
        keeps_layout: channels-last in gives channels-last out.
        avoid: where the derivative does not exist; ``inputs`` stays away from it.
    """

    name: str
    op: Callable[..., Any]
    inputs: Build
    torch: Callable[..., Any]
    options: tuple[Any, ...] = ()
    keywords: dict[str, Any] = field(default_factory=dict)
    constants: tuple[int, ...] = ()
    result_dtype: Any = None
    keeps_layout: bool = False
    avoid: str = ""

    def __str__(self) -> str:
        return f"{self.op.__name__} {self.name}"

    def arguments(self, dtype: Any = np.float64) -> list[Any]:
        """The leading arguments, the same at every call, float arrays in ``dtype``."""
        made = self.inputs(np.random.default_rng(zlib.crc32(str(self).encode())))
        floats = differentiable(made)
        return [np.asarray(a, dtype) if i in floats else a for i, a in enumerate(made)]

    @property
    def positions(self) -> tuple[int, ...]:
        """The differentiable arguments."""
        return tuple(i for i in differentiable(self.arguments()) if i not in self.constants)

    def run(self, *arguments: Any) -> tb.Tensor:
        """The output as a Tensor, recorded if an argument is a Tensor that requires grad."""
        y = apply(self.op, *arguments, *self.options, **self.keywords)
        return y[0] if isinstance(y, tuple) else y

    def run_torch(self, torch: Any, *arguments: Any) -> Any:
        return self.torch(torch, *arguments, *map(to_torch, self.options), **self.keywords)


# --- inputs -----------------------------------------------------------------------------------------------------------


def normal(*shapes: Any) -> Build:
    """Normal numbers of the given shapes; what is not a shape (None, a scalar) is passed on."""
    return lambda rng: tuple(rng.standard_normal(s) if isinstance(s, tuple) else s for s in shapes)


def positive(*shapes: Any) -> Build:
    """Numbers from ½ to 2."""
    return lambda rng: tuple(rng.uniform(0.5, 2, s) if isinstance(s, tuple) else s for s in shapes)


def distinct(*shapes: Any) -> Build:
    """Numbers, of all inputs together, at least 0.2 from one another and 0.1 from 0."""

    def build(rng: Rng) -> tuple[Any, ...]:
        sizes = [int(np.prod(s)) if isinstance(s, tuple) else 0 for s in shapes]
        values = 0.2 * (rng.permutation(sum(sizes)) - sum(sizes) // 2) + 0.1
        parts = np.split(values, np.cumsum(sizes)[:-1])
        return tuple(p.reshape(s) if isinstance(s, tuple) else s for p, s in zip(parts, shapes, strict=True))

    return build


def followed_by(build: Build, *more: Callable[[Rng], Any]) -> Build:
    """The inputs of ``build``, then one of each of ``more``."""
    return lambda rng: (*build(rng), *(make(rng) for make in more))


def integers(low: int, high: int, shape: tuple[int, ...], dtype: Any = np.int64) -> Callable[[Rng], Any]:
    return lambda rng: rng.integers(low, high, shape, dtype)


# --- elementwise ------------------------------------------------------------------------------------------------------

UNARY = [  # op, PyTorch's function, inputs, what they avoid
    (ops.absolute, lambda torch, x: x.abs(), distinct, "0"),
    (ops.erf, lambda torch, x: x.erf(), normal, ""),
    (ops.exp, lambda torch, x: x.exp(), normal, ""),
    (ops.expm1, lambda torch, x: x.expm1(), normal, ""),
    (ops.sin, lambda torch, x: x.sin(), normal, ""),
    (ops.cos, lambda torch, x: x.cos(), normal, ""),
    (ops.log1p, lambda torch, x: x.log1p(), positive, "numbers up to -1"),
    (ops.log, lambda torch, x: x.log(), positive, "numbers up to 0"),
    (ops.negative, lambda torch, x: -x, normal, ""),
    (ops.relu, lambda torch, x: x.relu(), distinct, "0"),
    (ops.sigmoid, lambda torch, x: x.sigmoid(), normal, ""),
    (ops.sqrt, lambda torch, x: x.sqrt(), positive, "numbers up to 0"),
    (ops.tanh, lambda torch, x: x.tanh(), normal, ""),
    (ops.clone, lambda torch, x: x.clone(), normal, ""),
]
UNARY_SHAPES = {"(2, 3)": (2, 3), "0-d": (), "empty": (0, 3), "4-d": (2, 2, 3, 2)}

BINARY = [
    (ops.add, lambda torch, x, y: x + y, normal, ""),
    (ops.subtract, lambda torch, x, y: x - y, normal, ""),
    (ops.multiply, lambda torch, x, y: x * y, normal, ""),
    (ops.divide, lambda torch, x, y: x / y, positive, "a divisor of 0"),
    (ops.power, lambda torch, x, y: x**y, positive, "a base up to 0"),
    (ops.logaddexp, lambda torch, x, y: torch.logaddexp(x, y), normal, ""),
    (ops.maximum, lambda torch, x, y: torch.maximum(x, y), distinct, "x = y"),
    (ops.minimum, lambda torch, x, y: torch.minimum(x, y), distinct, "x = y"),
]
BINARY_SHAPES = {
    "same": ((2, 3), (2, 3)),
    "row": ((2, 3), (3,)),
    "kept row": ((1, 3), (2, 3)),
    "outer": ((2, 1), (1, 3)),
    "deep": ((3, 1, 2), (2, 1)),
    "0-d": ((), ()),
    "0-d left": ((), (2, 3)),
    "empty": ((0, 3), (1, 3)),
}


def elementwise() -> Iterator[Case]:
    for op, torch_op, build, avoid in UNARY:
        for name, shape in UNARY_SHAPES.items():
            yield Case(name, op, build(shape), torch_op, avoid=avoid)
    for op, torch_op, build, avoid in BINARY:
        for name, shapes in BINARY_SHAPES.items():
            yield Case(name, op, build(*shapes), torch_op, avoid=avoid)
    for op, torch_op, build, avoid in BINARY[:5]:
        yield Case("scalar left", op, build(2.0, (2, 3)), torch_op, avoid=avoid)
        yield Case("scalar right", op, build((2, 3), 2.0), torch_op, avoid=avoid)
    for exponent in (3, 1, 0, -1, 0.5):
        yield Case(
            f"to the {exponent}", ops.power, positive((2, 3), exponent), lambda torch, x, y: x**y, avoid="a base of 0"
        )
    for ufunc in (np.floor, np.ceil, np.sign):
        yield Case(
            ufunc.__name__,
            ops.piecewise_constant,
            distinct((2, 3)),
            lambda torch, x, ufunc: getattr(torch, ufunc.__name__)(x),
            (ufunc,),
            avoid="where it jumps",
        )
    for name, condition, x, y in [
        ("same", (2, 3), (2, 3), (2, 3)),
        ("broadcast", (2, 1), (3,), ()),
        ("scalar left", (2, 3), 2.0, (2, 3)),
        ("scalar right", (2, 3), (2, 3), 0.0),
        ("empty", (0, 3), (0, 3), (3,)),
    ]:

        def chosen(rng: Rng, condition: Any = condition, x: Any = x, y: Any = y) -> tuple[Any, ...]:
            return (rng.random(condition) < 0.5, *normal(x, y)(rng))

        yield Case(name, ops.where, chosen, lambda torch, c, x, y: torch.where(c, x, y))
    yield Case(
        "to float64",
        ops.cast,
        normal((2, 3)),
        lambda torch, x, dtype: x.double(),
        (np.float64,),
        result_dtype=np.float64,
    )
    yield Case(
        "to float64, 0-d",
        ops.cast,
        normal(()),
        lambda torch, x, dtype: x.double(),
        (np.float64,),
        result_dtype=np.float64,
    )


# --- reductions, shapes, indices --------------------------------------------------------------------------------------

AXES = [(None, False), (None, True), (0, False), (-1, True), (1, False), ((0, 2), False), ((-1, 0), True), ((), False)]


def reductions() -> Iterator[Case]:
    def over(name: str) -> Callable[..., Any]:
        def torch_op(torch: Any, x: Any, axis: Any, keepdims: bool) -> Any:
            axis = tuple(range(x.ndim)) if axis is None else axis
            if axis == ():  # in PyTorch: all of them
                return x.clone()
            return getattr(x, name)(dim=axis, keepdim=keepdims)

        return torch_op

    for op, name, build in [
        (ops.sum, "sum", normal),
        (ops.mean, "mean", normal),
        (ops.amax, "amax", distinct),
        (ops.amin, "amin", distinct),
    ]:
        avoid = "equal largest or smallest values" if build is distinct else ""
        for axis, keepdims in AXES:
            kept = ", kept" if keepdims else ""
            yield Case(f"axis {axis}{kept}", op, build((2, 3, 4)), over(name), (axis, keepdims), avoid=avoid)
        yield Case("0-d", op, build(()), over(name), (None, False), avoid=avoid)
        yield Case("0-d, kept", op, build(()), over(name), (None, True), avoid=avoid)
        yield Case("empty rows", op, build((0, 3)), over(name), (1, False), avoid=avoid)
        if build is normal:
            yield Case("of nothing", op, build((0, 3)), over(name), (None, False))
            yield Case("of nothing, by column", op, build((0, 3)), over(name), (0, True))


def cumulative() -> Iterator[Case]:
    for shape, axis in [((3,), 0), ((2, 3, 4), 1), ((2, 3), -1), ((0, 3), 1)]:
        yield Case(f"{shape} along {axis}", ops.cumsum, normal(shape), lambda torch, x, axis: x.cumsum(axis), (axis,))


def shapes() -> Iterator[Case]:
    def reshape(torch: Any, x: Any, shape: Any) -> Any:
        return x.reshape(shape)

    def permute(torch: Any, x: Any, axes: Any) -> Any:
        return x.permute(axes)

    def expand(torch: Any, x: Any, shape: Any) -> Any:
        return x.expand(shape)

    def join(torch: Any, *tensors: Any, axis: int = 0) -> Any:
        return torch.cat(tensors, dim=axis)

    def flip(torch: Any, x: Any, axes: Any) -> Any:
        return x.flip(axes)

    for source, target in [((2, 3, 4), (6, 4)), ((2, 3), (-1,)), ((), (1, 1)), ((1,), ()), ((0, 3), (3, 0))]:
        yield Case(f"{source} to {target}", ops.reshape, normal(source), reshape, (target,))
    for source, axes in [((2, 3), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((2, 3, 4), (0, -1, 1)), ((), ()), ((0, 3), (1, 0))]:
        yield Case(f"{source} by {axes}", ops.transpose, normal(source), permute, (axes,))
    for source, target in [((3,), (2, 3)), ((2, 1), (4, 2, 3)), ((1, 3), (2, 3)), ((), (2, 2)), ((1,), (0,))]:
        yield Case(f"{source} to {target}", ops.broadcast_to, normal(source), expand, (target,))
    for parts, axis in [
        (((2, 3), (1, 3)), 0),
        (((2, 3), (2, 1), (2, 2)), -1),
        (((2, 3),), 1),
        (((0, 3), (2, 3)), 0),
        (((2, 0, 3), (2, 1, 3)), 1),
    ]:
        name = f"{' and '.join(map(str, parts))} along {axis}"
        yield Case(name, ops.concatenate, normal(*parts), join, keywords={"axis": axis})
    for source, axes in [((3,), (0,)), ((2, 3, 4), (0, -1)), ((2, 3), ()), ((0, 3), (1,))]:
        yield Case(f"{source} over {axes}", ops.flip, normal(source), flip, (axes,))


INDICES = {  # of an array of shape (3, 4, 2)
    "int": 1,
    "negative int": (-1, 2),
    "all ints": (2, 1, 0),
    "slice": slice(1, None),
    "steps": (slice(None, None, 2), slice(1, 4, 2)),
    "nothing": slice(2, 2),
    "ellipsis": (..., 0),
    "new axis": (None, slice(1, 3), None, 0),
    "mask": np.array([True, False, True]),
    "full mask": np.arange(24).reshape(3, 4, 2) % 3 == 0,
    "integers": np.array([2, 0]),
    "repeated integers": np.array([[1, 1], [1, 2]]),
    "pairs": (np.array([0, 2, 0]), np.array([3, 1, 3])),
    "slice and integers": (slice(None), np.array([1, 1, 0])),
    "no integers": np.array([], int),
}


def indexing() -> Iterator[Case]:
    shape = (3, 4, 2)
    x = np.zeros(shape)

    def getitem(torch: Any, x: Any, index: Any) -> Any:
        return x[index]

    def scatter(torch: Any, y: Any, index: Any, shape: Any) -> Any:
        x = torch.zeros(shape, dtype=y.dtype, requires_grad=True)
        return torch.autograd.grad(x[index], x, y, create_graph=True)[0]

    def put(torch: Any, x: Any, value: Any, index: Any) -> Any:
        """Element by element, so that of an index that repeats the last value stays. PyTorch's own leaves that open."""
        places = torch.arange(x.numel()).reshape(x.shape)[index]
        elements = list(x.reshape(-1))
        for place, element in zip(places.reshape(-1).tolist(), value.expand(places.shape).reshape(-1), strict=True):
            elements[place] = element
        return torch.stack(elements).reshape(x.shape)

    for name, index in INDICES.items():
        yield Case(name, ops.put, normal(shape, x[index].shape), put, (index,))
        yield Case(f"{name}, one value", ops.put, normal(shape, ()), put, (index,))
        yield Case(name, ops.getitem, normal(shape), getitem, (index,))
        yield Case(name, ops.scatter, normal(x[index].shape), scatter, (index, shape))
    for source, offset in [((3, 4), 0), ((3, 4), 2), ((2, 4, 3), -1), ((2, 2), 5), ((0, 3), 0)]:
        yield Case(
            f"{source} by {offset}",
            ops.diagonal,
            normal(source),
            lambda torch, x, offset: x.diagonal(offset, -2, -1),
            (offset,),
        )
    reverse = slice(None, None, -1)  # PyTorch has no negative steps
    yield Case("negative step", ops.getitem, normal(shape), lambda torch, x, index: x.flip(0), (reverse,))
    yield Case("negative step", ops.scatter, normal(shape), lambda torch, y, index, s: y.flip(0), (reverse, shape))
    yield Case("0-d", ops.getitem, normal(()), getitem, ((),))
    yield Case("0-d", ops.scatter, normal(()), scatter, ((), ()))


# --- matrix products and losses ---------------------------------------------------------------------------------------


def matrices() -> Iterator[Case]:
    for x, y in [
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3, 4)),
        ((2, 3), (4, 3, 2)),
        ((2, 1, 2, 3), (4, 3, 2)),
        ((1, 1), (1, 1)),
        ((0, 3), (3, 2)),
        ((2, 0), (0, 3)),
    ]:
        yield Case(f"{x} @ {y}", ops.matmul, normal(x, y), lambda torch, x, y: x @ y)
    for name, x, weight, bias in [
        ("with bias", (4, 3), (2, 3), (2,)),
        ("without bias", (4, 3), (2, 3), None),
        ("one row", (1, 3), (2, 3), (2,)),
        ("no rows", (0, 3), (2, 3), (2,)),
        ("no inputs", (2, 0), (3, 0), (3,)),
    ]:
        yield Case(name, ops.linear, normal(x, weight, bias), lambda torch, *args: torch.nn.functional.linear(*args))


def losses() -> Iterator[Case]:
    for op in (ops.softmax, ops.log_softmax):

        def torch_op(torch: Any, x: Any, name: str = op.__name__) -> Any:
            return getattr(torch, name)(x, dim=-1)

        for name, shape in {
            "1-d": (4,),
            "rows": (3, 4),
            "3-d": (2, 2, 3),
            "one class": (2, 1),
            "empty": (0, 3),
        }.items():
            yield Case(name, op, normal(shape), torch_op)
    for n, reduction, ignored in product((3, 1, 0), ("none", "mean", "sum"), (-100, 2)):

        def torch_cross_entropy(torch: Any, x: Any, labels: Any, *options: Any) -> Any:
            ignore_index, reduction = options
            return torch.nn.functional.cross_entropy(x, labels, ignore_index=ignore_index, reduction=reduction)

        if n or reduction != "mean":  # of nothing it is NaN
            yield Case(
                f"{n} rows, {reduction}, {ignored} ignored",
                ops.cross_entropy,
                followed_by(normal((n, 4)), integers(0, 2 if n == 1 else 4, (n,))),
                torch_cross_entropy,
                (ignored, reduction),
            )


# --- convolution, pooling, normalization ------------------------------------------------------------------------------

BOTH_LAYOUTS = {"one channel", "whole input", "no images"}  # such arrays are contiguous and channels-last at once

CONVOLUTIONS = {  # x (N, C, H, W), weight (K, C/G, R, S)
    "1x1": ((2, 3, 4, 3), (2, 3, 1, 1), Geometry()),
    "3x2": ((2, 2, 5, 4), (3, 2, 3, 2), Geometry()),
    "stride": ((2, 2, 6, 5), (2, 2, 3, 2), Geometry(stride=(2, 3))),
    "padding": ((2, 2, 3, 4), (2, 2, 3, 3), Geometry(padding=(1, 2))),
    "dilation": ((1, 2, 5, 6), (2, 2, 2, 3), Geometry(dilation=(3, 2))),
    "groups": ((2, 4, 4, 4), (6, 2, 2, 2), Geometry(groups=2)),
    "depthwise": ((2, 3, 4, 4), (3, 1, 3, 3), Geometry(padding=(1, 1), groups=3)),
    "one channel": ((2, 1, 4, 4), (1, 1, 3, 3), Geometry(padding=(1, 1))),
    "everything": ((2, 4, 6, 5), (2, 2, 3, 2), Geometry((2, 1), (2, 1), (1, 2), 2)),
    "whole input": ((2, 2, 3, 3), (4, 2, 3, 3), Geometry()),
    "no images": ((0, 2, 4, 4), (3, 2, 3, 3), Geometry()),
}


def convolutions() -> Iterator[Case]:
    for name, (x, weight, geometry) in CONVOLUTIONS.items():
        yield from convolution(name, x, weight, geometry)


def convolution(name: str, x: Any, weight: Any, geometry: Geometry) -> Iterator[Case]:
    """The three primitives in one geometry."""
    y = (x[0], weight[0], *geometry.output_size(x[2:], weight[2:]))

    def conv2d(torch: Any, x: Any, weight: Any, bias: Any, geometry: Geometry) -> Any:
        return torch.nn.functional.conv2d(x, weight, bias, *geometry)

    def input_grad(torch: Any, y: Any, weight: Any, geometry: Geometry, shape: Any) -> Any:
        return torch.nn.grad.conv2d_input(shape, weight, y, *geometry)

    def weight_grad(torch: Any, y: Any, x: Any, geometry: Geometry, shape: Any) -> Any:
        return torch.nn.grad.conv2d_weight(x, shape, y, *geometry)

    kept = name not in BOTH_LAYOUTS
    yield Case(name, ops.conv2d, normal(x, weight, weight[:1]), conv2d, (geometry,), keeps_layout=kept)
    yield Case(f"{name}, no bias", ops.conv2d, normal(x, weight, None), conv2d, (geometry,), keeps_layout=kept)
    yield Case(name, ops.conv2d_input_grad, normal(y, weight), input_grad, (geometry, x), keeps_layout=kept)
    yield Case(name, ops.conv2d_weight_grad, normal(y, x), weight_grad, (geometry, weight))


POOLS = {  # x (N, C, H, W), kernel, geometry
    "2x2": ((2, 2, 4, 4), (2, 2), Geometry(stride=(2, 2))),
    "overlap": ((2, 2, 5, 4), (3, 2), Geometry(stride=(1, 1))),
    "rest": ((1, 2, 5, 6), (2, 3), Geometry(stride=(2, 2))),
    "gaps": ((1, 2, 7, 5), (2, 1), Geometry(stride=(3, 2))),
    "padding": ((2, 2, 4, 3), (3, 2), Geometry(stride=(2, 1), padding=(1, 1))),
    "dilation": ((1, 2, 6, 5), (2, 3), Geometry(stride=(1, 2), dilation=(3, 2))),
    "everything": ((2, 2, 6, 6), (3, 2), Geometry((2, 1), (1, 1), (2, 3))),
    "one column": ((1, 2, 4, 1), (2, 2), Geometry(padding=(1, 1))),
    "one row": ((1, 2, 1, 4), (2, 2), Geometry(stride=(1, 2), padding=(1, 0))),
    "to one column": ((1, 2, 4, 3), (2, 3), Geometry()),
    "whole input": ((2, 3, 4, 3), (4, 3), Geometry()),
    "no images": ((0, 2, 4, 4), (2, 2), Geometry(stride=(2, 2))),
}


def pools() -> Iterator[Case]:
    def unfold(torch: Any, x: Any, kernel: Any, g: Geometry) -> Any:
        """(N, C, R·S, P, Q): every window of x."""
        p, q = g.output_size(x.shape[2:], kernel)
        columns = torch.nn.functional.unfold(x, kernel, g.dilation, g.padding, g.stride)
        return columns.reshape(*x.shape[:2], kernel[0] * kernel[1], p, q)

    def fold(torch: Any, windows: Any, shape: Any, kernel: Any, g: Geometry) -> Any:
        """The sum of all windows, each at its place."""
        n, c, k, p, q = windows.shape
        columns = windows.reshape(n, c * k, p * q)
        return torch.nn.functional.fold(columns, shape[2:], kernel, g.dilation, g.padding, g.stride)

    def max_pool(torch: Any, x: Any, kernel: Any, g: Geometry) -> Any:
        return torch.nn.functional.max_pool2d(x, kernel, g.stride, g.padding, g.dilation)

    def gather(torch: Any, x: Any, index: Any) -> Any:
        return (index >= 0) * x.flatten(2).gather(2, index.flatten(2).clamp(min=0)).reshape(index.shape)

    def scatter(torch: Any, y: Any, index: Any, size: Any) -> Any:
        planes = y.new_zeros(*y.shape[:2], size[0] * size[1])
        values = (index >= 0) * y
        return planes.scatter_add(2, index.flatten(2).clamp(min=0), values.flatten(2)).unflatten(2, size)

    def add_up(torch: Any, x: Any, kernel: Any, g: Geometry) -> Any:
        return unfold(torch, x, kernel, g).sum(2)

    def spread(torch: Any, y: Any, shape: Any, kernel: Any, g: Geometry) -> Any:
        windows = y[:, :, None].expand(*y.shape[:2], kernel[0] * kernel[1], *y.shape[2:])
        return fold(torch, windows, shape, kernel, g)

    for name, (x, kernel, geometry) in POOLS.items():
        y = (*x[:2], *geometry.output_size(x[2:], kernel))
        places = integers(-1, x[2] * x[3], y, np.int32)  # −1: a window on padding alone
        for op, inputs, torch_op, options, avoid in [
            (ops.max_pool2d, distinct(x), max_pool, (kernel, geometry), "equal largest values in a window"),
            (ops.gather_plane, followed_by(normal(x), places), gather, (), ""),
            (ops.scatter_plane, followed_by(normal(y), places), scatter, (x[2:],), ""),
            (ops.sum_windows, normal(x), add_up, (kernel, geometry), ""),
            (ops.spread_windows, normal(y), spread, (x, kernel, geometry), ""),
        ]:
            kept = op is not ops.gather_plane and name not in BOTH_LAYOUTS
            yield Case(name, op, inputs, torch_op, options, keeps_layout=kept, avoid=avoid)


def normalizations() -> Iterator[Case]:
    eps = 1e-3

    def batch_norm(torch: Any, x: Any, weight: Any, bias: Any, eps: float) -> Any:
        return torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=eps)

    def normalize(torch: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float) -> Any:
        return torch.nn.functional.batch_norm(x, mean, var, weight, bias, eps=eps)

    def batch_norm_relu(torch: Any, x: Any, weight: Any, bias: Any, eps: float, *running: Any) -> Any:
        return batch_norm(torch, x, weight, bias, eps).relu()

    def normalize_relu(torch: Any, *args: Any) -> Any:
        return normalize(torch, *args[:-1]).relu()

    for shape in [(6, 3), (4, 3, 5), (3, 2, 4, 3), (2, 1, 3, 3), (1, 3, 2, 2), (2, 2, 2, 1, 3)]:
        c, kept = shape[1:2], len(shape) == 4 and shape[1] > 1
        for name, weight, bias in [
            ("affine", c, c),
            ("plain", None, None),
            ("weight only", c, None),
            ("bias only", None, c),
        ]:
            inputs = normal(shape, weight, bias)
            statistics = followed_by(
                inputs, lambda rng, c=c: rng.standard_normal(c), lambda rng, c=c: rng.uniform(0.5, 2, c)
            )
            yield Case(f"{name} {shape}", ops.batch_norm, inputs, batch_norm, (eps,), keeps_layout=kept)
            yield Case(
                f"{name} {shape}", ops.normalize, statistics, normalize, (eps,), constants=(3, 4), keeps_layout=kept
            )
            if shape == (1, 3, 2, 2):  # what ReLU leaves of 12 values is so small that PyTorch's own rounding shows
                continue
            title, options = f"{name}, relu, {shape}", {"keeps_layout": kept, "avoid": "outputs at 0"}
            yield Case(title, ops.batch_norm, inputs, batch_norm_relu, (eps, None, None, 0.1, True), **options)
            yield Case(title, ops.normalize, statistics, normalize_relu, (eps, True), constants=(3, 4), **options)
    for shape, axes in [((4, 5), 1), ((2, 3, 4), 1), ((2, 3, 4), 2), ((5,), 1), ((2, 3, 2, 2), 3)]:
        last = shape[len(shape) - axes :]

        def layer_norm(torch: Any, x: Any, weight: Any, bias: Any, axes: int, eps: float, last: Any = last) -> Any:
            return torch.nn.functional.layer_norm(x, last, weight, bias, eps)

        def rms_norm(torch: Any, x: Any, weight: Any, bias: Any, axes: int, *options: Any, last: Any = last) -> Any:
            return torch.nn.functional.rms_norm(x, last, weight, options[0])

        for name, weight, bias in [("affine", last, last), ("plain", None, None), ("weight only", last, None)]:
            inputs = normal(shape, weight, bias)
            yield Case(f"{name} {shape} {axes}", ops.layer_norm, inputs, layer_norm, (axes, eps))
            if bias is None:
                yield Case(f"{name} {shape} {axes}, rms", ops.layer_norm, inputs, rms_norm, (axes, eps, False))
    for shape, groups in [((4, 6), 2), ((2, 6, 5), 3), ((2, 4, 3, 2), 2), ((2, 4, 3, 2), 4), ((3, 4, 2, 1, 3), 1)]:

        def group_norm(torch: Any, x: Any, weight: Any, bias: Any, groups: int, eps: float) -> Any:
            return torch.nn.functional.group_norm(x, groups, weight, bias, eps)

        c = shape[1:2]
        for name, weight, bias in [("affine", c, c), ("plain", None, None), ("weight only", c, None)]:
            kept = len(shape) == 4
            inputs = normal(shape, weight, bias)
            yield Case(f"{name} {shape} {groups}", ops.group_norm, inputs, group_norm, (groups, eps), keeps_layout=kept)
    none = followed_by(normal((0, 3), (3,), (3,)), lambda rng: np.zeros(3), lambda rng: np.ones(3))
    yield Case("no rows", ops.normalize, none, normalize, (eps,), constants=(3, 4))


CASES = [
    case
    for part in (
        elementwise,
        reductions,
        cumulative,
        shapes,
        indexing,
        matrices,
        losses,
        convolutions,
        pools,
        normalizations,
    )
    for case in part()
]
