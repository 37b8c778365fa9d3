"""A kernel of your own in tinybn's lab: verified against the NumPy twin in float64, then timed next to the others.

python examples/bench_own_kernel.py            # 6 MB, some seconds
python examples/bench_own_kernel.py --quick    # small arrays
"""

import argparse

import numpy as np

import tinybn as tb
from tinybn.bench import aligned, table

parser = argparse.ArgumentParser(description="Kernels of one's own, verified and timed.")
parser.add_argument("--quick", action="store_true", help="small arrays and few rounds")
options = parser.parse_args()


# 1. Another version of a kernel that is there. It gets the raw kernel's arguments, outputs first (`normalize` in
#    tinybn/kernels/reference/batchnorm.py tells what they mean), and fills the outputs. This one folds everything into
#    one multiplication and one addition, in the data's dtype.
@tb.bench.register("normalize", version="folded")
def folded(y, x, mean, var, weight, bias, eps, relu, threads, stream):
    scale = (weight / np.sqrt(var + eps)).astype(x.dtype)
    offset = (bias - mean * scale).astype(x.dtype)
    channels = (1, -1) + (1,) * (x.ndim - 2)
    np.multiply(x, scale.reshape(channels), out=y)
    np.add(y, offset.reshape(channels), out=y)


# 2. A kernel that is not there: a NumPy twin that is easy to read and right, how to make its arguments, and how many
#    operations it takes. Bytes are counted from the arrays.
def leaky_relu(y, x, slope):
    y[...] = np.where(x > 0, x, slope * x)


def arguments(case, generator):
    x = case.noise(generator).ravel("K")
    return {"y": aligned(x.shape, case.dtype), "x": x, "slope": 0.01}


tb.bench.register_kernel(
    "leaky_relu", twin=leaky_relu, arguments=arguments, outputs=["y"], flops=lambda given: 2 * given["x"].size
)


@tb.bench.register("leaky_relu", version="maximum")
def leaky_relu_as_maximum(y, x, slope):
    np.multiply(x, slope, out=y)
    np.maximum(x, y, out=y)


@tb.bench.register("leaky_relu", version="forgetful")
def leaky_relu_without_slope(y, x, slope):
    np.maximum(x, 0, out=y)


# 3. Run them. `folded` passes at mean 0. At mean 1e4 it loses what the subtraction should have cancelled, and is not
#    timed; neither is `forgetful`, anywhere.
shapes = [(16, 16, 14, 14)] if options.quick else [(64, 32, 28, 28)]
for kernel, means in ("normalize", [0.0, 1e4]), ("leaky_relu", [0.0]):
    tb.bench.run(
        [kernel],
        shapes=shapes,
        dtypes=["float32"],
        layouts=["contiguous"],
        means=means,
        quick=options.quick,
        progress=lambda group, rows: print(table.group_table(rows), end="\n\n"),
    )
