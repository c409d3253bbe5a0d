"""The oracle: exactly what Nexus must hold after a reimport, written from docs/mapping.md and from what really is.

It shares no code with the pipeline and reads no raw text. A time of the run is `ANY`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fm_pipeline.sandbox.clinic.model import Appointment, ContactDetail, FileRecord, Message, Note, Patient
from fm_pipeline.sandbox.clinic.nexus_values import (
    appointment_values,
    message_values,
    note_values,
    patient_values,
    row_id,
)
from fm_pipeline.sandbox.clinic.state import ANY, Row, State, Table, Values
from fm_pipeline.sandbox.clinic.system import PATIENT_TYPE

NexusOnlyColumns = Literal["keep", "reset"]
LOADED = {"patient": "patients", "appointment": "appointments", "note": "notes", "sms_message": "sms_messages"}
CLEARED = ("letters_patientletter", "reminders")


@dataclass(frozen=True)
class SourceCount:
    """How the source rows of an entity end; `skipped` by rule. rows = loaded + quarantined + all skipped."""

    rows: int
    loaded: int
    quarantined: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TableCount:
    """What becomes of a table's rows. before + inserted - deleted = after = inserted + updated + unchanged."""

    before: int
    after: int
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0


@dataclass(frozen=True)
class Expected:
    """What a reimport must leave behind.

    `tables` holds every table of Nexus, `changes` those that a reimport writes, `sources` each entity,
    `flags` how many records a rule notices without consequence, by entity and rule.
    """

    tables: State
    sources: dict[str, SourceCount]
    changes: dict[str, TableCount]
    flags: dict[tuple[str, str], int]
    documents_relinked: int
    batches_repaired: int


@dataclass(frozen=True)
class Truth:
    """What FileMaker knows, and the state of Nexus before."""

    patients: Sequence[Patient]
    details: Sequence[ContactDetail]
    appointments: Sequence[Appointment]
    notes: Sequence[Note]
    messages: Sequence[Message]
    documents: Sequence[FileRecord]
    images: Sequence[FileRecord]
    before: State


def expect(truth: Truth, nexus_only_columns: NexusOnlyColumns = "keep") -> Expected:
    """Foretell the state after a reimport of everything."""
    before = truth.before
    after = dict(before)
    details: dict[str, list[ContactDetail]] = defaultdict(list)
    for detail in truth.details:
        details[detail.patient.key].append(detail)
    fed: dict[str, Iterable[Values]] = {
        "patients": (patient_values(p, details[p.key]) for p in truth.patients),
        "appointments": map(appointment_values, truth.appointments),
        "notes": map(note_values, truth.notes),
        "sms_messages": map(message_values, truth.messages),
    }
    changes: dict[str, TableCount] = {}
    for name, rows in fed.items():
        after[name] = _load(before[name], rows, nexus_only_columns)
    for name in CLEARED:
        after[name] = Table(name, before[name].columns)
    after["documents_document"] = _relink_documents(before["documents_document"], truth.documents)
    after["images_batch"] = _repair_batches(before["images_batch"], before["images_image"], truth.images)
    for name, column, parent in (
        ("xero_contact_links", "patient_id", "patients"),
        ("xero_invoices", "appointment_id", "appointments"),
        ("audit_log", "patient_id", "patients"),
    ):
        after[name] = _unlink(before[name], column, after[parent])
    for name in (*fed, *CLEARED, "documents_document", "images_batch", "images_image"):
        changes[name] = _count(before[name], after[name])
    return Expected(
        tables=after,
        sources=_sources(truth),
        changes=changes,
        flags=_flags(truth),
        documents_relinked=changes["documents_document"].updated,
        batches_repaired=changes["images_batch"].updated,
    )


def _load(before: Table, fed: Iterable[Values], nexus_only_columns: NexusOnlyColumns) -> Table:
    """Rows from FileMaker's values; a row that stays equal stays as it is, its times of the run included."""
    after = Table(before.name, before.columns)
    for values in fed:
        old = before.rows.get(values["id"])
        was = before.values(old) if old else {}
        if "filemaker_metadata" in values:
            known = was.get("filemaker_metadata") or {}
            values["filemaker_metadata"] = {"imported_at": ANY, **known, **values["filemaker_metadata"]}
        kept = was if nexus_only_columns == "keep" else {}
        row = before.row({**kept, **values, **({"updated_at": was["updated_at"]} if "updated_at" in was else {})})
        after.rows[values["id"]] = old if old == row else _stamped(before, row)
    return after


def _stamped(table: Table, row: Row) -> Row:
    """A written row: the times of the run are anything."""
    values = table.values(row)
    if "updated_at" in values:
        values["updated_at"] = ANY
    if isinstance(metadata := values.get("filemaker_metadata"), dict) and table.name == "patients":
        values["filemaker_metadata"] = {**metadata, "imported_at": ANY}
    return table.row(values)


def _relink_documents(before: Table, records: Iterable[FileRecord]) -> Table:
    """Every document at its patient, as FileMaker knows it."""
    owners = {record.key: row_id("patient", record.patient) for record in records}
    after = Table(before.name, before.columns)
    for key, row in before.rows.items():
        values = before.values(row)
        owner = owners[str(values["filemaker_id"])]
        moved = {"object_id": owner, "content_type_id": PATIENT_TYPE, "updated_at": ANY}
        after.rows[key] = row if values["object_id"] == owner else before.row(values | moved)
    return after


def _repair_batches(before: Table, images: Table, records: Iterable[FileRecord]) -> Table:
    """Every batch at the patient of its images."""
    owners = {record.key: row_id("patient", record.patient) for record in records}
    of_batch = {
        values["batch_id"]: owners[str(values["filemaker_id"])] for values in map(images.values, images.rows.values())
    }
    after = Table(before.name, before.columns)
    for key, row in before.rows.items():
        values = before.values(row) | {"object_id": of_batch[key], "content_type_id": PATIENT_TYPE}
        after.rows[key] = before.row(values)
    return after


def _unlink(before: Table, column: str, parent: Table) -> Table:
    """A reference that may be null and whose row is gone becomes null; everything else stays."""
    after = Table(before.name, before.columns)
    at = before.columns.index(column)
    for key, row in before.rows.items():
        gone = row[at] is not None and row[at] not in parent.rows
        after.rows[key] = (*row[:at], None, *row[at + 1 :]) if gone else row
    return after


def _count(before: Table, after: Table) -> TableCount:
    kept = before.rows.keys() & after.rows.keys()
    unchanged = sum(before.rows[key] == after.rows[key] for key in kept)
    return TableCount(
        before=len(before.rows),
        after=len(after.rows),
        inserted=len(after.rows) - len(kept),
        updated=len(kept) - unchanged,
        deleted=len(before.rows) - len(kept),
        unchanged=unchanged,
    )


def _sources(truth: Truth) -> dict[str, SourceCount]:
    loaded = {
        "patient": truth.patients,
        "contact_detail": truth.details,
        "appointment": truth.appointments,
        "note": truth.notes,
        "sms_message": truth.messages,
    }
    sources = {entity: SourceCount(len(records), len(records)) for entity, records in loaded.items()}
    for entity, files in (("document", truth.documents), ("image", truth.images)):
        here = sum(record.in_nexus for record in files)
        sources[entity] = SourceCount(len(files), here, skipped={"file_not_in_nexus": len(files) - here})
    return sources


def _flags(truth: Truth) -> dict[tuple[str, str], int]:
    noticed: Counter[tuple[str, str]] = Counter()
    flagged: dict[str, Sequence[Patient | Appointment | Note | Message]] = {
        "patient": truth.patients,
        "appointment": truth.appointments,
        "note": truth.notes,
        "sms_message": truth.messages,
    }
    for entity, records in flagged.items():
        noticed.update((entity, flag) for record in records for flag in record.flags)
    return dict(noticed)
