"""What other frameworks mean by the same words: momentum, the running variance, eps."""

from typing import NamedTuple


class Convention(NamedTuple):
    """How a framework defines batch normalization.

    Fields:
        eps, momentum: its defaults.
        weighs_new: momentum is the weight of the new statistics; else that of the old ones.
        unbiased: the running variance is the unbiased one, Σ/(M − 1); else Σ/M.
    """

    eps: float
    momentum: float
    weighs_new: bool
    unbiased: bool


CONVENTIONS = {
    "torch": Convention(1e-5, 0.1, weighs_new=True, unbiased=True),
    "keras": Convention(1e-3, 0.99, weighs_new=False, unbiased=False),
    "flax": Convention(1e-5, 0.99, weighs_new=False, unbiased=False),
    "mlx": Convention(1e-5, 0.1, weighs_new=True, unbiased=False),
    "onnx": Convention(1e-5, 0.9, weighs_new=False, unbiased=False),
    "chainer": Convention(2e-5, 0.9, weighs_new=False, unbiased=True),
}


def find_convention(name: str) -> Convention:
    """The convention of that name."""
    if name not in CONVENTIONS:
        raise ValueError(f"convention {name!r}: expected one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


class Default(float):
    """PyTorch's default, which another convention replaces. Whoever gives a value of their own gives a plain float."""

    __slots__ = ()


EPS = Default(CONVENTIONS["torch"].eps)
MOMENTUM = Default(CONVENTIONS["torch"].momentum)
