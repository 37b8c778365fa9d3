"""Tensor: an array, its gradient, and the operators and methods that apply ops to it."""

import operator
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tinybn import autograd, inplace, ops
from tinybn._typing import Array, DTypeLike, Op
from tinybn.autograd import Node, Variable, apply, recorded
from tinybn.errors import DTypeError, GraphError, ShapeError, misfit
from tinybn.hooks import Handle, Watch
from tinybn.modes import STRICT, state
from tinybn.silence import SILENT, restore, set_state
from tinybn.storage import mark_changed


def _operator(op: Callable[..., Op], reflected: bool = False) -> Callable[["Tensor", Any], "Tensor"]:
    """A method that applies ``op`` to self and another operand, or the other way round, in PyTorch's choice of dtype.

    Where nothing has to be cast, this is `apply` written out for two arguments: a + b of 10 elements then takes 1.7
    instead of 2.0 µs.
    """
    divides = op is ops.divide

    def method(self: "Tensor", other: Any) -> "Tensor":
        a = self.array
        if isinstance(other, Tensor):
            b = other.array
            plain = a.dtype is b.dtype
            right: Any = other.node or other if other.tracked else None
        else:
            b, right = other, None
            plain = (type(other) is float or type(other) is int) and a.dtype.kind == "f"
        if not plain or (divides and a.dtype.kind != "f"):
            return _cast_and_apply(op, self, other, reflected)
        left: Any = self.node or self if self.tracked else None
        if reflected:
            a, b, left, right = b, a, right, left
        before = set_state(SILENT)
        try:
            made = op(a, b)
        except ValueError as error:
            raise misfit(op.__name__, (a, b), error) from None
        finally:
            restore(before)
        return recorded(op, made, (a, b), (left, right), left is not None or right is not None)

    return method


def _cast_and_apply(op: Callable[..., Op], x: "Tensor", y: Any, reflected: bool) -> Any:
    if not isinstance(y, _OPERANDS):
        return NotImplemented
    if op is ops.divide and getattr(y, "dtype", np.dtype(bool)).kind != "f":
        x = as_float(x)  # two that are not floats are divided in float32
    x, y = promoted(x, y, op.__name__)
    return apply(op, y, x) if reflected else apply(op, x, y)


def _changing(symbol: str, function: Callable[[Any, Any], Any]) -> Callable[["Tensor", Any], Any]:
    """A method that changes a tensor in place, ``x += y``."""

    def method(self: "Tensor", other: Any) -> Any:
        return inplace.change(symbol, self, function, other)

    return method


def _comparison(name: str) -> Callable[["Tensor", Any], "Tensor"]:
    """A method that is the function of that name, and leaves to Python what it cannot compare."""

    def method(self: "Tensor", other: Any) -> "Tensor":
        return getattr(self, name)(other) if isinstance(other, _OPERANDS) else NotImplemented

    return method


def _bitwise(ufunc: np.ufunc) -> Callable[["Tensor", Any], "Tensor"]:
    def method(self: "Tensor", other: Any) -> "Tensor":
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        if isinstance(other, Variable | np.ndarray):
            x, y = promoted(self, other, ufunc.__name__)
            return Tensor(np.asarray(ufunc(x.data, y.data)))
        return Tensor(np.asarray(ufunc(self.data, _number(other))))

    return method


class Tensor(Variable):
    """An n-dimensional array that can record what is computed with it. `tinybn.tensor` makes one.

    Attributes:
        data: the NumPy array. Writes to it are invisible to autograd; another array or tensor can be assigned.
        grad: the gradient that `backward` has accumulated, a Tensor, or None.
        requires_grad: whether ops on this tensor are recorded. Only floating tensors can, and only leaves can stop.

    >>> import tinybn as tb
    >>> x = tb.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ()

    # --- what it is ---------------------------------------------------------------------------------------------

    @property
    def data(self) -> Array:
        return self.array

    @data.setter
    def data(self, data: "Array | Tensor") -> None:
        if not isinstance(data, Tensor | np.ndarray):
            raise TypeError(f"data: expected an array or a tensor, got {type(data).__name__}")
        array = data.array if isinstance(data, Tensor) else data
        if self.tracked:
            check_differentiable(array.dtype)
        mark_changed(self.array, "an assignment to data")
        if array is self.array:  # x.data += 1
            return
        self.array = array.view(np.ndarray)  # an object of its own, by which the engine knows it
        if self.node is not None:
            self.node.out_id = id(self.array)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def requires_grad(self) -> bool:
        return self.tracked

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        if self.node is not None and not requires_grad:
            raise GraphError("requires_grad: only a leaf can stop requiring grad; use detach()")
        if requires_grad:
            check_differentiable(self.data.dtype)
        self.tracked = bool(requires_grad)

    @property
    def grad_fn(self) -> Node | None:
        """The node that recorded this tensor, None for a leaf."""
        return self.node

    @property
    def is_leaf(self) -> bool:
        return self.node is None

    def size(self, dim: int | None = None) -> Any:
        """The shape, or its entry ``dim``."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """How many elements there are."""
        return self.data.size

    def dim(self) -> int:
        return self.data.ndim

    def cpu(self) -> Self:
        """Itself: there is no other device."""
        return self

    def is_contiguous(self) -> bool:
        """Whether the elements lie in memory in row-major order."""
        return self.data.flags.c_contiguous

    def __len__(self) -> int:
        if not self.data.ndim:
            raise TypeError("len: a 0-d tensor has no length")
        return len(self.data)

    def __iter__(self) -> Iterator["Tensor"]:
        if not self.data.ndim:
            raise TypeError("iter: a 0-d tensor cannot be iterated over")
        return (self[i] for i in range(len(self.data)))

    def __contains__(self, element: Any) -> bool:
        """Whether some element equals a number or a tensor that broadcasts."""
        if not isinstance(element, _OPERANDS):
            raise TypeError(f"in: expected a number or a tensor, got {type(element).__name__}")
        return bool((self == element).data.any())

    def __repr__(self) -> str:
        text = np.array2string(self.data, separator=", ", prefix="tensor(")
        dtype = "" if self.data.dtype in _DTYPES_LEFT_OUT else f", dtype={self.data.dtype}"
        node = f", grad_fn=<{self.node.op.__name__}>" if self.node else ", requires_grad=True" * self.requires_grad
        return f"tensor({text}{dtype}{node})"

    __hash__ = object.__hash__

    # --- to NumPy and Python ------------------------------------------------------------------------------------

    def numpy(self) -> Array:
        """The array itself, not a copy. Changes made through it are not seen by autograd."""
        if self.requires_grad:
            raise GraphError("numpy: this tensor requires grad; use tensor.detach().numpy()")
        return self.data

    def __array__(self, dtype: DTypeLike = None, copy: bool | None = None) -> Array:
        if self.requires_grad:
            raise GraphError("np.asarray: this tensor is part of a graph; use tensor.detach().numpy()")
        return np.array(self.data, dtype=dtype, copy=copy)

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.data.size != 1:
            raise ShapeError(f"item: this tensor has shape {self.shape}; only a tensor of one element has an item")
        return self.data.item()

    def tolist(self) -> Any:
        return self.data.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.data.dtype.kind not in "iu":
            raise TypeError(f"only an integer tensor can be an index; this one is {self.data.dtype}")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        if spec and self.numel() != 1:
            raise TypeError(f"format: {spec!r} needs a tensor of one element; this one has shape {self.shape}")
        return format(self.item(), spec) if spec or not self.ndim else str(self)

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ShapeError(f"bool: a tensor of shape {self.shape} has no single truth value; use .any() or .all()")
        return bool(self.data.item())

    # --- autograd -----------------------------------------------------------------------------------------------

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Add the derivatives of this tensor to the ``grad`` of the leaves that it was computed from.

        Args:
            gradient: what to start from, of this tensor's shape; default 1, for a tensor of one element.
            retain_graph: keep the graph for another backward; default: the value of ``create_graph``.
            create_graph: record the gradients' computation too, so that they can be differentiated.
            inputs: the tensors that get a gradient; default: all leaves.

        Raises:
            GraphError: nothing was recorded, the graph was freed, a gradient to start from is missing, or something
                that the graph had saved was changed in place.
        """
        autograd.backward(self, gradient, retain_graph, create_graph, inputs)

    def detach(self) -> "Tensor":
        """The same numbers outside the graph; the memory is shared."""
        return Tensor(self.data.view())

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether ops on this tensor are recorded."""
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Have ``grad`` filled by `backward` though this is an intermediate tensor. A leaf's is filled anyway."""
        if not self.tracked:
            raise GraphError("retain_grad: this tensor does not require grad")
        if self.node is not None:
            self._watch(self.node).tensor = weakref.ref(self)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradient, or set it to zero."""
        if set_to_none:
            self.grad = None
        elif self.grad is not None:
            self.grad = self.grad.detach()
            self.grad.data.fill(0)
            mark_changed(self.grad.data, "zero_grad")

    def register_hook(self, hook: Callable[["Tensor"], "Tensor | None"]) -> Handle:
        """Call ``hook(gradient)`` whenever the gradient of this tensor has been computed.

        If it returns a tensor, that takes the gradient's place.

        Returns:
            A handle; its ``remove()`` takes the hook away.

        >>> import tinybn as tb
        >>> x = tb.ones(2, requires_grad=True)
        >>> handle = x.register_hook(lambda gradient: gradient * 10)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([20., 20.])
        """
        if not self.tracked:
            raise GraphError("register_hook: this tensor does not require grad; nothing would call the hook")
        return Handle(self._watch(self.node or self).hooks, hook)

    @staticmethod
    def _watch(vertex: autograd.Vertex) -> Watch:
        if vertex.watch is None:
            vertex.watch = Watch()
        return vertex.watch

    def __getstate__(self) -> Any:
        if self.node is not None:
            raise GraphError(
                "copy, pickle: only a leaf can be copied; detach() this tensor first; clone() makes a copy in the graph"
            )
        return self.data, self.tracked, self.grad

    def __setstate__(self, state: Any) -> None:
        data, tracked, grad = state
        Variable.__init__(self, data.view(), tracked)  # the engine knows leaves by their array: each has its own
        self.grad = grad

    def to(self, dtype: "DTypeLike | Tensor") -> "Tensor":
        """In another dtype, or that of another tensor; itself if it has it. What is not a float leaves the graph."""
        if dtype == "cpu":
            return self
        if isinstance(dtype, str) and dtype.startswith("cuda"):
            raise ValueError(f"to: {dtype!r} is a device; tinybn has the CPU only")
        dtype = dtype.data.dtype if isinstance(dtype, Tensor) else np.dtype(dtype)
        if self.data.dtype == dtype:
            return self
        if dtype.kind == "f":
            return apply(ops.cast, self, dtype)
        with np.errstate(all="ignore"):  # NaN and infinity as integers
            return Tensor(self.data.astype(dtype))

    def type_as(self, other: "Tensor") -> "Tensor":
        """In the dtype of another tensor."""
        return self.to(other.data.dtype)

    # --- arithmetic ---------------------------------------------------------------------------------------------

    __add__ = __radd__ = _operator(ops.add)
    __sub__, __rsub__ = _operator(ops.subtract), _operator(ops.subtract, reflected=True)
    __mul__ = __rmul__ = _operator(ops.multiply)
    __truediv__, __rtruediv__ = _operator(ops.divide), _operator(ops.divide, reflected=True)
    __pow__, __rpow__ = _operator(ops.power), _operator(ops.power, reflected=True)

    def __floordiv__(self, other: Any) -> "Tensor":
        return self.floor_divide(other)

    def __rfloordiv__(self, other: Any) -> "Tensor":
        return as_tensor(_number(other)).floor_divide(self)

    def __mod__(self, other: Any) -> "Tensor":
        return self.remainder(other)

    def __rmod__(self, other: Any) -> "Tensor":
        return as_tensor(_number(other)).remainder(self)

    def __pos__(self) -> "Tensor":
        return self

    def __neg__(self) -> "Tensor":
        return apply(ops.negative, self)

    def __abs__(self) -> "Tensor":
        return apply(ops.absolute, self)

    def __matmul__(self, other: Any) -> "Tensor":
        return self.matmul(other)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return as_tensor(other).matmul(self)

    # --- in place: x += y changes the memory of x, and whoever shares it sees that --------------------------------

    __iadd__ = _changing("+=", operator.add)
    __isub__ = _changing("-=", operator.sub)
    __imul__ = _changing("*=", operator.mul)
    __itruediv__ = _changing("/=", operator.truediv)
    __ifloordiv__ = _changing("//=", operator.floordiv)
    __imod__ = _changing("%=", operator.mod)
    __ipow__ = _changing("**=", operator.pow)
    __iand__ = _changing("&=", operator.and_)
    __ior__ = _changing("|=", operator.or_)
    __ixor__ = _changing("^=", operator.xor)

    def fill_(self, value: Any) -> Self:
        """Set every element to a number, in place."""
        self[...] = value
        return self

    def zero_(self) -> Self:
        """Set every element to 0, in place."""
        return self.fill_(0)

    def copy_(self, source: Any) -> Self:
        """Take over the values of something that broadcasts to this shape, in place."""
        self[...] = source
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        index = _plain_index(index)
        value = as_tensor(value, self.data.dtype)
        if value.ndim:  # NumPy ignores axes of size 1 in front, which the gradient has to be given back
            missing = value.ndim - self.data[index].ndim
            if missing > 0 and value.shape[:missing] == (1,) * missing:
                value = value.reshape(value.shape[missing:])
        inplace.put(self, index, value)

    # --- comparisons: recorded nowhere --------------------------------------------------------------------------

    __eq__ = _comparison("eq")  # type: ignore[assignment]  # object's answers a bool
    __ne__ = _comparison("ne")  # type: ignore[assignment]
    __lt__, __le__, __gt__, __ge__ = map(_comparison, ("lt", "le", "gt", "ge"))
    __and__, __or__, __xor__ = map(_bitwise, (np.bitwise_and, np.bitwise_or, np.bitwise_xor))
    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> "Tensor":
        return Tensor(np.asarray(np.invert(self.data)))

    # --- views ---------------------------------------------------------------------------------------------------

    @property
    def T(self) -> "Tensor":
        """The axes in reverse order."""
        return apply(ops.transpose, self, tuple(range(self.ndim)[::-1]))

    @property
    def mT(self) -> "Tensor":
        """The last two axes exchanged."""
        if self.ndim < 2:
            raise ShapeError(f"mT: expected two axes or more, got shape {self.shape}")
        return apply(ops.transpose, self, (*range(self.ndim - 2), self.ndim - 1, self.ndim - 2))

    def __getitem__(self, index: Any) -> "Tensor":
        return apply(ops.getitem, self, _plain_index(index))

    if TYPE_CHECKING:  # all other methods are the functions of tinybn.functional, which gives them to this class

        def __getattr__(self, name: str) -> Any: ...


def _cast_to(dtype: Any) -> Callable[[Tensor], Tensor]:
    def cast(self: Tensor) -> Tensor:
        return self.to(dtype)

    cast.__doc__ = f"In {np.dtype(dtype)}."
    return cast


# Set from here, because methods called float, int and bool would hide the types in the class above.
for _name, _dtype in {
    "half": np.float16,
    "float": np.float32,
    "double": np.float64,
    "short": np.int16,
    "int": np.int32,
    "long": np.int64,
    "bool": np.bool_,
}.items():
    setattr(Tensor, _name, _cast_to(_dtype))

Variable.result = Tensor

_DTYPES_LEFT_OUT = (np.float32, np.int64, np.bool_)
_NUMBERS = (bool, int, float, np.generic)
_OPERANDS = (Variable, np.ndarray, np.generic, bool, int, float)
_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2}


def tensor(data: Any, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of ``data``.

    Args:
        data: numbers, nested lists of them, an array or a Tensor. An array's memory layout is kept.
        dtype: default: an array's or a Tensor's own; float32 for Python floats, int64 for ints, bool for bools.
        requires_grad: record what is computed with it.

    Raises:
        DTypeError: the data are not numbers, or ``requires_grad`` is asked of integers.

    >>> import tinybn as tb
    >>> tb.tensor([[1, 2], [3, 4]]).shape
    (2, 2)
    >>> tb.tensor(0.5).dtype
    dtype('float32')
    """
    if isinstance(data, Tensor):
        data = data.data
    array = np.array(data, dtype=dtype, order="K")
    if dtype is None and not isinstance(data, np.ndarray | np.generic) and array.dtype == np.float64:
        array = array.astype(np.float32)
    return _leaf(array, requires_grad)


def from_numpy(array: Array) -> Tensor:
    """A tensor that shares the array's memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a NumPy array, got {type(array).__name__}; tb.tensor takes anything")
    return _leaf(array.view(np.ndarray), False)


def as_tensor(data: Any, dtype: DTypeLike = None) -> Tensor:
    """``data`` itself if it is a Tensor, a Tensor that shares its memory if it is an array, else a new one."""
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    if isinstance(data, np.ndarray) and (dtype is None or data.dtype == dtype):
        return from_numpy(data)
    return tensor(data, dtype)


def _leaf(array: Array, requires_grad: bool) -> Tensor:
    if array.dtype.kind not in _KINDS:
        raise DTypeError(f"tensor: expected numbers or bools, got an array of dtype {array.dtype}")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if requires_grad:
        check_differentiable(array.dtype)
    return Tensor(array, requires_grad)


def _plain_index(index: Any) -> Any:
    """An index with arrays where there are tensors or lists. An op keeps it; a list could change behind its back."""
    if isinstance(index, tuple):
        return tuple(_plain_index(part) for part in index)
    if isinstance(index, list):
        return np.array(index) if index else np.array([], int)
    return index.data if isinstance(index, Tensor) else index


def check_differentiable(dtype: np.dtype[Any]) -> None:
    if dtype.kind != "f":
        raise DTypeError(f"only floating tensors can require grad, this one is {dtype}; use .float() first")


def promoted(x: Tensor, y: Any, name: str) -> tuple[Tensor, Any]:
    """Both in one dtype, by PyTorch's rules, for the function of that name.

    Floats outrank integers, these bools; within a kind, a tensor with axes outranks one without. Scalars, NumPy's too,
    never promote within their kind: they stay, as Python numbers.
    """
    if isinstance(y, _NUMBERS):
        scalar = _number(y)
        if x.dtype.kind in "iu" and type(scalar) is int:
            scalar = np.array(scalar).astype(x.dtype)[()]  # one that does not fit wraps around, as in PyTorch
        return (as_float(x) if isinstance(scalar, float) else x), scalar
    y = as_tensor(y)
    dtype = common_dtype(x, y, name)
    return x.to(dtype), y.to(dtype)


def common_dtype(x: Tensor, y: Tensor, name: str) -> np.dtype[Any]:
    """The dtype that two tensors promote to in the function of that name."""
    a, b = x.data, y.data
    rank_a, rank_b = ((_KINDS[d.dtype.kind], d.ndim > 0) for d in (a, b))
    if rank_a == rank_b:
        dtype = np.promote_types(a.dtype, b.dtype)
    else:
        dtype = a.dtype if rank_a > rank_b else b.dtype
    if state.mode & STRICT and dtype == np.float64 and np.float32 in (a.dtype, b.dtype):
        raise DTypeError(f"strict_float32: {name} would cast float32 to float64; cast one of the two with .to()")
    return dtype


def as_float(x: Tensor) -> Tensor:
    return x if x.data.dtype.kind == "f" else x.to(np.float32)


def _number(other: Any) -> Any:
    """A NumPy scalar as a Python number, which promotes nothing; anything else as it is."""
    return other.item() if isinstance(other, np.generic) else other
