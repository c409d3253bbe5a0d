"""Find copies and unfinished downloads of an export file in its folder: they may be newer than the file itself."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.kinds import SUFFIXES

_UNFINISHED = {".crdownload", ".download", ".filepart", ".opdownload", ".part", ".partial"}
_WORD = "(?:copy|kopie|copie|copia)"
_NUMBER = r"(?: \d{1,3}| ?\(\d{1,3}\))"
# What browsers, Windows, macOS, Linux and programs that synchronize folders make of `Notes` if there is one.
_COPY = re.compile(
    rf"(?P<before>{_WORD} (?:of|von|de|di) )?(?P<stem>.+?)"
    rf"(?P<behind>{_NUMBER}|(?: -)? {_WORD}{_NUMBER}?"
    rf"| \((?:another |\d+\w\w )?{_WORD}\)| \([^()]*conflicted copy[^()]*\))?",
    re.IGNORECASE,
)


def refuse_copies(file: Path, names: Collection[str], others: Collection[str]) -> None:
    """Raise if there is a copy or an unfinished download beside a file.

    Args:
        file: the only one that has a name of the entity.
        names: of the entity, without suffix and case.
        others: names of the files of other entities, likewise.

    Raises:
        ExportStop: names both.
        OSError: the folder cannot be read.
    """
    for path in sorted(file.parent.iterdir()):
        if path.name.startswith((".", "~$")):
            continue
        is_unfinished = path.suffix.lower() in _UNFINISHED
        exported = Path(path.stem) if is_unfinished else path
        stem = exported.stem.casefold()
        if exported.suffix.lower() not in SUFFIXES or stem in others or _original(stem) not in names:
            continue
        if is_unfinished:
            raise ExportStop(
                f"{path.name} is an unfinished download beside {file.name}.",
                meaning="What is in the folder may be of an earlier day. Nothing was read.",
                remedy="Wait until it is finished, or remove it.",
            )
        if stem not in names and path.is_file():
            raise ExportStop(
                f"{path.name} has the name of a copy of {file.name}.",
                meaning="Which of them is the newer one is not guessed from their age. Nothing was read.",
                remedy=f"Leave one of them in the folder, with the name {file.name}.",
            )


def _original(stem: str) -> str:
    """Return the name that a copy was made from; a name that is not one of a copy, as it is."""
    found = _COPY.fullmatch(stem)
    return found["stem"] if found else stem
