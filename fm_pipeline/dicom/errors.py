"""Errors that concern a whole directory.

    DicomError
    ├── PathRefused         the requested path is not allowed
    └── RootUnavailable     the directory is missing, is not a directory, or cannot be read

A fault of a single file is not an error: the file gets an outcome and a reason (`fm_pipeline.dicom.reasons`).
No message contains the name of a directory or file, because it may be that of a patient.
"""

from __future__ import annotations

from fm_pipeline.errors import DicomError


class PathRefused(DicomError):
    """The path is not inside an allowed root, or leads there through a link or `..`. Nothing was read."""

    def __init__(self, what: str) -> None:
        super().__init__(
            what,
            meaning="Nothing was read.",
            remedy="Give the absolute path of a directory below DICOM_ALLOWED_ROOTS, as the directory is spelled.",
        )


class RootUnavailable(DicomError):
    """The directory cannot be listed. This is an alarm; it is never treated as an empty directory."""

    def __init__(self, what: str) -> None:
        super().__init__(
            what,
            meaning="Nothing is known about its files; none was marked as missing.",
            remedy="Check that the share is mounted and that this user may read it, then start again.",
        )
