"""Django's secret key: made at the first start, kept in the state folder, read by its owner only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from fm_pipeline.folders import make_private_folder


def read_secret_key(state_dir: Path) -> str:
    """Return the key; make it if it is missing. Two processes that start at once get the same one."""
    folder = state_dir / "console"
    make_private_folder(folder)
    file = folder / "secret_key"
    if not file.exists():
        mine = folder / f"secret_key.{os.getpid()}"
        descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as new:
            new.write(secrets.token_urlsafe(48))
        try:
            os.link(mine, file)  # fails if another process was first
        except FileExistsError:
            pass
        finally:
            mine.unlink()
    return file.read_text(encoding="ascii")
