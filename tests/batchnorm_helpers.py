"""What the tests of BatchNorm's conventions, states and freezing share."""

import numpy as np
import pytest

from tinybn import nn
from tinybn.nn.normalization import CONVENTIONS

every_convention = pytest.mark.parametrize("name", CONVENTIONS)
EXACT = 1e-14  # float64 rounding, 1.1e-16, in some ten operations and sums of 32


def batches(count=10, shape=(8, 3, 2, 2), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) * (step + 1) + step for step in range(count)]


def rows(x):
    """(N, C, ...) as (M, C)."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def trained(**options):
    layer = nn.BatchNorm2d(3, dtype="float64", **options)
    for x in batches(3):
        layer(x)
    return layer


def statistics(layer):
    return [buffer.data.tolist() for buffer in layer.buffers()]


def assert_exact(got, expected):
    got, expected = np.asarray(got), np.asarray(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=EXACT * np.abs(expected).max())
