"""The appointments: in working hours, and on the two Sundays a year when Sydney's clocks change."""

from __future__ import annotations

import datetime as dt
import random

from fm_pipeline.sandbox.clinic.filemaker.texts import raw_lines
from fm_pipeline.sandbox.clinic.model import TODAY, Appointment, Patient, new_uuid, refer, spell_id, sydney
from fm_pipeline.sandbox.clinic.names import clinical_text
from fm_pipeline.sandbox.clinic.nexus.system import Lookups
from fm_pipeline.sandbox.clinic.people import moment, typed

# Status in Nexus, and what FileMaker's users typed for it.
STATUSES: dict[str, tuple[str, ...]] = {
    "scheduled": ("scheduled", "Booked", "Confirmed", "", "Scheduled "),
    "checked_in": ("Checked In", "checked-in", "Arrived"),
    "completed": ("Completed", "Attended", "COMPLETE"),
    "cancelled": ("Cancelled", "Canceled"),
    "no_show": ("No show", "DNA", "Did not attend", "no_show"),
}
OCTOBER = dt.date(2024, 10, 6)  # 02:00 becomes 03:00
APRIL = dt.date(2025, 4, 6)  # 03:00 becomes 02:00
NEXT_DAY = dt.timedelta(days=1)

# Start and end (day, hour, minute) of the first appointments.
ODD_TIMES: tuple[tuple[tuple[dt.date, int, int], tuple[dt.date, int, int]], ...] = (
    ((OCTOBER, 1, 30), (OCTOBER, 3, 30)),  # one hour, though the clock says two
    ((OCTOBER, 0, 15), (OCTOBER, 1, 0)),
    ((OCTOBER, 3, 0), (OCTOBER, 3, 45)),
    ((APRIL, 1, 30), (APRIL, 3, 15)),  # nearly three hours, though the clock says less than two
    ((APRIL, 9, 0), (APRIL, 9, 30)),
    ((APRIL - NEXT_DAY, 23, 30), (APRIL, 0, 30)),
    ((dt.date(2025, 7, 1), 0, 0), (dt.date(2025, 7, 1), 0, 0)),  # midnight, no length
)


def make_appointments(rng: random.Random, lookups: Lookups, patients: list[Patient], count: int) -> list[Appointment]:
    """Make appointments, special cases first; some patients have none."""
    appointments = [make_appointment(rng, lookups, rng.choice(patients)) for _ in range(count)]
    for appointment, (start, end) in zip(appointments, ODD_TIMES, strict=False):
        appointment.start, appointment.end = sydney(*start), sydney(*end)
    return appointments


def make_appointment(rng: random.Random, lookups: Lookups, patient: Patient) -> Appointment:
    """Make one appointment of a patient."""
    key = str(new_uuid(rng))
    day = dt.date(2016, 1, 4) + dt.timedelta(days=rng.randrange(3_700))
    start = sydney(day, rng.randrange(8, 17), rng.choice((0, 15, 30, 45)))
    past = day <= TODAY
    status = rng.choice(tuple(STATUSES)) if past else rng.choice(("scheduled", "cancelled"))
    clinic = rng.choice(lookups.clinics)
    clinician = rng.choice(lookups.clinicians)
    kind = rng.choice(lookups.appointment_types)
    notes = clinical_text(rng) if rng.random() < 0.5 else None
    flags: tuple[str, ...] = ()
    written = rng.choice(STATUSES[status])
    if status == "scheduled" and rng.random() < 0.01:
        written, flags = "tentative", ("status_unknown",)
    return Appointment(
        key=key,
        filemaker_id=spell_id(rng, key),
        patient=patient,
        patient_ref=refer(rng, patient.key),
        clinic=clinic,
        clinician=clinician,
        appointment_type=kind,
        start=start,
        end=start + dt.timedelta(minutes=rng.choice((15, 30, 45, 60))) if rng.random() < 0.97 else None,
        status=status,
        notes=notes,
        created_at=moment(rng, dt.date(2015, 6, 1), min(day, TODAY)),
        spelled={
            "clinic_name": typed(clinic, rng),
            "clinician_name": typed(clinician, rng),
            "appointment_type": typed(kind, rng),
            "status": written,
            "notes": raw_lines(rng, notes or ""),
        },
        flags=flags,
    )
