"""Scan a directory tree: names, sizes and times, without contents.

Entries are yielded as they are found, so the first upload starts before the scan ends. Only the paths of directories
that are still to be listed are kept in memory.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator

from fm_pipeline.dicom.errors import RootUnavailable
from fm_pipeline.dicom.files.open import unreadable_reason
from fm_pipeline.dicom.model import FoundFile, SetAside, Unreadable
from fm_pipeline.dicom.scan.excluded_folders import KNOWN, REASON, ExcludedFolders
from fm_pipeline.dicom.scan.list import by_name, entry_path, opened_directory

Met = FoundFile | SetAside | Unreadable

# Names of unfinished files, as browsers, FTP clients, rsync and editors give them.
_TEMPORARY = re.compile(
    r".+\.(?:partial|part|tmp|temp|crdownload|download|filepart|incomplete|uploading|swp)|~\$.+",
    re.IGNORECASE,
)
_SYSTEM = re.compile(r"\._.+|Thumbs\.db|ehthumbs\.db|desktop\.ini|\.DS_Store|\.directory", re.IGNORECASE)


def scan(root: str, excluded: ExcludedFolders = KNOWN) -> Iterator[Met]:
    """Yield everything below a directory, each entry exactly once.

    Links are not followed: a target inside the root is scanned in its own place, and one outside must not be read. A
    directory that cannot be read is yielded as `Unreadable`; the scan is then incomplete, and so are its totals. An
    excluded folder is yielded as `SetAside`, and nothing below it is listed.

    Args:
        root: absolute (`paths.allowed`). The root itself may be a link or a mount point.

    Raises:
        RootUnavailable: at the first step, if the root cannot be listed.
    """
    before, empty = look_at_root(root)
    if empty:
        yield Unreadable(root, is_directory=True, reason="root_empty")
        return
    real_root = os.path.realpath(root)
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        directories: list[str] = []
        yield from _list(directory, real_root, excluded, directories)
        waiting.extend(reversed(directories))
    if not same_directory(root, before):
        yield Unreadable(root, is_directory=True, reason="not_mounted")


def look_at_root(root: str) -> tuple[os.stat_result, bool]:
    """Return the facts about a root, and whether it has no entry: perhaps its share is not mounted on this host.

    Raises:
        RootUnavailable: it cannot be listed.
    """
    try:
        facts = os.stat(root)
        with os.scandir(root) as entries:
            return facts, next(entries, None) is None
    except OSError as error:
        raise RootUnavailable(f"The directory to be scanned cannot be read ({unreadable_reason(error)}).") from None


def same_directory(path: str, before: os.stat_result) -> bool:
    """Return whether a directory was neither unmounted nor replaced."""
    try:
        now = os.stat(path)
    except OSError:
        return False
    return (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino)


def _list(directory: str, real_root: str, excluded: ExcludedFolders, directories: list[str]) -> Iterator[Met]:
    try:
        with opened_directory(directory) as (_, entries):
            for entry in by_name(entries):
                path = entry_path(directory, entry.name)
                try:
                    if entry.is_dir(follow_symlinks=False) and not excluded.excludes(directory, entry.name):
                        directories.append(path)
                    else:
                        yield met(path, entry.stat(follow_symlinks=False), real_root)
                except OSError as error:
                    yield Unreadable(path, is_directory=False, reason=unreadable_reason(error))
    except OSError as error:
        yield Unreadable(directory, is_directory=True, reason=unreadable_reason(error))


def met(path: str, facts: os.stat_result, real_root: str) -> FoundFile | SetAside:
    """Classify an entry that will not be listed: a file to read, or something that is set aside."""
    if stat.S_ISLNK(facts.st_mode):
        return SetAside(path, _link_reason(path, real_root))
    if stat.S_ISDIR(facts.st_mode):
        return SetAside(path, REASON)
    if not stat.S_ISREG(facts.st_mode):
        return SetAside(path, _kind(facts.st_mode))
    if reason := name_reason(os.path.basename(path)):
        return SetAside(path, reason)
    return FoundFile(path, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_dev, facts.st_ino)


def name_reason(name: str) -> str | None:
    """Return the reason for not reading a file of this name; None if it is read."""
    if _SYSTEM.fullmatch(name):
        return "system_file"
    return "temporary_name" if _TEMPORARY.fullmatch(name) else None


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "fifo"
    return "socket" if stat.S_ISSOCK(mode) else "device"


def _link_reason(path: str, real_root: str) -> str:
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        return "link_loop" if error.errno == errno.ELOOP else "link_broken"
    inside = target == real_root or target.startswith(real_root.rstrip(os.sep) + os.sep)
    return "link_inside_root" if inside else "link_outside_root"
