"""Positional reads of an open file, for many threads at once."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

BLOCK = 1 << 20


class AtPosition(io.RawIOBase):
    """A stream over an open file with a position of its own, independent of other readers.

    Args:
        descriptor: of the file; it is not closed.
        size: of the file in bytes.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        super().__init__()
        self._descriptor, self._size, self._position = descriptor, size, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: object, /) -> int:
        """Read up to as many bytes as fit."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        done = os.preadv(self._descriptor, [view], self._position)
        self._position += done
        return done


def read_at(descriptor: int, position: int, length: int) -> bytes:
    """Return that many bytes of a file from a position; fewer only at its end, none before its beginning.

    A damaged archive can name any position.
    """
    parts = []
    while length > 0 and position >= 0 and (part := os.pread(descriptor, length, position)):
        parts.append(part)
        position, length = position + len(part), length - len(part)
    return b"".join(parts)


def blocks_at(descriptor: int, position: int, length: int) -> Iterator[bytes]:
    """Yield the same bytes in blocks."""
    while length > 0 and position >= 0 and (block := os.pread(descriptor, min(BLOCK, length), position)):
        yield block
        position, length = position + len(block), length - len(block)
