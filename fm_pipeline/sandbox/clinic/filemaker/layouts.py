"""The layouts of profile `nexus`, with the raw values that the Data API would return.

Profile `wep` (`layouts_wep`) writes the same records into the layouts that the clinic's file had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fm_pipeline.sandbox.clinic.filemaker.texts import raw_date, raw_timestamp
from fm_pipeline.sandbox.clinic.model import Appointment, ClinicContactDetail, FileRecord, Message, Note, Patient

FieldType = Literal["text", "number", "date", "time", "timestamp"]
Raw = str | int

_DATES = {"dob", "coordinator_date", "plan_start_date", "plan_end_date", "date"}
_TIMESTAMPS = {"start_time", "end_time", "sent_at", "creationTimestamp"}
_NUMBERS = {"is_default", "recid"}


@dataclass(frozen=True)
class FileMakerTable:
    """A layout with its fields and rows. Rows are in the order of their creation: the first has recordId 1."""

    layout: str
    fields: tuple[tuple[str, FieldType], ...]
    rows: list[tuple[Raw, ...]]

    def records(self) -> Iterator[dict[str, Raw]]:
        """Yield the rows as field name → raw value."""
        names = [name for name, _ in self.fields]
        return (dict(zip(names, row, strict=True)) for row in self.rows)


@dataclass(frozen=True)
class ClinicLayout:
    """The layout of a kind of record, and how its rows are written.

    Args:
        name: of the layout.
        fields: their names and types.
        write: makes the raw values of a record by field name; more of them than there are fields are no harm.
    """

    name: str
    fields: tuple[tuple[str, FieldType], ...]
    write: Callable[[Any], Mapping[str, Raw]]


def make_table(layout: ClinicLayout, records: Sequence[Any]) -> FileMakerTable:
    """Write the raw rows of a layout."""
    rows = []
    for record in records:
        raw = layout.write(record)
        rows.append(tuple([raw[name] for name, _ in layout.fields]))
    return FileMakerTable(layout.name, layout.fields, rows)


def spelled(write: Callable[[Any], dict[str, Raw]]) -> Callable[[Any], dict[str, Raw]]:
    """Wrap a writer so that a record's own spelling overrides the plain value."""
    return lambda record: write(record) | getattr(record, "spelled", {})


def _type(field: str) -> FieldType:
    if field in _DATES:
        return "date"
    if field in _TIMESTAMPS:
        return "timestamp"
    return "number" if field in _NUMBERS else "text"


def patient_raw(patient: Patient) -> dict[str, Raw]:
    """Return a record of API_Patients; title, gender, clinic and funding always have their own spelling."""
    return {
        "id": patient.filemaker_id,
        "first_name": patient.first_name,
        "middle_name": patient.middle_names or "",
        "last_name": patient.last_name,
        "dob": raw_date(patient.dob),
        "health_number": patient.health_number or "",
        "coordinator_name": patient.coordinator_name or "",
        "coordinator_date": raw_date(patient.coordinator_date),
        "plan_start_date": raw_date(patient.plan_start_date),
        "plan_end_date": raw_date(patient.plan_end_date),
        "xero_contact_id": patient.xero_contact_id or "",
        "creationTimestamp": raw_timestamp(patient.created_at),
    }


def contact_detail_raw(detail: ClinicContactDetail) -> dict[str, Raw]:
    """Return a record of API_Contact_Details."""
    address = detail.address
    return {
        "id": detail.filemaker_id,
        "patient_id": detail.patient_ref,
        "phone": "",
        "mobile": "",
        "email": "",
        "is_default": 1 if detail.is_default else "",
        "address_1": address.get("street", ""),
        "address_2": address.get("street2", ""),
        "suburb": address.get("suburb", ""),
        "state": address.get("state", ""),
        "postcode": address.get("postcode", ""),
    } | ({} if address else {detail.kind: detail.value})


def appointment_raw(appointment: Appointment) -> dict[str, Raw]:
    """Return a record of API_Appointments; names, status and notes always have their own spelling."""
    return {
        "id": appointment.filemaker_id,
        "patient_id": appointment.patient_ref,
        "start_time": raw_timestamp(appointment.start),
        "end_time": raw_timestamp(appointment.end),
        "creationTimestamp": raw_timestamp(appointment.created_at),
    }


def note_raw(note: Note) -> dict[str, Raw]:
    """Return a record of API_Notes; type and text always have their own spelling."""
    return {
        "id": note.filemaker_id,
        "patient_id": note.patient_ref,
        "created_by": note.created_by or "",
        "creationTimestamp": raw_timestamp(note.created_at),
    }


def message_raw(message: Message) -> dict[str, Raw]:
    """Return a record of API_Messages; status and text always have their own spelling."""
    return {
        "id": message.filemaker_id,
        "patient_id": message.patient_ref,
        "phone_number": message.phone_number,
        "sent_at": raw_timestamp(message.sent_at),
        "creationTimestamp": raw_timestamp(message.created_at),
    }


def file_raw(record: FileRecord) -> dict[str, Raw]:
    """Return a record of API_Docs or API_Images."""
    return {
        "id": record.filemaker_id,
        "patient_id": record.patient_ref,
        "doc_type": record.category,
        "Type": record.category,
        "recid": record.number,
        "date": raw_date(record.date),
        "NexusExportDate": "1" if record.exported else "",
    }


def _layout(name: str, fields: str, write: Callable[[Any], dict[str, Raw]]) -> ClinicLayout:
    return ClinicLayout(name, tuple((field, _type(field)) for field in fields.split()), spelled(write))


LAYOUTS: dict[str, ClinicLayout] = {
    "patient": _layout(
        "API_Patients",
        "id title first_name middle_name last_name dob gender health_number clinic_name funding_type coordinator_name"
        " coordinator_date plan_start_date plan_end_date xero_contact_id creationTimestamp",
        patient_raw,
    ),
    "contact_detail": _layout(
        "API_Contact_Details",
        "id patient_id type name phone mobile email is_default address_1 address_2 suburb state postcode",
        contact_detail_raw,
    ),
    "appointment": _layout(
        "API_Appointments",
        "id patient_id clinic_name clinician_name appointment_type start_time end_time status notes creationTimestamp",
        appointment_raw,
    ),
    "note": _layout("API_Notes", "id patient_id type note created_by creationTimestamp", note_raw),
    "sms_message": _layout(
        "API_Messages", "id patient_id phone_number message status sent_at creationTimestamp", message_raw
    ),
    "document": _layout("API_Docs", "id patient_id doc_type date NexusExportDate", file_raw),
    "image": _layout("API_Images", "id patient_id recid date Type NexusExportDate", file_raw),
}
