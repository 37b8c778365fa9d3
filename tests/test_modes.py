"""The modes that each thread has for itself: recording, the search for anomalies, strict float32."""

import threading
from typing import Any

import numpy as np
import pytest
from helpers import leaf

import tinybn as tb


def test_no_grad_and_enable_grad():
    x = leaf(1.0)
    with tb.no_grad():
        assert not tb.is_grad_enabled() and not (x * 2).requires_grad
        with tb.enable_grad():
            assert tb.is_grad_enabled() and (x * 2).requires_grad
        assert not tb.is_grad_enabled()
    assert tb.is_grad_enabled() and (x * 2).requires_grad


def test_mode_is_restored_after_an_error():
    with pytest.raises(KeyError), tb.no_grad():
        raise KeyError
    assert tb.is_grad_enabled()


def test_no_grad_as_a_decorator():
    @tb.no_grad()
    def double(x: tb.Tensor) -> tb.Tensor:
        return x * 2

    x = leaf(1.0)
    assert not double(x).requires_grad and not double(x).requires_grad
    assert tb.is_grad_enabled()


def test_each_thread_has_its_own_mode():
    seen = []
    with tb.no_grad():
        thread = threading.Thread(target=lambda: seen.append((leaf(1.0) * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_two_threads_train_as_one_after_the_other():
    def train(seed: int, results: dict[int, Any]) -> None:
        generator = np.random.default_rng(seed)
        x, target = tb.randn(32, 4, generator=generator), tb.randn(32, 1, generator=generator)
        w1, w2 = (tb.randn(*size, generator=generator, requires_grad=True) for size in ((4, 8), (8, 1)))
        for _ in range(50):
            loss = (((x @ w1).tanh() @ w2 - target) ** 2).mean()
            loss.backward()
            with tb.no_grad():
                for w in (w1, w2):
                    w.data -= 0.05 * w.grad.data
                    w.grad = None
        results[seed] = w1.data, w2.data

    alone: dict[int, Any] = {}
    together: dict[int, Any] = {}
    for seed in (1, 2):
        train(seed, alone)
    threads = [threading.Thread(target=train, args=(seed, together)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (1, 2):
        for one, other in zip(alone[seed], together[seed], strict=True):
            np.testing.assert_array_equal(one, other)


def test_set_grad_enabled_as_a_statement_and_no_grad_without_parentheses():
    x = leaf(1.0)

    @tb.no_grad
    def twice(x):
        return x * 2

    assert not twice(x).requires_grad
    try:
        tb.set_grad_enabled(False)
        assert not (x * 2).requires_grad
    finally:
        tb.set_grad_enabled(True)

    @tb.set_grad_enabled(False)
    def thrice(x):
        return x * 3

    assert (x * 2).requires_grad and not thrice(x).requires_grad


# --- detect_anomaly ---------------------------------------------------------------------------------------------------


def made_forward():
    x = leaf(1.0, 0.0)
    return tb.log(x) * 2  # the culprit


def made_by_infinity():
    x = tb.full((2, 2), 1e30, requires_grad=True)
    return x * x  # the culprit


def made_by_a_layer():
    layer = tb.nn.Linear(2, 1)
    layer.weight.data[...] = 3e38
    return layer(tb.full((1, 2), 10.0))  # the culprit


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (made_forward, r"^log made -inf at \(1,\) of its output of shape \(2,\), from finite inputs"),
        (made_by_infinity, r"^multiply made inf at \(0, 0\) of its output"),
        (made_by_a_layer, r"^linear made inf at \(0, 0\) of its output"),
    ],
)
def test_an_anomaly_forward_names_op_and_line(program, message):
    message += r".*called at .*test_modes\.py:\d+: .*# the culprit$"
    with tb.detect_anomaly(), pytest.raises(tb.errors.AnomalyError, match=message):
        program()


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("function", "point", "message"),
    [
        (tb.sqrt, 0.0, r"the backward of sqrt made inf at \(1,\) of a gradient of shape \(2,\)"),
        (lambda x: x**0.5, 0.0, r"the backward of power made inf at \(1,\) of a gradient"),
    ],
)
def test_an_anomaly_backward_names_op_and_line(function, point, message, create_graph):
    x, other = leaf(4.0, point), leaf(1.0)
    with tb.detect_anomaly():
        y = function(x)
        loss = (y + other).sum()
        with pytest.raises(tb.errors.AnomalyError, match=message + r".*called at .*test_modes\.py"):
            loss.backward(create_graph=create_graph)
    assert x.grad is None and other.grad is None


def test_what_was_not_finite_before_is_no_anomaly():
    with tb.detect_anomaly():
        x = tb.tensor([1.0, np.inf, np.nan], requires_grad=True)
        (x * 2).sum().backward()
        masked = tb.where(tb.tensor([True, False]), tb.tensor([1.0, 2.0]), -np.inf)
        tb.softmax(masked, 0)


def test_only_lines():
    with tb.detect_anomaly(check_nan=False):
        y = tb.log(leaf(0.0))
    assert np.isinf(y.item())
    assert y.node.site[0].endswith("test_modes.py")
    assert tb.log(leaf(0.0)).node.site is None


def test_detect_anomaly_as_a_decorator():
    @tb.detect_anomaly()
    def log(x):
        return tb.log(x)

    with pytest.raises(tb.errors.AnomalyError, match="log made -inf of its output"):
        log(leaf(0.0))
    assert np.isinf(tb.log(leaf(0.0)).item())


# --- strict_float32 ---------------------------------------------------------------------------------------------------

UPCASTS = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: y * x,
    "power": lambda x, y: x**y,
    "cat": lambda x, y: tb.cat([x, y]),
    "where": lambda x, y: tb.where(x > 0, x, y),
    "maximum": tb.maximum,
}


@pytest.mark.parametrize("name", UPCASTS)
def test_strict_float32_names_the_op_that_would_cast(name):
    x, y = tb.ones(2), tb.ones(2, dtype=np.float64)
    assert UPCASTS[name](x, y).dtype == np.float64
    with tb.strict_float32(), pytest.raises(tb.errors.DTypeError, match=f"strict_float32: {name} would cast"):
        UPCASTS[name](x, y)


def test_strict_float32_lets_everything_else_pass():
    x, y = tb.ones(2), tb.ones(2, dtype=np.float64)
    with tb.strict_float32():
        assert (x * 2.5 + np.float64(1.0) + tb.arange(2)).dtype == np.float32
        assert (x * tb.tensor(2.0, dtype=np.float64)).dtype == np.float32  # one without axes does not promote
        assert (
            (y * y).dtype == np.float64
            and x.to(np.float64).dtype == np.float64
            and (x.double() + y).dtype == np.float64
        )


# --- threads ----------------------------------------------------------------------------------------------------------


def train(seed: int, results: dict[int, Any]) -> None:
    generator = np.random.default_rng(seed)
    x = tb.randn(64, 8, generator=generator)
    labels = generator.integers(0, 3, 64)
    model = tb.nn.Sequential(
        tb.nn.Linear(8, 16, generator=generator),
        tb.nn.BatchNorm1d(16),
        tb.nn.ReLU(),
        tb.nn.Linear(16, 3, generator=generator),
    )
    optimizer = tb.optim.Adam(model.parameters(), lr=0.01)
    for step in range(60):
        loss = tb.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == seed:
            with tb.no_grad():
                model(x)
    results[seed] = loss.item()


def test_threads_train_models_of_their_own():
    alone: dict[int, Any] = {}
    for seed in range(4):
        train(seed, alone)
    together: dict[int, Any] = {}
    threads = [threading.Thread(target=train, args=(seed, together)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone and len(set(alone.values())) == 4


def test_modes_of_generators():
    """The mode holds while the generator runs; while it waits, its caller is in its own."""

    @tb.no_grad()
    def values(x):
        received = yield (x * 2).requires_grad
        try:
            yield received, tb.is_grad_enabled()
        except KeyError:
            yield "caught", tb.is_grad_enabled()
        return "end"

    generator = values(leaf(1.0))
    assert next(generator) is False and tb.is_grad_enabled()
    assert generator.send("sent") == ("sent", False) and tb.is_grad_enabled()
    assert generator.throw(KeyError) == ("caught", False) and tb.is_grad_enabled()
    with pytest.raises(StopIteration, match="end"):
        next(generator)
    started = values(leaf(1.0))
    next(started)
    started.close()
    assert tb.is_grad_enabled()


def test_an_anomaly_of_broadcasting_and_of_operands():
    x = tb.ones(1, requires_grad=True)
    with tb.detect_anomaly():
        with pytest.raises(tb.errors.AnomalyError, match="the backward of multiply made inf"):
            (x * tb.ones(4)).backward(tb.full((4,), 3e38))
        (x * tb.tensor([np.inf])).sum().backward()  # the operand was not finite before
    assert np.isinf(x.grad.item())


def test_a_mode_set_by_hand_serves_as_a_context_again():
    off = tb.set_grad_enabled(False)
    for _ in range(2):
        with off:
            assert not tb.is_grad_enabled()
    tb.set_grad_enabled(True)
