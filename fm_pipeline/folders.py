"""Folders and files of our own, which only their owner can enter and read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def make_private_folder(folder: Path) -> None:
    """Make a folder of mode 0700, and every missing one above it; those that exist stay as they are.

    `Path.mkdir(parents=True)` gives its mode to the last folder alone: the others would be open to everybody.
    """
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def whole_file(path: Path, *, errors: str = "strict") -> Iterator[TextIO]:
    """Give a text file of mode 0600, in UTF-8, that takes the place of `path` when the block ends well.

    Otherwise a file that was there before stays, and nothing else is left.

    Args:
        errors: as of `open`, for characters that UTF-8 does not have.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        # Path.open takes no opener.
        with open(partial, "w", encoding="utf-8", errors=errors, newline="", opener=_for_its_owner) as file:
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
