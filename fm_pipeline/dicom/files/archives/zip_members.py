"""The members of a ZIP (APPNOTE.TXT 6.3.10).

The standard library's `zipfile` is not used, for three reasons. It keeps the whole directory in memory. It refuses the
whole archive for one name that cannot be decoded or one damaged field. It compares the names in directory and header,
which some writers spell differently.
"""

from __future__ import annotations

import io
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import replace
from struct import Struct

from fm_pipeline.dicom.files.archives.at_position import AtPosition, blocks_at, read_at
from fm_pipeline.dicom.files.archives.faults import ArchiveFault, MemberFault
from fm_pipeline.dicom.files.archives.member import Member
from fm_pipeline.dicom.files.archives.unpacking import METHODS, unpacked_member

ENTRY_MARK, LOCAL_MARK, END_MARK = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"
_END64_MARK, _LOCATOR_MARK = b"PK\x06\x06", b"PK\x06\x07"
_ENTRY = Struct("<4sBBHHHHHLLLHHHHHLL")  # 4.3.12
_END = Struct("<4sHHHHLLH")  # 4.3.16
_END64 = Struct("<4sQHHLLQQQQ")  # 4.3.14
_LOCATOR = Struct("<4sLQL")  # 4.3.15
_LOCAL_BYTES = 30  # 4.3.7
_FURTHEST_END = _END.size + 0xFFFF  # bytes before the end of the file: the record, and the longest comment
_ENCRYPTED, _DIRECTORY_ENCRYPTED = 1 << 0, 1 << 13
_UNIX, _MACOS = 3, 19  # 4.4.2: systems whose external attributes have a mode
_DOS_DIRECTORY = 0x10
_WRAP = 1 << 32  # what the fields for positions cannot hold
_SIZES, _UNICODE_PATH = 0x0001, 0x7075  # kinds of extra fields


def has_end(tail: bytes) -> bool:
    """Return whether the last bytes of a file are the end of a ZIP. Then it is one, whatever it begins with."""
    return _end_at(tail) is not None


def tail_of(descriptor: int, size: int) -> bytes:
    """Return the last bytes of a file, in which the end record of a ZIP must be."""
    return read_at(descriptor, max(size - _FURTHEST_END, 0), min(size, _FURTHEST_END))


class ZipArchive:
    """An open ZIP.

    Args:
        descriptor: of the file.
        size: its bytes.

    Raises:
        ArchiveFault: it has no end record, or is part of a split archive.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
        self._directory, self._length, self._shift = self._find_directory()

    def members(self) -> Iterator[Member]:
        """Yield all members but folders, in the order of the directory.

        Raises:
            ArchiveFault: the directory is damaged from here on; or other members are not in it.
        """
        file = io.BufferedReader(AtPosition(self._descriptor, self._size), 1 << 16)
        file.seek(self._directory)
        end = self._directory + self._length
        position, behind = self._directory, 0
        while position < end:
            head = file.read(_ENTRY.size)
            if len(head) < _ENTRY.size or not head.startswith(ENTRY_MARK):
                raise ArchiveFault("archive_damaged")
            fields = _ENTRY.unpack(head)
            name_bytes, extra_bytes, comment_bytes = fields[11:14]
            name, extra = file.read(name_bytes), file.read(extra_bytes)
            file.seek(comment_bytes, os.SEEK_CUR)
            position += _ENTRY.size + name_bytes + extra_bytes + comment_bytes
            if member := self._member(fields, name, extra):
                if self._wraps:
                    member = self._unwrapped(member, behind)
                    behind = member.position + member.packed_size
                yield member
        # Members before the first position that the directory can name belong to another ZIP: two were joined.
        if self._shift > 0 and not self._wraps and self._is_behind_another():
            raise ArchiveFault("archive_damaged")

    def read(self, member: Member) -> Iterator[bytes]:
        """Yield the data of a member, and check their size and checksum.

        Raises:
            MemberFault: the data differ from what the directory says.
            OSError: the file cannot be read.
        """
        head = read_at(self._descriptor, member.position, _LOCAL_BYTES)
        if len(head) < _LOCAL_BYTES or not head.startswith(LOCAL_MARK):
            raise MemberFault("member_damaged")
        name_bytes, extra_bytes = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
        begin = member.position + _LOCAL_BYTES + name_bytes + extra_bytes
        crc = given = 0
        packed = blocks_at(self._descriptor, begin, member.packed_size)
        for block in unpacked_member(packed, member.method, member.size):
            crc, given = zlib.crc32(block, crc), given + len(block)
            yield block
        if (given, crc) != (member.size, member.crc):
            raise MemberFault("member_damaged")

    def _member(self, fields: tuple[int, ...], raw_name: bytes, extra: bytes) -> Member | None:
        system, flags, method, crc = fields[2], fields[4], fields[5], fields[8]
        packed_size, size, position = _sizes(fields[9], fields[10], fields[17], extra)
        mode = fields[16] >> 16 if system in {_UNIX, _MACOS} else 0
        if raw_name.endswith(b"/") or stat.S_ISDIR(mode):
            return None
        if fields[16] & _DOS_DIRECTORY and not size and raw_name.endswith(b"\\"):
            return None
        reason = None
        if stat.S_ISLNK(mode):
            reason = "link_in_archive"
        elif stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
            reason = "device"
        elif flags & (_ENCRYPTED | _DIRECTORY_ENCRYPTED):
            reason = "member_encrypted"
        elif method not in METHODS:
            reason = "member_method"
        return Member(
            name=_name(raw_name, extra),
            size=size,
            reason=reason,
            position=position + self._shift,
            packed_size=packed_size,
            method=method,
            crc=crc,
        )

    def _is_behind_another(self) -> bool:
        """Return whether the bytes before this ZIP are one: it begins like one, or ends like one (self-extracting)."""
        if read_at(self._descriptor, 0, 4) == LOCAL_MARK:
            return True
        try:
            return ZipArchive(self._descriptor, self._shift)._length > 0
        except ArchiveFault:
            return False

    @property
    def _wraps(self) -> bool:
        """Whether positions above 4 GiB are written without their upper bits, as macOS does: it does not use ZIP64."""
        return self._shift > 0 and self._shift % _WRAP == 0

    def _unwrapped(self, member: Member, behind: int) -> Member:
        """Return a member with its whole position: the first that fits and is behind the data of the one before it."""
        written = member.position - self._shift
        places = [at for at in range(written, self._directory, _WRAP) if read_at(self._descriptor, at, 4) == LOCAL_MARK]
        place = next((at for at in places if at >= behind), next(iter(places), member.position))
        return replace(member, position=place)

    def _find_directory(self) -> tuple[int, int, int]:
        """Return the position and length of the directory, and the number of bytes before the archive."""
        tail = tail_of(self._descriptor, self._size)
        found = _end_at(tail)
        if found is None:
            raise ArchiveFault("archive_cut")
        end = self._size - len(tail) + found
        _, disk, first_disk, _, _, length, offset, _ = _END.unpack_from(tail, found)
        locator = read_at(self._descriptor, max(end - _LOCATOR.size, 0), _LOCATOR.size)
        if len(locator) == _LOCATOR.size and locator.startswith(_LOCATOR_MARK):
            end, disk, first_disk, length, offset = self._end64(end, _LOCATOR.unpack(locator)[2])
        if (disk, first_disk) != (0, 0):
            raise ArchiveFault("archive_multivolume")
        begin = end - length
        if begin < 0 or read_at(self._descriptor, begin, 4) != ENTRY_MARK:
            begin = offset  # other bytes are between the directory and the end record
        if begin < 0 or (length and read_at(self._descriptor, begin, 4) != ENTRY_MARK):
            raise ArchiveFault("archive_damaged")
        return begin, length, begin - offset

    def _end64(self, locator_at: int, declared: int) -> tuple[int, int, int, int, int]:
        """Return from the end record of a ZIP64: its position, both disks, length and offset of the directory."""
        # Bytes before the archive shift the declared position, so the usual place comes first.
        for position in (locator_at - _LOCATOR.size - _END64.size, declared):
            record = read_at(self._descriptor, position, _END64.size) if position >= 0 else b""
            if len(record) == _END64.size and record.startswith(_END64_MARK):
                fields = _END64.unpack(record)
                return position, fields[4], fields[5], fields[8], fields[9]
        raise ArchiveFault("archive_damaged")


def _end_at(tail: bytes) -> int | None:
    position = len(tail)
    while (position := tail.rfind(END_MARK, 0, position)) >= 0:
        comment = int.from_bytes(tail[position + 20 : position + 22], "little")
        if position + _END.size + comment <= len(tail):
            return position
    return None


def _sizes(packed_size: int, size: int, position: int, extra: bytes) -> tuple[int, int, int]:
    """Return the sizes and the position, from the ZIP64 extra field where they do not fit into the entry (4.5.3)."""
    values = [size, packed_size, position]
    field = _field(extra, _SIZES)
    for number, value in enumerate(values):
        if value == 0xFFFF_FFFF and len(field) >= 8:
            values[number], field = int.from_bytes(field[:8], "little"), field[8:]
    return values[1], values[0], values[2]


def _name(raw: bytes, extra: bytes) -> str:
    """Return the name. The UTF-8 name of the extra field wins over one in an older encoding (4.6.9)."""
    field = _field(extra, _UNICODE_PATH)
    if field[:1] == b"\1" and int.from_bytes(field[1:5], "little") == zlib.crc32(raw):
        return os.fsdecode(field[5:])
    return os.fsdecode(raw)


def _field(extra: bytes, wanted: int) -> bytes:
    """Return the extra field of a kind (4.5.1); empty if the entry has none."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = int.from_bytes(extra[at : at + 2], "little"), int.from_bytes(extra[at + 2 : at + 4], "little")
        if kind == wanted:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return b""
