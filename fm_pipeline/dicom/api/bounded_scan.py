"""Scans with a limit, for callers that cannot wait for the end of a large directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.api.preview import PreviewedFile, PreviewTotals, preview, preview_new
from fm_pipeline.dicom.choices import JobType
from fm_pipeline.dicom.configuration.roots import excluded_folders
from fm_pipeline.dicom.files.archives.limits import ArchiveLimits
from fm_pipeline.dicom.model import FoundFile
from fm_pipeline.dicom.scan.walk import scan
from fm_pipeline.dicom.watch.new_files import NewFiles
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings

MOST_SECONDS = 20.0  # most clients and proxies wait for 30 or 60
MOST_FILES = 100_000
LONGEST_FILE_LIST = 1_000

_Item = TypeVar("_Item")


@dataclass
class BoundedPreview:
    """A preview of a directory, with the first files that an import would send.

    Attributes:
        ended: False if the limit was reached, so that the totals are of a part only.
        files: the first files, at most `LONGEST_FILE_LIST`.
    """

    totals: PreviewTotals = field(default_factory=PreviewTotals)
    ended: bool = False
    files: list[PreviewedFile] = field(default_factory=list)

    @property
    def list_complete(self) -> bool:
        """Whether `files` has all files."""
        return self.ended and len(self.files) == self.totals.files

    @property
    def said(self) -> str:
        """A sentence for the audit trail. Folders are named after patients, so that it has no path."""
        return f"{counted(self.totals.files, 'file')} to import{'' if self.ended else ', as far as it went'}."


def preview_bounded(settings: Settings, root: str) -> BoundedPreview:
    """Inspect the files below an allowed path, as an import would, until the limit.

    Raises:
        RootUnavailable: the directory cannot be listed.
    """
    result = BoundedPreview()
    limits, excluded = ArchiveLimits.from_settings(settings), excluded_folders(settings)
    result.ended = _until_limit(preview(root, result.totals, limits, excluded), _listed_in(result))
    return result


def preview_new_bounded(settings: Settings, root: str) -> BoundedPreview:
    """The same for files that are new or have changed since their import.

    Raises:
        RootUnavailable: the directory cannot be listed.
    """
    result = BoundedPreview()
    limits, excluded = ArchiveLimits.from_settings(settings), excluded_folders(settings)
    with ReconnectingConnection(settings.nexus_database_url.get_secret_value()) as database:
        new = NewFiles(database, root, now=datetime.now(UTC), excluded=excluded)
        result.ended = _until_limit(preview_new(new, result.totals, limits, excluded), _listed_in(result))
        result.totals.known = new.unchanged_files
    return result


def count_files(settings: Settings, root: str, job_type: JobType) -> tuple[int, int] | None:
    """Count the files that a job of this type would look at, without opening them.

    Returns:
        Their number and size in bytes; None if the limit was reached.

    Raises:
        RootUnavailable: the directory cannot be listed.
    """
    sizes: list[int] = []

    def count(met: object) -> None:
        if isinstance(met, FoundFile):
            sizes.append(met.size)

    excluded = excluded_folders(settings)
    if job_type != "incremental":
        ended = _until_limit(scan(root, excluded), count)
    else:
        with ReconnectingConnection(settings.nexus_database_url.get_secret_value()) as database:
            ended = _until_limit(NewFiles(database, root, now=datetime.now(UTC), excluded=excluded), count)
    return (len(sizes), sum(sizes)) if ended else None


def _listed_in(result: BoundedPreview) -> Callable[[PreviewedFile], None]:
    def add(seen: PreviewedFile) -> None:
        if seen.outcome is None and len(result.files) < LONGEST_FILE_LIST:
            result.files.append(seen)

    return add


def _until_limit(items: Iterable[_Item], take: Callable[[_Item], None]) -> bool:
    """Take items until a limit. Return whether all were taken."""
    until = time.monotonic() + MOST_SECONDS
    for number, item in enumerate(items):
        if number >= MOST_FILES or time.monotonic() > until:
            return False
        take(item)
    return True
