"""Unpacks streams: those that are files of their own (gzip, bzip2, xz), and those of the members of a ZIP."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from fm_pipeline.dicom.files.archives.at_position import BLOCK
from fm_pipeline.dicom.files.archives.faults import MemberFault

_LARGEST_DICTIONARY = 1 << 28  # bytes that xz may ask for; `xz -9` asks for 64 MB

STREAMS: tuple[tuple[bytes, tuple[str, ...]], ...] = (
    (b"\x1f\x8b", (".gz", ".gzip", ".tgz", ".taz")),
    (b"BZh", (".bz2", ".bz", ".tbz2", ".tbz", ".tb2")),
    (b"\xfd7zXZ\0", (".xz", ".txz")),
)

STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14  # APPNOTE.TXT, 4.4.5
METHODS = frozenset({STORED, DEFLATED, BZIP2, LZMA})


class Unpacker(Protocol):
    """What `bz2` and `lzma` have."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""

    @property
    def unused_data(self) -> bytes:
        """What stands behind its end."""

    @property
    def needs_input(self) -> bool:
        """Whether it has given all that it can of what it got."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Up to so many bytes."""


class _Zlib:
    """`zlib` in the same form."""

    def __init__(self, window: int) -> None:
        self._object = zlib.decompressobj(window)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._object.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._object.decompress(self._object.unconsumed_tail + data, max_length)


_OF_STREAMS: dict[bytes, Callable[[], Unpacker]] = {
    b"\x1f\x8b": lambda: _Zlib(16 + zlib.MAX_WBITS),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lambda: lzma.LZMADecompressor(memlimit=_LARGEST_DICTIONARY),
}
FAULTS = (zlib.error, lzma.LZMAError, EOFError, ValueError, OSError)  # bz2 raises OSError for data that are none


def unpacked_stream(blocks: Iterable[bytes], mark: bytes) -> Iterator[bytes]:
    """The content of a gzip, bzip2 or xz file, which may be several streams one after the other.

    What follows the last stream and is no stream is filling, as those programs have it.

    Args:
        mark: with which such a file begins: one of `STREAMS`.

    Raises:
        MemberFault: it is cut, or its checksum is wrong.
    """
    make = _OF_STREAMS[mark]
    current: Unpacker | None = make()
    ahead = b""
    for block in blocks:
        if current is None:
            ahead = (ahead + block).lstrip(b"\0")
            if len(ahead) >= len(mark):
                if not ahead.startswith(mark):
                    return
                current, block, ahead = make(), ahead, b""  # noqa: PLW2901
            else:
                continue
        while current is not None:
            yield from _fed(current, block)
            if not current.eof:
                break
            rest = current.unused_data.lstrip(b"\0")
            current = None
            if rest.startswith(mark):
                current, block = make(), rest  # noqa: PLW2901
            elif rest and not mark.startswith(rest):
                return
            else:
                ahead = rest
    if current is not None and not current.eof:
        raise MemberFault("archive_cut")


def unpacked_member(blocks: Iterable[bytes], method: int, size: int) -> Iterator[bytes]:
    """The data of a member of a ZIP; its size and checksum are for the caller to compare.

    Raises:
        MemberFault: they are broken, or there are more of them than the archive says.
    """
    if method == STORED:
        yield from blocks
        return
    if method == LZMA:
        current, blocks = _lzma_member(blocks)
    else:
        current = _Zlib(-zlib.MAX_WBITS) if method == DEFLATED else bz2.BZ2Decompressor()
    given = 0
    for block in blocks:
        for piece in _fed(current, block):
            given += len(piece)
            if given > size:
                raise MemberFault("member_damaged")
            yield piece
        if current.eof:
            return


def _fed(unpacker: Unpacker, data: bytes) -> Iterator[bytes]:
    """What a block unpacks to, in pieces, so that a small block cannot become a large piece."""
    try:
        while True:
            piece = unpacker.decompress(data, BLOCK)
            if piece:
                yield piece
            if unpacker.eof or (unpacker.needs_input and len(piece) < BLOCK):
                return
            data = b""
    except FAULTS:
        raise MemberFault("member_damaged") from None


def _lzma_member(blocks: Iterable[bytes]) -> tuple[Unpacker, Iterator[bytes]]:
    """APPNOTE.TXT, 5.8.8: version, length of the properties, properties, data. A .lzma file says the same otherwise."""
    rest = iter(blocks)
    head = b""
    while len(head) < 9:
        block = next(rest, b"")
        if not block:
            raise MemberFault("member_damaged")
        head += block
    if int.from_bytes(head[2:4], "little") != 5:
        raise MemberFault("member_method")
    alone = head[4:9] + b"\xff" * 8  # of unknown size: it may have a mark at its end or not

    def with_header() -> Iterator[bytes]:
        yield alone + head[9:]
        yield from rest

    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LARGEST_DICTIONARY), with_header()
