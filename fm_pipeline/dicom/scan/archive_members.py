"""The members of an open archive as files of an import: which get rows of their own, and what they hold."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from fm_pipeline.dicom.files.archives.faults import MemberFault
from fm_pipeline.dicom.files.archives.limits import ArchiveLimits, CancelCheck
from fm_pipeline.dicom.files.archives.member import Member
from fm_pipeline.dicom.files.archives.opened import OpenArchive
from fm_pipeline.dicom.files.buffer import BufferFile, BundleBuffer
from fm_pipeline.dicom.files.open import FileChangedError, unreadable_reason
from fm_pipeline.dicom.files.read import WHOLE_UP_TO_BYTES, Candidate, UnusableFile, inspect_safely
from fm_pipeline.dicom.model import FoundFile, Outcome, RejectedFile
from fm_pipeline.dicom.paths import member_path
from fm_pipeline.dicom.reasons import of_archive
from fm_pipeline.dicom.scan.excluded_folders import REASON as EXCLUDED_FOLDER
from fm_pipeline.dicom.scan.excluded_folders import ExcludedFolders
from fm_pipeline.dicom.scan.walk import name_reason

_NESTED = "nested_archive"
# Reasons of members that get a row even in an archive without DICOM: such a member may be DICOM.
_UNKNOWN = frozenset(
    {_NESTED, "member_encrypted", "member_method", "member_damaged", "member_cut", "archive_cut", "archive_damaged"}
    | {"archive_multivolume"}
)
# Documents that are ZIPs (Office Open XML, OpenDocument, EPUB), by the names that each of them must contain.
_DOCUMENT_MEMBERS = frozenset({"[Content_Types].xml", "mimetype", "META-INF/container.xml"})
_BEGINS_A_DOCUMENT = (b"[Content_Types].xml", b"mimetype", b"META-INF/", b"_rels/.rels", b"docProps/")


@dataclass(frozen=True, slots=True)
class FoundMember:
    """A file in an open archive that has to be read.

    Attributes:
        found: its path names the archive and the member; its times are those of the archive.
    """

    found: FoundFile
    archive: OpenArchive
    member: Member


def found_members(
    archive: OpenArchive, excluded: ExcludedFolders, limits: ArchiveLimits, raise_if_cancelled: CancelCheck
) -> Iterator[FoundMember | UnusableFile]:
    """Yield the members that get rows of their own.

    An archive with DICOM files is like a folder: each file in it gets a row. An archive without may be a program or a
    document of thousands of files: only members that cannot be read get one, because they may be DICOM.
    """
    examined = _Examined(archive, limits, raise_if_cancelled)
    if not examined.holds_dicom:
        yield from examined.unknown
        return
    left_out: set[str] = set()
    for member in archive.members:
        if folder := excluded.excluded_part(member.name.rpartition("/")[0]):
            if folder not in left_out:
                left_out.add(folder)
                yield UnusableFile(
                    _found(archive, replace(member, name=folder, size=0)), Outcome.SKIPPED, EXCLUDED_FOLDER
                )
        elif reason := member.reason or _reason_of_name(member.name):
            yield UnusableFile(_found(archive, member), of_archive(reason), reason)
        else:
            yield FoundMember(_found(archive, member), archive, member)


def without_rows(archive: OpenArchive) -> str:
    """Return the reason of an archive without DICOM files: an id of `reasons`."""
    names = {member.name for member in archive.members}
    return "document" if names & _DOCUMENT_MEMBERS else "archive_without_dicom"


def read_member(of: FoundMember, limits: ArchiveLimits, memory: BundleBuffer | None = None) -> Candidate | UnusableFile:
    """Unpack a member into the buffer, or into a temporary file if it is large, and inspect it.

    The candidate of a large member keeps its temporary file until it is closed.
    """
    try:
        if of.found.size > WHOLE_UP_TO_BYTES:
            return _large(of, limits)
        data = memory.take(of.found.size) if memory else memoryview(bytearray(of.found.size))
        filled = _filled(of, data)
    except (MemberFault, FileChangedError, OSError) as fault:
        return _unusable(of.found, fault)
    result = inspect_safely(BufferFile(data), of.found.size)
    md5 = hashlib.md5(filled, usedforsecurity=False).hexdigest()
    if isinstance(result, RejectedFile):
        return _rejected(of.found, result, bytes(data[:64]), md5)
    return Candidate(of.found, result, data, md5)


class _Examined:
    """Find out whether an archive has any DICOM file, and list the members that cannot be read."""

    def __init__(self, archive: OpenArchive, limits: ArchiveLimits, raise_if_cancelled: CancelCheck) -> None:
        self.unknown: list[UnusableFile] = []
        self.holds_dicom = False
        memory = BundleBuffer(WHOLE_UP_TO_BYTES)
        for member in archive.members:
            raise_if_cancelled()
            memory.clear()
            seen = self._look(FoundMember(_found(archive, member), archive, member), limits, memory)
            if seen is None:
                self.holds_dicom = True
                return
            if seen.reason in _UNKNOWN or seen.outcome is Outcome.FAILED:
                self.unknown.append(seen)

    def _look(self, of: FoundMember, limits: ArchiveLimits, memory: BundleBuffer) -> UnusableFile | None:
        """Return None for DICOM, also if it is damaged."""
        if of.member.reason:
            return UnusableFile(of.found, of_archive(of.member.reason), of.member.reason)
        seen = read_member(of, limits, memory) if of.found.size <= WHOLE_UP_TO_BYTES else _head_of_large(of, memory)
        if isinstance(seen, Candidate) or seen.reason in {"dicomdir", "not_of_a_patient"}:
            return None
        return None if seen.outcome is Outcome.BAD and seen.reason not in _UNKNOWN else seen


def _head_of_large(of: FoundMember, memory: BundleBuffer) -> Candidate | UnusableFile:
    data = memory.take(WHOLE_UP_TO_BYTES)
    try:
        at = 0
        with closing(of.archive.read(of.member)) as blocks:  # type: ignore[type-var]
            for block in blocks:
                piece = block[: len(data) - at]
                data[at : at + len(piece)] = piece
                at += len(piece)
                if at == len(data):
                    break
    except (MemberFault, FileChangedError, OSError) as fault:
        return _unusable(of.found, fault)
    result = inspect_safely(BufferFile(data), of.found.size)
    if isinstance(result, RejectedFile):
        return _rejected(of.found, result, bytes(data[:64]), None)
    return Candidate(of.found, result, None, None)


def _large(of: FoundMember, limits: ArchiveLimits) -> Candidate | UnusableFile:
    file = limits.temporary_file()
    try:
        digest = hashlib.md5(usedforsecurity=False)
        for block in of.archive.read(of.member):
            digest.update(block)
            limits.check_room()
            file.write(block)
        result = inspect_safely(file, of.found.size)
        if isinstance(result, RejectedFile):
            file.seek(0)
            rejected = _rejected(of.found, result, file.read(64), digest.hexdigest())
            file.close()
            return rejected
    except BaseException:
        file.close()
        raise
    return Candidate(of.found, result, None, digest.hexdigest(), file)


def _filled(of: FoundMember, data: memoryview) -> memoryview:
    at = 0
    for block in of.archive.read(of.member):
        if at + len(block) > len(data):
            raise MemberFault("member_damaged")
        data[at : at + len(block)] = block
        at += len(block)
    if at != len(data):
        raise MemberFault("member_damaged")
    return data


def _found(archive: OpenArchive, member: Member) -> FoundFile:
    return replace(archive.found, path=member_path(archive.found.path, member.name), size=member.size)


def _reason_of_name(name: str) -> str | None:
    """Return the reason for a name. A temporary name means nothing here: a member is not being written."""
    reason = name_reason(name.rpartition("/")[2])
    return reason if reason == "system_file" else None


def _rejected(found: FoundFile, result: RejectedFile, head: bytes, md5: str | None) -> UnusableFile:
    if result.reason == "archive":
        begins = head[30:].startswith(_BEGINS_A_DOCUMENT) and head.startswith(b"PK")
        return UnusableFile(found, Outcome.SKIPPED, "document" if begins else _NESTED, md5)
    return UnusableFile(found, result.outcome, result.reason, md5)


def _unusable(found: FoundFile, fault: MemberFault | FileChangedError | OSError) -> UnusableFile:
    if isinstance(fault, MemberFault):
        return UnusableFile(found, of_archive(fault.reason), fault.reason)
    if isinstance(fault, FileChangedError):
        return UnusableFile(found, Outcome.FAILED, "changed")
    return UnusableFile(found, Outcome.FAILED, reason_of(fault))


def reason_of(error: OSError) -> str:
    """Return the reason for an error of the archive, or of the disk that it is unpacked to: an id of `reasons`."""
    return "no_room_to_unpack" if error.errno in {errno.ENOSPC, errno.EDQUOT} else unreadable_reason(error)
