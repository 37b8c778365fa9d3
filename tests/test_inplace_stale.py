"""Backwards that need what has been changed in place since: the error names the op, the tensor and the author."""

import numpy as np
import pytest
from helpers import leaf

import tinybn as tb
from tinybn.errors import GraphError

# --- what a backward needs and no longer has --------------------------------------------------------------------------


def stale_argument():
    x = leaf(1.0, 2.0)
    y = x * 2
    z = y * y
    y += 1
    return z, x, r"multiply needs its argument 0, a tensor of shape \(2,\) that multiply made, .* \+= has changed it"


def stale_output():
    x = leaf(1.0, 2.0)
    y = x.exp()
    y[0] = 3.0
    return y, x, r"exp needs its output, a tensor of shape \(2,\), .* item assignment has changed it"


def stale_leaf():
    x = leaf(1.0, 2.0)
    y = x * x
    with tb.no_grad():
        x.mul_(2)
    return y, x, r"multiply needs its argument 0, a leaf of shape \(2,\), .* mul_ has changed it"


def stale_constant():
    x, c = leaf(1.0, 2.0), tb.tensor([3.0, 4.0], dtype=np.float64)
    y = x * c
    c[0] = 0.0
    return y, x, r"multiply needs a constant of shape \(2,\)"


def stale_index():
    x, index = leaf(1.0, 2.0), tb.tensor([0, 1])
    y = x[index]
    index += 1
    return y, x, r"getitem needs a constant of shape \(2,\)"


def stale_index_of_several():
    x, index = tb.ones(2, 2, requires_grad=True), tb.tensor([0, 1])
    y = x[:, index]
    index -= 1
    return y, x, "getitem needs an index"


def stale_mask():
    x, mask = leaf(1.0, 2.0), tb.tensor([True, False])
    y = tb.where(mask, x, 0.0)
    mask[0] = False
    return y, x, r"where needs a constant of shape \(2,\)"


def stale_through_a_view():
    x = leaf(1.0, 2.0)
    y = x * 2
    z = y * y
    y.reshape(2, 1)[0] += 1
    return z, x, "multiply needs its argument 0"


def stale_through_a_detached_tensor():
    x = leaf(1.0, 2.0)
    y = x * 2
    z = y * y
    y.detach().add_(1)
    return z, x, "multiply needs its argument 0, .* add_ has changed it"


def stale_through_an_optimizer():
    x = leaf(1.0, 2.0)
    z = x * x
    x.sum().backward()
    tb.optim.SGD([x], lr=0.1).step()
    x.grad = None
    return z, x, r"multiply needs its argument 0, a leaf .* SGD\.step has changed it"


def stale_weights_that_were_loaded():
    layer = tb.nn.Linear(2, 1)
    x = tb.ones(1, 2, requires_grad=True)
    y = layer(x)
    layer.load_state_dict(layer.state_dict())
    return y, x, "linear needs its argument 1, a leaf .* load_state_dict has changed it"


def stale_running_statistics():
    layer = tb.nn.BatchNorm1d(2).eval()
    x = tb.ones(3, 2, requires_grad=True)
    y = layer(x)
    layer.train()(tb.randn(3, 2))
    return y, x, "normalize needs a constant .* batch_norm in training has changed it"


def stale_view_in_the_change_itself():
    x = leaf(1.0, 2.0)
    y = x * 2
    view = y[:1]
    y *= view
    return y, x, "multiply needs its argument 1"


STALE = [function for name, function in sorted(globals().items()) if name.startswith("stale_")]


@pytest.mark.parametrize("program", STALE, ids=lambda program: program.__name__)
@pytest.mark.parametrize("create_graph", [False, True])
def test_backward_names_what_was_changed_and_writes_nothing(program, create_graph):
    y, x, message = program()
    other = leaf(1.0)
    total = y.sum() + other.to(y.dtype) * 2
    with pytest.raises(GraphError, match=f"^backward: {message}.*detect_anomaly\\(check_nan=False\\)"):
        total.backward(create_graph=create_graph)
    assert x.grad is None and other.grad is None


def test_the_message_shows_the_line_where_lines_are_kept():
    x = leaf(1.0, 2.0)
    with tb.detect_anomaly(check_nan=False):
        y = x * 2
        z = y * y  # the line
    y += 1
    with pytest.raises(GraphError, match=r"called at .*test_inplace_stale\.py:\d+: z = y \* y  # the line"):
        z.sum().backward()


def test_changes_before_are_no_matter():
    x = leaf(1.0, 2.0)
    for _ in range(3):
        (x * x).sum().backward()
        with tb.no_grad():
            x -= 0.1 * x.grad
            x.grad.zero_()
    assert x.grad.tolist() == [0, 0]


def test_a_gradient_that_was_saved_and_then_grew():
    x, w = leaf(1.0, 2.0), leaf(1.0, 1.0)
    (x * x).sum().backward()
    penalty = (x.grad * w).sum()
    (x * x).sum().backward()
    with pytest.raises(GraphError, match="backward has changed it in place"):
        penalty.backward()
