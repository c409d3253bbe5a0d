"""Unnamed temporary files, for patient data that do not fit into memory. They disappear however the process ends."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO


def unnamed_file(folder: Path) -> IO[bytes]:
    """Create an empty file that no other process can open.

    Args:
        folder: created for this user only if it does not exist.

    Raises:
        OSError: the file cannot be created.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder)
