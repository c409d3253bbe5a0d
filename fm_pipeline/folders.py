"""Folders of our own, which only their owner can enter."""

from __future__ import annotations

from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Make a folder of mode 0700, and every missing one above it; those that exist stay as they are.

    `Path.mkdir(parents=True)` gives its mode to the last folder alone: the others would be open to everybody.
    """
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)
