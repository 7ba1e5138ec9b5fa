"""What was used last, bounded in bytes: decoded pictures, and files on their way out."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The least recently used goes first once the bound is reached, but never the newest."""

    def __init__(self, max_bytes: int, size: Callable[[V], int]) -> None:
        self._max_bytes = max_bytes
        self._size = size
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """What was kept under that key, if it is still here."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def keep(self, key: K, value: V) -> None:
        """Keeps it, and drops what there is no room for any more."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        total = sum(map(self._size, self._kept.values()))
        while total > self._max_bytes and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            total -= self._size(dropped)

    def forget(self, key: K) -> None:
        """Drops it, if it is here."""
        self._kept.pop(key, None)
