"""``python -m tinybn bench`` and ``info``: options, progress, files, exit status."""

import argparse
import runpy
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tqdm import tqdm

from tinybn._typing import Shape
from tinybn.bench import inputs, machine, plot, runner, table, timing
from tinybn.bench.compare import compare
from tinybn.bench.compare import text as compared_text
from tinybn.bench.registry import KERNELS
from tinybn.bench.results import Report, load
from tinybn.bench.runner import Group, Selection
from tinybn.bench.summary import summary

_EPILOG = """\
Names are patterns: --kernel 'batch_norm*' --version 'v*'. Shapes are 64,32,28,28 or a set's name.
Exit status: 0; 1 when a row is wrong or has failed, or --compare has found something slower; 2 for an error in options
or files; 130 after Ctrl-C. docs/bench.md tells what the figures mean."""

_BUSY = 0.5  # of the cores in use before the run begins: one of two is then somebody else's


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``bench``."""
    parser.epilog, parser.formatter_class = _EPILOG, argparse.RawDescriptionHelpFormatter
    select = parser.add_argument_group("which rows")
    add = select.add_argument
    add("--kernel", nargs="+", metavar="NAME", default=[], help="default: all")
    add("--version", nargs="+", metavar="NAME", default=[], help="default: all")
    add("--shape", nargs="+", metavar="SHAPE", help=f"N,C or N,C,H,W or a set: {', '.join(inputs.SHAPES)}")
    add("--dtype", nargs="+", choices=inputs.DTYPES, help="default: both")
    add("--layout", nargs="+", choices=inputs.LAYOUTS, help="default: all")
    add("--threads", nargs="+", type=_positive, metavar="N", help="default: 1 and all")
    add("--mean", nargs="+", type=float, metavar="M", default=[], help="where the data sits, in standard deviations")
    add("--no-torch", action="store_true", help="leave PyTorch out, even where it is installed")
    add("--load", nargs="+", type=Path, metavar="FILE.py", default=[], help="run a file that registers kernels first")
    how = parser.add_argument_group("what to do")
    add = how.add_argument
    add("--list", action="store_true", help="show kernels and versions, and run nothing")
    add("--quick", action="store_true", help="small arrays and few rounds: a check that takes seconds")
    add("--peers", action="store_true", help="what users call against PyTorch, on the standard shapes, with a summary")
    add("--rounds", type=_rounds, metavar="N", help=f"default: {timing.NORMAL.rounds}, with --quick 5")
    add("--json", type=Path, metavar="FILE", help="write all rows, and where they were measured")
    add("--plot", type=Path, metavar="FILE.png", help="draw the roofline and time over size (default shapes: sweep)")
    add("--compare", nargs=2, type=Path, metavar=("A.json", "B.json"), help="what B does slower than A")


def _positive(value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) <= 1024:
        raise argparse.ArgumentTypeError(f"{value}: expected a number from 1 to 1024")
    return int(value)


def _rounds(value: str) -> int:
    if not value.isdecimal() or int(value) < timing.LEAST_ROUNDS:
        raise argparse.ArgumentTypeError(f"{value}: expected a number, at least {timing.LEAST_ROUNDS}, for quartiles")
    return int(value)


def run(options: argparse.Namespace, tinybn_version: str) -> int:
    """Do what the options say; returns the exit status."""
    try:
        if options.compare:
            return _compare(*options.compare)
        for path in options.load:
            _load(path)
        return _list() if options.list else _bench(options, tinybn_version)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _load(path: Path) -> None:
    """Run a file as if it had been called without arguments: those of the lab are not its own."""
    own, sys.argv = sys.argv, [str(path)]
    try:
        runpy.run_path(str(path), run_name="tinybn.bench.loaded")
    finally:
        sys.argv = own


def info(tinybn_version: str) -> int:
    """Print what ``python -m tinybn info`` tells."""
    print(machine.text(machine.describe(tinybn_version)))
    return 0


def _compare(first: Path, second: Path) -> int:
    old, new = load(first), load(second)
    comparison = compare(old, new)
    print(compared_text(comparison, old, new))
    return 1 if comparison.worse else 0


def _list() -> int:
    runner.prepare()
    for kernel in KERNELS.values():
        shapes = " or ".join({2: "(N, C)", 4: "(N, C, H, W)"}.get(n, f"{n} axes") for n in kernel.dimensions)
        print(f"{kernel.name}   {shapes}; {', '.join(kernel.layouts)}; {', '.join(kernel.dtypes)}")
        for version in kernel.versions.values():
            print(f"  {version.name:<24} {version.note}")
    return 0


def _bench(options: argparse.Namespace, tinybn_version: str) -> int:
    for path in filter(None, (options.json, options.plot)):
        if not path.absolute().parent.is_dir():
            raise ValueError(f"{path}: there is no folder {path.absolute().parent} to write it to")
    if options.plot:
        plot.check_available(options.plot)
    runner.prepare(not options.no_torch)
    groups = runner.plan(_selection(options))
    if not groups:
        raise ValueError("no row matches; `python -m tinybn bench --list` shows what there is")
    effort = timing.QUICK if options.quick else timing.NORMAL
    if options.rounds:
        effort = replace(effort, rounds=options.rounds, seconds=effort.seconds / effort.rounds * options.rounds)
    settings = {"command": shlex.join(sys.argv[1:]), **asdict(effort)}
    report = Report(machine.describe(tinybn_version), settings)
    if (report.machine["load"] or 0) > _BUSY * report.machine["cores"]:
        print(f"note: the machine is busy (load {report.machine['load']}); figures will be noisy", file=sys.stderr)
    status = _run(groups, effort, report)
    if options.peers:
        print(summary(report.rows))
    if options.json:
        report.save(options.json)
    if options.plot and report.rows:
        plot.draw(report, options.plot)
    for row in report.failures:
        print(f"{row.status}: {row.kernel} {row.version} {row.case} {row.message}".rstrip(), file=sys.stderr)
    return status or (1 if report.failures else 0)


def _selection(options: argparse.Namespace) -> Selection:
    """What is given, over what suits ``--peers``, ``--plot`` and ``--quick``, over the defaults."""
    small = options.quick or options.peers or options.plot
    shapes = "quick" if options.quick else "standard" if options.peers else "sweep" if options.plot else "default"
    return Selection(
        kernels=options.kernel or (["F.*"] if options.peers else []),
        versions=options.version,
        shapes=[shape for name in options.shape or [shapes] for shape in _shapes(name)],
        dtypes=options.dtype or (["float32"] if small else inputs.DTYPES),
        layouts=options.layout or (["contiguous"] if options.plot else inputs.LAYOUTS),
        threads=sorted(set(options.threads or ([1] if options.quick else runner.default_threads()))),
        means=options.mean,
        peers=not options.no_torch,
    )


def _shapes(name: str) -> Sequence[Shape]:
    return inputs.SHAPES[name] if name in inputs.SHAPES else [inputs.parse_shape(name)]


def _run(groups: Sequence[Group], effort: timing.Effort, report: Report) -> int:
    with tqdm(groups, unit="group", file=sys.stderr, leave=False) as bar:
        try:
            for group in bar:
                bar.set_description(group.kernel.name)
                rows = runner.run_group(group, effort)
                report.rows += rows
                bar.write(f"{table.group_table(rows)}\n", file=sys.stdout)
        except KeyboardInterrupt:
            print(f"\ninterrupted: {len(report.rows)} rows are done", file=sys.stderr)
            return 130
    return 0
