"""A run: which rows there are, and each group of them verified and timed."""

import fnmatch
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinybn._typing import Array, Shape
from tinybn.bench import peers, timing, verify, versions
from tinybn.bench.inputs import DEFAULT, DTYPES, LAYOUTS, QUICK, Case, layouts_of
from tinybn.bench.limits import copy_call, peak_flops
from tinybn.bench.registry import KERNELS, Arguments, Call, Kernel, Version
from tinybn.bench.results import Row
from tinybn.bench.timing import Contestant, Effort, take_turns, use_threads
from tinybn.threads import get_num_threads

_SEED = 0  # the same data in every run
_NORMAL_SIGMA = 1.4826  # times the median absolute deviation is σ, where the deviations are normal


@dataclass(frozen=True)
class Selection:
    """Which rows to run. Names are patterns such as ``batch_norm*``; an empty list stands for all.

    Means that are not given are the kernel's own.
    """

    kernels: Sequence[str] = ()
    versions: Sequence[str] = ()
    shapes: Sequence[Shape] = DEFAULT
    dtypes: Sequence[str] = DTYPES
    layouts: Sequence[str] = LAYOUTS
    threads: Sequence[int] = field(default_factory=lambda: default_threads())
    means: Sequence[float] = ()
    peers: bool = True


@dataclass(frozen=True)
class Group:
    """What is timed in turn: the versions of a kernel on one case, each with each number of threads."""

    kernel: Kernel
    case: Case
    entries: tuple[tuple[Version, int], ...]


def default_threads() -> list[int]:
    """One thread, and all."""
    return sorted({1, get_num_threads()})


def prepare(with_peers: bool = True) -> None:
    """Add to the table what is found only when somebody wants to run: the builds, the peers."""
    versions.add_compiled()
    if with_peers:
        peers.add_peers()


def plan(selection: Selection) -> list[Group]:
    """The groups of a selection, in the order of the table."""
    planned = []
    for kernel in KERNELS.values():
        if not _matches(kernel.name, selection.kernels):
            continue
        for case in _cases(kernel, selection):
            chosen = tuple(_entries(kernel, selection))
            if any(not version.peer for version, _ in chosen):
                planned.append(Group(kernel, case, chosen))
    return planned


def _cases(kernel: Kernel, selection: Selection) -> Iterator[Case]:
    for shape in selection.shapes:
        for layout in layouts_of(shape):
            for dtype in selection.dtypes:
                for mean in selection.means or kernel.means:
                    case = Case(shape, dtype, layout, mean)
                    if layout in selection.layouts and kernel.takes(case):
                        yield case


def _entries(kernel: Kernel, selection: Selection) -> Iterator[tuple[Version, int]]:
    for version in kernel.versions.values():
        wanted = selection.peers if version.peer else _matches(version.name, selection.versions)
        if wanted:
            for threads in selection.threads if version.threaded else [min(selection.threads)]:
                yield version, threads


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def run_group(group: Group, effort: Effort) -> list[Row]:
    """Verify each version, then time those that are right, together with copies of the same size."""
    with timing.threads_restored():
        rows, contestants = _verified(group)
        if not contestants:
            return rows
        copies = _copies(group)
        take_turns([*contestants.values(), *copies.values()], effort)
        return [_timed(row, contestants, copies) if row.key in contestants else row for row in rows]


def _verified(group: Group) -> tuple[list[Row], dict[Any, Contestant]]:
    kernel, case = group.kernel, group.case
    arguments = kernel.arguments(case, np.random.default_rng(_SEED))
    wanted = verify.expected(kernel, arguments)
    fresh = {name: arguments[name].copy("K") for name in verify.written(kernel)}
    arrays = {name: value for name, value in arguments.items() if isinstance(value, np.ndarray)}
    inputs = [value for name, value in arrays.items() if name not in fresh and name not in kernel.scratch]
    traffic, flops = _traffic(kernel, arguments), kernel.flops(arguments)
    rows: list[Row] = []
    contestants: dict[Any, Contestant] = {}
    for version, threads in group.entries:
        use_threads(threads)
        for name, array in fresh.items():
            np.copyto(arguments[name], array)
        for array in inputs:  # a version that writes to them would spoil those after it; PyTorch takes none read-only
            array.flags.writeable = version.peer
        given = {**arguments, "threads": threads} if "threads" in arguments else arguments
        row, call = _verified_row(group, version, threads, given, wanted)
        rows.append(replace(row, bytes=traffic, flops=flops))
        if call is not None:
            contestants[row.key] = Contestant(version.name, call, threads, version.peer)
    return rows, contestants


def _verified_row(
    group: Group, version: Version, threads: int, arguments: Arguments, wanted: dict[str, Array]
) -> tuple[Row, Call | None]:
    kernel, case = group.kernel, group.case
    row = Row(
        kernel.name, version.name, case.shape, case.dtype, case.layout, case.mean, threads, "failed", peer=version.peer
    )
    try:
        call = version.bind(arguments)
        got = verify.results(version, call, arguments, verify.written(kernel))
        error = verify.error(got, wanted)
    except Exception as problem:  # whatever a user's kernel may raise is its row's, not the run's
        return replace(row, message=f"{type(problem).__name__}: {problem}"), None
    if error <= verify.allowed(kernel, version, case.dtype):
        return replace(row, status="ok", error=error), call
    return replace(row, status="inexact" if version.inexact and case.mean else "wrong", error=error), None


def _traffic(kernel: Kernel, arguments: Arguments) -> int:
    """Bytes that have to move: each array once, and those that are updated twice."""
    sizes = {
        name: value.nbytes
        for name, value in arguments.items()
        if isinstance(value, np.ndarray) and name not in kernel.scratch
    }
    return sum(sizes.values()) + sum(sizes[name] for name in kernel.updated)


def _copies(group: Group) -> dict[int, Contestant]:
    """By number of threads; the copy on one, which NumPy makes, is the control of all rows."""
    numbers = {1, *(threads for _, threads in group.entries)}
    return {n: Contestant(f"copy {n}", copy_call(group.case, n), n) for n in sorted(numbers)}


def _timed(row: Row, contestants: dict[Any, Contestant], copies: dict[int, Contestant]) -> Row:
    contestant, control = contestants[row.key], copies[1]
    times = sorted(contestant.times.values())
    first, _, third = statistics.quantiles(times, n=4)
    ratios = [time / control.times[turn] for turn, time in contestant.times.items() if turn in control.times]
    ratio = statistics.median(ratios)
    spread = _NORMAL_SIGMA * statistics.median(abs(r - ratio) for r in ratios) / ratio
    moved = 2 * row.case.nbytes
    fastest = min(copies[n].median for n in {1, row.threads})
    peer = next((c for key, c in contestants.items() if c.peer and c.threads == row.threads), None)
    return replace(
        row,
        rounds=len(times),
        minimum=times[0],
        median=contestant.median,
        quartiles=(first, third),
        times_copy=ratio,
        times_copy_spread=spread,
        copy=control.median,
        bandwidth=moved / fastest,
        peak_flops=peak_flops(row.dtype, row.threads),
        peer_median=peer.median if peer else None,
    )


def run(
    kernels: Sequence[str] = (),
    versions: Sequence[str] = (),
    *,
    shapes: Sequence[Shape] | None = None,
    dtypes: Sequence[str] | None = None,
    layouts: Sequence[str] = LAYOUTS,
    threads: Sequence[int] | None = None,
    means: Sequence[float] = (),
    with_peers: bool = False,
    quick: bool = False,
    progress: Callable[[Group, list[Row]], None] = lambda group, rows: None,
) -> list[Row]:
    """Verify and time what matches; what is not given is as in ``python -m tinybn bench`` with the same options.

    Args:
        kernels, versions: names or patterns; all by default.
        shapes, dtypes, layouts, threads, means: of the data; see `Case`.
        with_peers: time PyTorch too, if it is installed.
        quick: small arrays and few rounds.
        progress: called with each group and its rows when they are done.

    Returns:
        The rows; their `status` says which have failed.
    """
    prepare(with_peers)
    selection = Selection(
        kernels,
        versions,
        shapes or (QUICK if quick else DEFAULT),
        dtypes or (("float32",) if quick else DTYPES),
        layouts,
        threads or ([1] if quick else default_threads()),
        means,
        with_peers,
    )
    rows: list[Row] = []
    for group in plan(selection):
        made = run_group(group, timing.QUICK if quick else timing.NORMAL)
        progress(group, made)
        rows += made
    return rows
