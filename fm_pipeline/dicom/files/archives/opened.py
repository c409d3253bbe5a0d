"""An open archive: its members within the limits, and their data for any thread."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Protocol, Self

from fm_pipeline.dicom.files.archives.at_position import blocks_at, read_at
from fm_pipeline.dicom.files.archives.faults import ArchiveFault, MemberFault
from fm_pipeline.dicom.files.archives.limits import ArchiveLimits, CancelCheck
from fm_pipeline.dicom.files.archives.member import Member
from fm_pipeline.dicom.files.archives.tar_members import TarArchive, is_tar
from fm_pipeline.dicom.files.archives.unpacking import STREAMS, unpacked_stream
from fm_pipeline.dicom.files.archives.zip_members import ZipArchive, has_end, tail_of
from fm_pipeline.dicom.files.open import FileChangedError, open_found, unchanged
from fm_pipeline.dicom.model import FoundFile

_HEAD = 512
# Archives that are not opened and that `first_bytes` does not know: cpio, compress, LZMA, lzip, LZ4, cabinet, xar,
# ARJ, ar
_NOT_OPENED = (
    *(b"070701", b"070702", b"070707", b"\xc7\x71", b"\x1f\x9d", b"\x5d\0\0", b"LZIP", b"\x04\x22\x4d\x18"),
    *(b"MSCF", b"xar!", b"\x60\xea", b"!<arch>\n"),
)
_IMAGE_MARK_AT = 32_769, 5  # ECMA-167, 9.1: in the image of a CD (ISO 9660) or DVD (UDF), which begins with zeros
_IMAGE_MARKS = {b"CD001", b"BEA01"}
_log = logging.getLogger(__name__)
# Errors of libraries for unexpected content, in addition to the documented ones. One archive must not stop the others.
_PARSING = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
_BYTES_OF_A_NAME = 1_000  # a longer name counts as several members, because names are kept in memory


class _Format(Protocol):
    """A format of archives."""

    def members(self) -> Iterator[Member]:
        """Yield all members."""

    def read(self, member: Member) -> Iterator[bytes]:
        """Yield the data of a member."""


class OpenArchive:
    """An open archive. Use it as a context manager, or call `close`.

    Args:
        found: the archive as the scan found it.
        raise_if_cancelled: called while a stream is unpacked, which may take minutes.

    Attributes:
        members: the files in it; one that is not read has a reason.
        fault: why members may be missing: `archive_cut`, `archive_damaged`; None if the archive is complete.

    Raises:
        ArchiveFault: nothing in it can be read, or it is above a limit.
        FileChangedError, OSError: as for any file.
    """

    def __init__(self, found: FoundFile, limits: ArchiveLimits, raise_if_cancelled: CancelCheck = lambda: None) -> None:
        self.found = found
        self.members: list[Member] = []
        self.fault: str | None = None
        self._limits = limits
        with ExitStack() as opened:
            file = opened.enter_context(open_found(found))
            self._descriptor, self._unchanging = file.fileno(), False
            try:
                self._format = self._recognized(opened, raise_if_cancelled)
                self._list(raise_if_cancelled)
            except _PARSING as fault:
                _log.warning("An archive is taken for damaged: %s.", type(fault).__name__)
                raise ArchiveFault("archive_damaged") from None
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive. No member can be read afterwards."""
        self._opened.close()

    def read(self, member: Member) -> Iterator[bytes]:
        """Yield the data of a member in blocks. They are verified only when the last block was read.

        Raises:
            MemberFault: they are not what the archive says, or it says that they cannot be read.
            FileChangedError: the archive has changed since it was found.
            OSError: it cannot be read.
        """
        if member.reason:
            raise MemberFault(member.reason)
        try:
            yield from self._format.read(member)
        except MemberFault:
            self._raise_if_changed()  # then that is the reason
            raise
        except _PARSING as fault:
            _log.warning("A file in an archive is taken for damaged: %s.", type(fault).__name__)
            raise MemberFault("member_damaged") from None
        self._raise_if_changed()

    def _recognized(self, opened: ExitStack, raise_if_cancelled: CancelCheck) -> _Format:
        if not self._limits.members:
            raise ArchiveFault("archive_not_opened")
        head = read_at(self._descriptor, 0, _HEAD)
        for mark, _ in STREAMS:
            if head.startswith(mark):
                return self._unpacked(opened, mark, raise_if_cancelled)
        if is_tar(head):
            return TarArchive(self._descriptor, self.found.size)
        if head.startswith(b"PK") or has_end(tail_of(self._descriptor, self.found.size)):
            return ZipArchive(self._descriptor, self.found.size)
        raise ArchiveFault("archive_not_opened")

    def _unpacked(self, opened: ExitStack, mark: bytes, raise_if_cancelled: CancelCheck) -> _Format:
        """Unpack a stream into a temporary file. It holds a tar, or one file."""
        file = opened.enter_context(self._limits.temporary_file())
        size = 0
        try:
            for block in unpacked_stream(blocks_at(self._descriptor, 0, self.found.size), mark):
                raise_if_cancelled()
                size += len(block)
                self._limits.check_bytes(size, self.found.size)
                self._limits.check_room()
                file.write(block)
        except MemberFault as fault:
            self.fault = "archive_cut" if fault.reason == "archive_cut" else "archive_damaged"
        file.flush()
        self._raise_if_changed()
        self._descriptor, self._unchanging = file.fileno(), True  # only the temporary file is read from here on
        if is_tar(read_at(self._descriptor, 0, _HEAD)):
            return TarArchive(self._descriptor, size)
        return _OneFile(self._descriptor, Member(_name_without_suffix(self.found.path, mark), size, self.fault))

    def _list(self, raise_if_cancelled: CancelCheck) -> None:
        total = names = 0
        try:
            for member in self._format.members():
                raise_if_cancelled()
                self.members.append(member)
                names += len(member.name) // _BYTES_OF_A_NAME
                self._limits.check_members(len(self.members) + names)
                if not member.reason:
                    total += member.size
                    self._limits.check_bytes(total, self.found.size)
        except ArchiveFault as fault:
            if fault.reason not in {"archive_cut", "archive_damaged"}:
                raise
            self.fault = self.fault or fault.reason
        self.members = _with_unique_names(self.members)

    def _raise_if_changed(self) -> None:
        if not self._unchanging and not unchanged(self._descriptor, self.found):
            raise FileChangedError


@dataclass(frozen=True)
class _OneFile:
    """A stream that is not a tar."""

    descriptor: int
    member: Member

    def members(self) -> Iterator[Member]:
        yield self.member

    def read(self, member: Member) -> Iterator[bytes]:
        return blocks_at(self.descriptor, 0, member.size)


def is_archive_without_mark(descriptor: int, size: int) -> bool:
    """Return whether a file is an archive although its first bytes do not say so.

    That is an old tar, a ZIP behind other bytes (for example a self-extracting one), or a kind that is not opened.
    """
    head = read_at(descriptor, 0, _HEAD)
    if is_tar(head) or head.startswith(_NOT_OPENED) or head[2:5] == b"-lh":
        return True
    if read_at(descriptor, *_IMAGE_MARK_AT) in _IMAGE_MARKS:
        return True
    if not has_end(tail_of(descriptor, size)):
        return False
    try:
        return next(ZipArchive(descriptor, size).members(), None) is not None
    except ArchiveFault:
        return False


def _name_without_suffix(path: str, mark: bytes) -> str:
    """Return the name of the unpacked file, as `gunzip` and similar programs choose it."""
    name = PurePath(path).name
    suffixes = next(suffixes for each, suffixes in STREAMS if each == mark)
    for suffix in suffixes:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def _with_unique_names(members: list[Member]) -> list[Member]:
    """Number the second and later members of the same name."""
    seen: dict[str, int] = {}
    unique = []
    for member in members:
        name = member.name.replace("\0", "%00")
        seen[name] = number = seen.get(name, 0) + 1
        while number > 1 and f"{name} [{number}]" in seen:
            number += 1
        final = name if number == 1 else f"{name} [{number}]"
        seen[final] = max(seen.get(final, 0), 1)
        unique.append(member if final == member.name else replace(member, name=final))
    return unique
