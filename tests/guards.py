"""Outputs in memory whose rest a kernel must leave alone: what lies around them, and in the gaps of their strides."""

import numpy as np

MARGIN = 512  # bytes on either side, more than two vectors
GUARD = 255  # in each byte: NaN as a number, so that a result that reads it is seen as well


class Guarded:
    """An array, `view`, with guards around it. It begins as NaN; integers as -1."""

    def __init__(self, shape, dtype, strides=None):
        itemsize = np.dtype(dtype).itemsize
        strides = np.empty(shape, dtype).strides if strides is None else strides
        spans = [(max(n, 1) - 1) * step for n, step in zip(shape, strides, strict=True)]
        offset = MARGIN - sum(min(span, 0) for span in spans)
        self._layout = {"shape": shape, "dtype": dtype, "offset": offset, "strides": strides}
        self.memory = np.full(sum(map(abs, spans)) + itemsize + 2 * MARGIN, GUARD, np.uint8)
        self.view = self._in(self.memory)

    def _in(self, memory):
        return np.ndarray(buffer=memory, **self._layout)

    def assert_clean_outside(self):
        rest, clean = self.memory.copy(), np.full_like(self.memory, GUARD)
        self._in(rest)[...] = self._in(clean)[...] = 0
        np.testing.assert_array_equal(rest, clean, err_msg="values outside of an output were written")

    def assert_untouched(self):
        assert (self.memory == GUARD).all(), "an output was written"


def holding(values):
    """A guarded copy of an array, with its strides."""
    guarded = Guarded(values.shape, values.dtype, values.strides)
    guarded.view[...] = values
    return guarded
