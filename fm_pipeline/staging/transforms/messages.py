"""Text messages (docs/mapping.md, "Notes, messages, files")."""

from __future__ import annotations

from fm_pipeline.staging.record import Record
from fm_pipeline.staging.values.choices import read_message_status


def transform_message(record: Record) -> dict[str, object]:
    """The message's values by column."""
    message = record.lines("message")
    if not message.strip():
        record.notice("message_without_text", "message")
    return {
        "patient_id": record.patient_id,
        "phone_number": record.line("phone_number"),
        "message": message,
        "status": record.choice("status", read_message_status),
        "sent_at": record.timestamp("sent_at"),
        "source_created_at": record.timestamp("created_at"),
    }
