"""Django's secret key: made at the first start, kept in the state folder, read by its owner only."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from fm_pipeline.folders import make_private_folder


def read_secret_key(state_dir: Path) -> str:
    """Return the key; make it if it is missing. Two processes that start at once get the same one."""
    folder = state_dir / "console"
    make_private_folder(folder)
    file = folder / "secret_key"
    if not file.exists():
        with NamedTemporaryFile("w", encoding="ascii", dir=folder, prefix="secret_key.") as new:  # mode 0600
            new.write(secrets.token_urlsafe(48))
            new.flush()
            os.fsync(new.fileno())
            with suppress(FileExistsError):  # another process was first
                os.link(new.name, file)
    return file.read_text(encoding="ascii")
