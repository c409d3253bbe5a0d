"""Rows of patients, appointments, notes and messages by earlier imports and by users of Nexus.

Most are equal to what FileMaker has, some were changed since, some are missing, some FileMaker no longer has. Only
rows that the reimport must recognise give their record a `nexus_id`.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import uuid
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

from fm_pipeline.sandbox.clinic.model import (
    EARLIER_IMPORT,
    TODAY,
    Appointment,
    ClinicContactDetail,
    Message,
    Note,
    Patient,
    new_uuid,
    spell_id,
)
from fm_pipeline.sandbox.clinic.names import health_number, landline
from fm_pipeline.sandbox.clinic.nexus.state import State, Values
from fm_pipeline.sandbox.clinic.nexus.values import appointment_values, message_values, note_values, patient_values

IMPORTED_AT = EARLIER_IMPORT.isoformat()


def add_patients(
    state: State,
    rng: random.Random,
    patients: Sequence[Patient],
    vanished: Sequence[Patient],
    details: Sequence[ClinicContactDetail],
) -> None:
    """Add patients: of twenty, twelve as in FileMaker, the others with a difference by `_age`."""
    of_patient: dict[str, list[ClinicContactDetail]] = defaultdict(list)
    for detail in details:
        of_patient[detail.patient.key].append(detail)
    for number, patient in enumerate([*patients, *vanished]):
        if number < len(patients) and number % 71 == 70:
            continue  # new in FileMaker
        patient.nexus_id = new_uuid(rng)
        values = patient_values(patient, of_patient[patient.key])
        values |= {"updated_at": EARLIER_IMPORT, **_nexus_only(rng, number)}
        metadata = values["filemaker_metadata"]
        metadata["imported_at"] = IMPORTED_AT
        if number % 5 == 0:
            metadata["import_batch"] = 3
        _age(rng, number, patient, values, metadata)
        state["patients"].add(**values)


def _nexus_only(rng: random.Random, number: int) -> Values:
    """Return columns that only Nexus has, for some patients."""
    values: Values = {}
    if number % 3 == 0:
        values["mrn"] = f"{number:06d}"
    if number % 41 == 5:
        values |= {"archived": True, "archived_at": EARLIER_IMPORT, "archived_by": "reception"}
    if number % 4 == 0:
        values["emergency_json"] = {"name": "Next of kin", "relationship": "Mother", "phone": landline(rng)}
    if number % 7 == 0:
        values["flags_json"] = ["latex allergy"] if number % 2 else {"alert": "dog at home", "level": 2}
    if number % 13 == 0:
        values |= {"funding_source": "NDIS", "ndis_plan_start_date": TODAY, "plan_dates_json": [{"year": 2025}]}
    if number % 11 == 0:
        values["notes"] = 'Prefers mornings.\nWrites "id" on every form \\o/'
    return values


def _age(rng: random.Random, number: int, patient: Patient, values: Values, metadata: Values) -> None:
    """Make the row differ from FileMaker, in a way that depends on its number."""
    match number % 20:
        case 3 | 4 | 5:  # an older import: the FileMaker id stands only in the notes
            known = json.dumps({"filemaker_id": spell_id(rng, patient.key), "import": 1})
            text = f"{values.get('notes') or 'Imported.'}\n{known}" if number % 2 else known
            values |= {"filemaker_metadata": {} if number % 40 == 4 else None, "notes": text}
        case 6 | 7:  # the same id in other letters
            spelled = patient.filemaker_id
            metadata["filemaker_id"] = spelled.upper() if spelled != spelled.upper() else spelled.lower()
        case 8:  # married since
            values["last_name"] = "Formerly-Other"
        case 9:  # the import that lost every date of birth, and the clinic
            values |= {"dob": None, "clinic_id": None}
        case 10:  # moved, has another telephone
            values |= {
                "contact_json": {"phone": {"home": {"value": landline(rng), "default": True}}},
                "address_json": {"street": "1 Old Road", "suburb": "Elsewhere"},
                "health_number": health_number(rng),
            }


def add_appointments(
    state: State,
    rng: random.Random,
    appointments: Sequence[Appointment],
    vanished: Sequence[Appointment],
) -> list[uuid.UUID]:
    """Add appointments. Of the vanished ones, some never had a FileMaker id: a user made them in Nexus.

    Returns:
        The ids of the rows that the reimport keeps.
    """
    staying: list[uuid.UUID] = []
    companies = list(state["companies"].rows)
    table = state["appointments"]
    parents: dict[str, object] = {}
    for number, appointment in enumerate([*appointments, *vanished]):
        gone = number >= len(appointments)
        if appointment.patient.nexus_id is None or (number % 33 == 32 and not gone):
            continue
        appointment.nexus_id = new_uuid(rng)
        values = appointment_values(appointment) | {"updated_at": EARLIER_IMPORT}
        if number % 9 == 0:
            values |= {"reason": "Follow-up\nafter fitting", "needs_followup_reminder": True, "sms_confirmed": True}
            values |= {"sms_confirmed_at": EARLIER_IMPORT, "sms_confirmation_message": "Y"}
        if number % 17 == 0:
            values |= {"invoice_contact_type": "company", "billing_company_id": rng.choice(companies)}
            values["billing_notes"] = "Bill the school."
        if number % 23 == 0:
            values |= {"is_recurring": True, "recurrence_pattern": "weekly", "recurrence_group_id": new_uuid(rng)}
        if not gone:
            if number % 6 == 1:
                values["parent_appointment_id"] = parents.get(appointment.patient.key)
            parents[appointment.patient.key] = appointment.nexus_id
            staying.append(appointment.nexus_id)
        match number % 20:
            case 1 | 2:  # the clinic's clock was taken for UTC
                values |= {
                    "start_time": appointment.start.replace(tzinfo=dt.UTC),
                    "end_time": appointment.end.replace(tzinfo=dt.UTC) if appointment.end else None,
                }
            case 3:
                values |= {"clinician_id": None, "appointment_type_id": None, "clinic_id": None}
            case 4:
                values |= {"status": "scheduled", "notes": "changed in Nexus"}
        if gone and number % 3 == 0:
            values["filemaker_event_id"] = None
        table.add(**values)
    return staying


def add_notes(state: State, rng: random.Random, notes: Sequence[Note], vanished: Sequence[Note]) -> None:
    """Add notes. One that differs from FileMaker's cannot be matched, because Nexus has no id for it."""
    for number, note in enumerate([*notes, *vanished]):
        gone = number >= len(notes)
        if note.patient.nexus_id is None or (number % 12 == 11 and not gone):
            continue
        known = not gone and number % 9 != 4
        row_id = new_uuid(rng)
        values = note_values(note) | {"id": row_id, "updated_at": EARLIER_IMPORT}
        if known:
            note.nexus_id = row_id
        elif not gone:
            changed = {"content": note.content + " (edited)"} if number % 2 else {"created_at": EARLIER_IMPORT}
            values |= changed
        state["notes"].add(**values)


def add_messages(
    state: State,
    rng: random.Random,
    messages: Sequence[Message],
    vanished: Sequence[Message],
    appointments: Sequence[uuid.UUID],
) -> None:
    """Add text messages, some of them about one of the appointments that stay."""
    templates = list(state["sms_templates"].rows)
    for number, message in enumerate([*messages, *vanished]):
        gone = number >= len(messages)
        if message.patient.nexus_id is None or (number % 15 == 14 and not gone):
            continue
        known = not gone and number % 8 != 3
        row_id = new_uuid(rng)
        values = message_values(message) | {"id": row_id, "sms_count": 2 if number % 5 == 0 else 1}
        if number % 4 == 0:
            values |= {"template_id": rng.choice(templates), "external_message_id": f"msg-{number}"}
            values |= {"cost": Decimal("0.0790"), "delivered_at": EARLIER_IMPORT, "notes": "from the gateway"}
        if number % 7 == 0:
            values["appointment_id"] = rng.choice(appointments)
        if known:
            message.nexus_id = row_id
        elif not gone:
            values |= {"status": "failed", "error_message": "no such number", "retry_count": 3, "sent_at": None}
            values["message"] = message.message + "…"
        state["sms_messages"].add(**values)
