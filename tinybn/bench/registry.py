"""The table of what can be measured: kernels, and the versions of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinybn._typing import Array, Generator
from tinybn.bench.inputs import DTYPES, LAYOUTS, Case

Arguments = dict[str, Any]  # a raw kernel's, by name, in the order of its parameters
Call = Callable[[], Any]

# Error at which a row is refused, relative to |expected| + the root mean square of what is expected. float32: what the
# BatchNorm kernels promise. float64: the twin is float64 as well, and data at a mean of 1e4 standard deviations makes
# 1e-12 of its rounding; a variance in one pass would be wrong by 1e-8 there.
TOLERANCE = {"float32": 2e-6, "float64": 1e-11}
PEER_TOLERANCE = 1e-3  # a peer has to compute the same thing; how exactly it does is what its row tells


@dataclass(frozen=True)
class Version:
    """One way to compute what a kernel computes.

    Args:
        name: what the table calls it.
        bind: from the kernel's arguments to a call without any. Whatever it prepares is not timed.
        results: from what the call returns to ``{name of an output: array}``; None if it writes into its arguments.
        threaded: it obeys the number of threads; otherwise it is run on one only.
        peer: somebody else's, to compare with.
        inexact: known to be wrong on data far from 0; its failure there is shown, and is no failure of the run.
        note: a few words for ``--list``.
    """

    name: str
    bind: Callable[[Arguments], Call]
    results: Callable[[Any], dict[str, Array]] | None = None
    threaded: bool = True
    peer: bool = False
    inexact: bool = False
    note: str = ""


@dataclass
class Kernel:
    """What is computed, whoever does it.

    Args:
        name: unique among the kernels.
        twin: the same in NumPy: same arguments, written into the same ones. It runs in float64 to verify the versions.
        arguments: makes a case's arguments; those that are arrays should come from the case and from `aligned`.
        outputs: names of the arguments that are written.
        updated: names of those that are read and written.
        scratch: names of those whose contents mean nothing before or after; a version may write to them.
        flops: additions, multiplications and comparisons, counted from the arguments.
        dimensions: numbers of axes of the shapes that it takes.
        dtypes, layouts: those that it takes.
        means: where the data sits, in standard deviations.
        tolerance: by dtype, the largest error that is accepted.
    """

    name: str
    twin: Callable[..., Any]
    arguments: Callable[[Case, Generator], Arguments]
    outputs: tuple[str, ...]
    flops: Callable[[Arguments], int]
    updated: tuple[str, ...] = ()
    dimensions: tuple[int, ...] = (2, 4)
    dtypes: tuple[str, ...] = DTYPES
    layouts: tuple[str, ...] = LAYOUTS
    means: tuple[float, ...] = (0.0,)
    tolerance: dict[str, float] = field(default_factory=lambda: dict(TOLERANCE))
    scratch: tuple[str, ...] = ()
    versions: dict[str, Version] = field(default_factory=dict)

    def add(self, version: Version) -> None:
        """Raises ValueError if there is one of that name."""
        if version.name in self.versions:
            raise ValueError(f"bench: {self.name!r} has a version {version.name!r} already; choose another name")
        self.versions[version.name] = version

    def takes(self, case: Case) -> bool:
        return len(case.shape) in self.dimensions and case.dtype in self.dtypes and case.layout in self.layouts


KERNELS: dict[str, Kernel] = {}


def register(kernel: str, version: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function as a version of a kernel, to be verified and timed next to the others.

    Args:
        kernel: a name that ``python -m tinybn bench --list`` shows.
        version: a name of its own for the function.

    Returns:
        A decorator. The function gets the raw kernel's arguments, outputs first, and has to fill the outputs; what it
        returns is ignored. It comes back unchanged.

    Raises:
        ValueError: there is no such kernel, or it has a version of that name.

    >>> import numpy as np
    >>> from tinybn import bench
    >>> @bench.register("erf", version="zero")
    ... def zero(out, x, threads):
    ...     out[...] = 0
    >>> row = bench.run(kernels=["erf"], versions=["zero"], quick=True)[0]
    >>> row.status
    'wrong'
    >>> bench.unregister("erf", "zero")
    """
    owner = find(kernel)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        owner.add(Version(version, positional(function), note="registered by the user"))
        return function

    return decorate


def register_kernel(
    name: str,
    *,
    twin: Callable[..., Any],
    arguments: Callable[[Case, Generator], Arguments],
    outputs: Sequence[str],
    flops: Callable[[Arguments], int],
    updated: Sequence[str] = (),
    dimensions: Sequence[int] = (2, 4),
    dtypes: Sequence[str] = DTYPES,
    layouts: Sequence[str] = LAYOUTS,
    means: Sequence[float] = (0.0,),
    tolerance: dict[str, float] | None = None,
    scratch: Sequence[str] = (),
) -> Kernel:
    """A new kernel, whose versions `register` adds. The twin is its version "numpy".

    The arguments are those of `Kernel`. Bytes are counted from the arrays among the kernel's arguments.

    Raises:
        ValueError: there is a kernel of that name.
    """
    if name in KERNELS:
        raise ValueError(f"bench: there is a kernel {name!r} already; choose another name")
    kernel = Kernel(
        name,
        twin,
        arguments,
        tuple(outputs),
        flops,
        tuple(updated),
        tuple(dimensions),
        tuple(dtypes),
        tuple(layouts),
        tuple(means),
        {**TOLERANCE, **(tolerance or {})},
        tuple(scratch),
    )
    kernel.add(Version("numpy", positional(twin), threaded=False, note="the NumPy twin"))
    KERNELS[name] = kernel
    return kernel


def unregister(kernel: str, version: str | None = None) -> None:
    """Take a version away, or a kernel with all of its versions.

    Raises:
        ValueError: there is none.
    """
    owner = find(kernel)
    if version is None:
        del KERNELS[kernel]
    elif version in owner.versions:
        del owner.versions[version]
    else:
        raise ValueError(f"bench: {kernel!r} has no version {version!r}; it has {', '.join(owner.versions)}")


def find(kernel: str) -> Kernel:
    if kernel not in KERNELS:
        raise ValueError(f"bench: there is no kernel {kernel!r}; there are {', '.join(KERNELS)}")
    return KERNELS[kernel]


def positional(function: Callable[..., Any], **changes: Any) -> Callable[[Arguments], Call]:
    """A raw kernel's ``bind``: its arguments by position, some of them changed."""

    def bind(arguments: Arguments) -> Call:
        values = tuple({**arguments, **changes}.values())
        return lambda: function(*values)

    return bind
