"""The command line: ``python -m tinybn`` with ``bench`` or ``info``."""

import argparse
import sys
from collections.abc import Sequence

from tinybn import __version__
from tinybn.bench import command
from tinybn.bench.train import command as train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tinybn", description="tinybn's tools.")
    parser.add_argument("--version", action="version", version=f"tinybn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    bench = commands.add_parser("bench", help="verify and time the kernels", description="Verify and time the kernels.")
    command.add_options(bench)
    subject = bench.add_subparsers(dest="subject", metavar="train", help="race whole training steps instead")
    train.add_options(subject.add_parser("train", description="Race training steps against PyTorch and JAX."))
    commands.add_parser("info", help="what tinybn runs on: versions, kernels, BLAS, threads, processor, caches")
    options = parser.parse_args(arguments)
    if options.command == "bench" and options.subject == "train":
        return train.run(options, __version__)
    if options.command == "bench":
        return command.run(options, __version__)
    if options.command == "info":
        return command.info(__version__)
    parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
