"""Batches of a dataset, in order or shuffled."""

import operator
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from tinybn._typing import Array, Generator
from tinybn.data.dataset import Dataset, TensorDataset, TrainTest
from tinybn.random import resolve


class Indexable(Protocol):
    """What a loader takes: a length, and items by an array of integers."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...


class DataLoader:
    """Iterates over a dataset in batches, as ``torch.utils.data.DataLoader``.

    A batch of a ``Dataset`` is ``(inputs, targets)``: float32 in 0 … 1 (B, 1, H, W) and int64 (B,). A batch of
    anything else is ``dataset[indices]`` for an int64 array of B indices.

    Args:
        dataset: a ``Dataset``, a tuple of arrays of one length, or any object with a length that can be indexed with an
            array of integers.
        batch_size: B, 1 by default. The last batch of an epoch may be smaller.
        shuffle: a new order for each epoch instead of the dataset's own; False by default. One permutation is drawn
            when an iterator is made, so the state of the generator before an epoch fixes the epoch.
        drop_last: leave out a last batch that is smaller than B; False by default.
        generator: what draws the orders; by default the one that ``tb.manual_seed`` seeds.
        transform: a function of the inputs, or of the whole batch where a batch is no tuple; what it returns takes
            their place. It may change them in place: batches are copies. Unlike PyTorch's it sees a batch, not one
            sample.

    Raises:
        ValueError: ``batch_size`` is below 1.
        TypeError: an argument of another type than described.

    Batches are made when they are asked for, in this process. Iterators are independent of each other.

    >>> from tinybn.data import digits
    >>> loader = DataLoader(digits().train, batch_size=64, shuffle=True, generator=np.random.default_rng(0))
    >>> len(loader)
    23
    >>> inputs, targets = next(iter(loader))
    >>> inputs.shape, inputs.dtype, targets.shape, targets.dtype
    ((64, 1, 8, 8), dtype('float32'), (64,), dtype('int64'))
    >>> [y.tolist() for x, y in DataLoader((np.zeros((5, 3)), np.arange(5)), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Indexable | tuple[Any, ...],
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        generator: Generator | None = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        if isinstance(dataset, TrainTest):
            raise TypeError("DataLoader: dataset is both parts of a dataset, expected one: its .train or its .test")
        if isinstance(dataset, tuple):
            dataset = TensorDataset(*dataset)
        if isinstance(dataset, list) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(
                f"DataLoader: dataset is a {type(dataset).__name__}, expected a Dataset, a tuple of arrays, or an "
                "object with a length that can be indexed with an array of integers"
            )
        resolve(generator)  # refuses what is not a generator
        if transform is not None and not callable(transform):
            raise TypeError(f"DataLoader: transform={transform!r}, expected a function of the inputs")
        self.dataset = dataset
        self.batch_size = _positive(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.generator = generator
        self.transform = transform

    def __len__(self) -> int:
        """The number of batches."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        # Drawn here and not at the first next(): what an epoch draws must not depend on when it is consumed.
        n = len(self.dataset)
        order = resolve(self.generator).permutation(n) if self.shuffle else np.arange(n)
        return self._batches(order, len(self))

    def _batches(self, order: Array, count: int) -> Iterator[Any]:
        fetch = self.dataset.batch if isinstance(self.dataset, Dataset) else self.dataset.__getitem__
        for start in range(0, count * self.batch_size, self.batch_size):
            batch = fetch(order[start : start + self.batch_size])
            if self.transform is None:
                yield batch
            elif isinstance(batch, tuple):
                yield self.transform(batch[0]), *batch[1:]
            else:
                yield self.transform(batch)


def _positive(batch_size: int) -> int:
    try:
        size = operator.index(batch_size)
    except TypeError:
        raise TypeError(f"DataLoader: batch_size={batch_size!r}, expected an integer of at least 1") from None
    if size < 1 or isinstance(batch_size, bool):
        raise ValueError(f"DataLoader: batch_size={batch_size!r}, expected an integer of at least 1")
    return size
