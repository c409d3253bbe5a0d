"""The registry: one entry an entity, from which everything else about it is derived.

Names of assets and checks, staged tables, what each asset is built from, the order of loading and the table in
docs/mapping.md follow from an entry. To add an entity, follow "A table" in CONTRIBUTING.md. A clinic adds one in its
own profile instead (`further`). Only patients and appointments have functions of their own
(`fm_pipeline.staging.transforms`); other columns name their reader.

What does not belong here: rules (rules.yaml), layouts and fields of a FileMaker file (profiles), SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any, NamedTuple

CONTACT_DETAIL = "contact_detail"  # staged with the patients, into their columns
OWN = "own"  # the reader of a column that the entity's own function fills
KEY = "key"  # the FileMaker id as it is compared
# Names that are looked up: the Nexus table and the column that has them.
LOOK_UPS = {
    "clinic": ("clinics", "name"),
    "clinician": ("clinicians", "full_name"),
    "appointment_type": ("appointment_types", "name"),
    "funding": ("funding_sources", "name"),
}
ID_COLUMNS = ("nexus_id", "record_id", "filemaker_key")
FILE_LINKS = "staged_file_links"  # the staged table that documents and images share


def looked_up_in(name: str) -> tuple[str, str]:
    """Return the Nexus table and column of a look-up: a key of `LOOK_UPS`, or `table.column`."""
    table, _, column = name.partition(".")
    return LOOK_UPS.get(name, (table, column))


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
class Feed:
    """Where a column of a Nexus table comes from.

    Attributes:
        fields: canonical fields; one of them is enough for the column to be fed.
        reader: how they are read; docs/mapping.md, "Readers", lists them.
        empty: the rule that an empty value breaks, if it breaks one.
    """

    fields: tuple[str, ...]
    reader: str = OWN
    empty: str = ""

    @property
    def kind(self) -> str:
        """The reader up to the colon."""
        return self.reader.partition(":")[0]

    @property
    def names(self) -> str:
        """What the reader names: an entity, a look-up or a choice."""
        return self.reader.partition(":")[2]


class Parent(NamedTuple):
    """An entity whose rows a column points to.

    Attributes:
        field: the canonical field with the parent's FileMaker id.
        needed: a record without it is kept out; else the column is left empty.
    """

    entity: str
    column: str
    field: str
    needed: bool


@dataclass(frozen=True)
class Entity:
    """A kind of FileMaker record, and how it is loaded into Nexus. Properties that are read for each record are cached.

    Attributes:
        plural: what assets, steps and the staged table are called by.
        fields: every canonical field that a profile may feed.
        required: of each group, the layout must feed at least one field.
        optional: a profile may leave the entity out.
        table: the Nexus table that it is loaded into.
        phase: the phase that loads it.
        columns: the columns of the Nexus table that FileMaker feeds.
        defaults: values that a new row has and FileMaker does not feed; Django keeps these defaults to itself.
        model: Django's name of the table's model, for generic keys.
        id_column: the Nexus column with the FileMaker id.
        by_content: Nexus keeps no FileMaker id for its rows, so that only their content tells them apart.
        files: the Nexus table whose `filemaker_id` must know the record, for documents and images.
        made: its staged table is made when it is staged, by the catalogue; those of the others by a migration.
        if_there: left out where Nexus has no such table or FileMaker no such layout.
        slow: takes longest to be staged, so it is begun first.
        same_by: of an entity by content, the columns that tell its rows apart; none given: all that are fed.
        keeps_unlinked: rows of Nexus that nothing links to FileMaker stay.
    """

    name: str
    plural: str
    fields: frozenset[str]
    required: tuple[frozenset[str], ...]
    optional: bool = False
    table: str = ""
    phase: Phase | None = None
    columns: Mapping[str, Feed] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    id_column: str = ""
    by_content: bool = False
    files: str = ""
    made: bool = False
    if_there: bool = False
    slow: bool = False
    same_by: tuple[str, ...] = ()
    keeps_unlinked: bool = False

    @property
    def staged_table(self) -> str:
        """Its table in the schema `fm_pipeline`."""
        return FILE_LINKS if self.files else f"staged_{self.plural}"

    @property
    def staged_columns(self) -> tuple[str, ...]:
        """The columns of the staged table."""
        if self.files:
            return ("entity", "filemaker_id", "record_id", "patient_key")
        return (*ID_COLUMNS, *("source_created_at" if name == "created_at" else name for name in self.columns))

    @property
    def joined_columns(self) -> tuple[str, ...]:
        """The staged columns that other tables are joined by."""
        keys = {*ID_COLUMNS, "entity", "filemaker_id", "patient_key", *(parent.column for parent in self.parents)}
        return tuple(name for name in self.staged_columns if name in keys)

    @cached_property
    def parents(self) -> tuple[Parent, ...]:
        """The entities that its columns point to."""
        return tuple(
            Parent(column.names, name, column.fields[0], column.kind == "parent")
            for name, column in self.columns.items()
            if column.kind in {"parent", "reference"}
        )

    @cached_property
    def has_patient(self) -> bool:
        """Whether each record belongs to a patient, whom the canonical field `patient` names."""
        patient = ("patient", "patient", True)
        return self.files != "" or any((each.entity, each.field, each.needed) == patient for each in self.parents)

    @cached_property
    def other_parents(self) -> tuple[Parent, ...]:
        """All parents but that patient."""
        return tuple(p for p in self.parents if not (self.has_patient and p.field == "patient"))

    @property
    def looked_up(self) -> tuple[str, ...]:
        """What its columns are looked up by: clinic, clinician, appointment_type, funding, or `table.column`."""
        return tuple(dict.fromkeys(column.names for column in self.columns.values() if column.kind == "lookup"))

    def telling_columns(self, fed: frozenset[str]) -> list[str]:
        """The columns by which a row of Nexus is recognised as a record's."""
        columns = self.fed_columns(fed)
        return [name for name in columns if name in self.same_by] or columns

    def fed_columns(self, fed: frozenset[str]) -> list[str]:
        """The Nexus columns that an extraction with these canonical fields feeds."""
        return [name for name, column in self.columns.items() if fed.intersection(column.fields)]


def _groups(required: str) -> tuple[frozenset[str], ...]:
    """Groups are separated by blanks, the alternatives of a group by `|`."""
    return tuple(frozenset(group.split("|")) for group in required.split())


def _names(fields: str) -> frozenset[str]:
    """Canonical fields, separated by blanks."""
    return frozenset(fields.split())


def _same(reader: str, *names: str) -> dict[str, Feed]:
    """Columns that have the name of the field that feeds them."""
    return {name: Feed((name,), reader) for name in names}


_PATIENT = {"patient_id": Feed(("patient",), "parent:patient")}
_CLINIC = ("clinic", "clinic_filemaker_id")

_SHIPPED = (
    Entity(
        "patient",
        "patients",
        _names(
            "filemaker_id title first_name middle_names last_name dob sex health_number clinic "
            "clinic_filemaker_id funding coordinator_name coordinator_date plan_start_date plan_end_date "
            "ndis_plan_start_date ndis_plan_end_date xero_contact_id created_at"
        ),
        _groups("filemaker_id first_name last_name dob"),
        table="patients",
        phase=Phase.PATIENTS,
        columns=_same(OWN, "first_name", "last_name", "middle_names", "dob", "sex", "title", "health_number")
        | {
            "funding_type_id": Feed(("funding",), "lookup:funding"),
            "clinic_id": Feed(_CLINIC, "lookup:clinic"),
        }
        | _same(OWN, "coordinator_name", "coordinator_date", "plan_start_date", "plan_end_date")
        | _same(OWN, "ndis_plan_start_date", "ndis_plan_end_date")
        | {
            "filemaker_metadata": Feed(("filemaker_id",)),
            "contact_json": Feed((CONTACT_DETAIL,)),
            "address_json": Feed((CONTACT_DETAIL,)),
        }
        | _same(OWN, "created_at"),
        defaults={"archived": False},
        model="patient",
    ),
    Entity(
        CONTACT_DETAIL,
        "contact_details",
        _names("filemaker_id patient kind label phone mobile email is_default street street2 suburb state postcode"),
        _groups("filemaker_id patient kind phone|mobile|email|street"),
        optional=True,
    ),
    Entity(
        "appointment",
        "appointments",
        _names(
            "filemaker_id patient clinic clinic_filemaker_id clinician appointment_type start start_date "
            "start_time end end_date end_time all_day status reason notes created_at"
        ),
        _groups("filemaker_id patient start|start_date"),
        table="appointments",
        phase=Phase.APPOINTMENTS,
        columns={"filemaker_event_id": Feed(("filemaker_id",), KEY)}
        | _PATIENT
        | {
            "clinic_id": Feed(_CLINIC, "lookup:clinic"),
            "clinician_id": Feed(("clinician",), "lookup:clinician"),
            "appointment_type_id": Feed(("appointment_type",), "lookup:appointment_type"),
            "start_time": Feed(("start", "start_date")),
            "end_time": Feed(("end", "end_date", "end_time", "all_day")),
        }
        | _same(OWN, "status", "reason", "notes", "created_at"),
        defaults={
            "status": "scheduled",
            "needs_followup_reminder": False,
            "followup_scheduled": False,
            "is_recurring": False,
            "invoice_contact_type": "patient",
            "billing_notes": "",
            "sms_confirmed": False,
            "sms_cancelled": False,
        },
        model="appointment",
        id_column="filemaker_event_id",
    ),
    Entity(
        "note",
        "notes",
        _names("filemaker_id patient note_type content created_at created_by"),
        _groups("filemaker_id patient content"),
        table="notes",
        phase=Phase.NOTES,
        columns=_PATIENT
        | _same("choice:note_type", "note_type")
        | {"content": Feed(("content",), "lines", "note_without_text")}
        | _same("line", "created_by")
        | _same("timestamp", "created_at"),
        defaults={"note_type": "other"},
        model="note",
        by_content=True,
        slow=True,
    ),
    Entity(
        "sms_message",
        "sms_messages",
        _names("filemaker_id patient phone_number message status sent_at created_at"),
        _groups("filemaker_id patient message"),
        optional=True,
        table="sms_messages",
        phase=Phase.NOTES,
        columns=_PATIENT
        | _same("line", "phone_number")
        | {"message": Feed(("message",), "lines", "message_without_text")}
        | _same("choice:message_status", "status")
        | _same("timestamp", "sent_at", "created_at"),
        defaults={
            "status": "sent",
            "external_message_id": "",
            "error_message": "",
            "retry_count": 0,
            "sms_count": 1,
            "notes": "",
        },
        model="smsmessage",
        by_content=True,
    ),
    Entity(
        "document",
        "documents",
        _names("filemaker_id patient export_date"),
        _groups("filemaker_id patient"),
        optional=True,
        phase=Phase.DOCUMENTS,
        files="documents_document",
    ),
    Entity(
        "image",
        "images",
        _names("filemaker_id patient export_date"),
        _groups("filemaker_id patient"),
        optional=True,
        phase=Phase.IMAGES,
        files="images_image",
    ),
    # The layouts of profile `wep`. Their tables have no column for a FileMaker id.
    Entity(
        "company",
        "companies",
        _names("filemaker_id name abn email"),
        _groups("filemaker_id name"),
        optional=True,
        table="companies",
        phase=Phase.PATIENTS,
        columns={"name": Feed(("name",), "line", "value_missing")} | _same("line", "abn", "email"),
        model="company",
        by_content=True,
        same_by=("name",),
        made=True,
        if_there=True,
        keeps_unlinked=True,
    ),
    Entity(
        "referrer",
        "referrers",
        _names("filemaker_id name practice provider_number phone email company"),
        _groups("filemaker_id name"),
        optional=True,
        table="referrers",
        phase=Phase.PATIENTS,
        columns={"name": Feed(("name",), "line", "value_missing")}
        | _same("line", "practice", "provider_number", "phone", "email")
        | {"company_id": Feed(("company",), "reference:company")},
        model="referrer",
        by_content=True,
        same_by=("name", "provider_number"),
        made=True,
        if_there=True,
        keeps_unlinked=True,
    ),
    Entity(
        "patient_referrer",
        "patient_referrers",
        _names("filemaker_id patient referrer created_at"),
        _groups("filemaker_id patient referrer"),
        optional=True,
        table="patient_referrers",
        phase=Phase.NOTES,
        columns=_PATIENT | {"referrer_id": Feed(("referrer",), "parent:referrer")} | _same("timestamp", "created_at"),
        model="patientreferrer",
        by_content=True,
        same_by=("patient_id", "referrer_id"),
        made=True,
        if_there=True,
    ),
)

Registry = Mapping[str, Entity]

ENTITIES: Registry = {entity.name: entity for entity in _SHIPPED}


def staged(registry: Registry) -> Iterator[Entity]:
    """The entities that are staged by themselves: all but the contact details."""
    return (entity for entity in registry.values() if entity.name != CONTACT_DETAIL)


def loaded(registry: Registry) -> Iterator[Entity]:
    """The entities that are loaded into a table of Nexus."""
    return (entity for entity in registry.values() if entity.table)


def has_filemaker_id(entity: Entity) -> bool:
    """Whether Nexus has the FileMaker id of each row: in a column, or a patient's in its metadata."""
    return entity.id_column != "" or "filemaker_metadata" in entity.columns
