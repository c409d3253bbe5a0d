"""The allowed roots: a path may be configured, scanned or imported only below one of them.

Otherwise a person who can start an import could have any file of this machine sent to Orthanc. The roots come only from
the environment, and not from the configuration table, which the same person could change.
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
    """Return DICOM_ALLOWED_ROOTS, or HOSPITAL_DATA_PATH if that is not set."""
    if settings.dicom_allowed_roots:
        return tuple(Path(part) for part in settings.dicom_allowed_roots.split(os.pathsep) if part)
    return (settings.hospital_data_path,) if settings.hospital_data_path else ()


def excluded_folders(settings: Settings) -> ExcludedFolders:
    """Return the excluded folders: the built-in names, and DICOM_EXCLUDED_FOLDERS."""
    return ExcludedFolders(settings.dicom_excluded_folders)


def allowed_path(settings: Settings, path: str) -> str:
    """Return a path if it exists below an allowed root; see `fm_pipeline.dicom.paths.allowed`.

    Below an allowed root, an excluded folder and anything in it is refused. An allowed root itself may be an excluded
    folder: then an administrator has decided to import deleted files or a snapshot.

    Raises:
        RequestError: 400, and nothing was read. The message does not contain the path, which may hold a name.
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
