"""Functions that finds and filters use in SQL, beyond those of SQLite."""

from __future__ import annotations

import sqlite3

from fm_pipeline.sandbox.filemaker.data import find_text


def register(db: sqlite3.Connection) -> None:
    """Make the functions known to a connection. All but `text_matches` return NULL for NULL."""
    db.create_function("text_matches", 2, find_text.matches, deterministic=True)
    db.create_function("lower_case", 1, _lower_case, deterministic=True)
    db.create_function("upper_case", 1, _upper_case, deterministic=True)
    db.create_function("ends_with", 2, _ends_with, deterministic=True)


# SQLite's own `lower` and `upper` know the letters of ASCII only.
def _lower_case(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _upper_case(text: str | None) -> str | None:
    return None if text is None else text.upper()


def _ends_with(text: str | None, end: str | None) -> bool | None:
    return None if text is None or end is None else text.endswith(end)
