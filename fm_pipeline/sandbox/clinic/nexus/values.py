"""The facts in Nexus' columns: the expected values of a loaded row in every column that FileMaker feeds."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Literal

from fm_pipeline.sandbox.clinic.model import (
    Appointment,
    ClinicContactDetail,
    Company,
    Message,
    Named,
    Note,
    Patient,
    PatientReferrer,
    Referrer,
)
from fm_pipeline.sandbox.clinic.nexus.state import Values

Entity = Literal["patient", "appointment", "note", "sms_message", "company", "referrer", "patient_referrer"]
Profile = Literal["nexus", "wep"]
Record = Patient | Appointment | Note | Message | Company | Referrer | PatientReferrer

_NAMESPACE = "https://fm-pipeline.example/"


def row_id(entity: Entity, record: Record) -> uuid.UUID:
    """Return the id of a record's row: the one in Nexus, else the one derived from the FileMaker id."""
    if record.nexus_id is not None:
        return record.nexus_id
    return uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, _NAMESPACE + entity), record.key)


def _id(named: Named | None) -> uuid.UUID | None:
    return named.id if named else None


def utc(moment: dt.datetime | None) -> dt.datetime | None:
    """Return the time in UTC, as Nexus stores it."""
    return moment.astimezone(dt.UTC) if moment else None


def patient_values(patient: Patient, details: Iterable[ClinicContactDetail], profile: Profile = "nexus") -> Values:
    """Return a patient's columns. `filemaker_metadata` has the keys that FileMaker feeds, without `imported_at`.

    Args:
        details: the patient's, in the order of their record ids.
        profile: `wep` knows no default contact detail, and the plan's dates as those of the NDIS.
    """
    contact: dict[str, dict[str, object]] = {}
    addresses: list[dict[str, object]] = []
    for detail in details:
        is_default = detail.is_default and profile == "nexus"
        if detail.kind == "address":
            addresses.append({**detail.address, "type": detail.label, "default": is_default})
        else:
            entry = {"value": detail.value, "default": is_default}
            contact.setdefault(detail.kind, {})[detail.label] = entry
    main = next((a for a in addresses if a["default"]), addresses[0] if addresses else None)
    metadata: dict[str, object] = {
        "filemaker_id": patient.filemaker_id,
        "filemaker_clinic": patient.clinic_name,
        "xero_contact_id": patient.xero_contact_id,
    }
    if len(addresses) > 1:
        metadata["other_addresses"] = [a for a in addresses if a is not main]
    plan = {"plan_start_date": patient.plan_start_date, "plan_end_date": patient.plan_end_date}
    return {
        "id": row_id("patient", patient),
        "first_name": patient.first_name,
        "last_name": patient.last_name,
        "middle_names": patient.middle_names,
        "dob": patient.dob,
        "sex": patient.sex,
        "title": patient.title,
        "health_number": patient.health_number,
        "funding_type_id": patient.funding.id if patient.funding else None,
        "clinic_id": _id(patient.clinic),
        "coordinator_name": patient.coordinator_name,
        **(
            {"coordinator_date": patient.coordinator_date, **plan}
            if profile == "nexus"
            else {f"ndis_{column}": day for column, day in plan.items()}
        ),
        "filemaker_metadata": metadata,
        "contact_json": contact,
        "address_json": main,
        "created_at": utc(patient.created_at),
    }


def appointment_values(appointment: Appointment, profile: Profile = "nexus") -> Values:
    """Return an appointment's columns; `wep` has no time of its creation."""
    return {
        "id": row_id("appointment", appointment),
        "filemaker_event_id": uuid.UUID(appointment.key),
        "patient_id": row_id("patient", appointment.patient),
        "clinic_id": _id(appointment.clinic),
        "clinician_id": _id(appointment.clinician),
        "appointment_type_id": _id(appointment.appointment_type),
        "start_time": utc(appointment.start),
        "end_time": utc(appointment.end),
        "status": appointment.status,
        "notes": appointment.notes,
        **({"created_at": utc(appointment.created_at)} if profile == "nexus" else {}),
    }


def note_values(note: Note) -> Values:
    """Return a note's columns."""
    return {
        "id": row_id("note", note),
        "patient_id": row_id("patient", note.patient),
        "note_type": note.note_type,
        "content": note.content,
        "created_by": note.created_by,
        "created_at": utc(note.created_at),
    }


def message_values(message: Message) -> Values:
    """Return a text message's columns."""
    return {
        "id": row_id("sms_message", message),
        "patient_id": row_id("patient", message.patient),
        "phone_number": message.phone_number,
        "message": message.message,
        "status": message.status,
        "sent_at": utc(message.sent_at),
        "created_at": utc(message.created_at),
    }


def company_values(company: Company) -> Values:
    """A company's columns."""
    return {"id": row_id("company", company), "name": company.name, "abn": company.abn, "email": company.email}


def referrer_values(referrer: Referrer) -> Values:
    """A referrer's columns."""
    return {
        "id": row_id("referrer", referrer),
        "name": referrer.name,
        "practice": referrer.practice,
        "provider_number": referrer.provider_number,
        "phone": referrer.phone,
        "email": referrer.email or "",
        "company_id": row_id("company", referrer.company) if referrer.company else None,
    }


def patient_referrer_values(link: PatientReferrer) -> Values:
    """The columns of a patient's referrer."""
    return {
        "id": row_id("patient_referrer", link),
        "patient_id": row_id("patient", link.patient),
        "referrer_id": row_id("referrer", link.referrer),
        "created_at": utc(link.created_at),
    }
