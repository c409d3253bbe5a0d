"""Folders that are excluded by name: recycle bins, snapshots, and folders that a system keeps for itself.

A hospital deletes files that belonged to the wrong patient or had to be destroyed. A snapshot repeats every file.
Neither belongs in the PACS. An excluded folder gets one row of history; nothing below it is listed.

The names are those that the systems give. Windows and macOS ignore case, so their names match in any case. The others
match exactly.
"""

from __future__ import annotations

import os
import re

from fm_pipeline.settings import folder_names

REASON = "excluded_folder"

_ANY_CASE = frozenset(
    name.casefold()
    for name in (
        # Windows: the recycle bin since Vista, of NTFS before, of FAT; shadow copies; replication
        "$RECYCLE.BIN",
        "RECYCLER",
        "RECYCLED",
        "System Volume Information",
        "Previous Versions",
        "DfsrPrivate",
        "$Extend",
        "DELETED.SAV",  # NetWare
        # macOS, and file servers for it (netatalk, AppleShare)
        ".Trash",
        ".Trashes",
        ".DocumentRevisions-V100",
        ".fseventsd",
        ".Spotlight-V100",
        ".TemporaryItems",
        ".MobileBackups",
        ".MobileBackups.trash",
        ".PKInstallSandboxManager",
        ".AppleDB",
        ".AppleDesktop",
        ".AppleDouble",
        "Network Trash Folder",
        "TheVolumeSettingsFolder",
        # NetApp over SMB
        "~snapshot",
        # Dropbox
        ".dropbox.cache",
    )
)
_AS_WRITTEN = frozenset(
    (
        # Synology
        "#recycle",
        "#snapshot",
        "@eaDir",
        "@sharesnap",
        "@tmp",
        # QNAP
        "@Recycle",
        "@Recently-Snapshot",
        ".@__thumb",
        ".@__qini",
        # Samba (vfs_recycle), Buffalo, ASUSTOR and WD, Thecus
        ".recycle",
        "trashbox",
        "Recycle Bin",
        ".Recycle.Bin",
        "_NAS_Recycle_RAID",
        # Linux file systems and tools
        "lost+found",
        ".snapshot",
        ".snapshots",
        ".zfs",
        ".snap",
        ".snaps",
        "@snapshots",
        ".btrbk_snapshots",
        ".ckpt",
        ".glusterfs",
        ".trashcan",
        # Nextcloud and ownCloud, Syncthing, Resilio, Google Drive, rsync
        "files_trashbin",
        "files_versions",
        ".stversions",
        ".sync",
        ".SyncArchive",
        ".tmp.drivedownload",
        ".tmp.driveupload",
        ".~tmp~",
        ".rsync-partial",
        ".rsync-tmp",
    )
)
_PATTERNS = re.compile(
    r"\.Trash-[\w.-]+"  # freedesktop.org: of a user id (formerly a name), on a disk other than that of the home
    r"|@GMT-\d{4}\.\d\d\.\d\d-\d\d\.\d\d\.\d\d"  # MS-SMB2, 2.2.9: a shadow copy
    r"|Network Recycle Bin( \d+)?"  # QNAP before 4
    r"|\.ckpt_.+"  # EMC
    r"|FOUND\.\d{3}",  # chkdsk
    re.IGNORECASE,
)
_TRASH_OF_A_HOME = (".local", "share", "Trash")  # freedesktop.org


class ExcludedFolders:
    """The names of excluded folders.

    Args:
        names: further names (DICOM_EXCLUDED_FOLDERS), separated as in PATH, as spelled on the disk. `*` matches any
            characters, `?` matches one.
    """

    def __init__(self, names: str | None = None) -> None:
        more = folder_names(names)
        self._more = re.compile("|".join(map(_as_pattern, more))) if more else None

    def has(self, name: str) -> bool:
        """Return whether folders of this name are excluded."""
        if name in _AS_WRITTEN or name.casefold() in _ANY_CASE or _PATTERNS.fullmatch(name):
            return True
        return bool(self._more and self._more.fullmatch(name))

    def excluded_part(self, below: str) -> str | None:
        """Return the part of a path below a root that is an excluded folder; None if there is none."""
        parts = below.strip(os.sep).split(os.sep)
        for number, name in enumerate(parts):
            if self.has(name) or tuple(parts[max(0, number - 2) : number + 1]) == _TRASH_OF_A_HOME:
                return os.sep.join(parts[: number + 1])
        return None

    def excludes(self, directory: str, name: str) -> bool:
        """Return whether a folder in a directory is excluded."""
        return self.has(name) or (name == "Trash" and directory.endswith(os.sep + os.path.join(*_TRASH_OF_A_HOME[:2])))


def _as_pattern(name: str) -> str:
    return re.escape(name).replace(r"\*", ".*").replace(r"\?", ".")


KNOWN = ExcludedFolders()
