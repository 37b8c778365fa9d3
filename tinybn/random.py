"""The default random generator. Every function and layer that draws numbers also takes ``generator=``."""

import numpy as np

_default = np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Seed the default generator and return it.

    Equal seeds give equal bits on one machine.

    >>> import tinybn as tb
    >>> _ = tb.manual_seed(0); a = tb.rand(3)
    >>> _ = tb.manual_seed(0); b = tb.rand(3)
    >>> bool((a == b).all())
    True
    """
    # The generator stays the same object: layers that took it as their own are seeded too.
    _default.bit_generator.state = np.random.default_rng(seed).bit_generator.state
    return _default


def default_generator() -> np.random.Generator:
    """The generator that serves whenever ``generator=None``."""
    return _default


def resolve(generator: np.random.Generator | None) -> np.random.Generator:
    """The generator given, or the default one.

    Raises:
        TypeError: something else than a NumPy generator, for instance a seed.
    """
    if generator is None:
        return _default
    if not isinstance(generator, np.random.Generator):
        raise TypeError(f"generator is {generator!r}; expected a NumPy generator such as np.random.default_rng(0)")
    return generator
