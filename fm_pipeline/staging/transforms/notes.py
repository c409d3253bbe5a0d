"""Notes (docs/mapping.md, "Notes, messages, files")."""

from __future__ import annotations

from fm_pipeline.staging.record import Record
from fm_pipeline.staging.values.choices import read_note_type


def transform_note(record: Record) -> dict[str, object]:
    """The note's values by column."""
    content = record.lines("content")
    if not content.strip():
        record.notice("note_without_text", "content")
    return {
        "patient_id": record.patient_id,
        "note_type": record.choice("note_type", read_note_type),
        "content": content,
        "created_by": record.line("created_by") or None,
        "source_created_at": record.timestamp("created_at"),
    }
