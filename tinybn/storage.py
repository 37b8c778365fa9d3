"""When a piece of memory was last changed in place, and which tensors see it.

A clock ticks at each change, and a storage, the memory that an array and its views share, keeps the tick of its last
one. An op notes the time when it is recorded; what it saved was changed if its storage has a later tick. So ops pay
nothing for this but a glance at the clock, and a view is its owner's as far as changes go.

The clock is one for all threads: it only ever grows, and others' ticks do not matter to what they have not changed.
"""

import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinybn._typing import Array


class _Clock:
    now = 0


class _Storage:
    """The tick and the author of the last change, and the tensors that are known to be views here, by their ids.

    ``unseen`` has the ids of those that were made while nothing was recorded.
    """

    __slots__ = ("changed_at", "changed_by", "owner", "tensors", "unseen")

    def __init__(self, owner: Array) -> None:
        key = id(owner)  # an id is free again only after the callback has run
        self.owner = weakref.ref(owner, lambda _: _storages.pop(key, None))
        self.changed_at, self.changed_by = 0, ""
        self.tensors: dict[int, weakref.ref[Any]] = {}
        self.unseen: set[int] = set()

    def forget(self, key: int) -> None:
        self.tensors.pop(key, None)
        self.unseen.discard(key)


clock = _Clock()
_ticking = threading.Lock()
_storages: dict[int, _Storage] = {}


def mark_changed(array: Array, by: str) -> None:
    """The array's memory has just been changed in place, by the function of that name."""
    storage = _storage_of(array)
    with _ticking:
        clock.now += 1
        storage.changed_at, storage.changed_by = clock.now, by


def changed_since(value: Any, time: int) -> str | None:
    """What changed the memory of an array, or of one in a tuple, after that time; None if nothing did."""
    if isinstance(value, tuple):
        return next(filter(None, (changed_since(part, time) for part in value)), None)
    if not isinstance(value, np.ndarray):
        return None
    storage = _storages.get(id(owner_of(value)))
    return storage.changed_by if storage is not None and storage.changed_at > time else None


def owner_of(array: Array) -> Array:
    """The array whose memory this is a view of; itself if it has its own."""
    base: Any = array
    while base is not None:
        if isinstance(base, np.ndarray):
            array = base
        base = getattr(base, "base", None)
    return array


def note_view(view: Any, sources: tuple[Any, ...], recording: bool) -> None:
    """Remember a tensor that an op has just made, and those of its sources that it shares memory with."""
    owner = owner_of(view.data)
    shared = [x for x in sources if hasattr(x, "data") and isinstance(x.data, np.ndarray) and owner_of(x.data) is owner]
    if shared:
        storage = _storage_of(owner)
        for tensor in (view, *shared):
            key = id(tensor)
            if key not in storage.tensors:
                storage.tensors[key] = weakref.ref(tensor, lambda _, key=key: storage.forget(key))  # type: ignore[misc]
        if not recording:
            storage.unseen.add(id(view))


def is_unseen_view(tensor: Any) -> bool:
    """Whether a tensor is a view that was made while nothing was recorded."""
    storage = _storages.get(id(owner_of(tensor.data)))
    return storage is not None and id(tensor) in storage.unseen


def relatives(tensor: Any) -> Iterator[Any]:
    """The other living tensors that are known to share memory with this one."""
    storage = _storages.get(id(owner_of(tensor.data)))
    if storage is not None:
        for reference in list(storage.tensors.values()):
            other = reference()
            if other is not None and other is not tensor:
                yield other


def _storage_of(array: Array) -> _Storage:
    owner = owner_of(array)
    storage = _storages.get(id(owner))
    if storage is None:
        storage = _storages[id(owner)] = _Storage(owner)
    return storage
