"""Memory that a thread uses again for one chunk of files after the other.

A fresh half megabyte costs the processor ten times what reading a file into it does, if four threads ask for it at a
time: the system has to map and to clear every page.
"""

from __future__ import annotations

import mmap


class ChunkBuffer:
    """Of one thread. Its pages are taken from the system when they are first written to.

    Args:
        size: bytes; what does not fit is taken from elsewhere.
    """

    def __init__(self, size: int) -> None:
        self._whole = memoryview(mmap.mmap(-1, size))
        self._used = 0

    def take(self, size: int) -> memoryview:
        """Some of it, of any content, until `clear`."""
        if size > len(self._whole) - self._used:
            return memoryview(bytearray(size))
        begin, self._used = self._used, self._used + size
        return self._whole[begin : self._used]

    def clear(self) -> None:
        """From now on it is given out anew: nobody may look any more at what was taken before."""
        self._used = 0


class BufferFile:
    """A file's content in memory, to be read like the file."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._position = content, 0

    def seek(self, offset: int, /) -> int:
        """Go to a position."""
        self._position = offset
        return offset

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes from there."""
        piece = bytes(self._content[self._position : self._position + size])
        self._position += len(piece)
        return piece
