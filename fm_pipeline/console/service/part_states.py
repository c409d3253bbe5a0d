"""How the parts of the service are, from the supervisor to the health page, by a file in the state folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

STATE_FILE = "parts.json"


@dataclass(frozen=True)
class PartState:
    """One part.

    Attributes:
        pid: its process, or None while it does not run.
        started_at: seconds since 1970 of its last start, or None.
        restarts: how often it was started again after it had died.
        exit_code: of its last death, or None; negative is a signal.
    """

    name: str
    pid: int | None
    started_at: float | None
    restarts: int
    exit_code: int | None


def write_part_states(folder: Path, states: Iterable[PartState]) -> None:
    """Replace the file as a whole."""
    new = folder / f"{STATE_FILE}.new"
    new.write_text(json.dumps([asdict(state) for state in states]), "utf-8")
    os.replace(new, folder / STATE_FILE)


def read_part_states(state_dir: Path) -> list[PartState]:
    """Return the parts, or an empty list if no service has run there.

    Args:
        state_dir: the setting STATE_DIR.
    """
    try:
        content = json.loads((state_dir / "console" / STATE_FILE).read_text("utf-8"))
    except FileNotFoundError:
        return []
    return [PartState(**part) for part in content]
