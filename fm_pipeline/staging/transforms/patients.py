"""Patients: the columns that come from the patient's own record (docs/mapping.md, "Patients")."""

from __future__ import annotations

from datetime import date

from fm_pipeline.staging.record import Record
from fm_pipeline.staging.values.choices import read_sex, read_title


def transform_patient(record: Record) -> dict[str, object]:
    """The patient's values by column. `filemaker_metadata` is a dict still: addresses may be added to it."""
    first_name, last_name = record.line("first_name"), record.line("last_name")
    if not first_name and not last_name:
        record.notice("patient_without_name")
    metadata = {"filemaker_id": record.line("filemaker_id"), "filemaker_clinic": record.line("clinic") or None}
    if "xero_contact_id" in record.context.fed:
        metadata["xero_contact_id"] = record.line("xero_contact_id") or None
    return {
        "first_name": first_name,
        "last_name": last_name,
        "middle_names": record.line("middle_names") or None,
        "dob": _date_of_birth(record),
        "sex": record.choice("sex", read_sex),
        "title": record.choice("title", read_title),
        "health_number": record.line("health_number") or None,
        "funding_type_id": record.look_up("funding", empty="patient_without_funding"),
        "clinic_id": record.look_up("clinic", empty="patient_without_clinic"),
        "coordinator_name": record.line("coordinator_name") or None,
        "coordinator_date": record.date("coordinator_date"),
        "plan_start_date": record.date("plan_start_date"),
        "plan_end_date": record.date("plan_end_date"),
        "ndis_plan_start_date": record.date("ndis_plan_start_date"),
        "ndis_plan_end_date": record.date("ndis_plan_end_date"),
        "filemaker_metadata": metadata,
        "source_created_at": record.timestamp("created_at"),
    }


def _date_of_birth(record: Record) -> date | None:
    born = record.date("dob")
    if born and born > record.context.today:
        record.notice("dob_in_future", "dob")
        return None
    return born
