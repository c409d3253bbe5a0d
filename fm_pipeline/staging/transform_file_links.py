"""Documents and images: FileMaker's knowledge of which patient a file belongs to, for relinking."""

from __future__ import annotations

from fm_pipeline.staging.record import Record


def transform_file_link(record: Record) -> dict[str, object]:
    """The link. Ids are compared, not shown, so both are keys."""
    return {"filemaker_id": record.key, "patient_key": record.patient_key}
