"""Paths as lossless text, and the check that a path may be requested.

A name on a disk is bytes. It can contain newlines, bytes that are not UTF-8, and two spellings of one letter. In text
columns and on screens such characters are percent-encoded, as in URLs (RFC 3986, 2.1). Others stay readable.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
import uuid
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote_to_bytes

from fm_pipeline.dicom.errors import PathRefused

# Separates the path of an archive from the name of a member. No path on a disk contains it.
_IN_ARCHIVE = "\0"
_IN_ARCHIVE_SHOWN = "!/"


def member_path(archive: str, name: str) -> str:
    """Return the path of a file in an archive, which is shown as `archive.zip!/name`."""
    return f"{archive}{_IN_ARCHIVE}{name}"


def archive_of(path: str) -> str | None:
    """Return the path of the archive that contains a file; None for a file on the disk."""
    archive, mark, _ = path.partition(_IN_ARCHIVE)
    return archive if mark else None


def file_name(path: str) -> str:
    """Return the last component of a path, on the disk or in an archive."""
    return os.path.basename(path.rpartition(_IN_ARCHIVE)[2])


def printable(path: str) -> str:
    """Return a path (of `os.fsdecode`) as text for a database column, a screen or a report.

    It encodes `%`, invisible characters (control characters, direction marks, bytes that are not UTF-8), and
    decomposed letters, so that two names that look alike stay different. `real_path` is the inverse.
    """
    if path.isascii() and path.isprintable() and "%" not in path:
        return path
    if _IN_ARCHIVE in path:
        return _IN_ARCHIVE_SHOWN.join(printable(part) for part in path.split(_IN_ARCHIVE, 1))
    composed = unicodedata.is_normalized("NFC", path)
    return "".join(
        character if _may_stay(character, composed) else "".join(f"%{byte:02X}" for byte in os.fsencode(character))
        for character in path
    )


def real_path(text: str) -> str:
    """Return the path from the text that `printable` made. In the path of a member, `!/` stays as shown."""
    return os.fsdecode(unquote_to_bytes(os.fsencode(text))) if "%" in text else text


def path_hash(path: str) -> str:
    """Return a uuid for a path, for keys: a path may be too long for an index of PostgreSQL."""
    return str(uuid.UUID(bytes=hashlib.blake2b(os.fsencode(path), digest_size=16).digest()))


def _may_stay(character: str, composed: bool) -> bool:
    if character == "%" or not character.isprintable():
        return False
    return composed or not (
        unicodedata.category(character).startswith("M")
        or "\u1100" <= character <= "\u11ff"
        or not unicodedata.is_normalized("NFC", character)
    )


def mount_point_of(path: str) -> str:
    """Return the mount point of the path's file system."""
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def erased_remote_path(path: bytes) -> bytes:
    """Return what takes the place of a path on the FTP server of an erased patient, so that the file stays known."""
    return f"erased {path_hash(os.fsdecode(path))}".encode()


def allowed(path: str, roots: Iterable[str | Path]) -> str:
    """Return the path if it is allowed: an existing file or directory that is a root or lies below one.

    Args:
        path: as typed by a person.
        roots: absolute directories from the settings; without any, nothing is allowed.

    Returns:
        The same path without double or trailing slashes.

    Raises:
        PathRefused: it is relative, contains `..`, lies outside, leads through a link below the root, differs in case
            from the name on the disk, or does not exist. Nothing was listed or opened.
    """
    if "\0" in path or not os.path.isabs(path):
        raise PathRefused("The path is not an absolute one.")
    if os.pardir in Path(path).parts:
        raise PathRefused("The path has `..` in it.")
    asked = Path(path)
    root = next((Path(each) for each in roots if asked.is_relative_to(each)), None)
    if root is None:
        raise PathRefused("The path is not inside an allowed root.")
    try:
        below = asked.relative_to(root)
        if Path(os.path.realpath(asked, strict=True)) != Path(os.path.realpath(root, strict=True)) / below:
            raise PathRefused("The path leads through a link, or is spelled in another case.")
        if not all(_spelled_as_on_disk(root.joinpath(*below.parts[: n + 1])) for n in range(len(below.parts))):
            raise PathRefused("The path is spelled in another case than the directory.")
    except OSError:
        raise PathRefused("The path does not exist, or cannot be reached.") from None
    return str(asked)


def _spelled_as_on_disk(path: Path) -> bool:
    """Return whether the case matches. Otherwise CIFS, NTFS or APFS would let one directory in under two names."""
    other = path.with_name(path.name.swapcase())
    if other == path or not other.exists() or not other.samefile(path):
        return True
    with os.scandir(path.parent) as entries:
        return any(entry.name == path.name for entry in entries)
