"""The same clinic some days later: after a reimport, and after changes in FileMaker."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from fm_pipeline.sandbox.clinic.appointments import make_appointment
from fm_pipeline.sandbox.clinic.filemaker.texts import raw_lines
from fm_pipeline.sandbox.clinic.generate import Clinic
from fm_pipeline.sandbox.clinic.model import Appointment, Message, Note, Patient, stream
from fm_pipeline.sandbox.clinic.names import health_number
from fm_pipeline.sandbox.clinic.nexus.oracle import NexusOnlyColumns, Truth
from fm_pipeline.sandbox.clinic.nexus.state import State
from fm_pipeline.sandbox.clinic.nexus.values import Entity, row_id
from fm_pipeline.sandbox.clinic.notes import make_message, make_note
from fm_pipeline.sandbox.clinic.people import make_patient

PART = 100  # one record of so many changes, comes or goes
FEW = 1_000  # one of so many comes, and another one goes
NEW_PATIENTS = 3
REFERENCES = (
    ("appointments", "parent_appointment_id"),
    ("sms_messages", "appointment_id"),
    ("xero_invoices", "appointment_id"),
    ("xero_invoice_items", "appointment_id"),
)

R = TypeVar("R", Appointment, Note, Message)


def change_one_percent(clinic: Clinic, seed: int, nexus_only_columns: NexusOnlyColumns = "keep") -> Clinic:
    """Return the clinic after a first reimport, and after 1 % of FileMaker's records were changed, added or deleted.

    Nexus is as the first reimport left it, and every record is linked to its row, as the pipeline's crosswalk links
    them; so a note that is edited now keeps its row. No patient goes; contact details and files stay as they are.

    Args:
        clinic: before the first reimport.
        seed: of the changes.
        nexus_only_columns: the setting of the first reimport.
    """
    rng = stream(seed, "change")
    was = clinic.truth
    state = clinic.expected(nexus_only_columns).tables
    patients = {p.key: replace(p, nexus_id=row_id("patient", p)) for p in was.patients}

    def moved(record: Any) -> Any:
        """The record, belonging to the linked patient."""
        return replace(record, patient=patients[record.patient.key])

    def linked(entity: Entity, records: Sequence[R]) -> list[R]:
        return [replace(moved(record), nexus_id=row_id(entity, record)) for record in records]

    everybody = list(patients.values())
    for patient in rng.sample(everybody, _part(everybody)):
        _change_patient(rng, clinic, patient)
    everybody += [make_patient(rng, clinic.pools, clinic.lookups) for _ in range(NEW_PATIENTS)]
    truth = Truth(
        patients=everybody,
        details=[moved(detail) for detail in was.details],
        appointments=_rework(
            rng,
            linked("appointment", was.appointments),
            _change_appointment,
            lambda: make_appointment(rng, clinic.lookups, rng.choice(everybody)),
            bound=_appointments_in_use(state),
        ),
        notes=_rework(rng, linked("note", was.notes), _change_note, lambda: make_note(rng, rng.choice(everybody))),
        messages=_rework(
            rng,
            linked("sms_message", was.messages),
            _change_message,
            lambda: make_message(rng, rng.choice(everybody)),
        ),
        documents=[moved(record) for record in was.documents],
        images=[moved(record) for record in was.images],
        companies=was.companies,
        referrers=was.referrers,
        patient_referrers=[moved(link) for link in was.patient_referrers],
        before=state,
        kept_out=was.kept_out,
    )
    return Clinic(truth, clinic.pools, clinic.lookups)


def _part(records: Sequence[object]) -> int:
    return max(1, round(len(records) / PART))


def _rework(
    rng: random.Random,
    records: list[R],
    change: Callable[[random.Random, R], None],
    make: Callable[[], R],
    bound: set[object] | None = None,
) -> list[R]:
    """Delete a few records, change some, add a few. Records in `bound` are referenced and are not deleted."""
    few = max(1, round(len(records) / FEW))
    free = [record for record in records if not bound or record.nexus_id not in bound]
    gone = {record.key for record in rng.sample(free, few)}
    rest = [record for record in records if record.key not in gone]
    for record in rng.sample(rest, max(1, _part(records) - 2 * few)):
        change(rng, record)
    return rest + [make() for _ in range(few)]


def _appointments_in_use(state: State) -> set[object]:
    return {row_id for table, column in REFERENCES for row_id in state[table].ids(column)}


def _change_patient(rng: random.Random, clinic: Clinic, patient: Patient) -> None:
    patient.health_number = health_number(rng)
    patient.coordinator_name = "Alex O'Neil"
    if "last_name" not in patient.spelled:
        patient.last_name = f"{rng.choice(clinic.pools.surnames)}-{patient.last_name}"


def _change_appointment(rng: random.Random, appointment: Appointment) -> None:
    days = dt.timedelta(days=rng.choice((1, 7, 14)))
    appointment.start += days
    if appointment.end:
        appointment.end += days
    appointment.notes = "Moved at the patient's request."
    appointment.spelled = appointment.spelled | {"notes": appointment.notes}


def _change_note(rng: random.Random, note: Note) -> None:
    note.content += "\nAddendum: seen again, all well."
    note.spelled = note.spelled | {"note": raw_lines(rng, note.content)}


def _change_message(rng: random.Random, message: Message) -> None:
    message.message += "\nPlease call us."
    message.spelled = message.spelled | {"message": raw_lines(rng, message.message)}
