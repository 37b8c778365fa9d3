"""The optimizers' updates on lists of arrays, all in one call of a kernel, or by NumPy where that cannot take them."""

from typing import Any

from tinybn._typing import Array
from tinybn.kernels.table import KERNELS, useful_threads
from tinybn.threads import get_num_threads

_SHARED_BYTES = 1 << 18  # of parameters, from which on threads share them


def sgd(parameters: list[Array], gradients: list[Array], velocities: list[Array] | None, *options: Any) -> None:
    """SGD's step; `tinybn.kernels.reference.sgd` has the formula and the options."""
    _update("sgd", (parameters, gradients, velocities), options)


def adam(
    parameters: list[Array], gradients: list[Array], means: list[Array], squares: list[Array], *options: Any
) -> None:
    """Adam's step, likewise."""
    _update("adam", (parameters, gradients, means, squares), options)


def _update(name: str, lists: tuple[list[Array] | None, ...], options: tuple[Any, ...]) -> None:
    compiled, twin = KERNELS[name]
    threads, size = get_num_threads(), sum(p.nbytes for p in lists[0] or ())
    threads = 1 if threads == 1 or size < _SHARED_BYTES else useful_threads(threads, 2 * len(lists) * size)
    if compiled is None or not compiled(*lists, *options, threads):
        twin(*lists, *options, threads)
