"""Folders that are left out by name: deleted files, snapshots, and what a system keeps for itself.

A hospital deletes files because they were of the wrong patient, or had to go. A snapshot repeats every file. Neither
belongs in the PACS. Such a folder is counted and named like a file that is set aside; nothing below it is listed.

The names are those that the systems themselves give. Windows and macOS do not tell upper from lower case, so their
names count in any case; the others count as they are written here.
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
    r"\.Trash-[\w.-]+"  # freedesktop.org: of a user (before: of their name), on a disk other than that of the home
    r"|@GMT-\d{4}\.\d\d\.\d\d-\d\d\.\d\d\.\d\d"  # MS-SMB2, 2.2.9: a shadow copy
    r"|Network Recycle Bin( \d+)?"  # QNAP before 4
    r"|\.ckpt_.+"  # EMC
    r"|FOUND\.\d{3}",  # chkdsk
    re.IGNORECASE,
)
_TRASH_OF_A_HOME = (".local", "share", "Trash")  # freedesktop.org


class ExcludedFolders:
    """The names that are left out.

    Args:
        names: DICOM_EXCLUDED_FOLDERS: more of them, separated as in PATH, as they are spelled on the disk; `*` stands
            for any characters and `?` for one.
    """

    def __init__(self, names: str | None = None) -> None:
        more = folder_names(names)
        self._more = re.compile("|".join(map(_as_pattern, more))) if more else None

    def has(self, name: str) -> bool:
        """Whether a folder of this name is left out."""
        if name in _AS_WRITTEN or name.casefold() in _ANY_CASE or _PATTERNS.fullmatch(name):
            return True
        return bool(self._more and self._more.fullmatch(name))

    def excluded_part(self, below: str) -> str | None:
        """Of a path below a root, the beginning that is an excluded folder; None if no folder on the way is one."""
        parts = below.strip(os.sep).split(os.sep)
        for number, name in enumerate(parts):
            if self.has(name) or tuple(parts[max(0, number - 2) : number + 1]) == _TRASH_OF_A_HOME:
                return os.sep.join(parts[: number + 1])
        return None

    def excludes(self, directory: str, name: str) -> bool:
        """Whether a folder in a directory is left out."""
        return self.has(name) or (name == "Trash" and directory.endswith(os.sep + os.path.join(*_TRASH_OF_A_HOME[:2])))


def _as_pattern(name: str) -> str:
    return re.escape(name).replace(r"\*", ".*").replace(r"\?", ".")


KNOWN = ExcludedFolders()
