"""Notes and text messages, including texts that a careless loader would change."""

from __future__ import annotations

import datetime as dt
import random

from fm_pipeline.sandbox.clinic.filemaker.texts import raw_lines
from fm_pipeline.sandbox.clinic.model import TODAY, Message, Note, Patient, new_uuid, refer, spell_id
from fm_pipeline.sandbox.clinic.names import clinical_text, mobile
from fm_pipeline.sandbox.clinic.people import moment

# Type in Nexus, and what FileMaker's users typed for it.
NOTE_TYPES: dict[str, tuple[str, ...]] = {
    "clinical_notes": ("Clinical Notes", "clinical-notes", "CLINICAL NOTES", "clinical_notes"),
    "clinic_dates": ("Clinic Dates", "clinic dates"),
    "order_notes": ("Order Notes", "order-notes"),
    "admin_notes": ("Admin Notes", "Admin notes "),
    "referral": ("Referral", "REFERRAL"),
    "3d_scan_data": ("3D Scan Data", "3d-scan-data"),
    "workshop_note": ("Workshop Note", "workshop note"),
    "other": ("Other", ""),
}
MESSAGE_STATUSES: dict[str, tuple[str, ...]] = {
    "pending": ("Pending",),
    "sent": ("sent", "Sent", ""),
    "delivered": ("Delivered", "delivered"),
    "failed": ("Failed",),
    "cancelled": ("Cancelled", "Canceled"),
}
AUTHORS = ("amelia.hart", "Siobhán O'Dea", "reception", None)
FIRST_DAY = dt.date(2014, 2, 1)

# Contents of the first notes (LF between lines), and the rule that flags them.
ODD_CONTENTS: tuple[tuple[str, str | None], ...] = (
    ("\\N", None),
    ("first\n\\.\nlast", None),
    ('one lone " quote, a tab\there, 50% off; \\t is no tab', None),
    ("  indented first line\n\n\nthree breaks above", None),
    ("emoji 🦶🏽, NBSP\u00a0here, line separator\u2028there, next line\u0085too", None),
    ("NULL", None),
    ("left\x1dright", "repetition_in_field"),
    ("<b>bold?</b> & {{ template }} %s %(name)s", None),
)


def make_notes(rng: random.Random, patients: list[Patient], count: int) -> list[Note]:
    """Make notes, special cases first; no two are equal."""
    notes = [make_note(rng, rng.choice(patients)) for _ in range(count)]
    for note, (content, rule) in zip(notes, ODD_CONTENTS, strict=False):
        note.content, note.spelled["note"] = content, raw_lines(rng, content)
        note.flags += (rule,) if rule else ()
    strange = notes[len(ODD_CONTENTS)]
    strange.note_type, strange.spelled["type"] = "other", "Phone call"
    strange.flags += ("note_type_unknown",)
    return notes


def make_note(rng: random.Random, patient: Patient) -> Note:
    """Make one note about a patient."""
    key = str(new_uuid(rng))
    note_type = rng.choice(tuple(NOTE_TYPES))
    content = clinical_text(rng)
    return Note(
        key=key,
        filemaker_id=spell_id(rng, key),
        patient=patient,
        patient_ref=refer(rng, patient.key),
        note_type=note_type,
        content=content,
        created_by=rng.choice(AUTHORS),
        created_at=moment(rng, FIRST_DAY, TODAY),
        spelled={"type": rng.choice(NOTE_TYPES[note_type]), "note": raw_lines(rng, content)},
    )


def make_messages(rng: random.Random, patients: list[Patient], count: int) -> list[Message]:
    """Make text messages; no two are equal."""
    messages = [make_message(rng, rng.choice(patients)) for _ in range(count)]
    strange = next(message for message in messages if message.status == "sent")
    strange.spelled["status"] = "on its way"
    strange.flags += ("status_unknown",)
    return messages


def make_message(rng: random.Random, patient: Patient) -> Message:
    """Make one text message to a patient."""
    key = str(new_uuid(rng))
    status = rng.choices(tuple(MESSAGE_STATUSES), (3, 30, 60, 4, 3))[0]
    written = moment(rng, dt.date(2021, 1, 4), TODAY)
    text = (
        f"Hi {patient.first_name}, a reminder of your appointment on {written + dt.timedelta(days=2):%d/%m} 👣\n"
        "Reply Y to confirm."
    )
    return Message(
        key=key,
        filemaker_id=spell_id(rng, key),
        patient=patient,
        patient_ref=refer(rng, patient.key),
        phone_number=mobile(rng),
        message=text,
        status=status,
        sent_at=written + dt.timedelta(minutes=1) if status in ("sent", "delivered") else None,
        created_at=written,
        spelled={"status": rng.choice(MESSAGE_STATUSES[status]), "message": raw_lines(rng, text)},
    )
