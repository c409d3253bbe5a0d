"""The files of a job or chunk for a list of files, in the form in which a scan yields them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator

from fm_pipeline.dicom.files.open import open_descriptor, unreadable_reason
from fm_pipeline.dicom.model import SetAside, Unreadable
from fm_pipeline.dicom.scan.excluded_folders import KNOWN, REASON, ExcludedFolders
from fm_pipeline.dicom.scan.walk import Met, look_at_root, met, same_directory


def listed_files(root: str, paths: Iterable[str], excluded: ExcludedFolders = KNOWN) -> Iterator[Met]:
    """Yield these files. Files behind a link out of the root and files in excluded folders are set aside.

    If a root has no entry at all, its files do not count as gone: perhaps its share is not mounted on this host.

    Raises:
        RootUnavailable: the root cannot be listed.
    """
    before, empty = look_at_root(root)
    if empty:
        yield Unreadable(root, is_directory=True, reason="root_empty")
        return
    real_root = os.path.realpath(root)
    for path in paths:
        if excluded.excluded_part(os.path.dirname(os.path.relpath(path, root))):
            yield SetAside(path, REASON)
        else:
            yield _met(root, real_root, path, excluded)
    if not same_directory(root, before):
        yield Unreadable(root, is_directory=True, reason="not_mounted")


def _met(root: str, real_root: str, path: str, excluded: ExcludedFolders) -> Met:
    directory, name = os.path.split(path)
    try:
        below = os.path.relpath(directory, root)
        if os.path.realpath(directory) != os.path.normpath(os.path.join(real_root, below)):
            return SetAside(path, "link_outside_root")
        facts = _examined(directory, name)
        if stat.S_ISDIR(facts.st_mode) and not excluded.excludes(directory, name):
            return Unreadable(path, is_directory=False, reason="vanished")  # a directory of the name took its place
        return met(path, facts, real_root)
    except OSError as error:
        return Unreadable(path, is_directory=False, reason=unreadable_reason(error))


def _examined(directory: str, name: str) -> os.stat_result:
    """Examine an entry with a path of any length, without following a link."""
    try:
        return os.lstat(os.path.join(directory, name))
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
    descriptor = open_descriptor(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    finally:
        os.close(descriptor)
