"""The patients, with the peculiarities of real registers: unusual names, leading zeros, inconsistent spelling."""

from __future__ import annotations

import datetime as dt
import random
import unicodedata

from fm_pipeline.sandbox.clinic.model import TODAY, Named, Patient, new_uuid, spell_id, sydney
from fm_pipeline.sandbox.clinic.names import Pools, health_number
from fm_pipeline.sandbox.clinic.nexus.system import Lookups

# Title and sex in Nexus, and what FileMaker's users typed for them.
TITLES: dict[str, tuple[str, ...]] = {
    "Mr": ("Mr.", "Mr", "MR.", "mr"),
    "Mrs": ("Mrs.", "Mrs", "MRS"),
    "Ms": ("Ms.", "Ms"),
    "Miss": ("Miss", "MISS", "Miss."),
    "Dr": ("Dr.", "Doctor", "DR"),
    "Prof": ("Prof.", "Professor"),
}
SEXES: dict[str, tuple[str, ...]] = {
    "M": ("Male", "M", "male", "m"),
    "F": ("Female", "F", "FEMALE", "female"),
    "O": ("Other", "o", "Non-binary", "X", "Indeterminate", "Intersex"),
    "U": ("Unknown", "U", "Not stated"),
}
COORDINATORS = ("Kim Alvarez", "Dana O'Rourke", "Lee Sato", "Jo-Anne Peters")

# Fields of the first patients that a careless program would change. Each is loaded unchanged.
ODD_PATIENTS: tuple[dict[str, str], ...] = (
    {"first_name": "Renée", "last_name": "O'Brien"},
    {"first_name": "Mia", "last_name": "D\u2019Angelo"},
    {"first_name": "Wei", "last_name": "NA"},
    {"first_name": "Jennifer", "last_name": "Null"},
    {"first_name": "None", "last_name": "True"},
    {"first_name": "Ann", "last_name": "1e5"},
    {"first_name": "Ben", "last_name": "Back\\Slash"},
    {"first_name": "\\N", "last_name": "\\."},
    {"first_name": "Zoe\u0308", "last_name": unicodedata.normalize("NFD", "Müller")},
    {"first_name": "Linh", "last_name": "Nguyễn\u00a0Trần"},
    {"first_name": "Kit 🦶🏽", "last_name": "Łukasiewicz"},
    {"first_name": 'Maria "Mimi"', "last_name": "van der Berg"},
    {"first_name": "=SUM(A1)", "last_name": "O''Hara; DROP"},
    {"first_name": "", "last_name": "Solo"},
    {"first_name": "Cher", "last_name": ""},
    {"health_number": "000123"},
    {"health_number": "0012 34567 0", "middle_names": "NULL"},
    {"coordinator_name": "Pat Lim\u00a0"},  # only blanks, tabs and line breaks go from the ends
)


def make_patients(rng: random.Random, pools: Pools, lookups: Lookups, count: int) -> list[Patient]:
    """Make patients, special cases first."""
    patients = [make_patient(rng, pools, lookups) for _ in range(count)]
    for patient, odd in zip(patients, ODD_PATIENTS, strict=False):
        for name, value in odd.items():
            setattr(patient, name, value)
    after = patients[len(ODD_PATIENTS) :]
    if len(after) >= 4:
        _spell_badly(*after[:4])
    return patients


def make_patient(rng: random.Random, pools: Pools, lookups: Lookups) -> Patient:
    """Make one patient."""
    key = str(new_uuid(rng))
    sex = rng.choices((*SEXES, None), (46, 46, 3, 2, 3))[0]
    title = rng.choices((*TITLES, None), (30, 22, 20, 8, 3, 1, 16))[0]
    spelled = {
        "title": rng.choice(TITLES[title]) if title else "",
        "gender": rng.choice(SEXES[sex]) if sex else "",
    }
    clinic = rng.choice(lookups.clinics)
    typed_clinic = rng.choice(clinic.spellings)
    spelled["clinic_name"] = typed_clinic
    funding = rng.choices((*lookups.funding_sources, None), (50, 12, 12, 14, 4, 8))[0]
    spelled["funding_type"] = rng.choice(funding.spellings) if funding else ""
    coordinated = rng.random() < 0.4
    planned = rng.random() < 0.35
    start = TODAY - dt.timedelta(days=rng.randrange(360))
    return Patient(
        key=key,
        filemaker_id=spell_id(rng, key),
        title=title,
        first_name=rng.choice(pools.male if sex == "M" else pools.female),
        middle_names=rng.choice(pools.female) if rng.random() < 0.25 else None,
        last_name=rng.choice(pools.surnames),
        dob=TODAY - dt.timedelta(days=rng.randrange(200, 33_000)) if rng.random() < 0.98 else None,
        sex=sex,
        health_number=health_number(rng) if rng.random() < 0.85 else None,
        clinic=clinic,
        clinic_name=typed_clinic.strip(" \t"),
        funding=funding,
        coordinator_name=rng.choice(COORDINATORS) if coordinated else None,
        coordinator_date=start if coordinated else None,
        plan_start_date=start if planned else None,
        plan_end_date=start + dt.timedelta(days=364) if planned else None,
        xero_contact_id=str(new_uuid(rng)) if rng.random() < 0.5 else None,
        created_at=moment(rng, dt.date(2012, 3, 1), TODAY - dt.timedelta(days=30)),
        spelled=spelled,
        flags=() if funding else ("patient_without_funding",),
    )


def moment(rng: random.Random, first: dt.date, last: dt.date) -> dt.datetime:
    """Return a time in working hours, between two days."""
    day = first + dt.timedelta(days=rng.randrange((last - first).days + 1))
    return sydney(day, rng.randrange(7, 20), rng.randrange(60), rng.randrange(60))


def typed(named: Named, rng: random.Random) -> str:
    """Return one of the spellings of a name in FileMaker."""
    return rng.choice(named.spellings)


def _spell_badly(blanks: Patient, line_break: Patient, title: Patient, sex: Patient) -> None:
    """Give patients texts that a rule changes, and their expected values."""
    blanks.first_name, blanks.spelled["first_name"] = "Anna", " \tAnna \r"
    line_break.last_name, line_break.spelled["last_name"] = "Long Surname", "Long\rSurname"
    line_break.flags += ("line_break_in_one_line_field",)
    title.title, title.spelled["title"] = None, "Master"
    title.flags += ("title_unknown",)
    sex.sex, sex.spelled["gender"] = "U", "see file"
    sex.flags += ("sex_unknown",)
    blanks.spelled["id"] = f" {blanks.filemaker_id} "
