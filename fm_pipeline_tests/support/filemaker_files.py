"""Files of the FileMaker stand-in that a test treats as an administrator of FileMaker Server may."""

from __future__ import annotations

from fm_pipeline.sandbox.filemaker.data.store import Store


def rename_file(store: Store, name: str) -> None:
    """Offer the only file of a server under another name, as a backup that was not renamed."""
    with store.transaction() as db:
        db.execute("UPDATE file SET name = ?", (name,))
        for table in ("account", "fm_table", "occurrence", "layout", "script"):
            db.execute(f"UPDATE {table} SET file = ?", (name,))  # noqa: S608  # our own names
