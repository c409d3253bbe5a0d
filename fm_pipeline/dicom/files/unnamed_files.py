"""Files without a name, for patients' data that do not fit into memory: whatever ends the process removes them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO


def unnamed_file(folder: Path) -> IO[bytes]:
    """An empty file that nobody else can open.

    Args:
        folder: made with rights for this user only, if it is not there.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder)
