"""Contestants take turns, so that whatever disturbs the machine disturbs them all alike."""

import contextlib
import gc
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinybn.threads import get_num_threads, set_num_threads

_SAMPLE = 1e-3  # seconds; the clock's resolution and the loop are below a thousandth of it
LEAST_ROUNDS = 3  # for quartiles
# PyTorch's OpenMP threads spin for some milliseconds after their last work, on a core that the next one needs.
_PEER_SETTLES = 0.01


@dataclass(frozen=True)
class Effort:
    """How long a comparison may take: so many rounds, but a contestant stops after so many seconds of its own.

    Before each sample, so many seconds are not timed: a core that was idle speeds up within a millisecond or two, and a
    cache that others have filled is the contestant's own only after several calls.
    """

    rounds: int = 21
    seconds: float = 0.6
    untimed: float = 3e-3


NORMAL = Effort()
QUICK = Effort(rounds=5, seconds=0.03, untimed=0.0)


@dataclass
class Contestant:
    """A call that is timed in turn with others, and the seconds per call of each round that it took part in."""

    name: str
    call: Callable[[], Any]
    threads: int = 1
    peer: bool = False
    repeats: int = 1
    times: dict[int, float] = field(default_factory=dict)
    spent: float = 0.0

    def warm_up(self) -> None:
        """Choose how many calls make a sample."""
        several = int(_SAMPLE / 4 / self._loop(1))
        if several:
            self.repeats = max(1, round(_SAMPLE / self._loop(several)))

    def sample(self, turn: int, untimed: float) -> None:
        begin = time.perf_counter()
        self.call()
        while time.perf_counter() - begin < untimed:
            self._loop(self.repeats)
        self.times[turn] = self._loop(self.repeats)
        self.spent += time.perf_counter() - begin
        if self.peer and self.threads > 1:
            time.sleep(_PEER_SETTLES)

    def finished(self, effort: Effort) -> bool:
        return len(self.times) >= LEAST_ROUNDS and self.spent > effort.seconds

    @property
    def median(self) -> float:
        return statistics.median(self.times.values())

    def _loop(self, repeats: int) -> float:
        call = self.call
        begin = time.perf_counter()
        for _ in itertools.repeat(None, repeats):
            call()
        return max((time.perf_counter() - begin) / repeats, 1e-9)


def take_turns(contestants: Sequence[Contestant], effort: Effort) -> None:
    """Time all, round by round, in an order that changes: nobody always follows the same one."""
    order, shuffle = list(contestants), random.Random(0).shuffle
    with _undisturbed():
        for contestant in contestants:
            use_threads(contestant.threads)
            contestant.warm_up()
        for turn in range(effort.rounds):
            shuffle(order)
            for contestant in order:
                if not contestant.finished(effort):
                    use_threads(contestant.threads)
                    contestant.sample(turn, effort.untimed)


@contextlib.contextmanager
def threads_restored() -> Iterator[None]:
    before = get_num_threads()
    try:
        yield
    finally:
        use_threads(before)


def use_threads(n: int) -> None:
    """The number of threads of the kernels, of BLAS, and of PyTorch if somebody has imported it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != n:
        torch.set_num_threads(n)
    if get_num_threads() != n:
        set_num_threads(n)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """No garbage collection while the clock runs."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
