"""Decompress streams: whole files (gzip, bzip2, xz), and the members of a ZIP."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from fm_pipeline.dicom.files.archives.at_position import BLOCK
from fm_pipeline.dicom.files.archives.faults import MemberFault

_LARGEST_DICTIONARY = 1 << 28  # bytes that a stream may request from xz; `xz -9` needs 64 MB

STREAMS: tuple[tuple[bytes, tuple[str, ...]], ...] = (
    (b"\x1f\x8b", (".gz", ".gzip", ".tgz", ".taz")),
    (b"BZh", (".bz2", ".bz", ".tbz2", ".tbz", ".tb2")),
    (b"\xfd7zXZ\0", (".xz", ".txz")),
)

STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14  # APPNOTE.TXT, 4.4.5
METHODS = frozenset({STORED, DEFLATED, BZIP2, LZMA})


class Unpacker(Protocol):
    """The interface of the decompressors in `bz2` and `lzma`."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""

    @property
    def unused_data(self) -> bytes:
        """The bytes behind the end of the stream."""

    @property
    def needs_input(self) -> bool:
        """Whether more output needs more input."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return up to that many decompressed bytes."""


class _Zlib:
    """`zlib` with the same interface."""

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


_DECOMPRESSORS: dict[bytes, Callable[[], Unpacker]] = {
    b"\x1f\x8b": lambda: _Zlib(16 + zlib.MAX_WBITS),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lambda: lzma.LZMADecompressor(memlimit=_LARGEST_DICTIONARY),
}
FAULTS = (zlib.error, lzma.LZMAError, EOFError, ValueError, OSError)  # bz2 raises OSError for data that are none


def unpacked_stream(blocks: Iterable[bytes], mark: bytes) -> Iterator[bytes]:
    """Decompress a gzip, bzip2 or xz file, which may consist of several streams.

    Other bytes behind the last stream are ignored as padding, as those programs do.

    Args:
        mark: the first bytes of such a file: one of `STREAMS`.

    Raises:
        MemberFault: the file is truncated, or its checksum is wrong.
    """
    make = _DECOMPRESSORS[mark]
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
    """Decompress a member of a ZIP. The caller compares size and checksum.

    Raises:
        MemberFault: the data are damaged, or longer than the archive says.
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
    """Decompress a block in pieces of bounded size: a small block may decompress to a very large one."""
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
    """Rewrite the header of an LZMA member (APPNOTE.TXT, 5.8.8) as that of a .lzma file, which `lzma` can read."""
    rest = iter(blocks)
    head = b""
    while len(head) < 9:
        block = next(rest, b"")
        if not block:
            raise MemberFault("member_damaged")
        head += block
    if int.from_bytes(head[2:4], "little") != 5:
        raise MemberFault("member_method")
    alone = head[4:9] + b"\xff" * 8  # unknown size: it may have an end marker or not

    def with_header() -> Iterator[bytes]:
        yield alone + head[9:]
        yield from rest

    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LARGEST_DICTIONARY), with_header()
