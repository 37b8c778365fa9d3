"""Whole training steps: the same bits for any number of threads, and the loss of the layers one by one."""

import numpy as np
import pytest

import tinybn as tb
from tinybn.bench.train.models import NAMES, initial_weights, model
from tinybn.bench.train.with_tinybn import Trainer


@pytest.fixture(autouse=True)
def threads_restored():
    before = tb.get_num_threads()
    yield
    tb.set_num_threads(before)


def trained(name: str, threads: int, optimizer: str = "sgd", steps: int = 3) -> list[bytes]:
    """Losses, parameters and running statistics after some steps."""
    entry = model(name)
    trainer = Trainer(entry.layers, initial_weights(entry.layers, 0), optimizer, 0.05, threads, "plain")
    generator = np.random.default_rng(0)
    losses = []
    for _ in range(steps):
        images = generator.random((entry.batch, 1, 28, 28), np.float32)
        losses.append(trainer.step(trainer.batch(images, generator.integers(0, 10, entry.batch))))
    return [value.tobytes() for value in (*(loss.numpy() for loss in losses), *trainer.model.state_dict().values())]


@pytest.mark.skipif(not tb.kernels.COMPILED, reason="without compiled kernels products are BLAS's")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", NAMES)
def test_threads_change_no_bit_of_a_training(name, optimizer):
    alone = trained(name, 1, optimizer)
    assert trained(name, 2, optimizer) == alone
    assert trained(name, 3, optimizer) == alone


def test_the_loss_is_that_of_the_layers_one_by_one():
    """The step of the race is the one that a reader would write."""
    entry = model("B")
    weights = initial_weights(entry.layers, 1)
    trainer = Trainer(entry.layers, weights, "sgd", 0.1, 1, "plain")
    x, labels = trainer.batch(np.random.default_rng(1).random((8, 1, 28, 28), np.float32), np.arange(8))
    first, _, _, second, _, _, third, _ = weights
    h = x.numpy().reshape(8, -1).astype(np.float64)
    for w in (first, second):
        h = h @ w.T
        h = np.maximum((h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5), 0)
    logits = h @ third.T
    expected = (np.log(np.exp(logits).sum(1)) - logits[np.arange(8), np.arange(8)]).mean()
    assert trainer.step((x, labels)).item() == pytest.approx(expected, rel=1e-5)
