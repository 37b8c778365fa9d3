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
    """The tick and the author of the last change, and the views that are known.

    Attributes:
        views: by their ids, the tensors and the group of each: those that views made of one another. A detached tensor
            shares the memory, and begins a group of its own.
        unseen: the ids of those that were made while nothing was recorded.
    """

    __slots__ = ("changed_at", "changed_by", "owner", "unseen", "views")

    def __init__(self, owner: Array) -> None:
        key = id(owner)  # an id is free again only after the callback has run
        self.owner = weakref.ref(owner, lambda _: _storages.pop(key, None))
        self.changed_at, self.changed_by = 0, ""
        self.views: dict[int, tuple[weakref.ref[Any], object]] = {}
        self.unseen: set[int] = set()

    def note(self, tensor: Any, group: object) -> None:
        key = id(tensor)
        if key not in self.views:
            self.views[key] = weakref.ref(tensor, lambda _: self.forget(key)), group

    def forget(self, key: int) -> None:
        self.views.pop(key, None)
        self.unseen.discard(key)


clock = _Clock()
_ticking = threading.Lock()
_storages: dict[int, _Storage] = {}


def mark_changed(arrays: Array | list[Array], by: str) -> None:
    """The memory of an array, or of all in a list, has just been changed in place, by the function of that name."""
    with _ticking:
        clock.now += 1
        for array in arrays if isinstance(arrays, list) else (arrays,):
            storage = _storages.get(id(array if array.base is None else owner_of(array))) or _storage_of(array)
            storage.changed_at, storage.changed_by = clock.now, by


def changed_since(value: Any, time: int) -> str | None:
    """What changed the memory of an array, or of one in a tuple, after that time; None if nothing did."""
    if not isinstance(value, np.ndarray):
        if isinstance(value, tuple):
            return next(filter(None, [changed_since(part, time) for part in value]), None)
        return None
    storage = _storages.get(id(value if value.base is None else owner_of(value)))
    return storage.changed_by if storage is not None and storage.changed_at > time else None


def owner_of(array: Array) -> Array:
    """The array whose memory this is a view of; itself if it has its own."""
    base: Any = array.base
    while base is not None:
        if type(base) is np.ndarray or isinstance(base, np.ndarray):
            array, base = base, base.base
        else:  # memory that is no array's: a file's, another library's
            base = getattr(base, "base", None)
    return array


def note_view(view: Any, sources: tuple[Any, ...], recording: bool) -> None:
    """Remember a tensor that an op has just made, and the source that it shares memory with."""
    owner = owner_of(view.array)
    for source in sources:
        if hasattr(source, "array") and owner_of(source.array) is owner:
            storage = _storage_of(owner)
            _, group = storage.views.get(id(source), (None, object()))
            storage.note(view, group)
            storage.note(source, group)
            if not recording:
                storage.unseen.add(id(view))
            return


def is_unseen_view(tensor: Any) -> bool:
    """Whether a tensor is a view that was made while nothing was recorded."""
    storage = _storages.get(id(owner_of(tensor.data)))
    return storage is not None and id(tensor) in storage.unseen


def relatives(tensor: Any) -> Iterator[Any]:
    """The other living tensors of this one's group that share memory with it."""
    owner = owner_of(tensor.data)
    storage = _storages.get(id(owner))
    if storage is None or id(tensor) not in storage.views:
        return
    own_group = storage.views[id(tensor)][1]
    for reference, group in list(storage.views.values()):
        other = reference()
        if other is not None and other is not tensor and group is own_group and owner_of(other.data) is owner:
            yield other


def _storage_of(array: Array) -> _Storage:
    owner = owner_of(array)
    return _storages.get(id(owner)) or _storages.setdefault(id(owner), _Storage(owner))  # one for all threads
