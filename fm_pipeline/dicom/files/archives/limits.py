"""Limits for archives. An archive above a limit is refused before any member is imported."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fm_pipeline.dicom.files.archives.faults import ArchiveFault
from fm_pipeline.dicom.files.unnamed_files import unnamed_file
from fm_pipeline.settings import Settings

LEFT_FREE_BYTES = 1 << 30
ALWAYS_ALLOWED_BYTES = 1 << 30  # images with much background compress far better than others; this much fits anywhere


@dataclass(frozen=True)
class ArchiveLimits:
    """The limits of one archive.

    Attributes:
        members: the most files in it; 0: no archive is opened.
        unpacked_bytes: the most bytes of all its files together.
        ratio: the highest ratio of unpacked to packed size; not applied up to `always_bytes`.
        folder: for unnamed temporary files, where data do not fit into memory.
    """

    members: int
    unpacked_bytes: int
    ratio: int
    folder: Path
    always_bytes: int = ALWAYS_ALLOWED_BYTES

    @classmethod
    def from_settings(cls, settings: Settings) -> ArchiveLimits:
        """Return the limits of the settings."""
        return cls(
            members=settings.dicom_archive_members,
            unpacked_bytes=int(settings.dicom_archive_gigabytes * (1 << 30)),
            ratio=settings.dicom_archive_ratio,
            folder=settings.state_dir / "unpacked",
        )

    def check_members(self, count: int) -> None:
        """Raise `ArchiveFault` if an archive has more members than it may have."""
        if count > self.members:
            raise ArchiveFault("archive_too_many_members")

    def check_bytes(self, unpacked: int, packed: int) -> None:
        """Raise `ArchiveFault` if the unpacked size of an archive is above a limit."""
        if unpacked > self.unpacked_bytes:
            raise ArchiveFault("archive_too_large")
        if unpacked > max(self.always_bytes, packed * self.ratio):
            raise ArchiveFault("archive_ratio")

    def check_room(self) -> None:
        """Raise `OSError` (ENOSPC) if the disk for unpacked files is nearly full."""
        if shutil.disk_usage(self.folder).free < LEFT_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def temporary_file(self) -> IO[bytes]:
        """Create an unnamed temporary file. It disappears with the process."""
        return unnamed_file(self.folder)


CancelCheck = Callable[[], None]  # raises an exception when the job is cancelled
