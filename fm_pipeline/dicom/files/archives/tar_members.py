"""The members of a tar, read with `tarfile`, with a check that the archive has its end.

`tarfile` takes a damaged or truncated header for the end of the archive. POSIX marks the end with 1,024 zero bytes.
Another tar may follow behind it, if somebody joined two with `cat` or `tar -A`.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Generator, Iterator

from fm_pipeline.dicom.files.archives.at_position import BLOCK, AtPosition, blocks_at, read_at
from fm_pipeline.dicom.files.archives.faults import ArchiveFault, MemberFault
from fm_pipeline.dicom.files.archives.member import Member

_RECORD = tarfile.BLOCKSIZE
_LONGEST_HEADER = 1 << 23
_GNU_MARK = b"ustar  \0"  # magic and version; POSIX has ustar, NUL and 00
_WITHOUT_DATA = frozenset((b"V", b"D", b"N"))  # GNU: label, list of a folder, long names of old
_CONTINUED = b"M"  # GNU: the rest of a file that begins in another volume


def is_tar(head: bytes) -> bool:
    """Return whether a file begins with a valid tar header. The checksum decides: old tars have no magic."""
    if len(head) < _RECORD or not head[0]:
        return False
    try:
        tarfile.TarInfo.frombuf(head[:_RECORD], "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


class _Headers(io.BufferedReader):
    """A reader that bounds the headers: `tarfile` reads each into memory, whatever length the archive declares."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to that many bytes.

        Raises:
            tarfile.ReadError: more is requested than a header can have.
        """
        if size is None or not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError("a header is too long")
        return super().read(size)


class TarArchive:
    """An open tar that is not compressed.

    Args:
        descriptor: of the file.
        size: its bytes.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size

    def members(self) -> Iterator[Member]:
        """Yield all members that are not directories.

        Raises:
            ArchiveFault: the archive is truncated or damaged from here on.
        """
        begin: int | None = 0
        while begin is not None:
            end = yield from self._of_one(begin)
            begin = self._next_archive(end)

    def read(self, member: Member) -> Iterator[bytes]:
        """Yield the data of a member.

        Raises:
            MemberFault: the archive ends inside it.
            OSError: the file cannot be read.
        """
        given, position = 0, member.position  # the bytes yielded so far; the position in the archive
        for offset, length in member.pieces or ((0, member.size),):
            if not length:  # filling of the list, or the end of the file
                continue
            yield from _zeros(offset - given)
            taken = 0
            for block in blocks_at(self._descriptor, position, length):
                taken += len(block)
                yield block
            if taken != length:
                raise MemberFault("member_cut")
            position, given = position + length, offset + length
        yield from _zeros(member.size - given)

    def _of_one(self, begin: int) -> Generator[Member, None, int]:
        """Yield the members of one tar, and return the position of its end."""
        file = _Headers(AtPosition(self._descriptor, self._size), 1 << 16)
        file.seek(begin)
        end = begin
        try:
            with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
                try:
                    while (info := tar.next()) is not None:
                        tar.members = []  # type: ignore[attr-defined]  # else every member of a large archive stays in memory
                        if member := self._member(info):
                            yield member
                finally:
                    end = tar.offset
        except (tarfile.TarError, ValueError, OverflowError, EOFError):
            raise ArchiveFault("archive_cut" if end >= self._size else "archive_damaged") from None
        if len(record := read_at(self._descriptor, end, _RECORD)) < _RECORD:
            raise ArchiveFault("archive_cut")
        if any(record):
            raise ArchiveFault("archive_damaged")
        return end

    def _member(self, info: tarfile.TarInfo) -> Member | None:
        if info.isdir() or info.type in _WITHOUT_DATA:
            return None
        reason = None
        if info.issym() or info.islnk():
            reason = "link_in_archive"
        elif info.isfifo() or info.isdev():
            reason = "fifo" if info.isfifo() else "device"
        elif info.type == _CONTINUED:
            reason = "archive_multivolume"
        pieces: tuple[tuple[int, int], ...] = ()
        if info.issparse():
            pieces = tuple(info.sparse) if isinstance(info.sparse, list) and info.sparse else ((info.size, 0),)
        if not reason and info.offset_data + (sum(length for _, length in pieces) or info.size) > self._size:
            reason = "member_cut"
        return Member(self._name(info), info.size, reason, info.offset_data, pieces=pieces)

    def _name(self, info: tarfile.TarInfo) -> str:
        """Return the name of a member, without the times that GNU tar has where POSIX has the prefix of the name.

        `tarfile` takes them for the prefix.
        """
        header = read_at(self._descriptor, info.offset_data - _RECORD, _RECORD)
        if header[257:265] == _GNU_MARK and header[345]:
            name, prefix = (
                field.partition(b"\0")[0].decode("utf-8", "surrogateescape")
                for field in (header[:100], header[345:500])
            )
            if info.name == f"{prefix}/{name}":  # else a long name, which has a header of its own
                return name
        return info.name

    def _next_archive(self, position: int) -> int | None:
        """Return the position of the next tar behind the end of one; None if there is none."""
        while block := read_at(self._descriptor, position, BLOCK):
            if content := block.lstrip(b"\0"):
                at = position + (len(block) - len(content)) // _RECORD * _RECORD
                return at if is_tar(read_at(self._descriptor, at, _RECORD)) else None
            position += len(block)
        return None


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield bytes(min(length, BLOCK))
        length -= BLOCK
