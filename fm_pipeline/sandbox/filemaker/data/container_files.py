"""Files of container fields in the store's SQLite file. A cell contains the key of its file; `""` is empty."""

from __future__ import annotations

import json
import sqlite3

from fm_pipeline.sandbox.filemaker.data.schema import StoredContainerFile

TABLE = """
CREATE TABLE IF NOT EXISTS container_file (
    id INTEGER PRIMARY KEY AUTOINCREMENT, definition TEXT NOT NULL, content BLOB NOT NULL);
"""
_PREFIX = "\x00file:"  # no text of a container begins with NUL


def keep(db: sqlite3.Connection, file: StoredContainerFile) -> str:
    """Store a file and return the key for the cell."""
    definition = {"name": file.name, "mime": file.mime, "stored": file.stored, "folder": file.folder}
    cursor = db.execute(
        "INSERT INTO container_file (definition, content) VALUES (?, ?)", (json.dumps(definition), file.content)
    )
    return f"{_PREFIX}{cursor.lastrowid}"


def is_key(text: str) -> bool:
    """Return whether a cell contains the key of a file, and not another text such as `?`."""
    return text.startswith(_PREFIX)


def read(db: sqlite3.Connection, key: str, *, with_content: bool = False) -> StoredContainerFile:
    """Return the file of a key, with its bytes on request. Raises KeyError."""
    row = db.execute(
        f"SELECT definition{', content' if with_content else ''} FROM container_file WHERE id = ?",  # noqa: S608
        (int(key.removeprefix(_PREFIX)),),
    ).fetchone()
    if row is None:
        raise KeyError(key)
    return StoredContainerFile(bytes(row["content"]) if with_content else b"", **json.loads(row["definition"]))
