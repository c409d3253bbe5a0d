"""How much an archive may hold. Whatever is above a limit is refused as a whole, before any of it is imported."""

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
ALWAYS_ALLOWED_BYTES = 1 << 30  # images with much background shrink far more than others; this much fits anywhere


@dataclass(frozen=True)
class ArchiveLimits:
    """Of one archive.

    Attributes:
        members: files in it; 0: no archive is opened.
        unpacked_bytes: of all its files together.
        ratio: how many times the archive's own size its files may have; up to `always_bytes` it does not count.
        folder: where files without a name may be made, for what does not fit into memory.
    """

    members: int
    unpacked_bytes: int
    ratio: int
    folder: Path
    always_bytes: int = ALWAYS_ALLOWED_BYTES

    @classmethod
    def from_settings(cls, settings: Settings) -> ArchiveLimits:
        """What the environment says."""
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
        """Raise `ArchiveFault` if what is unpacked of an archive is more than it may be."""
        if unpacked > self.unpacked_bytes:
            raise ArchiveFault("archive_too_large")
        if unpacked > max(self.always_bytes, packed * self.ratio):
            raise ArchiveFault("archive_ratio")

    def check_room(self) -> None:
        """Raise `OSError` where unpacking more would leave no room for anybody else on that disk."""
        if shutil.disk_usage(self.folder).free < LEFT_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def temporary_file(self) -> IO[bytes]:
        """An empty file of our own, without a name: it is gone with the process."""
        return unnamed_file(self.folder)


CancelCheck = Callable[[], None]  # raises what ends the work
