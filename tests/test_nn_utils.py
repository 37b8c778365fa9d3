"""tb.nn.utils: gradients clipped as PyTorch does it, and parameters as one vector."""

import math

import numpy as np
import pytest
from oracle import load_torch

import tinybn as tb
from tinybn.errors import GraphError, ShapeError
from tinybn.nn import utils

SHAPES = [(3, 2), (4,), (), (0, 2)]


def arrays(scale=1.0, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [np.asarray(rng.standard_normal(shape) * scale, dtype) for shape in SHAPES]


def ours_and_theirs(gradients):
    """A parameter for each gradient, here and in PyTorch; and one without a gradient."""
    torch = load_torch()
    ours = [tb.zeros(g.shape).to(g.dtype).requires_grad_() for g in gradients]
    theirs = [torch.zeros(g.shape, dtype=torch.from_numpy(g).dtype, requires_grad=True) for g in gradients]
    for p, q, g in zip(ours, theirs, gradients, strict=True):
        p.grad, q.grad = tb.tensor(g), torch.tensor(g)
    return [*ours, tb.zeros(2, requires_grad=True)], [*theirs, torch.zeros(2, requires_grad=True)], torch


def assert_same_gradients(ours, theirs):
    for p, q in zip(ours[:-1], theirs[:-1], strict=True):
        assert p.grad.dtype == q.grad.numpy().dtype
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-6)
    assert ours[-1].grad is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm_type", [2, 1, 0, 3.5])
@pytest.mark.parametrize("max_norm", [0.5, 100, 0, -1])
def test_clip_grad_norm_is_that_of_torch(dtype, norm_type, max_norm):
    ours, theirs, torch = ours_and_theirs(arrays(dtype=dtype))
    norm = utils.clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert norm.dtype == expected.numpy().dtype
    np.testing.assert_allclose(norm.item(), expected.item(), rtol=1e-6)
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("norm_type", [math.inf, -math.inf, "inf", -1])
def test_clip_grad_norm_that_needs_elements(norm_type):
    ours, theirs, torch = ours_and_theirs(arrays()[:3])
    norm = utils.clip_grad_norm_(ours, 0.5, norm_type)
    np.testing.assert_allclose(norm.item(), torch.nn.utils.clip_grad_norm_(theirs, 0.5, norm_type).item(), rtol=1e-6)
    assert_same_gradients(ours, theirs)
    ours, *_ = ours_and_theirs(arrays())
    with pytest.raises(ShapeError, match=r"clip_grad_norm_: a gradient of shape \(0, 2\) has no norm of type"):
        utils.clip_grad_norm_(ours, 0.5, norm_type)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_norm_that_is_not_finite(value):
    gradients = arrays()
    gradients[0][1, 1] = value
    ours, theirs, torch = ours_and_theirs(gradients)
    with pytest.raises(RuntimeError, match=r"clip_grad_norm_: the norm of the gradients is (inf|nan)"):
        utils.clip_grad_norm_(ours, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(ours[1].grad.numpy(), gradients[1])
    utils.clip_grad_norm_(ours, 1.0)
    torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    assert_same_gradients(ours, theirs)


def test_clip_grad_norm_without_gradients_is_zero():
    norm = utils.clip_grad_norm_([tb.zeros(2, requires_grad=True)], 1.0)
    assert (norm.item(), norm.dtype, norm.shape) == (0.0, np.float32, ())


def test_clip_grad_norm_takes_one_tensor_and_generators():
    for given in (lambda p: p, lambda p: iter([p])):
        p = tb.zeros(2, requires_grad=True)
        p.grad = tb.tensor([3.0, 4.0])
        assert utils.clip_grad_norm_(given(p), 10.0).item() == 5.0
        assert p.grad.tolist() == [3.0, 4.0]


def test_clip_grad_norm_does_not_overflow():
    p = tb.zeros(2, requires_grad=True)
    p.grad = tb.full((2,), 1e30)
    np.testing.assert_allclose(utils.clip_grad_norm_([p], 1.0).item(), math.sqrt(2) * 1e30, rtol=1e-6)


@pytest.mark.parametrize("clip_value", [0.5, 0, math.inf, -0.5])
def test_clip_grad_value_is_that_of_torch(clip_value):
    gradients = arrays()
    gradients[0][1, 1] = math.nan
    ours, theirs, torch = ours_and_theirs(gradients)
    assert utils.clip_grad_value_(ours, clip_value) is None
    torch.nn.utils.clip_grad_value_(theirs, clip_value)
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("clip", [lambda p: utils.clip_grad_norm_(p, 0.1), lambda p: utils.clip_grad_value_(p, 0.1)])
def test_a_graph_that_saved_a_clipped_gradient_notices(clip):
    x = tb.tensor([1.0, 2.0], requires_grad=True)
    p = tb.zeros(2, requires_grad=True)
    p.grad = tb.tensor([3.0, 4.0])
    y = (x * p.grad).sum()
    clip([p])
    with pytest.raises(GraphError, match="clip_grad_"):
        y.backward()


@pytest.mark.parametrize("clip", [lambda p: utils.clip_grad_norm_(p, 0.1), lambda p: utils.clip_grad_value_(p, 0.1)])
def test_what_clipping_refuses(clip):
    p, q = (tb.zeros(2, requires_grad=True) for _ in range(2))
    p.grad, q.grad = tb.ones(2), tb.ones(1).expand(2)
    with pytest.raises(GraphError, match=r"clip_grad_\w+_: a gradient lies in read-only memory"):
        clip([p, q])
    assert p.grad.tolist() == [1, 1]
    with pytest.raises(TypeError, match=r"clip_grad_\w+_: expected tensors such as model.parameters\(\), got int"):
        clip(3)
    with pytest.raises(TypeError, match=r"clip_grad_\w+_: expected tensors .* got a str among them"):
        clip([p, "q"])


def test_parameters_to_vector_and_back():
    model, other = (tb.nn.Sequential(tb.nn.Linear(2, 3), tb.nn.Linear(3, 1)) for _ in range(2))
    vector = utils.parameters_to_vector(model.parameters())
    np.testing.assert_array_equal(vector.detach(), np.concatenate([p.data.ravel() for p in model.parameters()]))
    utils.vector_to_parameters(vector, other.parameters())
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
        assert not np.may_share_memory(p.data, q.data)
    (vector * vector).sum().backward()
    for p in model.parameters():
        np.testing.assert_allclose(p.grad.numpy(), 2 * p.data)


def test_what_the_vector_refuses():
    parameters = [tb.zeros(2), tb.zeros(2)]
    with pytest.raises(ShapeError, match=r"vector_to_parameters: expected 4 elements in one row, got shape \(3,\)"):
        utils.vector_to_parameters(tb.ones(3), parameters)
    with pytest.raises(ShapeError, match=r"vector_to_parameters: .* got shape \(2, 2\)"):
        utils.vector_to_parameters(tb.ones(2, 2), parameters)
    with pytest.raises(TypeError, match="vector_to_parameters: expected a Tensor, got list"):
        utils.vector_to_parameters([1.0], parameters)
    with pytest.raises(ShapeError, match="parameters_to_vector: expected at least one parameter"):
        utils.parameters_to_vector([])
    assert not any(p.data.any() for p in parameters)


def test_functional_stands_under_nn_too():
    import tinybn.nn.functional as F

    assert F.relu is tb.functional.relu
    assert set(F.__all__) == set(tb.functional.__all__)
    assert tb.nn.functional is F
