"""Under which folders a path may be configured, scanned or imported: a setting, and where it is asked.

Whoever can start an import could otherwise have any file of this machine read, and sent to Orthanc. The roots come
from the environment only: not from the table, which a command of the same person could change.
"""

from __future__ import annotations

import os
from pathlib import Path

from fm_pipeline.dicom.errors import PathRefused
from fm_pipeline.dicom.paths import allowed
from fm_pipeline.dicom.scan.excluded_folders import ExcludedFolders
from fm_pipeline.errors import RequestError
from fm_pipeline.settings import Settings


def allowed_roots(settings: Settings) -> tuple[Path, ...]:
    """DICOM_ALLOWED_ROOTS; if it is not set, HOSPITAL_DATA_PATH alone."""
    if settings.dicom_allowed_roots:
        return tuple(Path(part) for part in settings.dicom_allowed_roots.split(os.pathsep) if part)
    return (settings.hospital_data_path,) if settings.hospital_data_path else ()


def excluded_folders(settings: Settings) -> ExcludedFolders:
    """The folders that are left out by name: those that are known, and DICOM_EXCLUDED_FOLDERS."""
    return ExcludedFolders(settings.dicom_excluded_folders)


def allowed_path(settings: Settings, path: str) -> str:
    """The path, if it exists under an allowed root; see `fm_pipeline.dicom.paths.allowed`.

    Below an allowed root a path that is an excluded folder, or lies in one, is refused. An allowed root itself may be
    one: then somebody has decided to import what was deleted, or a snapshot.

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
        found = Path(allowed(path, roots))
    except PathRefused as refused:
        raise RequestError(
            refused.what,
            meaning=refused.meaning,
            remedy="Give the absolute path of a directory as it is spelled on the disk, under one of"
            " DICOM_ALLOWED_ROOTS; if that is not set, under HOSPITAL_DATA_PATH.",
        ) from None
    excluded = excluded_folders(settings)
    below = [str(found.relative_to(root)) for root in roots if found.is_relative_to(root)]
    if all(excluded.excluded_part(each) for each in below):
        raise RequestError(
            "The path is, or lies in, a folder that is left out by name: a recycle bin, snapshots, or one of"
            " DICOM_EXCLUDED_FOLDERS.",
            meaning="Nothing was read: what was deleted, or an earlier state, would come into Orthanc.",
            remedy="To import it all the same, add this folder itself to DICOM_ALLOWED_ROOTS.",
        )
    return str(found)
