"""The same records in the layouts of profile `wep`: a file that the clinic's users have built.

Written from the raw values of profile `nexus`, so that both say the same. What a user's file leaves open stays open
here: a patient's clinic by its name alone or by its id as well, a note's patient in one of two fields, an end that
has a time and no date.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from fm_pipeline.sandbox.clinic.filemaker.layouts import LAYOUTS, ClinicLayout, FieldType, Raw
from fm_pipeline.sandbox.clinic.filemaker.texts import raw_timestamp
from fm_pipeline.sandbox.clinic.model import (
    Appointment,
    ClinicContactDetail,
    Company,
    FileRecord,
    Named,
    Note,
    Patient,
    PatientReferrer,
    Referrer,
)
from fm_pipeline.sandbox.clinic.nexus.state import TableContent

# Fields that differ only in their name: wep -> nexus.
_PATIENT = {
    "id": "id", "title": "title", "nameFirst": "first_name", "nameMiddle": "middle_name", "nameLast": "last_name",
    "gender": "gender", "Health Number": "health_number", "Funding": "funding_type",
    "NDIS Plan Start Date": "plan_start_date", "NDIS Plan End Date": "plan_end_date",
    "NDIS Coordinator Name": "coordinator_name", "_kf_XeroContactID": "xero_contact_id",
    "creationTimestamp": "creationTimestamp", "modificationTimestamp": "creationTimestamp",
}  # fmt: skip
_CONTACT_DETAIL = {
    "id": "id", "id.key": "patient_id", "type": "type", "Name": "name", "Email default": "email",
    "address 1": "address_1", "address 2": "address_2", "suburb": "suburb", "state": "state", "post code": "postcode",
}  # fmt: skip
_EVENT = {
    "id": "id", "id_Contact": "patient_id", "clinician_name": "clinician_name", "Type": "appointment_type",
    "Status": "status", "note": "notes",
}  # fmt: skip
_NOTE = {
    "id": "id", "Type": "type", "Note": "note", "creationName": "created_by", "creationTimestamp": "creationTimestamp",
}  # fmt: skip
_MESSAGE = {
    "id": "id", "id_Contact": "patient_id", "ph": "phone_number", "message": "message", "status": "status",
    "sentTimestamp": "sent_at", "creationTimestamp": "creationTimestamp",
}  # fmt: skip
_DOCUMENT = {
    "id": "id", "id_Contact": "patient_id", "Type": "doc_type", "Date": "date", "NexusExportDate": "NexusExportDate",
}  # fmt: skip
_IMAGE = {"id": "id", "recid": "recid", "date": "date", "Type": "Type", "NexusExportDate": "NexusExportDate"}

# DOB and the dates of events are text fields in that file, so they contain dates as users typed them.
_TYPES: dict[str, FieldType] = {
    "NDIS Plan Start Date": "date", "NDIS Plan End Date": "date", "startTime": "time", "endTime": "time",
    "Date": "date", "date": "date", "allDay": "number", "recid": "number", "creationTimestamp": "timestamp",
    "modificationTimestamp": "timestamp", "sentTimestamp": "timestamp",
}  # fmt: skip


def wep_layouts(clinics: TableContent) -> dict[str, ClinicLayout]:
    """Return the layouts by entity.

    Args:
        clinics: of Nexus, which knows the FileMaker id of each; a calendar of FileMaker is a clinic.
    """
    ids = {row["id"]: str(row["filemaker_id"]) for row in map(clinics.values, clinics.rows.values())}

    def id_of(clinic: Named | None, upper: bool) -> str:
        key = ids[clinic.id] if clinic else ""
        return key.upper() if upper else key

    def patient(record: Patient, raw: Mapping[str, Raw]) -> dict[str, Raw]:
        how = _draw(record.key, 3)  # 0: the clinic is given by its name alone
        return {
            "DOB": _iso(raw["dob"]) if _draw(record.filemaker_id, 2) else raw["dob"],
            "Clinic_Name": raw["clinic_name"],
            "id_Clinic": id_of(record.clinic, how == 1) if how else "",
        }

    def event(record: Appointment, raw: Mapping[str, Raw]) -> dict[str, Raw]:
        return {"idCal": id_of(record.clinic, bool(_draw(record.key, 2))), **_times(record, raw)}

    return {
        "patient": _layout("patient", "API_Contacts", _PATIENT, "DOB Clinic_Name id_Clinic", patient),
        "contact_detail": _layout("contact_detail", "API_Contact_Details", _CONTACT_DETAIL, "ph", _contact_detail),
        "appointment": _layout(
            "appointment", "API_event", _EVENT, "idCal startDate startTime endDate endTime allDay", event
        ),
        "note": _layout("note", "API_Notes", _NOTE, "id_Key id_Contact", _patient_in_one_of_two),
        "sms_message": _layout("sms_message", "API_Messages", _MESSAGE),
        "document": _layout("document", "API_Docs", _DOCUMENT),
        "image": _layout("image", "API_Images", _IMAGE, "id_Contact id_Key", _patient_in_one_of_two),
        "company": ClinicLayout("API_Company", _texts("id name ABN email"), _company),
        "referrer": ClinicLayout(
            "API_Referrer", _texts("id name practice providerNumber ph email id_Company"), _referrer
        ),
        "patient_referrer": ClinicLayout(
            "API_Contact_Referrer",
            (*_texts("id id_Contact id_Referrer"), ("creationTimestamp", "timestamp")),
            _patient_referrer,
        ),
    }


def _texts(fields: str) -> tuple[tuple[str, FieldType], ...]:
    return tuple((field, "text") for field in fields.split())


def _company(record: Company) -> dict[str, Raw]:
    return {"id": record.filemaker_id, "name": f"{record.name} ", "ABN": record.abn or "", "email": record.email}


def _referrer(record: Referrer) -> dict[str, Raw]:
    return {
        "id": record.filemaker_id,
        "name": record.name,
        "practice": record.practice,
        "providerNumber": record.provider_number,
        "ph": record.phone,
        "email": record.email or "",
        "id_Company": record.company.key if record.company else "",
    }


def _patient_referrer(record: PatientReferrer) -> dict[str, Raw]:
    return {
        "id": record.filemaker_id,
        "id_Contact": record.patient_ref,
        "id_Referrer": record.referrer_ref,
        "creationTimestamp": raw_timestamp(record.created_at),
    }


def _layout(
    entity: str,
    name: str,
    renamed: Mapping[str, str],
    more: str = "",
    write: Callable[[Any, Mapping[str, Raw]], dict[str, Raw]] = lambda _record, _raw: {},
) -> ClinicLayout:
    """Return a layout with renamed fields, and additional ones that `write` makes."""

    def written(record: Any) -> dict[str, Raw]:
        raw = LAYOUTS[entity].write(record)
        return {ours: raw[theirs] for ours, theirs in renamed.items()} | write(record, raw)

    fields = [*renamed, *more.split()]
    return ClinicLayout(name, tuple((field, _TYPES.get(field, "text")) for field in fields), written)


def _contact_detail(_: ClinicContactDetail, raw: Mapping[str, Raw]) -> dict[str, Raw]:
    return {"ph": raw["phone"] or raw["mobile"]}


def _patient_in_one_of_two(record: Note | FileRecord, raw: Mapping[str, Raw]) -> dict[str, Raw]:
    """Return the patient's id in one of two fields: older records use another one than newer ones, some use both."""
    how = _draw(record.key, 3)
    return {
        "id_Key": raw["patient_id"] if how != 0 else "",
        "id_Contact": raw["patient_id"] if how != 1 else "",
    }


def _times(record: Appointment, raw: Mapping[str, Raw]) -> dict[str, Raw]:
    """Return date and time in separate fields."""
    (start_date, start_time), (end_date, end_time) = _split(raw["start_time"]), _split(raw["end_time"])
    if record.all_day:
        start_time = end_date = end_time = ""
    elif end_date == start_date and _draw(record.key, 5) == 0:
        end_date = ""  # an end's time alone belongs to the start's date
    if start_date and _draw(record.key, 7) == 0:
        start_date = f"{_iso(start_date)}T00:00:00"
    return {
        "startDate": start_date,
        "startTime": start_time,
        "endDate": end_date,
        "endTime": end_time,
        "allDay": 1 if record.all_day else "",
    }


def _split(timestamp: Raw) -> tuple[str, str]:
    """Split a timestamp into `MM/DD/YYYY` and the rest."""
    day, _, clock = str(timestamp).partition(" ")
    return day, clock


def _iso(day: Raw) -> str:
    """Return the ISO form of a date in American form; other texts unchanged."""
    text = str(day)
    return dt.datetime.strptime(text, "%m/%d/%Y").date().isoformat() if text.count("/") == 2 else text  # noqa: DTZ007


def _draw(key: str, of: int) -> int:
    """Return a number below `of` that depends only on the record."""
    return int(key.strip()[:6], 16) % of
