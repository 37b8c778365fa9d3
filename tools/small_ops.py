"""What recording a small op costs, beside PyTorch eager and NumPy in the same run, on one core.

python tools/small_ops.py          # a + b of 10 elements, and forward + backward of 50 chained ops
python tools/small_ops.py --parts  # where the time of a + b goes

Medians over rounds in which the contestants take turns. Without PyTorch its columns stay away.
"""

import argparse
import os
import statistics
import time

if hasattr(os, "sched_setaffinity"):  # before NumPy starts its threads
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import tinybn as tb
from tinybn.autograd import Node, recorded
from tinybn.silence import SILENT, restore, set_state

parser = argparse.ArgumentParser(description="Cost of recording a small op, beside PyTorch and NumPy, on one core.")
parser.add_argument("--rounds", type=int, default=40)
parser.add_argument("--parts", action="store_true", help="where the time of a + b goes")
options = parser.parse_args()

tb.set_num_threads(1)
try:
    import torch

    torch.set_num_threads(1)
except ImportError:
    torch = None


def additions(x, y, count):
    for _ in range(count):
        x + y


def chains(x, y, count):
    for _ in range(count):
        z = y
        for _ in range(25):
            z = z * 1.01
            z = z + x
        z.sum().backward()


def microseconds(contestants, count):
    """The median time of one call of each, over rounds."""
    times = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, call in contestants.items():
            began = time.perf_counter()
            call(count)
            times[name].append(1e6 * (time.perf_counter() - began) / count)
    return {name: statistics.median(values) for name, values in times.items()}


def report(title, times):
    print(f"{title}: " + ", ".join(f"{name} {value:.2f} µs" for name, value in times.items()))
    if "PyTorch" in times:
        print(f"    tinybn / PyTorch {times['tinybn'] / times['PyTorch']:.2f}")


a, b = (tb.randn(10, requires_grad=True) for _ in range(2))
pairs = {"tinybn": (a, b)}
if torch:
    pairs["PyTorch"] = tuple(torch.tensor(x.tolist(), requires_grad=True) for x in (a, b))

if options.parts:
    x, y = a.data, b.data
    made, node = tb.ops.add(x, y), (a + b).node

    def repeat(function):
        def calls(count):
            for _ in range(count):
                function()

        return calls

    parts = {
        "a + b": lambda: a + b,
        "NumPy's addition": lambda: x + y,
        "ops.add, with it": lambda: tb.ops.add(x, y),
        "warnings off and on": lambda: restore(set_state(SILENT)),
        "recorded, a Tensor and a Node": lambda: recorded(tb.ops.add, made, (), (a, b), True),
        "the Node of these": lambda: Node(tb.ops.add, (a, b), None, (), x),
        "the Tensor of these": lambda: tb.Tensor(x, True, node),
        "an empty call, part of each": lambda: None,
    }
    for name, value in microseconds({name: repeat(part) for name, part in parts.items()}, 2000).items():
        print(f"{name:32s}{value:6.2f} µs")
else:
    contestants = {name: lambda count, xy=xy: additions(*xy, count) for name, xy in pairs.items()}
    contestants["NumPy"] = lambda count, xy=(a.data, b.data): additions(*xy, count)
    report("a + b, 10 elements", microseconds(contestants, 2000))
    contestants = {name: lambda count, xy=xy: chains(*xy, count) for name, xy in pairs.items()}
    report("50 chained ops, forward and backward", microseconds(contestants, 20))
