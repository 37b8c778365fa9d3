"""What one training step of the two-layer CNN costs: milliseconds and page faults. Figures in comments come from here.

python tools/cnn_step.py                           # as it is
python tools/cnn_step.py --threads 1 --no-memory   # one core, NumPy's own allocator
"""

import argparse
import resource
import statistics
import time

import numpy as np

import tinybn as tb
from tinybn import nn

parser = argparse.ArgumentParser(description="Time and page faults of a training step of the two-layer CNN.")
parser.add_argument("--threads", type=int, default=tb.get_num_threads())
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--steps", type=int, default=50)
parser.add_argument("--no-memory", action="store_true", help="NumPy's own allocator")
options = parser.parse_args()

tb.set_num_threads(options.threads)
if options.no_memory:
    tb.memory.disable()

tb.manual_seed(0)
model = nn.Sequential(
    *(nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Flatten(), nn.Linear(64 * 7 * 7, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10)),
)
optimizer = tb.optim.Adam(model.parameters())
images, labels = tb.rand(options.batch_size, 1, 28, 28), np.arange(options.batch_size) % 10

times, faults = [], []
for _ in range(5 + options.steps):
    faults_before, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    optimizer.zero_grad()
    tb.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
    times.append(time.perf_counter() - began)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults_before)

milliseconds = [1e3 * t for t in times[5:]]
print(
    f"{statistics.median(milliseconds):.1f} ms a step (fastest {min(milliseconds):.1f}), "
    f"{statistics.mean(faults[5:]):.0f} page faults; {options.threads} threads, kernels: {tb.kernels.BUILD}"
)
