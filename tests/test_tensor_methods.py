"""What the table of functions does not reach: drawing and filling in place, `where`, views of channels-last memory."""

import numpy as np
import pytest
from oracle import load_torch, to_torch

import tinybn as tb
from tinybn.errors import DTypeError, GraphError, ShapeError

# --- view of channels-last memory ---------------------------------------------------------------------------------


def channels_last(*shape):
    """(N, C, ...), in memory (N, ..., C)."""
    return tb.from_numpy(np.moveaxis(np.random.default_rng(0).standard_normal(shape), -1, 1))


@pytest.mark.parametrize("shape", [(2, 4, 3), (2, 3, 3, 4), (2, 2, 3, 2, 4)])
def test_view_copies_channels_last_memory(shape):
    x = channels_last(*shape)
    np.testing.assert_array_equal(x.view(2, -1), x.reshape(2, -1))
    np.testing.assert_array_equal(x.view_as(tb.zeros(x.numel())), x.reshape(-1))


def test_view_behind_a_convolution_of_one_channel():
    image = tb.randn(2, 1, 6, 6)
    layer = tb.nn.Conv2d(1, 4, 3)
    y = layer(image)
    flat = y.view(2, -1)
    np.testing.assert_array_equal(flat.detach(), np.ascontiguousarray(y.detach().numpy()).reshape(2, -1))
    (flat * flat).sum().backward()
    gradient = layer.weight.grad.numpy().copy()
    layer.zero_grad()
    (layer(image) ** 2).sum().backward()
    np.testing.assert_allclose(gradient, layer.weight.grad.numpy(), rtol=1e-5)


def test_view_of_other_memory_is_as_strict_as_that_of_torch():
    for x in (tb.zeros(3, 2).T, tb.zeros(2, 3, 4, 5).transpose(2, 3), tb.zeros(4, 3, 2)[:, ::2]):
        with pytest.raises(ShapeError, match="view: memory of shape"):
            x.view(-1)
    x = tb.zeros(2, 3, 4)
    assert np.may_share_memory(x.view(6, 4).data, x.data)


# --- drawing in place ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_moments_of_what_is_drawn(dtype):
    tb.manual_seed(0)
    x = tb.zeros(10000, dtype=dtype)
    assert x.normal_(2, 0.5) is x
    assert x.dtype == dtype
    np.testing.assert_allclose([x.data.mean(dtype=float), x.data.std(dtype=float)], [2, 0.5], atol=0.03)
    x.uniform_(-1, 3)
    assert x.data.min() >= -1
    assert x.data.max() <= 3
    np.testing.assert_allclose([x.data.mean(dtype=float), x.data.std(dtype=float)], [1, 4 / 12**0.5], atol=0.05)
    x.bernoulli_(0.25)
    assert set(x.tolist()) == {0, 1}
    np.testing.assert_allclose(x.data.mean(dtype=float), 0.25, atol=0.02)


def test_a_generator_of_ones_own():
    def drawn(seed):
        generator = np.random.default_rng(seed)
        x = tb.zeros(3)
        return [getattr(x, f)(generator=generator).tolist() for f in ("normal_", "uniform_", "bernoulli_")]

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_bernoulli_of_other_dtypes(dtype):
    x = tb.zeros(2, 2, dtype=dtype).bernoulli_(tb.tensor([0.0, 1.0]))
    assert (x.tolist(), x.dtype) == ([[0, 1], [0, 1]], dtype)


def test_a_drawn_tensor_stays_in_the_graph_with_gradient_0():
    x = tb.ones(2, requires_grad=True)
    for draw in ("normal_", "uniform_", "bernoulli_"):
        y = getattr(x * 2, draw)()
        (y * 3).sum().backward()
        assert x.grad.tolist() == [0, 0]
        with pytest.raises(GraphError, match=f"{draw}: a leaf that requires grad"):
            getattr(x, draw)()
    with tb.no_grad():
        assert x.uniform_(5, 6).data.min() >= 5


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda x: x.normal_(0, -1), ValueError, "normal_: std is -1"),
        (lambda x: x.normal_("a"), TypeError, "normal_: expected a number"),
        (lambda x: x.uniform_(1, 0), ValueError, "uniform_: expected two finite numbers"),
        (lambda x: x.uniform_(0, np.inf), ValueError, "uniform_: expected two finite numbers"),
        (lambda x: x.uniform_(np.nan, 1), ValueError, "uniform_: expected two finite numbers"),
        (lambda x: x.bernoulli_(2), ValueError, "bernoulli_: expected probabilities from 0 to 1"),
        (lambda x: x.bernoulli_(tb.tensor([0.5, np.nan])), ValueError, "bernoulli_: expected probabilities"),
        (lambda x: x.bernoulli_(tb.tensor([0, 1])), DTypeError, "bernoulli_: expected a floating tensor"),
        (lambda x: x.bernoulli_(tb.zeros(3)), ShapeError, "bernoulli_: shapes"),
        (lambda x: x.bernoulli_(tb.zeros(2, 2)), ShapeError, "bernoulli_: p of shape"),
        (lambda x: x.long().normal_(), DTypeError, "normal_: expected a floating tensor"),
        (lambda x: x.long().uniform_(), DTypeError, "uniform_: expected a floating tensor"),
    ],
)
def test_what_drawing_refuses(draw, error, message):
    x = tb.ones(2)
    with pytest.raises(error, match=message):
        draw(x)
    assert x.tolist() == [1, 1]


# --- fill_diagonal_ and where -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (7, 3), (8, 3), (0, 2), (2, 2, 2), (3, 3, 3, 3)])
@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_fill_diagonal_is_that_of_torch(shape, wrap, dtype):
    load_torch()
    ones = np.ones(shape, dtype)
    x = tb.tensor(ones)
    assert x.fill_diagonal_(0, wrap) is x
    np.testing.assert_array_equal(x.numpy(), to_torch(ones).fill_diagonal_(0, wrap).numpy(), strict=True)


def test_fill_diagonal_stops_gradients():
    x = tb.ones(2, 2, requires_grad=True)
    (x * 3).fill_diagonal_(5).sum().backward()
    assert x.grad.tolist() == [[0, 3], [3, 0]]


@pytest.mark.parametrize(
    ("shape", "value", "dtype", "message"),
    [
        ((3,), 1, np.float32, "expected two axes"),
        ((2, 3, 2), 1, np.float32, "expected two axes"),
        ((2, 2), 300, np.uint8, "does not fit uint8"),
        ((2, 2), "a", np.float32, "expected a number"),
        ((2, 2), [1, 2], np.float32, "expected a number"),
    ],
)
def test_what_fill_diagonal_refuses(shape, value, dtype, message):
    with pytest.raises((ValueError, TypeError), match=f"fill_diagonal_: .*{message}"):
        tb.zeros(shape, dtype=dtype).fill_diagonal_(value)


def test_where_as_a_method():
    x = tb.tensor([1.0, -2.0], requires_grad=True)
    y = x.where(x > 0, 0)
    assert y.tolist() == [1, 0]
    y.sum().backward()
    assert x.grad.tolist() == [1, 0]
