"""The largest error of BatchNorm's float32 output against float64, on data with std 1 far from zero; and PyTorch's.

python tools/exactness.py
"""

import numpy as np

import tinybn as tb

try:
    import torch
except ImportError:
    torch = None

SHAPES = {"dense (128, 256)": (128, 256), "images (32, 16, 28, 28)": (32, 16, 28, 28)}

for name, shape in SHAPES.items():
    for mean in (0, 10, 1e3, 1e4, 1e5):
        x = (np.random.default_rng(0).standard_normal(shape) + mean).astype(np.float32)
        axes = (0, *range(2, x.ndim))
        exact = x.astype(np.float64)
        exact = (exact - exact.mean(axes, keepdims=True)) / np.sqrt(exact.var(axes, keepdims=True) + 1e-5)
        ours = tb.functional.batch_norm(x, None, None, training=True).numpy()
        line = f"{name}, mean {mean:6g}: tinybn {np.abs(ours - exact).max():.0e}"
        if torch is not None:
            theirs = torch.nn.functional.batch_norm(torch.from_numpy(x), None, None, training=True).numpy()
            line += f", PyTorch {torch.__version__} {np.abs(theirs - exact).max():.0e}"
        print(line)
