"""The expected content of Nexus after a reimport, derived from docs/mapping.md and the facts.

It shares no code with the pipeline and reads no raw text. A time of the run is `ANY`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fm_pipeline.sandbox.clinic.model import (
    Appointment,
    ClinicContactDetail,
    Company,
    FileRecord,
    KeptOut,
    Message,
    Note,
    Patient,
    PatientReferrer,
    Referrer,
)
from fm_pipeline.sandbox.clinic.nexus.state import ANY, Row, State, TableContent, Values
from fm_pipeline.sandbox.clinic.nexus.system import PATIENT_TYPE
from fm_pipeline.sandbox.clinic.nexus.values import (
    Profile,
    appointment_values,
    company_values,
    message_values,
    note_values,
    patient_referrer_values,
    patient_values,
    referrer_values,
    row_id,
)

NexusOnlyColumns = Literal["keep", "reset"]
LOADED = {"patient": "patients", "appointment": "appointments", "note": "notes", "sms_message": "sms_messages"}
KEPT = ("companies", "referrers")  # rows that only Nexus has stay
CLEARED = ("letters_patientletter", "reminders")
# Flags that are a STOP by the default rules, and flags only under the policy `quarantine`.
STOPS = (
    "patient_without_clinic",
    "appointment_without_clinic",
    "appointment_without_clinician",
    "appointment_without_type",
)


@dataclass(frozen=True)
class SourceCount:
    """Expected outcomes of an entity's source rows. rows = loaded + quarantined + skipped."""

    rows: int
    loaded: int
    quarantined_by: dict[str, int] = field(default_factory=dict)
    skipped_by: dict[str, int] = field(default_factory=dict)

    @property
    def quarantined(self) -> int:
        """Number of rows that rules exclude."""
        return sum(self.quarantined_by.values())

    @property
    def skipped(self) -> int:
        """Number of rows that contain nothing to load."""
        return sum(self.skipped_by.values())

    @property
    def by_rule(self) -> dict[str, int]:
        """Numbers of rows that are not loaded, by rule, without zeros."""
        return {rule: rows for rule, rows in (self.quarantined_by | self.skipped_by).items() if rows}


@dataclass(frozen=True)
class TableCount:
    """Expected counts of a table. before + inserted - deleted = after = inserted + updated + unchanged."""

    before: int
    after: int
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0


@dataclass(frozen=True)
class Expected:
    """The expected result of a reimport.

    `tables` holds every table of Nexus, `changes` those that a reimport writes, `sources` each entity,
    `flags` how many records a rule notices without consequence, by entity and rule. In the clinic as it was found
    this is so under the policy `quarantine`; under the default rules it stops, and `stops` is what it must list.
    `lost_documents` are those that still have no patient afterwards, by reason.
    """

    tables: State
    sources: dict[str, SourceCount]
    changes: dict[str, TableCount]
    flags: dict[tuple[str, str], int]
    documents_relinked: int
    batches_repaired: int
    stops: dict[tuple[str, str], int]
    lost_documents: dict[str, int]


@dataclass(frozen=True)
class Truth:
    """FileMaker's facts, and the state of Nexus before."""

    patients: Sequence[Patient]
    details: Sequence[ClinicContactDetail]
    appointments: Sequence[Appointment]
    notes: Sequence[Note]
    messages: Sequence[Message]
    documents: Sequence[FileRecord]
    images: Sequence[FileRecord]
    companies: Sequence[Company]
    referrers: Sequence[Referrer]
    patient_referrers: Sequence[PatientReferrer]
    before: State
    kept_out: Mapping[str, Sequence[KeptOut]] = field(default_factory=dict)  # by entity


def expect(truth: Truth, nexus_only_columns: NexusOnlyColumns = "keep", profile: Profile = "nexus") -> Expected:
    """Derive the expected state after a reimport of everything."""
    before = truth.before
    after = dict(before)
    details: dict[str, list[ClinicContactDetail]] = defaultdict(list)
    for detail in truth.details:
        details[detail.patient.key].append(detail)
    fed: dict[str, Iterable[Values]] = {
        "patients": (patient_values(p, details[p.key], profile) for p in truth.patients),
        "appointments": (appointment_values(a, profile) for a in truth.appointments),
        "notes": map(note_values, truth.notes),
        "sms_messages": map(message_values, truth.messages),
    }
    if profile == "wep":
        fed["companies"] = map(company_values, truth.companies)
        fed["referrers"] = map(referrer_values, truth.referrers)
        fed["patient_referrers"] = map(patient_referrer_values, truth.patient_referrers)
    changes: dict[str, TableCount] = {}
    for name, rows in fed.items():
        after[name] = _load(before[name], rows, nexus_only_columns)
        if name in KEPT:
            after[name].rows |= {key: row for key, row in before[name].rows.items() if key not in after[name].rows}
    for name in CLEARED:
        after[name] = TableContent(name, before[name].columns)
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
    flags = _flags(truth)
    return Expected(
        tables=after,
        sources=_sources(truth, profile),
        changes=changes,
        flags=flags,
        documents_relinked=changes["documents_document"].updated,
        batches_repaired=changes["images_batch"].updated,
        stops={(entity, rule): rows for (entity, rule), rows in flags.items() if rule in STOPS},
        lost_documents=dict(Counter(record.lost for record in truth.documents if record.lost)),
    )


def _load(before: TableContent, fed: Iterable[Values], nexus_only_columns: NexusOnlyColumns) -> TableContent:
    """Return rows with FileMaker's values; an equal row is unchanged, including its times of a run."""
    after = TableContent(before.name, before.columns)
    for values in fed:
        old = before.rows.get(values["id"])
        was = before.values(old) if old else {}
        if "filemaker_metadata" in values:
            known = was.get("filemaker_metadata") or {}
            values["filemaker_metadata"] = {"imported_at": ANY, **known, **values["filemaker_metadata"]}
        if "created_at" not in values:  # not fed: a new row has the time of the run
            values["created_at"] = was.get("created_at", ANY)
        kept = was if nexus_only_columns == "keep" else {}
        row = before.row({**kept, **values, **({"updated_at": was["updated_at"]} if "updated_at" in was else {})})
        after.rows[values["id"]] = old if old == row else _stamped(before, row)
    return after


def _stamped(table: TableContent, row: Row) -> Row:
    """Return a written row, whose times of the run may have any value."""
    values = table.values(row)
    if "updated_at" in values:
        values["updated_at"] = ANY
    if isinstance(metadata := values.get("filemaker_metadata"), dict) and table.name == "patients":
        values["filemaker_metadata"] = {**metadata, "imported_at": ANY}
    return table.row(values)


def _relink_documents(before: TableContent, records: Iterable[FileRecord]) -> TableContent:
    """Return every document with its patient by FileMaker; lost ones have none."""
    owners = {record.key: row_id("patient", record.patient) for record in records if not record.lost}
    after = TableContent(before.name, before.columns)
    for key, row in before.rows.items():
        values = before.values(row)
        owner = owners.get(str(values["filemaker_id"]), values["object_id"])  # a lost one stays as it is
        moved = {"object_id": owner, "content_type_id": PATIENT_TYPE, "updated_at": ANY}
        after.rows[key] = row if values["object_id"] == owner else before.row(values | moved)
    return after


def _repair_batches(before: TableContent, images: TableContent, records: Iterable[FileRecord]) -> TableContent:
    """Return every batch with the patient of its images."""
    owners = {record.key: row_id("patient", record.patient) for record in records}
    of_batch = {
        values["batch_id"]: owners[str(values["filemaker_id"])] for values in map(images.values, images.rows.values())
    }
    after = TableContent(before.name, before.columns)
    for key, row in before.rows.items():
        values = before.values(row) | {"object_id": of_batch[key], "content_type_id": PATIENT_TYPE}
        after.rows[key] = before.row(values)
    return after


def _unlink(before: TableContent, column: str, parent: TableContent) -> TableContent:
    """Set nullable references to deleted rows to NULL; everything else stays."""
    after = TableContent(before.name, before.columns)
    at = before.columns.index(column)
    for key, row in before.rows.items():
        gone = row[at] is not None and row[at] not in parent.rows
        after.rows[key] = (*row[:at], None, *row[at + 1 :]) if gone else row
    return after


def _count(before: TableContent, after: TableContent) -> TableCount:
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


def _sources(truth: Truth, profile: Profile) -> dict[str, SourceCount]:
    loaded: dict[str, Sequence[object]] = {
        "patient": truth.patients,
        "contact_detail": truth.details,
        "appointment": truth.appointments,
        "note": truth.notes,
        "sms_message": truth.messages,
    }
    if profile == "wep":
        more = {"referrer": truth.referrers, "patient_referrer": truth.patient_referrers}
        loaded |= {"company": truth.companies, **more}
    sources = {}
    for entity, records in loaded.items():
        kept_out = dict(Counter(kept.rule for kept in truth.kept_out.get(entity, ())))
        sources[entity] = SourceCount(len(records) + sum(kept_out.values()), len(records), kept_out)
    for entity, files in (("document", truth.documents), ("image", truth.images)):
        kept_out = dict(Counter(record.rule for record in files if record.rule))
        missing = sum(not record.in_nexus for record in files)
        here = len(files) - missing - sum(kept_out.values())
        sources[entity] = SourceCount(len(files), here, kept_out, {"file_not_in_nexus": missing})
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
