"""The clinic "as found": the defects of the real clinic in the same numbers, included in the expected result.

Source: the field notes of the migration. What is loaded in spite of a defect carries the rule as a flag; what is not
loaded is `KeptOut` with the rule that keeps it out.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from typing import TypeVar

from fm_pipeline.sandbox.clinic.appointments import APRIL, NEXT_DAY, OCTOBER, ODD_TIMES, make_appointment
from fm_pipeline.sandbox.clinic.model import (
    SYDNEY,
    Appointment,
    FileRecord,
    KeptOut,
    Note,
    Patient,
    new_uuid,
    refer,
    spell_id,
    sydney,
)
from fm_pipeline.sandbox.clinic.names import Pools
from fm_pipeline.sandbox.clinic.nexus.system import Lookups
from fm_pipeline.sandbox.clinic.notes import make_note
from fm_pipeline.sandbox.clinic.people import ODD_PATIENTS, make_patient
from fm_pipeline.sandbox.clinic.sizes import Defects

# Shares of the events and notes that are not imported, by the rule that excludes them; the first gets the rest.
EVENT_SHARES = {"record_without_patient": 1.0, "appointment_without_start": 0.07, "patient_unknown": 0.05}
NOTE_SHARES = {"patient_unknown": 1.0, "note_without_text": 0.45, "record_without_patient": 0.04}
EMPTY_TEXTS = ("", " ", "\r", "\x0b\r ")
SPELLED_SPECIALLY = len(ODD_PATIENTS) + 4  # the first patients, whose fields other tests look at

R = TypeVar("R", Appointment, Note)


def spoil_patients(
    rng: random.Random, pools: Pools, lookups: Lookups, patients: list[Patient], defects: Defects
) -> list[KeptOut]:
    """Remove all funding types and some clinics, add times to some dates of birth, remove the names of a few."""
    for patient in patients:
        _without_funding(patient)
    ordinary = patients[SPELLED_SPECIALLY:]
    for patient in rng.sample(ordinary, defects.patients_without_clinic):
        patient.clinic, patient.clinic_name, patient.spelled["clinic_name"] = None, None, rng.choice(("", " "))
        patient.flags += ("patient_without_clinic",)
    for patient in rng.sample(ordinary, len(ordinary) // 20):
        if patient.dob:
            patient.spelled["dob"] = f"{patient.dob.isoformat()}T00:00:00"
    nameless = [make_patient(rng, pools, lookups) for _ in range(defects.nameless_patients)]
    for patient in nameless:
        patient.first_name, patient.last_name = "", rng.choice(("", " "))
        _without_funding(patient)
    return [KeptOut(patient, "patient_without_name") for patient in nameless]


def spoil_appointments(
    rng: random.Random,
    lookups: Lookups,
    appointments: list[Appointment],
    patients: Sequence[Patient],
    nameless: Sequence[KeptOut],
    defects: Defects,
) -> list[KeptOut]:
    """Add unusual times, missing clinics, clinicians and types, and calendar entries that are no appointments."""
    odd, ordinary = appointments[len(ODD_TIMES) :][:20], appointments[len(ODD_TIMES) + 20 :]
    _odd_times(odd)
    for appointment in rng.sample(ordinary, defects.appointments_without_clinic):
        appointment.clinic, appointment.spelled["clinic_name"] = None, ""
        appointment.flags += ("appointment_without_clinic",)
    for appointment in rng.sample(ordinary, defects.appointments_without_clinician_and_type):
        _without_clinician_and_type(appointment)
        appointment.flags += ("appointment_without_clinician", "appointment_without_type")
    for appointment in ordinary[::50]:
        if appointment.clinician:
            appointment.spelled["clinician_name"] = appointment.clinician.name.replace(" ", "\u00a0") + " "
    return _kept_out(
        [make_appointment(rng, lookups, rng.choice(patients)) for _ in range(defects.events_not_imported)],
        EVENT_SHARES, nameless, rng,
    )  # fmt: skip


def make_bad_notes(
    rng: random.Random, patients: Sequence[Patient], nameless: Sequence[KeptOut], defects: Defects
) -> list[KeptOut]:
    """Make notes that are empty, or of a patient that FileMaker does not have."""
    notes = [make_note(rng, rng.choice(patients)) for _ in range(defects.notes_not_imported)]
    return _kept_out(notes, NOTE_SHARES, nameless, rng)


def lose_documents(
    rng: random.Random, records: Sequence[FileRecord], patients: Sequence[Patient], defects: Defects
) -> None:
    """Documents that cannot be linked again: a third of them each without any evidence, of an unknown patient, and
    with evidence that contradicts itself."""
    lost = rng.sample([record for record in records if record.in_nexus], defects.lost_documents)
    for number, record in enumerate(lost):
        match number % 3:
            case 0:
                record.lost, record.rule, record.patient_ref = "no_evidence", "record_without_patient", ""
            case 1:
                stranger = str(new_uuid(rng))
                record.lost, record.rule = "patient_unknown", "patient_unknown"
                record.patient_ref = spell_id(rng, stranger)
                record.named = stranger
            case _:
                other = rng.choice([patient for patient in patients[:50] if patient.key != record.patient.key])
                record.lost, record.named = "evidence_conflict", spell_id(rng, other.key)


def _without_funding(patient: Patient) -> None:
    patient.funding, patient.spelled["funding_type"] = None, ""
    if "patient_without_funding" not in patient.flags:
        patient.flags += ("patient_without_funding",)


def _without_clinician_and_type(appointment: Appointment) -> None:
    appointment.clinician = appointment.appointment_type = None
    appointment.spelled |= {"clinician_name": "", "appointment_type": ""}


def _odd_times(appointments: list[Appointment]) -> None:
    """Give appointments start times in the spellings of users and interfaces; `start` is their meaning."""
    for number, appointment in enumerate(appointments):
        day = dt.date(2017, 10, 5) + dt.timedelta(days=number)
        match number % 5:
            case 0:
                start, written = sydney(day + NEXT_DAY, 0), f"{day:%m/%d/%Y} 24:00:00"
            case 1:
                start, written = sydney(day + NEXT_DAY, 9, 30), f"{day:%m/%d/%Y} 1 day, 09:30:00"
            case 2:  # the clocks skip this hour
                start, written = sydney(OCTOBER, 3, 30), f"{OCTOBER:%m/%d/%Y} 02:30:00"
                appointment.flags += ("time_in_dst_gap",)
            case 3:  # the clocks show this hour twice; the first one counts
                start = dt.datetime.combine(APRIL, dt.time(2, 30), SYDNEY)
                written = f"{APRIL:%m/%d/%Y} 02:30:00"
                appointment.flags += ("time_in_dst_overlap",)
            case _:
                start, written = sydney(day, 0), ""
                appointment.all_day = True
        appointment.start = start
        appointment.end = sydney(start.date(), start.hour + 4, start.minute)
        if appointment.all_day:
            appointment.end = sydney(day + NEXT_DAY, 0)
        else:
            appointment.spelled["start_time"] = written


def _kept_out(
    records: list[R], shares: dict[str, float], nameless: Sequence[KeptOut], rng: random.Random
) -> list[KeptOut]:
    """Spoil each record by the rule of its share; one of each nameless patient is about that patient."""
    spoiled: list[KeptOut] = []
    first, *others = shares
    rules = ["patient_not_loaded"] * len(nameless)
    for rule in others:
        rules += [rule] * max(2, round(len(records) * shares[rule]))
    rules += [first] * (len(records) - len(rules))
    people = [kept.record for kept in nameless]
    for number, (record, rule) in enumerate(zip(records, rules, strict=True)):
        match rule:
            case "patient_not_loaded":
                record.patient_ref = refer(rng, people[number].key)
            case "record_without_patient":
                record.patient_ref = rng.choice(("", "", " "))
            case "patient_unknown":
                record.patient_ref = spell_id(rng, str(new_uuid(rng)))
            case "note_without_text":
                record.spelled["note"] = rng.choice(EMPTY_TEXTS)
            case "appointment_without_start":
                record.spelled |= {"start_time": "", "end_time": ""}
        if isinstance(record, Appointment) and rng.random() < 0.6:  # a meeting, a holiday: nobody filled in more
            _without_clinician_and_type(record)
            record.spelled["appointment_type"] = rng.choice(("", "Meeting", "Lunch", "Public holiday"))
        spoiled.append(KeptOut(record, rule))
    rng.shuffle(spoiled)
    return spoiled
