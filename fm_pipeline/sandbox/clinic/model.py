"""The facts: patients, appointments, notes and files of the clinic, independent of how a system stores them.

Both sides are written from these objects: FileMaker's raw texts (`filemaker.layouts`), and Nexus' columns
(`nexus.values`). Nothing is ever read back from a raw text. `spelled` holds what FileMaker's users typed where it
is not the plain value; `nexus_id` is the row that Nexus has of it, None when the reimport has to make one.
"""

from __future__ import annotations

import datetime as dt
import random
import uuid
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

SYDNEY = ZoneInfo("Australia/Sydney")
TODAY = dt.date(2025, 11, 14)
# When Nexus' existing rows were written; every run of the pipeline is later.
EARLIER_IMPORT = dt.datetime(2025, 11, 3, 20, 15, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Named:
    """A clinic, clinician, appointment type or funding source of Nexus."""

    id: uuid.UUID
    name: str
    spellings: tuple[str, ...]  # as FileMaker's users typed it; the look-up must find each of them


@dataclass(slots=True)
class Patient:
    """A patient. Times are the clinic's; `key` is the FileMaker id in lower case."""

    key: str
    filemaker_id: str
    title: str | None
    first_name: str
    middle_names: str | None
    last_name: str
    dob: dt.date | None
    sex: str | None
    health_number: str | None
    clinic: Named | None
    clinic_name: str | None  # FileMaker's spelling, without the blanks around it
    funding: Named | None
    coordinator_name: str | None
    coordinator_date: dt.date | None
    plan_start_date: dt.date | None
    plan_end_date: dt.date | None
    xero_contact_id: str | None
    created_at: dt.datetime
    spelled: dict[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    nexus_id: uuid.UUID | None = None


@dataclass(slots=True)
class ClinicContactDetail:
    """A contact detail of a patient. `label` is the one in Nexus, unique among the patient's details of its kind."""

    filemaker_id: str
    patient: Patient
    patient_ref: str  # the patient's id as this record spells it
    kind: str  # phone, mobile, email or address
    label: str
    is_default: bool
    value: str = ""
    address: dict[str, str] = field(default_factory=dict)
    spelled: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Appointment:
    """An appointment; start and end on the clinic's clock."""

    key: str
    filemaker_id: str
    patient: Patient
    patient_ref: str
    clinic: Named | None
    clinician: Named | None
    appointment_type: Named | None
    start: dt.datetime
    end: dt.datetime | None
    status: str
    notes: str | None
    created_at: dt.datetime
    all_day: bool = False
    spelled: dict[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    nexus_id: uuid.UUID | None = None


@dataclass(slots=True)
class Note:
    """A note about a patient; `content` with LF between lines."""

    key: str
    filemaker_id: str
    patient: Patient
    patient_ref: str
    note_type: str
    content: str
    created_by: str | None
    created_at: dt.datetime
    spelled: dict[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    nexus_id: uuid.UUID | None = None


@dataclass(slots=True)
class Message:
    """A text message to a patient."""

    key: str
    filemaker_id: str
    patient: Patient
    patient_ref: str
    phone_number: str
    message: str
    status: str
    sent_at: dt.datetime | None
    created_at: dt.datetime
    spelled: dict[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    nexus_id: uuid.UUID | None = None


@dataclass(slots=True)
class Company:
    """A company that is billed."""

    key: str
    filemaker_id: str
    name: str
    abn: str | None
    email: str
    nexus_id: uuid.UUID | None = None


@dataclass(slots=True)
class Referrer:
    """A doctor who refers patients."""

    key: str
    filemaker_id: str
    name: str
    practice: str
    provider_number: str
    phone: str
    email: str | None
    company: Company | None
    nexus_id: uuid.UUID | None = None


@dataclass(slots=True)
class PatientReferrer:
    """The link between a patient and a referrer."""

    key: str
    filemaker_id: str
    patient: Patient
    patient_ref: str
    referrer: Referrer
    referrer_ref: str
    created_at: dt.datetime
    nexus_id: uuid.UUID | None = None


@dataclass(slots=True)
class FileRecord:
    """FileMaker's record of a document or image.

    `in_nexus`: Nexus has the file. `lost`: nothing tells whose the document is, for a reason of relinking; then
    `rule` keeps the record out, if it is not loaded, and `named` is the patient that the document's metadata name.
    """

    key: str
    filemaker_id: str
    patient: Patient
    patient_ref: str
    category: str
    date: dt.date
    number: int  # recid
    exported: bool
    in_nexus: bool
    lost: str = ""
    rule: str = ""
    named: str = ""
    spelled: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeptOut:
    """A FileMaker record that is not loaded, and the rule that excludes it."""

    record: Patient | Appointment | Note
    rule: str


def stream(seed: int, name: str) -> random.Random:
    """Return the random numbers of one part of the clinic, the same in every process, independent of other parts."""
    return random.Random(f"{seed}:{name}")  # noqa: S311  # synthetic data, no secrets


def new_uuid(rng: random.Random) -> uuid.UUID:
    """Return a random uuid that depends only on the seed."""
    return uuid.UUID(int=rng.getrandbits(128), version=4)


def spell_id(rng: random.Random, key: str) -> str:
    """Return an id in FileMaker's or an earlier import's spelling: mostly upper case, sometimes lower, rarely mixed."""
    draw = rng.random()
    if draw < 0.7:
        return key.upper()
    return key if draw < 0.97 else key[:18].upper() + key[18:]


def refer(rng: random.Random, key: str) -> str:
    """Return a reference to a record as typed or pasted: its id in any letter case, sometimes with a trailing blank."""
    return spell_id(rng, key) + (" " if rng.random() < 0.02 else "")


def sydney(day: dt.date, hour: int, minute: int = 0, second: int = 0) -> dt.datetime:
    """Return a local time. Not between 2 and 3, because that hour is missing or repeated twice a year."""
    if hour == 2:
        raise ValueError("02:00 to 03:00 is not a safe hour in Sydney; choose another.")
    return dt.datetime.combine(day, dt.time(hour, minute, second), SYDNEY)
