"""The allocator that keeps large blocks: arrays stay right, blocks come back, and the bound holds."""

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import tinybn as tb
from tinybn import memory

LARGE = 1 << 20  # float64 elements: 8 MB

pytestmark = pytest.mark.skipif(not tb.kernels.COMPILED, reason="NumPy's own allocator serves without the kernels")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    memory.enable()
    memory.empty()
    yield
    memory.enable()


def test_a_freed_block_serves_the_next_array_of_its_size() -> None:
    block = np.empty(LARGE)
    address = block.ctypes.data
    before = memory.stats()
    del block
    assert memory.stats().kept_bytes >= 8 * LARGE
    again = np.empty(LARGE)
    assert again.ctypes.data == address
    assert memory.stats().hits == before.hits + 1 and memory.stats().kept_bytes == 0


def test_a_block_that_somebody_holds_is_not_given_away() -> None:
    block = np.full(LARGE, 7.0)
    view = block[::2]
    del block
    others = [np.zeros(LARGE) for _ in range(4)]
    assert (view == 7).all() and not any(np.shares_memory(view, other) for other in others)


def test_zeros_are_zero_in_a_used_block() -> None:
    block = np.full(LARGE, 7.0)
    del block
    assert not np.zeros(LARGE).any()


@pytest.mark.parametrize("sizes", [(10, LARGE), (LARGE, 10), (LARGE, 2 * LARGE), (4_000, 5_000), (5_000, 4_000)])
def test_resize_keeps_the_contents(sizes: tuple[int, int]) -> None:
    old, new = sizes
    array = np.arange(float(old))
    array.resize(new, refcheck=False)
    kept = min(old, new)
    assert (array[:kept] == np.arange(float(kept))).all() and not array[kept:].any()


def test_the_limit_holds() -> None:
    memory.enable(limit=20 << 20)
    blocks = [np.empty(LARGE) for _ in range(5)]
    blocks.clear()
    assert 0 < memory.stats().kept_bytes <= 20 << 20
    memory.enable(limit=0)
    assert memory.stats().kept_bytes == 0
    with pytest.raises(ValueError, match="limit is -1"):
        memory.enable(limit=-1)


def test_many_sizes_in_any_order() -> None:
    random = np.random.default_rng(0)
    held: dict[int, np.ndarray] = {}
    for step in range(2_000):
        slot = int(random.integers(20))
        if slot in held:
            array = held.pop(slot)
            assert (array == array[0]).all()
        held[slot] = np.full(int(random.integers(1, 60_000)), float(step))
    assert all((array == array[0]).all() for array in held.values())
    assert memory.stats().kept_blocks <= 512


def test_disabled_keeps_nothing() -> None:
    before = np.empty(LARGE)  # made here, freed after
    memory.disable()
    hits = memory.stats().hits
    del before
    assert memory.stats().kept_bytes == 0
    for _ in range(3):
        block = np.empty(LARGE)
        del block
    assert memory.stats().hits == hits and memory.stats().kept_bytes == 0


def test_other_threads_have_numpys_allocator_until_they_ask() -> None:
    hits = []

    def work() -> None:
        for enable in (False, True):
            if enable:
                memory.enable()
            before = memory.stats().hits
            for _ in range(3):
                block = np.empty(LARGE)
                del block
            hits.append(memory.stats().hits - before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert hits[0] == 0 and hits[1] >= 2


def test_a_steady_training_loop_asks_for_no_fresh_blocks() -> None:
    tb.manual_seed(0)
    model = tb.nn.Sequential(
        tb.nn.Conv2d(1, 8, 3, padding=1), tb.nn.BatchNorm2d(8), tb.nn.ReLU(), tb.nn.MaxPool2d(2), tb.nn.Flatten(),
        tb.nn.Linear(8 * 14 * 14, 10),
    )  # fmt: skip
    optimizer = tb.optim.Adam(model.parameters())
    x, y = tb.rand(32, 1, 28, 28), np.arange(32) % 10
    gc.disable()
    try:
        for step in range(6):
            if step == 3:
                misses = memory.stats().misses
            optimizer.zero_grad()
            tb.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    finally:
        gc.enable()
    assert memory.stats().misses == misses


def test_arrays_outlive_the_interpreter() -> None:
    program = "import numpy as np, tinybn; kept = np.ones(1 << 20); tinybn.memory.disable(); print(kept.sum())"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "1048576.0"
