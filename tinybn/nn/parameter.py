"""Parameter: a tensor that a module trains."""

from typing import Any

from tinybn._tensor import Tensor, as_tensor, check_differentiable


class Parameter(Tensor):
    """A leaf that requires grad and that a module counts among its parameters.

    >>> import tinybn as tb
    >>> tb.nn.Parameter(tb.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        array = as_tensor(data).data.view()  # an array object of its own: the engine knows inputs by identity
        if requires_grad:
            check_differentiable(array.dtype)
        super().__init__(array, requires_grad)

    def __getstate__(self) -> Any:
        return self.data, self.tracked, None  # a copy begins without a gradient, as in PyTorch

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
