"""Activations as modules. `tinybn.functional` has the functions, with what they refuse."""

import warnings
from typing import Any

from tinybn import functional as F
from tinybn._tensor import Tensor, as_tensor
from tinybn._typing import DTypeLike
from tinybn.nn.module import Module
from tinybn.nn.parameter import Parameter


class InplaceModule(Module):
    """A module whose result, `compute`, has the shape of its input and may be written into it.

    Args:
        inplace: write the result into the input, if that is a Tensor, and return it.
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def compute(self, input: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not define compute(self, input)")

    def forward(self, input: Any) -> Tensor:
        if not (self.inplace and isinstance(input, Tensor)):
            return self.compute(input)
        # The derivative may need the input as it was: a copy of it goes into the graph.
        return input.copy_(self.compute(input.clone()))

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""

    def _with_inplace(self, arguments: str) -> str:
        """The text of some arguments, and inplace if it is true."""
        return f"{arguments}, inplace=True" if self.inplace else arguments


# --- piecewise linear -------------------------------------------------------------------------------------------------


class ReLU(InplaceModule):
    """max(x, 0). `LeakyReLU` and those like it keep something of what is negative.

    >>> import tinybn as tb
    >>> tb.nn.ReLU()([-1.0, 2.0])
    tensor([0., 2.])
    """

    def compute(self, input: Any) -> Tensor:
        return F.relu(input)


class LeakyReLU(InplaceModule):
    """x where it is positive, negative_slope·x elsewhere.

    Source: Maas et al. 2013, "Rectifier Nonlinearities Improve Neural Network Acoustic Models".

    >>> import tinybn as tb
    >>> tb.nn.LeakyReLU(0.5)([-1.0, 2.0])
    tensor([-0.5,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def compute(self, input: Any) -> Tensor:
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return self._with_inplace(f"negative_slope={self.negative_slope}")


class PReLU(Module):
    """x where it is positive, weight·x elsewhere, with a weight that is trained.

    Args:
        num_parameters: C for a slope per channel, 1 for one slope for all.
        init: the slopes at first.
        dtype: of the weight, default float32.

    Shapes: (N, C, ...) → the same; weight (num_parameters,).

    Source: He et al. 2015, "Delving Deep into Rectifiers", §2.1.

    >>> import tinybn as tb
    >>> tb.nn.PReLU()([[-1.0, 2.0]])
    tensor([[-0.25,  2.  ]], grad_fn=<where>)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: DTypeLike = "float32") -> None:
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(F.zeros(num_parameters, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The initial slope everywhere."""
        self.weight.data.fill(self.init)

    def forward(self, input: Any) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Hardtanh(InplaceModule):
    """x limited to min_val..max_val.

    >>> import tinybn as tb
    >>> tb.nn.Hardtanh()([-2.0, 0.5, 2.0])
    tensor([-1. ,  0.5,  1. ])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: min_val is {min_val}; expected a number below max_val, {max_val}")
        super().__init__(inplace)
        self.min_val, self.max_val = min_val, max_val

    def compute(self, input: Any) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return self._with_inplace(f"min_val={self.min_val}, max_val={self.max_val}")


class ReLU6(Hardtanh):
    """min(max(x, 0), 6), a `Hardtanh` from 0 to 6.

    >>> import tinybn as tb
    >>> tb.nn.ReLU6()([-1.0, 2.0, 8.0])
    tensor([0., 2., 6.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Hardsigmoid(InplaceModule):
    """min(max(x + 3, 0), 6)/6, a sigmoid of three straight lines.

    Source: Courbariaux et al. 2015, "BinaryConnect", §2.2, there with another slope.

    >>> import tinybn as tb
    >>> tb.nn.Hardsigmoid()([-4.0, 0.0, 1.5])
    tensor([0.  , 0.5 , 0.75])
    """

    def compute(self, input: Any) -> Tensor:
        return F.hardsigmoid(input)

    def extra_repr(self) -> str:
        return ""  # PyTorch's does not show inplace either


class Hardswish(InplaceModule):
    """x·hardsigmoid(x).

    Source: Howard et al. 2019, "Searching for MobileNetV3", §5.2.

    >>> import tinybn as tb
    >>> tb.nn.Hardswish()([-4.0, 0.0, 4.0])
    tensor([-0.,  0.,  4.])
    """

    def compute(self, input: Any) -> Tensor:
        return F.hardswish(input)

    def extra_repr(self) -> str:
        return ""  # PyTorch's does not show inplace either


# --- exponential where negative ---------------------------------------------------------------------------------------


class ELU(InplaceModule):
    """x where it is positive, alpha·(eˣ − 1) elsewhere.

    Source: Clevert et al. 2016, "Fast and Accurate Deep Network Learning by Exponential Linear Units", §3.

    >>> import tinybn as tb
    >>> tb.nn.ELU()([0.0, 2.0])
    tensor([0., 2.])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def compute(self, input: Any) -> Tensor:
        return F.elu(input, self.alpha)

    def extra_repr(self) -> str:
        return self._with_inplace(f"alpha={self.alpha}")


class SELU(InplaceModule):
    """1.0507·elu(x, 1.6733), which keeps mean 0 and variance 1 from layer to layer.

    Source: Klambauer et al. 2017, "Self-Normalizing Neural Networks", §2.

    >>> import tinybn as tb
    >>> round(tb.nn.SELU()(1.0).item(), 4)
    1.0507
    """

    def compute(self, input: Any) -> Tensor:
        return F.selu(input)


class CELU(InplaceModule):
    """x where it is positive, alpha·(exp(x/alpha) − 1) elsewhere: without a kink whatever alpha is.

    Source: Barron 2017, "Continuously Differentiable Exponential Linear Units".

    >>> import tinybn as tb
    >>> tb.nn.CELU(2.0)([0.0, 2.0])
    tensor([0., 2.])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def compute(self, input: Any) -> Tensor:
        return F.celu(input, self.alpha)

    def extra_repr(self) -> str:
        return self._with_inplace(f"alpha={self.alpha}")


# --- smooth -----------------------------------------------------------------------------------------------------------


class GELU(Module):
    """x·Φ(x), with the normal distribution's Φ; approximate="tanh" takes a formula with tanh for it.

    Source: Hendrycks & Gimpel 2016, "Gaussian Error Linear Units", §2.

    >>> import tinybn as tb
    >>> tb.nn.GELU()([0.0, 10.0])
    tensor([ 0., 10.])
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, input: Any) -> Tensor:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(InplaceModule):
    """x·sigmoid(x), also called swish.

    Source: Elfwing et al. 2017, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation", §2.

    >>> import tinybn as tb
    >>> tb.nn.SiLU()([0.0])
    tensor([0.])
    """

    def compute(self, input: Any) -> Tensor:
        return F.silu(input)


class Mish(InplaceModule):
    """x·tanh(log(1 + eˣ)).

    Source: Misra 2019, "Mish: A Self Regularized Non-Monotonic Activation Function".

    >>> import tinybn as tb
    >>> tb.nn.Mish()([0.0])
    tensor([0.])
    """

    def compute(self, input: Any) -> Tensor:
        return F.mish(input)


class Softplus(Module):
    """log(1 + exp(beta·x))/beta, a smooth ReLU; x itself where beta·x is above the threshold.

    >>> import tinybn as tb
    >>> round(tb.nn.Softplus()(0.0).item(), 4)
    0.6931
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Any) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Sigmoid(Module):
    """1/(1 + exp(−x)).

    >>> import tinybn as tb
    >>> tb.nn.Sigmoid()([0.0])
    tensor([0.5])
    """

    def forward(self, input: Any) -> Tensor:
        return F.sigmoid(input)


class LogSigmoid(Module):
    """log sigmoid(x), without the overflow that the two in turn would have.

    >>> import tinybn as tb
    >>> tb.nn.LogSigmoid()([-1000.0])
    tensor([-1000.])
    """

    def forward(self, input: Any) -> Tensor:
        return F.logsigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent.

    >>> import tinybn as tb
    >>> tb.nn.Tanh()([0.0])
    tensor([0.])
    """

    def forward(self, input: Any) -> Tensor:
        return F.tanh(input)


class Softsign(Module):
    """x/(1 + |x|).

    >>> import tinybn as tb
    >>> tb.nn.Softsign()([-1.0, 3.0])
    tensor([-0.5 ,  0.75])
    """

    def forward(self, input: Any) -> Tensor:
        return F.softsign(input)


# --- over an axis -----------------------------------------------------------------------------------------------------


class Softmax(Module):
    """exp(x)/Σexp(x) over the axis ``dim``. Without one it warns, and takes 0 of 0, 1 or 3 axes, else 1.

    >>> import tinybn as tb
    >>> tb.nn.Softmax(dim=1)(tb.zeros(1, 4))
    tensor([[0.25, 0.25, 0.25, 0.25]])
    """

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        x = as_tensor(input)
        return F.softmax(x, _guessed("Softmax", x) if self.dim is None else self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """log softmax(x) over the axis ``dim``, for which `Softmax` has the default.

    >>> import tinybn as tb
    >>> round(tb.nn.LogSoftmax(dim=0)(tb.zeros(10))[0].item(), 4)
    -2.3026
    """

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        x = as_tensor(input)
        return F.log_softmax(x, _guessed("LogSoftmax", x) if self.dim is None else self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


def _guessed(name: str, x: Tensor) -> int:
    """The axis that PyTorch takes where none is given."""
    dim = 0 if x.ndim in (0, 1, 3) else 1
    warnings.warn(f"{name}: no dim was given; {dim} is taken for an input of shape {x.shape}", stacklevel=4)
    return dim
