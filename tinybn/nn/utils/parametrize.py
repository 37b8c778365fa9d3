"""Parametrizations: a parameter that is computed from others whenever it is read, under torch's names."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from tinybn._tensor import Tensor
from tinybn.errors import DTypeError, ShapeError
from tinybn.modes import no_grad
from tinybn.nn.container import ModuleDict, ModuleList
from tinybn.nn.module import Module
from tinybn.nn.parameter import Parameter

__all__ = [
    "ParametrizationList",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "type_before_parametrizations",
]

_M = TypeVar("_M", bound=Module)


# --- for users --------------------------------------------------------------------------------------------------------


def register_parametrization(module: _M, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> _M:
    """Have ``module.weight`` computed as ``parametrization(original)`` whenever it is read, and train the original.

    The original is the parameter ``module.parametrizations.weight.original``. If the parametrization has a method
    ``right_inverse(weight)``, this gives the original that the weight becomes; what returns a tuple of tensors gives
    ``original0``, ``original1``, …, which `forward` then takes as so many arguments. ``module.weight = value`` goes the
    same way. A second parametrization of the same name is applied to the result of the first.

    One original stays the same Parameter, so that an optimizer may have it already; several are new ones.

    The module gets a class of its own, ``ParametrizedLinear`` of Linear. It can be copied and pickled.

    Args:
        module: what has the parameter or buffer.
        tensor_name: its name.
        parametrization: the module to compute it with.
        unsafe: do not check that shape and dtype stay what they are.

    Returns:
        The module.

    Raises:
        ValueError: no parameter or buffer of this name. Here and below nothing has changed then.
        ShapeError, DTypeError: another shape or dtype than that of the parameter.
        TypeError: something else than a tensor.

    >>> import tinybn as tb
    >>> class Symmetric(tb.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = tb.nn.utils.parametrize.register_parametrization(tb.nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all())
    True
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'parametrizations.weight.original']
    """
    if not isinstance(parametrization, Module):
        raise TypeError(f"register_parametrization: expected a Module, got {type(parametrization).__name__}")
    if is_parametrized(module, tensor_name):
        chain = _chains(module)[tensor_name]
        if not unsafe:
            _check_link(parametrization, getattr(module, tensor_name))
        parametrization.train(module.training)
        chain.append(parametrization)
        chain.unsafe = chain.unsafe or unsafe
        return module
    own = vars(module).get(tensor_name)
    if not isinstance(own, Parameter) and (tensor_name not in module._buffer_names or own is None):
        names = [*(n for n, value in vars(module).items() if isinstance(value, Parameter)), *module._buffer_names]
        raise ValueError(
            f"register_parametrization: {type(module).__name__} has no parameter or buffer {tensor_name!r}; it has "
            f"{', '.join(names) or 'none'}"
        )
    chain = ParametrizationList([parametrization], own, unsafe)
    parametrization.train(module.training)
    _take_away(module, tensor_name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    _chains(module)[tensor_name] = chain
    _set_class(module)
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a parameter is computed from others; without a name, whether any is.

    >>> import tinybn as tb
    >>> tb.nn.utils.parametrize.is_parametrized(tb.nn.Linear(3, 3))
    False
    """
    chains = vars(module).get("parametrizations")
    if not isinstance(chains, ModuleDict):
        return False
    return len(chains) > 0 if tensor_name is None else tensor_name in chains


def remove_parametrizations(module: _M, tensor_name: str, leave_parametrized: bool = True) -> _M:
    """Make a parameter a plain one again.

    Args:
        module, tensor_name: those of `register_parametrization`.
        leave_parametrized: with the value that it has now; False: with that of its original, of which there must be
            one.

    Returns:
        The module, of its own class again once no parametrization is left.

    Raises:
        ValueError: the parameter is a plain one; or it has several originals, and none is its value.

    >>> import tinybn as tb
    >>> layer = tb.nn.utils.parametrizations.weight_norm(tb.nn.Linear(3, 3))
    >>> tb.nn.utils.parametrize.remove_parametrizations(layer, "weight")
    Linear(in_features=3, out_features=3, bias=True)
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"remove_parametrizations: {tensor_name!r} of {type(module).__name__} is not parametrized")
    chain = _chains(module)[tensor_name]
    if not chain.is_tensor and not leave_parametrized:
        raise ValueError(
            f"remove_parametrizations: {tensor_name!r} of {type(module).__name__} has {chain.ntensors} originals, of "
            "which none can be its value; leave_parametrized=True takes what they give now"
        )
    value = getattr(module, tensor_name)
    if chain.is_tensor:
        plain = chain.originals()[0]
        if leave_parametrized:
            plain.data = value.data.copy()
    else:
        plain = Parameter(value.data) if value.requires_grad else value
    del _chains(module)[tensor_name]
    if not is_parametrized(module):
        del module.parametrizations  # type: ignore[attr-defined]
    _set_class(module)
    _put(module, tensor_name, plain)
    return module


def type_before_parametrizations(module: Module) -> type[Module]:
    """The class that a module had before its parameters were parametrized.

    >>> import tinybn as tb
    >>> layer = tb.nn.utils.parametrizations.weight_norm(tb.nn.Linear(3, 3))
    >>> tb.nn.utils.parametrize.type_before_parametrizations(layer).__name__
    'Linear'
    """
    own = type(module)
    return own.__bases__[1] if issubclass(own, _Parametrized) else own


# --- what a module gets -----------------------------------------------------------------------------------------------


class ParametrizationList(ModuleList):
    """The parametrizations of one parameter, in the order in which they are applied, and its originals.

    Attributes:
        is_tensor: whether there is one original, ``original``, and not ``original0`` and so on.
        ntensors: how many there are.
        unsafe: whether shape and dtype may be other ones.
    """

    def __init__(self, modules: Sequence[Module], original: Any, unsafe: bool = False) -> None:
        super().__init__(modules)
        with no_grad():
            start = original
            for module in reversed(list(self)):
                start = _inverted(module, start)
            _check_originals(modules[0], start)
            self.is_tensor, self.ntensors = isinstance(start, Tensor), 1 if isinstance(start, Tensor) else len(start)
            if self.is_tensor and start.dtype != original.dtype:
                raise DTypeError(f"{_inverse_of(modules[0])} made {start.dtype} of {original.dtype}")
            self.unsafe = unsafe
            if not unsafe:
                made = modules[0](start) if self.is_tensor else modules[0](*start)
                _check_same(f"{type(modules[0]).__name__}.forward", made, original)
        if self.is_tensor:
            if start is not original:
                original.data = start.data.copy()
            _put(self, "original", original)
            return
        for number, tensor in enumerate(start):
            value = Tensor(tensor.data.copy())  # its own memory: the user may still have the weight that it was
            value = Parameter(value, original.requires_grad) if isinstance(original, Parameter) else value
            _put(self, f"original{number}", value)

    def originals(self) -> list[Tensor]:
        """What the first parametrization is given."""
        names = ["original"] if self.is_tensor else [f"original{number}" for number in range(self.ntensors)]
        return [getattr(self, name) for name in names]

    def forward(self) -> Any:
        first, *rest = self
        value = first(*self.originals())
        for module in rest:
            value = module(value)
        return value

    def right_inverse(self, value: Any) -> None:
        """Set the originals to those of a value."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"{type(module).__name__} has no right_inverse, so what it computes cannot be assigned to"
                    )
                value = module.right_inverse(value)
        _check_originals(self[0], value)
        values, originals = [value] if self.is_tensor else list(value), self.originals()
        if isinstance(value, Tensor) != self.is_tensor or len(values) != len(originals):
            raise TypeError(
                f"{_inverse_of(self[0])} gave {len(values)} tensors; expected {len(originals)}, as at first"
            )
        for new, original in zip(values, originals, strict=True):
            if new.dtype != original.dtype:
                raise DTypeError(f"{_inverse_of(self[0])} gave {new.dtype}; the original is {original.dtype}")
        for new, original in zip(values, originals, strict=True):
            if new is not original:
                original.data = new.data.copy()


class _Parametrized(Module):
    """What modules with parametrized parameters are, besides what they have been before."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """From the class before and the names: the class was made while the program ran, and cannot be imported."""
        return _blank, (type_before_parametrizations(self), list(_chains(self))), self.__getstate__()


def _blank(before: type[Module], names: Iterable[str]) -> Module:
    """A parametrized module without anything in it."""
    return object.__new__(_class_with(before, names))


def _set_class(module: Module) -> None:
    """Give a module the class with a property for each of its parametrizations."""
    before = type_before_parametrizations(module)
    module.__class__ = _class_with(before, _chains(module)) if is_parametrized(module) else before


def _class_with(before: type[Module], names: Iterable[str]) -> type[Module]:
    body = {"__module__": before.__module__, "__doc__": before.__doc__, **{name: _property(name) for name in names}}
    return type(f"Parametrized{before.__name__}", (_Parametrized, before), body)


def _property(name: str) -> property:
    return property(
        lambda module: _chains(module)[name](), lambda module, value: _chains(module)[name].right_inverse(value)
    )


def _chains(module: Module) -> Any:
    """The ModuleDict of the parametrizations under the names of what they compute."""
    return vars(module)["parametrizations"]


def _take_away(module: Module, name: str) -> None:
    delattr(module, name)
    module._buffer_names = tuple(other for other in module._buffer_names if other != name)


def _put(module: Module, name: str, value: Tensor) -> None:
    if isinstance(value, Parameter):
        setattr(module, name, value)
    else:
        module.register_buffer(name, value)


# --- checks -----------------------------------------------------------------------------------------------------------


def _inverted(module: Module, value: Any) -> Any:
    """A value's original. A module that knows no inverse takes the value itself for it."""
    if not hasattr(module, "right_inverse"):
        return value
    try:
        return module.right_inverse(value)
    except NotImplementedError:
        return value


def _check_originals(module: Module, originals: Any) -> None:
    tensors = [originals] if isinstance(originals, Tensor) else originals
    if not isinstance(tensors, Sequence) or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise TypeError(f"{_inverse_of(module)} gave {type(originals).__name__}; expected a Tensor or a tuple of them")


def _check_link(module: Module, value: Tensor) -> None:
    """Check that a parametrization, and its inverse, make of a value one of the same shape and dtype."""
    with no_grad():
        made = module(value)
        _check_same(f"{type(module).__name__}.forward", made, value)
        _check_same(_inverse_of(module), _inverted(module, made), value)


def _check_same(what: str, made: Any, value: Tensor) -> None:
    if not isinstance(made, Tensor):
        raise TypeError(f"{what} gave a {type(made).__name__}; expected a Tensor")
    if made.dtype != value.dtype:
        raise DTypeError(f"{what} gave {made.dtype} for {value.dtype}; unsafe=True would let it")
    if made.shape != value.shape:
        raise ShapeError(f"{what} gave shape {made.shape} for {value.shape}; unsafe=True would let it")


def _inverse_of(module: Module) -> str:
    return f"{type(module).__name__}.right_inverse"
