"""The tables of docs/kernels.md: how long each step of the ladder takes, what the next op sees, how wrong it is.

Run as ``python -m tinybn.bench.ladder_page``; it takes a minute.
"""

import argparse
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from tinybn._typing import Array, Shape
from tinybn.bench.inputs import aligned
from tinybn.bench.ladder import LADDER, Step, step_named
from tinybn.bench.limits import peak_flops
from tinybn.bench.timing import NORMAL, QUICK, Contestant, Effort, take_turns, threads_restored

# (N, C, S) of float32: 6.4 MB, which third-level caches hold; and 51 MB, in rows of 50 KB and in rows of 3 KB.
SHAPES: list[Shape] = [(64, 32, 784), (8, 128, 12544), (64, 256, 784)]
READ_SHAPES: list[Shape] = [(64, 32, 49), (64, 32, 784), (64, 256, 784)]
MEANS = [0.0, 10.0, 1e3, 1e4, 1e5]
EPS = 1e-5


def time_table(shapes: Sequence[Shape], threads: int, effort: Effort) -> str:
    """Milliseconds of each step on one thread and on ``threads``, and how often a copy of x fits into them."""
    heads, columns = [], []
    for shape in shapes:
        heads += [_size_name(shape), f"{threads} threads"]
        columns += _time_columns(shape, threads, effort)
    names = ["copy", *(f"`{step.name}`" for step in LADDER)]
    return markdown(["step", *heads], list(zip(names, *columns, strict=True)))


def _time_columns(shape: Shape, threads: int, effort: Effort) -> list[list[str]]:
    """The cells below one shape: those for one thread, and those for several; the copy is the first of each."""
    x, y, weight, bias = _data(shape)
    contestants = {("copy", 1): Contestant("copy", functools.partial(np.copyto, y, x))}
    for step in LADDER:
        for count in {1, threads} if step.threaded else {1}:
            call = functools.partial(step.function, y, x, weight, bias, EPS, count)
            contestants[step.name, count] = Contestant(step.name, call, threads=count)
    with threads_restored():
        take_turns(list(contestants.values()), effort)

    copy = contestants["copy", 1].median

    def cell(name: str, count: int) -> str:
        found = contestants.get((name, count))
        return f"{1e3 * found.median:.2f} ms, {found.median / copy:.1f} ×" if found else ""

    return [[cell(name, count) for name in ("copy", *(step.name for step in LADDER))] for count in (1, threads)]


def read_table(shapes: Sequence[Shape], threads: int, effort: Effort) -> str:
    """Milliseconds of a forward, and of a forward with a sum over y behind it, which finds y in the cache or not."""
    runs = [("threaded", 1), ("threaded", threads), ("streaming", 1), ("streaming", threads)]
    columns = []
    for shape in shapes:
        x, y, weight, bias = _data(shape)
        alone, followed = [], []
        for name, count in runs:
            forward = functools.partial(step_named(name).function, y, x, weight, bias, EPS, count)
            alone.append(Contestant(name, forward, threads=count))
            followed.append(Contestant(name, functools.partial(_forward_and_sum, forward, y), threads=count))
        with threads_restored():
            take_turns([*alone, *followed], effort)
        columns.append([f"{1e3 * a.median:.3f}, {1e3 * b.median:.3f}" for a, b in zip(alone, followed, strict=True)])
    names = [f"`{name}`, {count} {'thread' if count == 1 else 'threads'}" for name, count in runs]
    return markdown(["ms, and with a sum over y", *map(_size_name, shapes)], list(zip(names, *columns, strict=True)))


def _forward_and_sum(forward: Callable[[], None], y: Array) -> None:
    forward()
    y.sum()


def limits(shape: Shape) -> str:
    """The two roofs of the machine for one thread, and where they meet."""
    x, y, *_ = _data(shape)
    copy = Contestant("copy", functools.partial(np.copyto, y, x))
    take_turns([copy], NORMAL)
    bandwidth, flops = 2 * x.nbytes / copy.median, peak_flops("float32", 1)
    return (
        f"One thread copies {x.nbytes / 1e6:.2g} MB at {bandwidth / 1e9:.0f} GB/s and multiplies matrices at "
        f"{flops / 1e9:.0f} GFLOP/s: it could do {flops / bandwidth:.1f} operations for each byte that it moves."
    )


def error_table(shape: Shape, means: Sequence[float]) -> str:
    """The largest error of each step's float32 output, by how many standard deviations the data sits from 0."""
    rows = [(f"`{step.name}`", *(f"{largest_error(step, shape, mean):.0e}" for mean in means)) for step in LADDER]
    return markdown(["step", *(f"mean {mean:g}" for mean in means)], rows)


def largest_error(step: Step, shape: Shape, mean: float) -> float:
    """Of y against float64, on float32 data with standard deviation 1; weight is 1 and bias 0."""
    x, y, weight, bias = _data(shape, mean)
    step.function(y, x, weight, bias, EPS, 1)
    wide = x.astype(np.float64)
    exact = (wide - wide.mean((0, 2), keepdims=True)) / np.sqrt(wide.var((0, 2), keepdims=True) + EPS)
    return float(np.abs(y - exact).max())


def _data(shape: Shape, mean: float = 0.0) -> tuple[Array, Array, Array, Array]:
    x, y = aligned(shape, np.float32), aligned(shape, np.float32)
    x[...] = np.random.default_rng(0).standard_normal(shape) + mean
    return x, y, np.ones(shape[1], np.float32), np.zeros(shape[1], np.float32)


def _size_name(shape: Shape) -> str:
    return f"{shape}, {4e-6 * math.prod(shape):.2g} MB"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns line up; all but the first are set to the right.

    >>> print(markdown(["step", "time"], [["copy", "1 ms"], ["sum", "20 ms"]]))
    | step |  time |
    | ---- | ----: |
    | copy |  1 ms |
    | sum  | 20 ms |
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        padded = [first.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(others, widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    return "\n".join(map(line, [head, rule, *rows]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tinybn.bench.ladder_page", description="The tables of docs/kernels.md."
    )
    parser.add_argument("--threads", type=int, default=2, help="of the second column of each tensor (default: 2)")
    parser.add_argument("--quick", action="store_true", help="small tensors, few rounds")
    options = parser.parse_args(arguments)
    if options.threads < 2:
        parser.error(f"--threads {options.threads}: expected 2 or more; one thread has a column in any case")

    try:
        step_named("naive")
    except ImportError as missing:
        parser.exit(1, f"{missing}\n")
    effort = QUICK if options.quick else NORMAL
    shapes, read_shapes = ([(8, 4, 49)],) * 2 if options.quick else (SHAPES, READ_SHAPES)
    print(time_table(shapes, options.threads, effort), end="\n\n")
    print(limits(shapes[-1]), end="\n\n")
    print(read_table(read_shapes, options.threads, effort), end="\n\n")
    print(error_table(shapes[0], MEANS))


if __name__ == "__main__":
    main()
