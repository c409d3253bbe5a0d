"""Documents and images: FileMaker's knowledge of which patient a file belongs to, for relinking."""

from __future__ import annotations

from fm_pipeline.staging.record import Record

EXPORT_DATE = "export_date"


def transform_file_link(record: Record) -> dict[str, object]:
    """The link. Ids are compared, not shown, so both are keys.

    The export date is looked at and goes nowhere: whatever is in the field, also that the account may not see it, is
    taken for a date.
    """
    if EXPORT_DATE in record.context.fed and not str(record.fields.get(EXPORT_DATE) or "").strip():
        record.notice("export_date_missing", EXPORT_DATE)
    return {"filemaker_id": record.key, "patient_key": record.patient_key}
