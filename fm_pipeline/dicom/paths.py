"""Paths as text that loses nothing, and which paths may be asked for.

A name on a disk is bytes: with newlines, with bytes that are no UTF-8, with two spellings of one letter. Text columns
and screens get such characters as `%0A`, as URLs do (RFC 3986, 2.1); everything else stays readable.
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

# Between the path of an archive and the name of a file in it: no path of a disk has it, so the two are never mixed up.
_IN_ARCHIVE = "\0"
_IN_ARCHIVE_SHOWN = "!/"


def member_path(archive: str, name: str) -> str:
    """The path of a file in an archive; shown as `archive.zip!/name`."""
    return f"{archive}{_IN_ARCHIVE}{name}"


def archive_of(path: str) -> str | None:
    """The path of the archive in which a file is; None of a file on the disk."""
    archive, mark, _ = path.partition(_IN_ARCHIVE)
    return archive if mark else None


def file_name(path: str) -> str:
    """The last name of a path, of a file on the disk or in an archive."""
    return os.path.basename(path.rpartition(_IN_ARCHIVE)[2])


def printable(path: str) -> str:
    """A path (of `os.fsdecode`) as text for a database column, a screen or a report; `real_path` is the inverse.

    Encoded are `%`, whatever cannot be seen (control characters, direction marks, bytes that are no UTF-8), and what
    Unicode would compose: two names that look the same stay two.
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
    """The path that `printable` made the text of; of a file in an archive, with `!/` as it is shown."""
    return os.fsdecode(unquote_to_bytes(os.fsencode(text))) if "%" in text else text


def path_hash(path: str) -> str:
    """A path as a uuid, for keys: paths may be too long for an index of PostgreSQL."""
    return str(uuid.UUID(bytes=hashlib.blake2b(os.fsencode(path), digest_size=16).digest()))


def _may_stay(character: str, composed: bool) -> bool:
    if character == "%" or not character.isprintable():
        return False
    return composed or not (
        unicodedata.category(character).startswith("M")
        or "\u1100" <= character <= "\u11ff"
        or not unicodedata.is_normalized("NFC", character)
    )


def allowed(path: str, roots: Iterable[str | Path]) -> str:
    """The path, if it may be asked for: an existing directory or file that is a root or lies below one.

    Args:
        path: as somebody typed it.
        roots: absolute directories (the setting); without any, nothing is allowed.

    Returns:
        The same path without doubled or trailing slashes.

    Raises:
        PathRefused: it is relative, has `..` in it, is outside, leads through a link below the root, is spelled in
            another case than the disk has it, or does not exist. Nothing was listed or opened.
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
    """On a disk that does not tell cases apart (CIFS, NTFS, APFS) a directory would be imported under two names."""
    other = path.with_name(path.name.swapcase())
    if other == path or not other.exists() or not other.samefile(path):
        return True
    with os.scandir(path.parent) as entries:
        return any(entry.name == path.name for entry in entries)
