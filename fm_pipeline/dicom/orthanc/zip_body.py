"""The body of a request that carries several files: a ZIP archive without compression."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, cast
from zipfile import ZipFile, ZipInfo

_BLOCK_BYTES = 64 << 10  # smaller pieces are joined: each call and each packet has its cost


def zip_body(files: Sequence[memoryview]) -> list[memoryview]:
    """Return the blocks of a ZIP archive with these files, stored as they are. Large files are not copied.

    A member is named by its number. The path of a file may hold a patient's name, and Orthanc does not need it.
    """
    out = _Pieces()
    with ZipFile(cast("IO[bytes]", out), "w") as archive:
        for number, content in enumerate(files):
            archive.writestr(ZipInfo(str(number)), content)
    return list(_joined(out.at_offset.values()))


class _Pieces:
    """What `ZipFile` writes, by its offset. The header of a member is written twice, first without its checksum.

    `bytes` and `memoryview` are kept, not copied.
    """

    def __init__(self) -> None:
        self.at_offset: dict[int, bytes | memoryview] = {}
        self._offset = 0

    def write(self, data: bytes | memoryview) -> None:
        self.at_offset[self._offset] = data
        self._offset += len(data)

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int) -> None:
        self._offset = offset

    def flush(self) -> None:
        """`ZipFile` asks for it."""


def _joined(pieces: Iterable[bytes | memoryview]) -> Iterator[memoryview]:
    small = bytearray()
    for piece in pieces:
        if len(piece) < _BLOCK_BYTES:
            small += piece
        if small and (len(piece) >= _BLOCK_BYTES or len(small) >= _BLOCK_BYTES):
            yield memoryview(small)
            small = bytearray()
        if len(piece) >= _BLOCK_BYTES:
            yield memoryview(piece)
    if small:
        yield memoryview(small)
