"""The files of a job for a list of files, in the form in which a scan yields them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from fm_pipeline.dicom.errors import RootUnavailable
from fm_pipeline.dicom.files.open import unreadable_reason
from fm_pipeline.dicom.files.read import found_file
from fm_pipeline.dicom.model import SetAside, Unreadable
from fm_pipeline.dicom.scan.excluded_folders import KNOWN, REASON, ExcludedFolders
from fm_pipeline.dicom.scan.walk import Met, name_reason


def listed_files(root: str, paths: Iterable[str], excluded: ExcludedFolders = KNOWN) -> Iterator[Met]:
    """Yield these files. Files behind a link out of the root and files in excluded folders are set aside.

    Raises:
        RootUnavailable: the root cannot be listed.
    """
    try:
        with os.scandir(root):
            pass
    except OSError as error:
        raise RootUnavailable(f"The directory cannot be read ({unreadable_reason(error)}).") from None
    real_root = os.path.realpath(root)
    for path in paths:
        if excluded.excluded_part(os.path.dirname(os.path.relpath(path, root))):
            yield SetAside(path, REASON)
        else:
            yield _met(root, real_root, path)


def _met(root: str, real_root: str, path: str) -> Met:
    name = os.path.basename(path)
    if reason := name_reason(name):
        return SetAside(path, reason)
    try:
        below = os.path.relpath(os.path.dirname(path), root)
        if os.path.realpath(os.path.dirname(path)) != os.path.normpath(os.path.join(real_root, below)):
            return SetAside(path, "link_outside_root")
        found = found_file(path)
    except OSError as error:
        return Unreadable(path, is_directory=False, reason=unreadable_reason(error))
    return found or Unreadable(path, is_directory=False, reason="vanished")
