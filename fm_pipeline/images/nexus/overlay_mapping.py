"""A mapping that begins as a large one and differs from it in few items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

MOST_CHANGES = 10_000  # items that were added or removed; with more, the next mapping copies all once


class OverlayMapping(MutableMapping[K, V]):
    """Items of an earlier mapping, which is neither copied nor changed, without some, and with others.

    Args:
        before: it must not change any more. Of another mapping of this class only the changes are copied.

    Attributes:
        base: the earlier mapping.
        added: the items that it does not have, or has with another value.
        removed: its keys that are no longer there.
    """

    def __init__(self, before: Mapping[K, V]) -> None:
        self.base: Mapping[K, V] = before
        self.added: dict[K, V] = {}
        self.removed: set[K] = set()
        if isinstance(before, OverlayMapping):
            few = len(before.added) + len(before.removed) <= MOST_CHANGES
            self.base = before.base if few else dict(before)
            self.added = dict(before.added) if few else {}
            self.removed = set(before.removed) if few else set()

    def __getitem__(self, key: K) -> V:
        """Return the value of a key."""
        if key in self.added:
            return self.added[key]
        if key in self.removed:
            raise KeyError(key)
        return self.base[key]

    def __setitem__(self, key: K, value: V) -> None:
        """Add an item, or replace the value of a key."""
        self.removed.discard(key)
        self.added[key] = value

    def __delitem__(self, key: K) -> None:
        """Remove an item."""
        if key not in self:
            raise KeyError(key)
        self.added.pop(key, None)
        if key in self.base:
            self.removed.add(key)

    def __contains__(self, key: object) -> bool:
        """Whether there is an item of this key."""
        return key in self.added or (key in self.base and key not in self.removed)

    def __iter__(self) -> Iterator[K]:
        """Yield the keys."""
        yield from (key for key in self.base if key not in self.removed)
        yield from (key for key in self.added if key not in self.base)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.base) - len(self.removed) + sum(key not in self.base for key in self.added)
