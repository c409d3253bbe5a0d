"""What can be wrong with a directory of the hospital as a whole.

    DicomError
    ├── PathRefused         a path that was asked for is not an allowed one (400 Bad Request, where HTTP asks)
    └── RootUnavailable     the directory is missing, is none, or cannot be read: nothing is known about its files

What is wrong with one file is no error: it has an outcome and a reason (`fm_pipeline.dicom.reasons`).
No text names a directory or file: their names may be those of patients.
"""

from __future__ import annotations

from fm_pipeline.errors import DicomError


class PathRefused(DicomError):
    """A path that is not inside an allowed root, or reaches it by a detour. Nothing was read."""

    def __init__(self, what: str) -> None:
        super().__init__(
            what,
            meaning="Nothing was read.",
            remedy="Give the absolute path of a directory below DICOM_ALLOWED_ROOTS, as the directory is spelled.",
        )


class RootUnavailable(DicomError):
    """The directory to be scanned cannot be listed. That is an alarm, never an empty directory."""

    def __init__(self, what: str) -> None:
        super().__init__(
            what,
            meaning="Nothing is known about its files; none was marked as gone.",
            remedy="See that the share is mounted and that this user may read it, then start again.",
        )
