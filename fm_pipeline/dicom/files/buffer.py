"""A buffer that a thread reuses for each bundle of files.

Allocating half a megabyte takes ten times as long as reading a file into it when four threads allocate at a time: the
operating system maps and clears every page.
"""

from __future__ import annotations

import mmap


class BundleBuffer:
    """The buffer of one thread. Its pages are allocated when they are first written to.

    Args:
        size: bytes. A larger request gets memory of its own.
    """

    def __init__(self, size: int) -> None:
        self._whole = memoryview(mmap.mmap(-1, size))
        self._used = 0

    def take(self, size: int) -> memoryview:
        """Return part of the buffer, with undefined content. It is valid until `clear`."""
        if size > len(self._whole) - self._used:
            return memoryview(bytearray(size))
        begin, self._used = self._used, self._used + size
        return self._whole[begin : self._used]

    def clear(self) -> None:
        """Reuse the whole buffer. Parts that were taken before must not be read any more."""
        self._used = 0


class BufferFile:
    """The content of a file in memory, with the interface of a file."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._position = content, 0

    def seek(self, offset: int, /) -> int:
        """Go to a position."""
        self._position = offset
        return offset

    def read(self, size: int, /) -> bytes:
        """Return up to that many bytes from the current position."""
        piece = bytes(self._content[self._position : self._position + size])
        self._position += len(piece)
        return piece
