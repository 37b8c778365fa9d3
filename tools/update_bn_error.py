"""How far `tb.nn.update_bn` is from the statistics of all data, computed in float64 in one batch.

python tools/update_bn_error.py    # seven BatchNorms, 6,000 images of MNIST, batches of several sizes
"""

import copy

import numpy as np

import tinybn as tb
from tinybn import nn

IMAGES = 6_000
SIZES = {"64": [64], "999": [999], "all": [IMAGES], "1, 7, 500, 33, 2 in turn": [1, 7, 500, 33, 2]}

tb.manual_seed(0)
train, _ = tb.data.mnist()
images, labels = train.batch(range(IMAGES))
images = np.asarray(images)
layers: list[nn.Module] = []
before = 1
for channels in (8, 8, 16, 16, 16, 16):
    stride = 2 if 1 < before != channels else 1
    layers += [nn.Conv2d(before, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    before = channels
layers += [nn.Flatten(), nn.Linear(16 * 14 * 14, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10)]
model = nn.Sequential(*layers)


def cut(sizes: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The data in batches whose sizes take turns."""
    batches, start = [], 0
    while start < IMAGES:
        stop = start + sizes[len(batches) % len(sizes)]
        batches.append((images[start:stop], labels[start:stop]))
        start = stop
    return batches


def norms_of(net: nn.Module) -> list[nn.BatchNorm1d]:
    return [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]


def error(got: nn.BatchNorm1d, expected: nn.BatchNorm1d) -> float:
    """The largest difference of the statistics, relative to the largest of them."""
    pairs = ((got.running_mean.data, expected.running_mean.data), (got.running_var.data, expected.running_var.data))
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


tb.train.fit(model, cut([64])[:-1], tb.optim.Adam(model.parameters()))
exact = copy.deepcopy(model).double().eval()
with tb.no_grad():
    x = tb.tensor(images.astype(np.float64))
    for layer in exact:
        if layer in norms_of(exact):
            axes = (0, *range(2, x.ndim))
            layer.running_mean.data[...] = x.data.mean(axis=axes)
            layer.running_var.data[...] = x.data.var(axis=axes, ddof=1)
        x = layer(x)

for name, sizes in SIZES.items():
    updated = copy.deepcopy(model)
    nn.update_bn(updated, cut(sizes), exact=True)
    errors = [error(a, b) for a, b in zip(norms_of(updated), norms_of(exact), strict=True)]
    text = f"batches of {name}: exact, worst of {len(errors)} layers {max(errors):.1e}"
    if min(sizes) > 1:
        updated = copy.deepcopy(model)
        nn.update_bn(updated, cut(sizes))
        text += f"; one pass, first layer {error(norms_of(updated)[0], norms_of(exact)[0]):.1e}"
    print(text)
