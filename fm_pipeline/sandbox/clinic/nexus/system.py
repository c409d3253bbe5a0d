"""Nexus' system configuration, which no reimport changes: users, clinics, clinicians, types, funding, integrations."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import random
import unicodedata
from dataclasses import dataclass

from fm_pipeline.sandbox.clinic.model import EARLIER_IMPORT, Named, new_uuid
from fm_pipeline.sandbox.clinic.names import Pools, landline
from fm_pipeline.sandbox.clinic.nexus.state import State

PATIENT_TYPE = 7  # id of the content type patients.patient
COMPANY_TYPE = 9
SANDBOX_PASSWORD = "sandbox"  # noqa: S105  # every user's; the sandbox listens on this machine only
_ITERATIONS = (
    10_000  # fewer than Django's default, so that the sandbox starts fast; Django reads the number from the hash
)
_SINCE = dt.datetime(2023, 2, 1, 0, 30, tzinfo=dt.UTC)

# Name in Nexus, colour, and what FileMaker's users typed for it.
CLINICS = (
    ("Newcastle", "#1f77b4", ("Newcastle", "newcastle", "Newcastle ", "NEWCASTLE")),
    ("Port Macquarie", "#ff7f0e", ("Port Macquarie", "Port\u00a0Macquarie", "Port  Macquarie", "port macquarie ")),
    ("St John's", "#2ca02c", ("St John's", "St John\u2019s", "ST JOHN\u2019S ", "st john's")),
    ("Tamworth", "#d62728", ("Tamworth", " Tamworth", "TAMWORTH")),
    ("Coffs Harbour", "#9467bd", ("Coffs Harbour", "Coffs harbour", "Coffs Harbour\t")),
    ("Café Lane", "#8c564b", ("Café Lane", unicodedata.normalize("NFD", "Café Lane"), "CAFÉ LANE")),
    ("Lismore – Outreach", "#e377c2", ("Lismore – Outreach", "lismore – outreach")),
)
CLINICIANS = (
    "Dr Amelia Hart", "Siobhán O'Dea", "Tom Nguyen", "Priya Raman", "Jack Whitlock", "Mei Chen", "Grace Abbott",
    "Luca Ferraro",
)  # fmt: skip
APPOINTMENT_TYPES = (
    "Initial Assessment", "Review", "Fitting", "Casting", "3D Scan", "Repair", "Delivery", "Phone Consult",
    "Footwear Fitting", "Children's Clinic", "School Visit", "Home Visit",
)  # fmt: skip
FUNDING_SOURCES = (
    ("NDIS", "NDIS"),
    ("DVA", "DVA"),
    ("Enable NSW", "ENSW"),
    ("Private", "PRIV"),
    ("Workers' Comp", "WC"),
)
USERS = (  # user name, first name, last name, superuser, staff, active
    ("admin", "Ada", "Admin", True, True, True),
    ("manager", "Morgan", "Manager", False, True, True),
    ("retired.admin", "Rae", "Retired", True, True, False),
    ("reception", "Robin", "Reception", False, False, True),
    ("visitor", "Vic", "Visitor", False, False, True),
)
VIEWERS = "Console viewers"  # the group whose members may read in the console; nobody else but staff may enter it
VIEWER_NAMES = ("reception",)
ADMIN, VIEWER = "admin", "reception"  # one of each, to try the console with
CONTENT_TYPES = (
    (1, "auth", "user"), (2, "contenttypes", "contenttype"), (PATIENT_TYPE, "patients", "patient"),
    (8, "appointments", "appointment"), (COMPANY_TYPE, "companies", "company"), (10, "documents", "document"),
    (11, "images", "imagebatch"), (12, "images", "image"),
)  # fmt: skip


@dataclass(frozen=True)
class Lookups:
    """The rows that patients and appointments refer to."""

    clinics: tuple[Named, ...]
    clinicians: tuple[Named, ...]
    appointment_types: tuple[Named, ...]
    funding_sources: tuple[Named, ...]


def django_password(password: str, salt: str) -> str:
    """Return a password as Django stores it: `pbkdf2_sha256$iterations$salt$hash`."""
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), _ITERATIONS)
    return f"pbkdf2_sha256${_ITERATIONS}${salt}${base64.b64encode(digest).decode()}"


def spellings(name: str) -> tuple[str, ...]:
    """Return spellings of a name that the look-up must still find."""
    return (name, name, name.upper(), f"{name} ", name.lower(), name.replace("'", "\u2019"))


def make_lookups(rng: random.Random) -> Lookups:
    """Make ids for the rows that patients and appointments refer to."""
    return Lookups(
        clinics=tuple(Named(new_uuid(rng), name, typed) for name, _, typed in CLINICS),
        clinicians=tuple(Named(new_uuid(rng), name, spellings(name)) for name in CLINICIANS),
        appointment_types=tuple(Named(new_uuid(rng), name, spellings(name)) for name in APPOINTMENT_TYPES),
        funding_sources=tuple(Named(new_uuid(rng), name, spellings(name)) for name, _ in FUNDING_SOURCES),
    )


def add_system(state: State, rng: random.Random, pools: Pools, lookups: Lookups) -> None:
    """Add the rows that no reimport changes."""
    times = {"created_at": _SINCE, "updated_at": EARLIER_IMPORT}
    for type_id, app, model in CONTENT_TYPES:
        state["django_content_type"].add(id=type_id, app_label=app, model=model)
    for number, (username, first, last, superuser, staff, active) in enumerate(USERS, start=1):
        state["auth_user"].add(
            id=number, password=django_password(SANDBOX_PASSWORD, f"sandbox{number}"), is_superuser=superuser,
            username=username, first_name=first, last_name=last, email=f"{username}@example.com",
            is_staff=staff, is_active=active, date_joined=_SINCE,
        )  # fmt: skip
    state["auth_group"].add(id=1, name=VIEWERS)
    for number, (username, *_) in enumerate(USERS, start=1):
        if username in VIEWER_NAMES:
            state["auth_user_groups"].add(id=number, user_id=number, group_id=1)
    for clinic, (_, colour, _) in zip(lookups.clinics, CLINICS, strict=True):
        state["clinics"].add(
            id=clinic.id, name=clinic.name, phone=landline(rng), email="clinic@example.com", color=colour,
            address_json={"street": rng.choice(pools.streets), "suburb": clinic.name}, sms_reminders_enabled=True,
            sms_reminder_template="Hi {first_name}, see you at {time}.", filemaker_id=new_uuid(rng), **times,
        )  # fmt: skip
    for number, clinician in enumerate(lookups.clinicians):
        state["clinicians"].add(
            id=clinician.id, clinic_id=lookups.clinics[number % len(CLINICS)].id, full_name=clinician.name,
            credential="C.Ped", email=f"clinician{number}@example.com", role="clinician", active=number != 7,
            user_id=2 if number == 0 else None, **times,
        )  # fmt: skip
    for kind in lookups.appointment_types:
        state["appointment_types"].add(
            id=kind.id, name=kind.name, default_duration_minutes=rng.choice((15, 30, 45, 60)), is_active=True, **times
        )
    for order, (funding, (_, code)) in enumerate(zip(lookups.funding_sources, FUNDING_SOURCES, strict=True)):
        state["funding_sources"].add(id=funding.id, name=funding.name, code=code, active=True, order=order, **times)
    for name in pools.companies[:12]:
        state["companies"].add(id=new_uuid(rng), name=name, email="accounts@example.com", **times)
    for name in ("Reminder", "Confirmation", "Recall"):
        state["sms_templates"].add(
            id=new_uuid(rng), name=name, body="Hi {first_name}, …", is_active=True, created_at=_SINCE
        )
    _add_integrations(state, rng)


def _add_integrations(state: State, rng: random.Random) -> None:
    shared = {"is_active": True, "updated_at": _SINCE}
    state["integrations_gmailsettings"].add(
        id=new_uuid(rng), account="clinic@example.com", refresh_token="", updated_by_id=1, **shared
    )
    state["integrations_xerosettings"].add(id=new_uuid(rng), tenant_id="sandbox", settings={"tax": "GST"}, **shared)
    state["integrations_smssettings"].add(id=new_uuid(rng), sender="Clinic", settings={"limit": 3}, **shared)
    state["integrations_s3settings"].add(id=new_uuid(rng), bucket="nexus-files", region="ap-southeast-2", **shared)
    for number, app in enumerate(("contenttypes", "auth", "patients", "appointments", "documents", "images"), start=1):
        state["django_migrations"].add(id=number, app=app, name="0001_initial", applied=_SINCE)
