"""Under which folders a path may be configured, scanned or imported: a setting, and where it is asked.

Whoever can start an import could otherwise have any file of this machine read, and sent to Orthanc. The roots come
from the environment only: not from the table, which a command of the same person could change.
"""

from __future__ import annotations

import os
from pathlib import Path

from fm_pipeline.dicom.errors import PathRefused
from fm_pipeline.dicom.paths import allowed
from fm_pipeline.errors import RequestError
from fm_pipeline.settings import Settings


def allowed_roots(settings: Settings) -> tuple[Path, ...]:
    """DICOM_ALLOWED_ROOTS; if it is not set, HOSPITAL_DATA_PATH alone."""
    if settings.dicom_allowed_roots:
        return tuple(Path(part) for part in settings.dicom_allowed_roots.split(os.pathsep) if part)
    return (settings.hospital_data_path,) if settings.hospital_data_path else ()


def allowed_path(settings: Settings, path: str) -> str:
    """The path, if it exists under an allowed root; see `fm_pipeline.dicom.paths.allowed`.

    Raises:
        RequestError: 400, and nothing of the path was read. The sentence does not repeat it: it may hold a name.
    """
    roots = allowed_roots(settings)
    if not roots:
        raise RequestError(
            "No folder of DICOM files is allowed yet.",
            meaning="Nothing was read.",
            remedy="Set HOSPITAL_DATA_PATH, or DICOM_ALLOWED_ROOTS if there are several.",
        )
    try:
        return allowed(path, roots)
    except PathRefused as refused:
        raise RequestError(
            refused.what,
            meaning=refused.meaning,
            remedy="Give the absolute path of a directory as it is spelled on the disk, under one of"
            " DICOM_ALLOWED_ROOTS; if that is not set, under HOSPITAL_DATA_PATH.",
        ) from None
