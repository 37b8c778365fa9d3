"""Whether ops are recorded, in each thread for itself."""

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
