"""All tolerances, in one place. Each is relative to the largest value of the expected array.

Not to each value: where terms of opposite sign meet, a small value carries the rounding of the large ones.
"""

from typing import Any

import numpy as np

# Rounding is 6e-8 in float32 and 1e-16 in float64. Sums of the tests' sizes in another order differ by some ten of
# these, and a factor of ten on top is left for a different formula. A wrong term is off by 1e-2 and more.
RELATIVE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-10}

# BatchNorm's kernels, relative to the size of the terms that a result is the sum of (`kernel_helpers.term_sizes`). A
# result takes some five roundings of 6e-8 in float32, 1e-16 in float64; sums add less than that, as they are short ones
# that are added in double.
KERNEL = {"float32": 5e-7, "float64": 2e-14}

# What kernels/batchnorm.pyx promises for float32: the output's error relative to |weight·x̂| + |bias| + 1, and that of
# the variance in units in the last place.
KERNEL_OUTPUT = 2e-6
KERNEL_VARIANCE_ULP = 4
TWO_VALUES_VARIANCE_ULP = 4.25  # where each rounding goes the same way; 4.07 is the most that was found
FEW_VALUES_VARIANCE_ULP = 9  # one square: two roundings in d, one in d², three in the tree, three in the column

# The float32 sigmoid, in units in the last place: 1.1 of exp's, and one rounding each of 1 + e and of the quotient.
SIGMOID_ULP = 3

# Central differences (f(x + h) − f(x − h))/2h in float64: the truncated term is about h² = 1e-10, rounding is about
# 1e-16·Σ|f|/h = 1e-10 for the sums of 100 numbers that the tests differentiate. A factor of 1000 on top still tells a
# gradient that is wrong in its seventh digit.
NUMERICAL_STEP = 1e-5
NUMERICAL = 1e-7


def sum_error(terms: int, dtype: Any) -> float:
    """How far a sum of so many products may be off, in any order, relative to the sum of their sizes."""
    return terms * float(np.finfo(dtype).eps) / 2


def assert_close(got: Any, expected: Any, dtype: Any, what: str = "", scale: float | None = None) -> None:
    """Same shape, values equal within the tolerance of ``dtype``, and NaN and infinity in the same places.

    ``scale`` replaces the largest expected value where the expected values are what is left of larger ones.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    finite = np.abs(expected[np.isfinite(expected)], dtype=np.float64)
    largest = finite.max(initial=0.0) if scale is None else scale
    np.testing.assert_allclose(got, expected, rtol=0, atol=RELATIVE[np.dtype(dtype)] * largest, err_msg=what)
