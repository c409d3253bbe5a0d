"""What a reimport does with each table of Nexus. A table that is not named here is kept.

    load     rows come from FileMaker: gone ones are deleted, changed ones updated, new ones inserted
    clear    rows go, as the import sequence says; FileMaker has no source for them
    relink   rows stay; only their generic key to the patient is repaired
    keep     rows stay; a reference to a row that goes becomes the patient's new id, else NULL, else STOP

Source: seeds "import sequence", phases 2 to 7; "reimport checklist", protected data.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from fm_pipeline.db.table import Table
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.schema import Catalogue, GenericKey, SoftReference

SoftAction = Literal["keep", "empty", "stop"]


class Phase(IntEnum):
    """The phases of the import sequence that write, by their numbers there."""

    DELETE = 2
    PATIENTS = 3
    APPOINTMENTS = 4
    NOTES = 5
    DOCUMENTS = 6
    IMAGES = 7
    VALIDATION = 8


@dataclass(frozen=True)
class Load:
    """A Nexus table that a staged entity is loaded into."""

    entity: str
    table: str
    staged: str
    phase: Phase
    # Values that a new row has and FileMaker does not feed; Django keeps these defaults to itself.
    defaults: dict[str, object] = field(default_factory=dict)


LOADS = (
    Load("patient", "patients", "staged_patients", Phase.PATIENTS, {"archived": False}),
    Load(
        "appointment",
        "appointments",
        "staged_appointments",
        Phase.APPOINTMENTS,
        {
            "status": "scheduled",
            "needs_followup_reminder": False,
            "followup_scheduled": False,
            "is_recurring": False,
            "invoice_contact_type": "patient",
            "billing_notes": "",
            "sms_confirmed": False,
            "sms_cancelled": False,
        },
    ),
    Load("note", "notes", "staged_notes", Phase.NOTES, {"note_type": "other"}),
    Load(
        "sms_message",
        "sms_messages",
        "staged_sms_messages",
        Phase.NOTES,
        {
            "status": "sent",
            "external_message_id": "",
            "error_message": "",
            "retry_count": 0,
            "sms_count": 1,
            "notes": "",
        },
    ),
)
REQUIRED_ENTITIES = ("patient", "appointment")
LETTERS = "letters_patientletter"
REMINDERS = "reminders"
DOCUMENTS = "documents_document"
BATCHES = "images_batch"
IMAGES = "images_image"
# Records of what somebody did to a row, by generic key: of Django's admin and of django-reversion. They outlive the row
# on purpose (django/contrib/admin/models.py, LogEntry; django-reversion, "Recovering deleted objects"): to empty an
# entry would destroy the record, and to stop because of one would be for ever.
HISTORIES = ("django_admin_log", "reversion_version", "auditlog_logentry", "easyaudit_crudevent")
# The columns by which tables of django-simple-history and of django-pghistory are known.
HISTORY_COLUMNS = ({"history_id", "history_date", "history_type"}, {"pgh_id", "pgh_label"})
# Never written; their digests are compared at the end. What else Nexus has is watched by row counters.
SYSTEM_CONFIGURATION = ("clinics", "clinicians", "appointment_types", "funding_sources")


@dataclass(frozen=True)
class Policy:
    """What this run does: the loads of the entities that are staged, and the tables to clear."""

    catalogue: Catalogue
    loads: tuple[Load, ...]
    cleared: tuple[Table, ...]
    growing: tuple[Table, ...] = ()  # NEXUS_TRIGGER_TABLES: triggers may add rows to these
    soft: tuple[SoftReference, ...] = ()
    soft_action: SoftAction = "keep"

    @property
    def emptied(self) -> list[Table]:
        """Tables that lose rows, parents before children."""
        return [self.catalogue.table(load.table) for load in self.loads] + list(self.cleared)

    @property
    def histories(self) -> set[Table]:
        """Tables that record what somebody did to a row."""
        return {
            table
            for table, columns in self.catalogue.columns.items()
            if table in map(self.catalogue.table, HISTORIES)
            or any(known <= columns.keys() for known in HISTORY_COLUMNS)
        }

    @property
    def followed_keys(self) -> list[GenericKey]:
        """The generic keys that must not point to a row that is gone: all but those of histories."""
        histories = self.histories
        return [key for key in self.catalogue.generic_keys if key.table not in histories]

    @property
    def written_soft(self) -> list[SoftReference]:
        """The references without a foreign key that a reimport changes."""
        return [
            soft
            for soft in self.soft
            if soft.writable and (soft.replaced or (soft.gone and self.soft_action == "empty"))
        ]

    def load_of(self, table: Table) -> Load | None:
        """The load that writes a table, if one does."""
        return next((load for load in self.loads if self.catalogue.table(load.table) == table), None)


def make_policy(
    catalogue: Catalogue,
    staged_entities: Collection[str],
    *,
    letters: Literal["delete", "keep"],
    reminders: Literal["delete", "keep"],
) -> Policy:
    """Decide what happens to each table.

    An entity that no profile feeds is kept, not cleared: a profile that forgot the messages must not wipe them.

    Raises:
        CatalogueStop: Nexus lacks a table, or something depends on a patient in a way that no rule covers.
    """
    needed = {load.table for load in LOADS if load.entity in staged_entities} | {DOCUMENTS, BATCHES, IMAGES}
    missing = sorted(name for name in needed | set(SYSTEM_CONFIGURATION) if not catalogue.has(name))
    if missing:
        raise CatalogueStop(
            f"The schema {catalogue.schema} has no table {', '.join(missing)}.",
            meaning="This is not the database of Nexus, or the role may not see it. Nothing was changed.",
            remedy="Check NEXUS_DATABASE_URL and NEXUS_SCHEMA, and the grants of the role.",
        )
    cleared = [
        catalogue.table(name)
        for name, action in ((LETTERS, letters), (REMINDERS, reminders))
        if action == "delete" and catalogue.has(name)
    ]
    loads = tuple(load for load in LOADS if load.entity in staged_entities)
    policy = Policy(catalogue, loads, tuple(cleared))
    _refuse_unknown_kinds(policy)
    return policy


def _refuse_unknown_kinds(policy: Policy) -> None:
    """Only foreign keys of one column of a whole table to the id are understood; anything else is a STOP."""
    strange = [
        f"{key.table} ({key.name})"
        for table in policy.emptied
        for key in policy.catalogue.foreign_keys_to(table)
        # A partition that has a key of its own is no table of the catalogue.
        if len(key.columns) != 1 or key.referenced_columns != ("id",) or key.table not in policy.catalogue.columns
    ]
    if strange:
        raise CatalogueStop(
            f"These foreign keys depend on patient data in a way that no rule covers: {', '.join(strange)}.",
            meaning="Their rows could be lost. Nothing was changed.",
            remedy="Tell the maintainers the table and the constraint; the pipeline needs a rule for it.",
        )
