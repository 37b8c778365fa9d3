"""Convolution, ReLU and max-pooling of 2×2 in one pass, where nothing is recorded: the same bits as the three."""

import numpy as np
import pytest
from guards import Guarded
from kernel_helpers import channels_last, every_dtype

import tinybn as tb
from tinybn import kernels
from tinybn.errors import GraphError, ShapeError
from tinybn.kernels.convolve import conv2d
from tinybn.kernels.windows import Geometry

# x, weight and options: each way that the kernels take, with places left over that no window holds.
CONVOLUTIONS = {
    "1×1": ((2, 5, 4, 6), (7, 5, 1, 1), {}),
    "3×3": ((3, 9, 7, 8), (5, 9, 3, 3), {"padding": 1}),
    "steps and holes": ((2, 10, 15, 16), (4, 10, 2, 3), {"stride": (2, 3), "padding": (1, 0), "dilation": (3, 1)}),
    "few channels": ((3, 1, 9, 8), (5, 1, 5, 5), {"padding": 2}),
    "many channels": ((2, 70, 6, 5), (65, 70, 2, 3), {}),
    "groups": ((2, 10, 6, 7), (6, 5, 3, 3), {"groups": 2}),
    "many bands": ((2, 3, 90, 70), (17, 3, 3, 3), {"padding": 1}),
    "Winograd": ((2, 32, 8, 10), (48, 32, 3, 3), {"padding": 1}),
    "Winograd, odd": ((2, 48, 9, 11), (32, 48, 3, 3), {"padding": 1}),
    "the least": ((1, 2, 2, 3), (3, 2, 1, 1), {}),
    "no images": ((0, 9, 7, 8), (5, 9, 3, 3), {}),
}
every_convolution = pytest.mark.parametrize("case", CONVOLUTIONS)


def layers(case, dtype="float32", bias=True):
    x, (k, _, *kernel), options = CONVOLUTIONS[case]
    conv = tb.nn.Conv2d(x[1], k, tuple(kernel), bias=bias, dtype=dtype, generator=np.random.default_rng(0), **options)
    values = np.random.default_rng(1).standard_normal(x).astype(dtype)
    values.flags.writeable = False
    return conv, values


def apart(conv, x, relu):
    y = tb.functional.max_pool2d(tb.functional.relu(conv(x)) if relu else conv(x), 2)
    return y.data


def together(conv, x, relu):
    with tb.no_grad():
        return tb.nn.Sequential(conv, *([tb.nn.ReLU()] if relu else []), tb.nn.MaxPool2d(2))(x).data


@every_dtype
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("relu", [True, False], ids=["relu", "plain"])
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])
@every_convolution
def test_no_bit_changes(case, last, relu, bias, dtype):
    conv, x = layers(case, dtype, bias)
    x = channels_last(x) if last else x
    expected, got = apart(conv, x, relu), together(conv, x, relu)
    assert got.shape == expected.shape and got.strides == expected.strides
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@every_convolution
def test_what_is_not_finite_is_as_with_the_three(case, bad):
    conv, x = layers(case)
    x = x.copy()
    x.reshape(-1)[:: max(1, x.size // 7)] = bad
    for relu in (True, False):
        np.testing.assert_array_equal(together(conv, x, relu), apart(conv, x, relu))


@every_convolution
def test_threads_change_no_bit(case):
    conv, x = layers(case)
    before, made = tb.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            tb.set_num_threads(threads)
            made.add(together(conv, np.tile(x, (8, 1, 1, 1)), True).tobytes())
    finally:
        tb.set_num_threads(before)
    assert len(made) == 1


def test_one_image_without_a_batch():
    conv, x = layers("3×3")
    np.testing.assert_array_equal(together(conv, x[0], True), apart(conv, x[0], True))


def test_the_compiled_kernels_write_nowhere_else_and_agree_with_their_twins():
    compiled, twin = kernels.KERNELS["winograd"]
    if compiled is None:
        pytest.skip("the kernels are not compiled")
    rng = np.random.default_rng(0)
    x, u = rng.standard_normal((2, 9, 11, 32)), rng.standard_normal((16, 32, 48))
    scratch = np.zeros((2, kernels.KERNELS["winograd_scratch"][0](9, 11, 32, 48)))
    y, expected = Guarded((2, 4, 5, 48), "float64"), np.zeros((2, 4, 5, 48))
    compiled(y.view, x, u, None, scratch, 1, 1, 2, True, True)
    y.assert_clean_outside()
    twin(expected, x, u, None, scratch, 1, 1, 1, True, True)
    np.testing.assert_allclose(y.view, expected, atol=1e-10)
    for wrong in ((2, 5, 5, 48), (2, 4, 6, 48), (2, 9, 11, 48)):
        with pytest.raises(ShapeError):
            compiled(np.zeros(wrong), x, u, None, scratch, 1, 1, 1, True, True)


def test_an_odd_band_and_too_little_memory_are_refused():
    compiled, _ = kernels.KERNELS["correlate"]
    if compiled is None:
        pytest.skip("the kernels are not compiled")
    x, matrix, taps = np.zeros((1, 6, 4, 3)), np.zeros((1, 3, 16)), np.zeros(1, np.intp)
    y, window = np.ones((1, 3, 2, 5)), (1, 1, 0, 0, 6, 4, 2)
    compiled(y, x, matrix, None, taps, 3, None, window, 1, False, np.zeros((1, 40)))
    assert not y.any()
    y.fill(1)
    for bands, memory in (((1, 1, 0, 0, 6, 4, 3), (1, 60)), (window, (1, 39)), (window, (0, 40))):
        with pytest.raises(ShapeError):
            compiled(y, x, matrix, None, taps, 3, None, bands, 1, False, np.zeros(memory))
    with pytest.raises(ShapeError):
        compiled(y, x, matrix, None, taps, 3, None, window, 1, False, np.zeros((1, 40), "float32"))
    assert y.all()


def test_arrays_and_pooling_without_a_layer():
    x, weight = np.arange(32.0).reshape(1, 2, 4, 4), np.ones((1, 2, 1, 1))
    assert conv2d(x, weight, None, Geometry(), pool=True).tolist() == [[[[26, 30], [42, 46]]]]
    y = tb.functional.conv2d(x, weight, pool=True)
    assert y.tolist() == [[[[26, 30], [42, 46]]]]


# --- when -------------------------------------------------------------------------------------------------------------


def test_a_gradient_through_it_is_refused():
    weight = tb.ones(1, 2, 1, 1, requires_grad=True)
    with pytest.raises(GraphError, match=r"pool=True.*max_pool2d"):
        tb.functional.conv2d(tb.ones(1, 2, 4, 4), weight, pool=True).sum().backward()


def test_where_something_is_recorded_the_layers_run_apart():
    conv, x = layers("3×3")
    y = tb.nn.Sequential(conv, tb.nn.ReLU(), tb.nn.MaxPool2d(2))(x)
    y.sum().backward()
    assert conv.weight.grad is not None


HALVES = [tb.nn.MaxPool2d(2), tb.nn.MaxPool2d((2, 2), 2), tb.nn.MaxPool2d([2, 2], (2, 2))]
OTHERS = [
    *(tb.nn.MaxPool2d(3), tb.nn.MaxPool2d(2, 1), tb.nn.MaxPool2d(2, padding=1), tb.nn.MaxPool2d(2, dilation=2)),
    *(tb.nn.MaxPool2d(2, ceil_mode=True), tb.nn.AvgPool2d(2), tb.nn.MaxPool2d((1, 2))),
]


@pytest.mark.parametrize("pool", [*HALVES, *OTHERS], ids=repr)
def test_only_windows_of_two_by_two_are_taken(pool):
    conv, x = layers("3×3")
    with tb.no_grad():
        done, options = conv.fusing([tb.nn.ReLU(), pool])
        assert (done, options.get("pool", False)) == ((2, True) if pool in HALVES else (1, False))
        expected = pool(tb.functional.relu(conv(x)))
        np.testing.assert_array_equal(tb.nn.Sequential(conv, tb.nn.ReLU(), pool)(x).data, expected.data)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_hook_on_one_of_them_keeps_it_apart(which):
    conv, x = layers("3×3")
    modules = [conv, tb.nn.ReLU(), tb.nn.MaxPool2d(2)]
    seen = []
    modules[which].register_forward_hook(lambda module, args, output: seen.append(output.shape))
    with tb.no_grad():
        y = tb.nn.Sequential(*modules)(x)
    assert seen == [[(3, 5, 7, 8), (3, 5, 7, 8), (3, 5, 3, 4)][which]]
    np.testing.assert_array_equal(y.data, apart(conv, x, True))


def test_same_may_cut_and_stays_apart():
    conv = tb.nn.Conv2d(3, 4, (2, 4), padding="same")
    x = tb.randn(2, 3, 6, 8)
    with tb.no_grad():
        assert conv.fusing([tb.nn.MaxPool2d(2)]) == (0, {})
        np.testing.assert_array_equal(together(conv, x, True), apart(conv, x, True))
    with pytest.raises(ValueError, match="pool does not go together with padding='same'"):
        tb.functional.conv2d(x, conv.weight, padding="same", pool=True)


def test_too_few_places_are_the_error_of_the_three():
    conv = tb.nn.Conv2d(3, 4, 3)
    with tb.no_grad(), pytest.raises(ShapeError):
        tb.nn.Sequential(conv, tb.nn.MaxPool2d(2))(tb.randn(2, 3, 3, 8))
