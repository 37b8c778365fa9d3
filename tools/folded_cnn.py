"""What folding BatchNorm saves: the CNN of examples/mnist_cnn.py in evaluation, as it is and folded by `tb.nn.fold_bn`.

python tools/folded_cnn.py                  # batches of 64, 250 and 1,000 on one core and on all
python tools/folded_cnn.py --batch 64 --threads 1
"""

import argparse
import os
import statistics
import time

import numpy as np

import tinybn as tb
from tinybn import nn

ROUNDS = 21
SAMPLE = 0.02  # seconds of calls that are timed together

parser = argparse.ArgumentParser(description="Evaluation of a CNN, with its BatchNorms and with them folded.")
parser.add_argument("--batch", type=int, nargs="+", default=[64, 250, 1000])
parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, os.cpu_count() or 1}))
options = parser.parse_args()

tb.manual_seed(0)
train, test = tb.data.mnist()
model = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1, bias=False),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1, bias=False),
    nn.BatchNorm2d(64),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(64 * 7 * 7, 128, bias=False),
    nn.BatchNorm1d(128),
    nn.ReLU(),
    nn.Dropout(0.3),
    nn.Linear(128, 10),
)
batches = [train.batch(range(start, start + 64)) for start in range(0, 128 * 64, 64)]
tb.train.fit(model, batches, tb.optim.Adam(model.parameters(), lr=2e-3))
folded = nn.fold_bn(model.eval())


def seconds_of(net: nn.Module, images: tb.Tensor) -> float:
    """Of one call, from as many as a sample takes."""
    calls, started = 0, time.perf_counter()
    with tb.no_grad():
        while time.perf_counter() - started < SAMPLE:
            net(images)
            calls += 1
    return (time.perf_counter() - started) / calls


images, _ = test.batch(range(max(options.batch)))
with tb.no_grad():
    expected, got = model(images).data, folded(images).data
print(f"largest difference of outputs: {np.abs(got - expected).max() / np.abs(expected).max():.1e} of the largest")
print("threads  batch   as it is     folded   ratio")
for threads in options.threads:
    tb.set_num_threads(threads)
    for batch in options.batch:
        some = tb.tensor(images[:batch])
        rounds = [(seconds_of(model, some), seconds_of(folded, some)) for _ in range(ROUNDS)]
        plain, fused = (statistics.median(times) * 1e3 for times in zip(*rounds, strict=True))
        ratio = statistics.median(a / b for a, b in rounds)
        print(f"{threads:7} {batch:6} {plain:7.2f} ms {fused:7.2f} ms {ratio:7.2f}")
