"""Preview what an import of a directory would do, for all files or only for new ones. Nothing is imported.

The results are yielded one by one, because a directory may have a million files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

from fm_pipeline.dicom.files.archives.limits import ArchiveLimits
from fm_pipeline.dicom.files.open import FileChangedError, open_found, unreadable_reason
from fm_pipeline.dicom.files.read import Candidate, UnusableFile, inspect_or_archive
from fm_pipeline.dicom.formats import size_formatted, time_formatted
from fm_pipeline.dicom.importer.archive_feed import ArchiveListed, items_of
from fm_pipeline.dicom.model import FoundFile, Instance, Outcome, RejectedFile, SetAside, Unreadable
from fm_pipeline.dicom.paths import printable
from fm_pipeline.dicom.reasons import ARCHIVE
from fm_pipeline.dicom.scan.archive_members import FoundMember, read_member
from fm_pipeline.dicom.scan.excluded_folders import KNOWN, ExcludedFolders
from fm_pipeline.dicom.scan.walk import scan
from fm_pipeline.dicom.watch.new_files import NewFiles


@dataclass(frozen=True)
class PreviewedFile:
    """One file in a preview.

    Attributes:
        modified: None for a time that no calendar has.
        outcome: None for a file that an import would send.
        reason: an id of `reasons`; None for a file that an import would send.
    """

    path: str
    size: int
    modified: datetime | None
    outcome: Outcome | None
    reason: str | None

    def answer(self, zone: tzinfo) -> dict[str, Any]:
        """Return the entry of `file_list`, in the format of the hospital's own system, with the reason."""
        path = printable(self.path)
        entry = {
            "path": path,
            "name": path.rsplit("/", 1)[-1],
            "size": self.size,
            "size_formatted": size_formatted(self.size),
            "modified": time_formatted(self.modified, zone),
        }
        return entry if self.outcome is None else {**entry, "outcome": str(self.outcome), "reason": self.reason}


@dataclass
class PreviewTotals:
    """The totals of a preview so far.

    Attributes:
        files, size: of the files that an import would send.
        by_reason: the number of other files, by outcome and reason.
        known: in a preview of new files, the number of unchanged files that history has.
    """

    files: int = 0
    size: int = 0
    known: int = 0
    directories_unreadable: int = 0
    by_reason: Counter[tuple[str, str]] = field(default_factory=Counter)

    def count(self, seen: PreviewedFile) -> PreviewedFile:
        """Count a file, and return it."""
        if seen.outcome is None:
            self.files += 1
            self.size += seen.size
        else:
            self.by_reason[(str(seen.outcome), seen.reason or "")] += 1
        return seen

    @property
    def complete(self) -> bool:
        """Whether every directory could be listed, so that the totals are complete."""
        return not self.directories_unreadable


def preview(
    root: str, totals: PreviewTotals, limits: ArchiveLimits, excluded: ExcludedFolders = KNOWN
) -> Iterator[PreviewedFile]:
    """Inspect every file below a directory and in its archives, as an import would.

    Args:
        root: an allowed path.
        limits: for archives.
        totals: updated with each file.

    Raises:
        RootUnavailable: the directory cannot be listed.
    """
    for met in scan(root, excluded):
        if isinstance(met, Unreadable) and met.is_directory:
            totals.directories_unreadable += 1
        else:
            yield from map(totals.count, _judged(met, limits, excluded))


def preview_new(
    new: NewFiles, totals: PreviewTotals, limits: ArchiveLimits, excluded: ExcludedFolders
) -> Iterator[PreviewedFile]:
    """Inspect only files that are new or have changed since their row of history.

    Raises:
        RootUnavailable: the directory cannot be listed.
    """
    for met in new:
        if isinstance(met, Unreadable) and met.is_directory:
            totals.directories_unreadable += 1
        else:
            yield from map(totals.count, _judged(met, limits, excluded))
    totals.known = new.unchanged_files


def _judged(
    met: FoundFile | SetAside | Unreadable, limits: ArchiveLimits, excluded: ExcludedFolders
) -> Iterator[PreviewedFile]:
    if isinstance(met, SetAside):
        yield PreviewedFile(met.path, 0, None, Outcome.SKIPPED, met.reason)
    elif isinstance(met, Unreadable):
        yield PreviewedFile(met.path, 0, None, Outcome.FAILED, met.reason)
    else:
        result = _of_content(met)
        if isinstance(result, RejectedFile) and result.reason == ARCHIVE:
            yield from _in_archive(met, limits, excluded)
        else:
            yield _seen(met, result)


def _of_content(found: FoundFile) -> Instance | RejectedFile:
    try:
        with open_found(found) as file:
            return inspect_or_archive(file, file, found)
    except FileChangedError:
        return RejectedFile(Outcome.FAILED, "changed")
    except OSError as error:
        return RejectedFile(Outcome.FAILED, unreadable_reason(error))


def _in_archive(found: FoundFile, limits: ArchiveLimits, excluded: ExcludedFolders) -> Iterator[PreviewedFile]:
    """Inspect the members of an archive, and yield the archive itself at the end."""
    with ExitStack() as opened:
        for item in items_of(found, limits, excluded, lambda archive: opened.callback(archive.close)):
            if isinstance(item, FoundMember):
                read = read_member(item, limits)
                if isinstance(read, Candidate):
                    read.close()
                    yield _seen(item.found, read.instance)
                else:
                    yield _seen(item.found, read)
            else:
                end = item.end if isinstance(item, ArchiveListed) else item
                yield _seen(end.found, end)


def _seen(found: FoundFile, result: Instance | RejectedFile | UnusableFile) -> PreviewedFile:
    outcome: Outcome | None = None
    reason: str | None = None
    if not isinstance(result, Instance):
        outcome, reason = result.outcome, result.reason
    elif result.nested_too_deep:
        outcome, reason = Outcome.SUSPECT, "nested_too_deep"
    return PreviewedFile(found.path, found.size, _modified(found), outcome, reason)


def _modified(found: FoundFile) -> datetime | None:
    try:
        return datetime.fromtimestamp(found.modified_ns / 1e9, UTC)
    except (ValueError, OverflowError, OSError):  # a time after the year 9999, as file systems can have it
        return None
