"""BatchNorm with ReLU in one op: the same bits as the two, wherever a Sequential puts them together."""

import numpy as np
import pytest

import tinybn as tb

SHAPES = {(33, 7): tb.nn.BatchNorm1d, (8, 6, 9, 9): tb.nn.BatchNorm2d, (4, 3, 5): tb.nn.BatchNorm1d}

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
in_both_modes = pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])


def layers(shape, dtype="float32", affine=True):
    """A BatchNorm with statistics and parameters that are not those of the start, and a ReLU."""
    rng = np.random.default_rng(0)
    norm = SHAPES[shape](shape[1], affine=affine, dtype=dtype)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        if tensor is not None:
            tensor.data[...] = rng.standard_normal(shape[1])
    return norm, tb.nn.ReLU()


def outcome(model, norm, shape, dtype="float32"):
    """Everything that a step computes, as bytes, and the name of the op that made the output."""
    rng = np.random.default_rng(1)
    x = tb.tensor(rng.standard_normal(shape), dtype=dtype, requires_grad=True)
    y = model(x)
    y.backward(tb.tensor(rng.standard_normal(shape), dtype=dtype))
    tensors = [y, x.grad, norm.running_mean, norm.running_var]
    tensors += [p.grad for p in norm.parameters()]
    return [tensor.data.tobytes() for tensor in tensors], y.node.op.__name__


@in_both_modes
@every_shape
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_a_sequential_fuses_the_two_and_no_bit_changes(shape, training, dtype, affine):
    norm, relu = layers(shape, dtype, affine)
    fused, name = outcome(tb.nn.Sequential(norm, relu).train(training), norm, shape, dtype)
    assert name in ("batch_norm", "normalize")
    norm, relu = layers(shape, dtype, affine)
    norm.train(training)
    apart, name = outcome(lambda x: relu(norm(x)), norm, shape, dtype)
    assert name == "relu"
    assert fused == apart


@in_both_modes
def test_functional_batch_norm_with_relu(training):
    x = np.random.default_rng(0).standard_normal((6, 3, 4)).astype("float32")
    fused, apart = ((np.zeros(3, "f"), np.ones(3, "f")) for _ in range(2))
    y = tb.functional.batch_norm(x, *fused, training=training, relu=True)
    expected = tb.functional.relu(tb.functional.batch_norm(x, *apart, training=training))
    np.testing.assert_array_equal(y.data, expected.data)
    np.testing.assert_array_equal(fused, apart)


@in_both_modes
def test_gradients_of_both_orders(training):
    rng = np.random.default_rng(2)
    mean, var = rng.standard_normal(3), rng.uniform(0.5, 2, 3)
    inputs = [tb.tensor(rng.standard_normal(s), requires_grad=True) for s in ((5, 3, 2), (3,), (3,))]

    def function(x, weight, bias):
        return tb.functional.batch_norm(x, mean.copy(), var.copy(), weight, bias, training=training, relu=True)

    assert tb.gradcheck(function, inputs)
    assert tb.gradgradcheck(function, inputs)


class Doubled(tb.nn.BatchNorm1d):
    def forward(self, input):
        return 2 * super().forward(input)


@pytest.mark.parametrize(
    "change",
    [
        lambda norm, relu: norm.register_forward_hook(lambda module, args, out: None),
        lambda norm, relu: relu.register_forward_pre_hook(lambda module, args: None),
        lambda norm, relu: setattr(relu, "forward", lambda x: relu.compute(x)),
    ],
    ids=["a hook on the BatchNorm", "a hook on the ReLU", "a forward of its own"],
)
def test_what_would_see_the_difference_keeps_the_two_apart(change):
    norm, relu = layers((33, 7))
    change(norm, relu)
    _, name = outcome(tb.nn.Sequential(norm, relu), norm, (33, 7))
    assert name == "relu"


def test_subclasses_and_other_activations_stay_apart():
    for norm, activation in ((Doubled(7), tb.nn.ReLU()), (tb.nn.BatchNorm1d(7), tb.nn.ReLU6())):
        _, name = outcome(tb.nn.Sequential(norm, activation), norm, (33, 7))
        assert name not in ("batch_norm", "normalize")


def test_a_second_relu_and_a_relu_in_front_run_by_themselves():
    norm, relu = layers((33, 7))
    x = tb.randn(33, 7)
    expected = relu(relu(norm.eval()(relu(x))))
    got = tb.nn.Sequential(relu, norm, relu, relu)(x)
    np.testing.assert_array_equal(got.data, expected.data)


def test_infinite_and_missing_gradients_are_those_of_the_two():
    """Behind a ReLU that is closed, an infinite gradient gives NaN: 0·∞. The fused op does the same."""
    shape, rng = (33, 7), np.random.default_rng(3)
    dy = rng.standard_normal(shape).astype("float32")
    dy[:, 2], dy[5, 3], dy[6, 4] = np.inf, np.nan, -np.inf
    gradients = []
    for fused in (True, False):
        norm, relu = layers(shape)
        model = tb.nn.Sequential(norm, relu) if fused else lambda x, norm=norm, relu=relu: relu(norm(x))
        x = tb.tensor(np.random.default_rng(4).standard_normal(shape).astype("float32"), requires_grad=True)
        model(x).backward(dy)
        gradients.append(x.grad.data)
    np.testing.assert_array_equal(*gradients)
