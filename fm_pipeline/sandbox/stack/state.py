"""The state folder: its permissions, and files that are written atomically."""

from __future__ import annotations

import json
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Any

from fm_pipeline.errors import PipelineError

STACK_FILE = "stack.json"
SECRETS_FILE = "secrets.json"
# Only a demo creates it. A folder without it is never emptied, because the pipeline itself uses `.state` too.
DEMO_FILE = "demo.json"


def make_private_folder(folder: Path) -> None:
    """Create the folder with mode 0700, or set this mode on an existing one.

    Raises:
        PipelineError: it cannot be created; or it exists, is open to other users and contains files of others.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise PipelineError(
            f"The state folder {folder} cannot be made: {error.strerror or type(error).__name__}.",
            meaning="Nothing was started.",
            remedy="Give another folder with --state-dir.",
        ) from None
    # Mode 0710 (see postgresql.py) counts as private: others may traverse the folder, not read it.
    is_open = stat.S_IMODE(folder.stat().st_mode) & 0o066
    if is_open and any(folder.iterdir()) and not (folder / STACK_FILE).exists():
        raise PipelineError(
            f"The state folder {folder} is open to other users and already holds other files.",
            meaning="Nothing was started, because closing it might lock somebody out.",
            remedy="Choose a folder that does not exist yet.",
        )
    if is_open:
        folder.chmod(0o700)


def write_json(path: Path, content: Any) -> None:
    """Write a file of mode 0600 atomically."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """Return the content of a file, or None if it does not exist.

    Raises:
        PipelineError: the file is not JSON, or belongs to another user.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except PermissionError:
        raise PipelineError(
            f"{path} belongs to another user.", remedy="Work as that user, or choose another state folder."
        ) from None
    except ValueError:
        raise PipelineError(
            f"{path} cannot be read: it is not JSON.",
            remedy="It was changed by hand. Restore it, or stop the services yourself and remove the folder.",
        ) from None


class Secrets:
    """Passwords that are generated once for this sandbox and stored in a file of mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, name: str) -> str:
        """Return the secret of that name; it is generated and stored the first time."""
        known: dict[str, str] = read_json(self.path) or {}
        if name not in known:
            known[name] = secrets.token_urlsafe(18).replace("-", "x").replace("_", "y")
            write_json(self.path, known)
        return known[name]
