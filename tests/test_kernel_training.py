"""The raw kernels of activations and of cross-entropy against float64 and their twins, and what they refuse."""

import itertools

import numpy as np
import pytest
from guards import Guarded
from kernel_helpers import channels_last, every_dtype, misaligned, odd_strides, read_only
from tolerances import SIGMOID_ULP

from tinybn import kernels
from tinybn.errors import DTypeError, ShapeError

ACTIVATIONS = {"sigmoid": 1, "relu": 1, "sigmoid_backward": 2, "tanh_backward": 2, "relu_backward": 2}  # inputs
every_activation = pytest.mark.parametrize("kernel", ACTIVATIONS)
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3e38, -3e38]

# What sigmoid and tanh can give: from, to, and special values.
LAST = {
    "sigmoid_backward": (0, 1, [np.nan, 0.0, 1.0, 0.5, 1e-45]),
    "tanh_backward": (-1, 1, [np.nan, 0.0, -0.0, 1.0, -1.0, 1e-45]),
}


def compiled_and_twin(kernel):
    compiled, twin = kernels.KERNELS[kernel]
    if compiled is None:
        pytest.skip("the kernels are not compiled")
    return compiled, twin


def chosen(kernel):
    compiled, twin = kernels.KERNELS[kernel]
    return compiled or twin


# --- activations ------------------------------------------------------------------------------------------------------


@np.errstate(all="ignore")
def test_sigmoid_is_within_three_units_in_the_last_place():
    x = np.concatenate([np.linspace(-110, 110, 440_001), np.geomspace(1e-40, 110, 1001)]).astype("float32")
    y, wide = np.full_like(x, np.nan), x.astype(np.float64)
    compiled, _ = compiled_and_twin("sigmoid")
    assert compiled(y, x, 1) is True
    exact = np.where(wide < 0, np.exp(wide), 1) / (1 + np.exp(-np.abs(wide)))
    assert (np.abs(y - exact) <= SIGMOID_ULP * np.spacing(exact.astype("float32"))).all()


@np.errstate(all="ignore")
@every_dtype
def test_sigmoid_and_relu_of_special_values(dtype):
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1000, -1000, -104, -87, 88], dtype)
    y = np.empty_like(x)
    chosen("sigmoid")(y, x, 1)
    np.testing.assert_allclose(y, [np.nan, 1, 0, 0.5, 0.5, 1, 0, np.exp(-104), np.exp(-87), 1], rtol=1e-6, atol=1e-45)
    chosen("relu")(y, x, 1)
    np.testing.assert_array_equal(y, [np.nan, np.inf, 0, 0, 0, 1000, 0, 0, 0, 88])


@np.errstate(all="ignore")
@every_dtype
@every_activation
def test_activations_have_the_twins_values_for_any_number_of_threads(kernel, dtype):
    """The last input is an output of the forward function, or x itself."""
    compiled, twin = compiled_and_twin(kernel)
    rng, eps = np.random.default_rng(0), np.finfo(dtype).eps
    low, high, last = LAST.get(kernel, (-4, 4, SPECIAL))
    for size in (0, 1, 7, 64, 8191, 8192, 8193, 40_000):
        inputs = [rng.standard_normal(size).astype(dtype), rng.uniform(low, high, size).astype(dtype)]
        for x, values in zip(inputs, zip(*itertools.product(SPECIAL, last), strict=True), strict=True):
            x[: len(values)] = values[:size]
        inputs = inputs[-ACTIVATIONS[kernel] :]
        expected, results = np.empty(size, dtype), set()
        twin(expected, *inputs, 1)
        for threads in (1, 2, 3, 4):
            out = Guarded((size,), dtype)
            assert compiled(out.view, *map(read_only, inputs), threads) is True
            out.assert_clean_outside()
            results.add(out.view.tobytes())
        assert len(results) == 1, size
        if "relu" in kernel:  # but for the sign of relu(-0.0), the same bits
            np.testing.assert_array_equal(out.view, expected)
        elif kernel == "sigmoid":
            np.testing.assert_allclose(out.view, expected, rtol=4 * eps, atol=1e-44)
        else:
            size_of_terms = np.where(np.isfinite(inputs[0]), np.abs(inputs[0]), 0)
            close = (out.view == expected) | (np.abs(out.view - expected) <= 2 * eps * size_of_terms)
            assert (close | (np.isnan(out.view) & np.isnan(expected))).all(), size


DENSE = {
    "contiguous": lambda x: x.copy(),
    "Fortran order": np.asfortranarray,
    "channels last": channels_last,
    "axes in any order": lambda x: x.transpose(2, 0, 3, 1).copy().transpose(1, 3, 0, 2),
    "odd strides": odd_strides,
    "one value": lambda x: x[0, 0, 0, :1].copy().reshape(()),
    "nothing": lambda x: x[:0],
}


@pytest.mark.parametrize("layout", DENSE)
@every_activation
def test_activations_take_dense_arrays_and_an_output_that_is_an_input(kernel, layout):
    compiled, _ = compiled_and_twin(kernel)
    rng = np.random.default_rng(0)
    flat = [rng.standard_normal((3, 4, 1, 5)).astype("float32") for _ in range(ACTIVATIONS[kernel])]
    expected = np.empty_like(flat[0])
    assert compiled(expected, *flat, 1)
    expected = DENSE[layout](expected)
    for inside in range(-1, len(flat)):  # which input is the output
        inputs = [DENSE[layout](x) for x in flat]
        out = Guarded(expected.shape, "float32", inputs[0].strides).view if inside < 0 else inputs[inside]
        assert compiled(out, *inputs, 1) is True
        assert out.tobytes() == expected.tobytes()


GAPS = {
    "every other": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "reversed": lambda x: x[::-1],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
}
UNLIKE = {
    "transposed": lambda x: x.copy("F"),
    "another shape": lambda x: x.reshape(5, 4),
    "fewer axes": lambda x: x.ravel(),
    "fewer rows": lambda x: x[:-1],
    "misaligned": misaligned,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "double": lambda x: x.astype("float64"),
    "half": lambda x: x.astype("float16"),
    "integers": lambda x: x.astype("int32"),
}


@every_activation
def test_activations_return_false_and_do_nothing_where_they_cannot_take_them_as_they_lie(kernel):
    compiled, _ = compiled_and_twin(kernel)
    rng = np.random.default_rng(0)
    given = [rng.standard_normal((4, 5)).astype("float32") for _ in range(ACTIVATIONS[kernel] + 1)]
    changes = [(i, how, change) for how, change in (GAPS | UNLIKE).items() for i in range(len(given))]
    changes += [(range(len(given)), how, change) for how, change in GAPS.items()]
    changes += [(range(len(given)), how, UNLIKE[how]) for how in ("misaligned", "byte-swapped", "half", "integers")]
    for which, how, change in [*changes, (0, "read-only", read_only)]:
        which = [which] if isinstance(which, int) else which
        arrays = [change(x) if i in which else x for i, x in enumerate(given)]
        before = [x.tobytes() for x in arrays]
        assert compiled(*arrays, 1) is False, (list(which), how)
        assert before == [x.tobytes() for x in arrays], (list(which), how)


# --- cross-entropy ----------------------------------------------------------------------------------------------------

LOGITS = [(0, 3), (1, 1), (5, 1), (1, 2), (7, 10), (64, 10), (3, 1000), (128, 257), (0, 0)]


def log_softmax(x):
    x = x.astype(np.longdouble)
    shifted = x - x.max(axis=1, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(kernel, x, labels, ignored=-100):
    """The outputs of a raw kernel, and what it returned."""
    losses, probabilities = Guarded(x.shape[:1], x.dtype), Guarded(x.shape, x.dtype)
    returned = kernel(losses.view, probabilities.view, read_only(x), read_only(labels), ignored)
    for output in (losses, probabilities):
        output.assert_clean_outside()
    return losses.view, probabilities.view, returned


@pytest.mark.parametrize("which", ["compiled", "twin"])
@every_dtype
@pytest.mark.parametrize("scale", [1, 30, 1e4])
def test_cross_entropy_against_float64(scale, dtype, which):
    kernel = compiled_and_twin("cross_entropy")[0] if which == "compiled" else chosen("cross_entropy")
    rng, eps = np.random.default_rng(0), np.finfo(dtype).eps
    for n, c in LOGITS:
        x = (rng.standard_normal((n, c)) * scale).astype(dtype)
        labels = rng.integers(0, max(c, 1), n)
        for ignored in (-100, 0):
            counted = labels != ignored
            losses, probabilities, returned = cross_entropy(kernel, x, labels, ignored)
            assert returned == (counted.sum(), -1)
            logs = log_softmax(x)
            exact = np.where(counted, -logs[np.arange(n), labels] if n else 0, 0)
            assert (np.abs(losses - exact) <= 4 * eps * (1 + np.abs(exact) + np.log(max(c, 1)))).all()
            exact = np.where(counted[:, None], np.exp(logs), 0)
            tiny = np.finfo(dtype).tiny * eps * 2
            assert (np.abs(probabilities - exact) <= eps * (4 + np.abs(logs)) * exact + tiny).all()


@every_dtype
@pytest.mark.parametrize("which", ["compiled", "twin"])
@pytest.mark.parametrize("wrong", [-1, 10, -(2**63), 2**63 - 1])
def test_cross_entropy_tells_where_the_first_wrong_label_is(wrong, which, dtype):
    kernel = compiled_and_twin("cross_entropy")[0] if which == "compiled" else kernels.KERNELS["cross_entropy"][1]
    for position in (0, 3, 6):
        labels = np.array([1, 2, -100, 0, 9, 4, 5])
        labels[[position, 6]] = wrong
        assert cross_entropy(kernel, np.zeros((7, 10), dtype), labels)[2] == (0, position)
    nothing = np.zeros((2, 0), dtype)
    assert cross_entropy(kernel, nothing, np.array([-100, 0]))[2] == (0, 1)
    assert cross_entropy(kernel, nothing, np.array([-100, -100]))[2] == (0, -1)


@every_dtype
def test_cross_entropy_of_what_is_not_finite(dtype):
    """Row by row as the twin has it: one NaN or +inf spoils its own row, -inf has the probability 0."""
    compiled, twin = compiled_and_twin("cross_entropy")
    inf, nan = np.inf, np.nan
    rows = [[1, 2, 3], [nan, 2, 3], [1, nan, 3], [1, 2, nan], [inf, 2, 3], [1, 2, inf], [-inf, 2, 3], [1, 2, -inf]]
    rows += [[-inf, -inf, -inf], [-inf, -inf, 3], [inf, -inf, nan], [3e38, -3e38, 0]]
    for label, ignored in itertools.product((0, 1, 2), (-100, 1)):
        given = np.array(rows, dtype), np.full(len(rows), label), ignored
        got, expected = cross_entropy(compiled, *given), cross_entropy(twin, *given)
        assert got[2] == expected[2] == (0 if label == ignored else len(rows), -1)
        for one, other in zip(got[:2], expected[:2], strict=True):
            np.testing.assert_allclose(one, other, rtol=4 * np.finfo(dtype).eps)
        if label != ignored:
            np.testing.assert_array_equal(got[1][6][0], 0)
            assert np.isnan(got[0][1:6]).all() and np.isfinite(got[0][0])
            assert (got[0][6] == inf) == (label == 0)


@np.errstate(all="ignore")
@every_dtype
def test_the_gradient_of_cross_entropy_has_the_twins_values(dtype):
    compiled, twin = compiled_and_twin("cross_entropy_backward")
    rng = np.random.default_rng(0)
    for n, c in LOGITS:
        labels = rng.integers(0, max(c, 1), n)
        labels[::5] = -100
        probabilities = rng.random((n, c)).astype(dtype)
        probabilities[:, c // 2 :: 7] = np.nan
        for dy, ignored in itertools.product((rng.standard_normal(n), np.float64(0.3), np.ones(1)), (-100, 0)):
            dy = read_only(np.asarray(dy, dtype))
            kept = np.where((labels == -100) & (ignored == 0), 0, labels)
            dx, expected = Guarded((n, c), dtype), np.empty((n, c), dtype)
            compiled(dx.view, dy, read_only(probabilities), read_only(kept), ignored)
            twin(expected, dy, probabilities, kept, ignored)
            np.testing.assert_allclose(dx.view, expected, rtol=2 * np.finfo(dtype).eps)
            dx.assert_clean_outside()
            assert not dx.view[kept == ignored].any()


def call_refused(kernel, error, which, changed):
    """Call a kernel with the argument at a position replaced: it must raise, and write nothing."""
    compiled, _ = compiled_and_twin(kernel)
    labels, logits = np.array([1, -100, 0, 2]), np.arange(12, dtype="float32").reshape(4, 3)
    rows = np.full(4, 0.5, "float32")
    given = [rows, logits * 0, logits, labels] if kernel == "cross_entropy" else [logits * 0, rows, logits, labels]
    given[which] = changed(given[which]) if callable(changed) else np.zeros(changed, given[which].dtype)
    before = [x.tobytes() for x in given]
    with pytest.raises(error):
        compiled(*given, -100)
    assert before == [x.tobytes() for x in given]


every_loss = pytest.mark.parametrize("kernel", ["cross_entropy", "cross_entropy_backward"])


@every_loss
def test_cross_entropy_refuses_another_dtype_and_other_memory(kernel):
    for which in range(4):
        for dtype in ("float64", "float16", "int32", "uint64", "complex64"):
            call_refused(kernel, DTypeError, which, lambda x, dtype=dtype: x.astype(dtype))
        for change in (GAPS["every other"], GAPS["reversed"], GAPS["broadcast"], misaligned, UNLIKE["byte-swapped"]):
            call_refused(kernel, DTypeError, which, change)


@every_loss
def test_cross_entropy_refuses_another_size(kernel):
    logits = [(4, 4), (3, 3), (3, 4), (12,), (4, 3, 1), ()]
    rows = [(3,), (5,), (0,), (4, 1), (1, 4)]
    for which in range(4):
        of_logits = which == 2 or which == (1 if kernel == "cross_entropy" else 0)
        for shape in logits if of_logits else rows if which < 3 else [*rows, (1,), ()]:
            call_refused(kernel, ShapeError, which, shape)


@pytest.mark.parametrize("kernel, which", [("cross_entropy", 0), ("cross_entropy", 1), ("cross_entropy_backward", 0)])
def test_cross_entropy_refuses_a_read_only_output(kernel, which):
    call_refused(kernel, (ValueError, TypeError), which, read_only)


@pytest.mark.parametrize("wrong", [-1, 3, 2**40])
def test_the_gradient_of_cross_entropy_refuses_a_wrong_label(wrong):
    call_refused("cross_entropy_backward", IndexError, 3, lambda labels: np.where(labels == 2, wrong, labels))
