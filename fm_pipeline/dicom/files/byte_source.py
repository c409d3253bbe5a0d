"""Random access to the bytes of a file, for the walk of its elements."""

from __future__ import annotations

from typing import Protocol


class ByteSource(Protocol):
    """Bytes that can be read from any position."""

    size: int

    def read(self, position: int, length: int) -> bytes:
        """Return that many bytes; fewer only at the end."""
        ...


class Seekable(Protocol):
    """A file that can be read from any position, as far as the walk needs it."""

    def seek(self, offset: int, /) -> int:
        """Go to a position."""

    def read(self, size: int, /) -> bytes:
        """Return up to that many bytes from there."""


class FileSource:
    """A file whose first bytes have already been read."""

    def __init__(self, file: Seekable, size: int, head: bytes) -> None:
        self._file = file
        self.size = size
        self._head = head

    def read(self, position: int, length: int) -> bytes:
        """Return that many bytes; fewer only at the end of the file."""
        if position + length <= len(self._head):
            return self._head[position : position + length]
        if position >= self.size:
            return b""
        self._file.seek(position)
        return read_whole(self._file, length)


def read_whole(file: Seekable, length: int) -> bytes:
    """Return that many bytes from the current position; fewer only at the end of the file.

    A network share may return fewer bytes than requested, so it is read until nothing more comes.
    """
    data = file.read(length)
    while data and len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data
