"""Rows of Nexus today, and what is missing in them: patients without a clinic, files without a patient. Counts only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import comma, database_name, has_table
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.reimport.patient_counts import Counts, count_patients
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS, IMAGES, LETTERS, REMINDERS
from fm_pipeline.nexus.undoing_restores import Restore, read_restores
from fm_pipeline.settings import Settings

# By table: the columns that should have a value, and what a row without it is called.
_NEEDED: Mapping[str, Mapping[str, str]] = {
    "patients": {
        "clinic_id": "without a clinic",
        "funding_type_id": "without a funding source",
        "filemaker_metadata": "without FileMaker's metadata",
    },
    "appointments": {
        "patient_id": "without a patient",
        "clinic_id": "without a clinic",
        "clinician_id": "without a clinician",
        "appointment_type_id": "without a type",
    },
    "notes": {"patient_id": "without a patient"},
    "sms_messages": {"patient_id": "without a patient"},
    LETTERS: {},
    REMINDERS: {},
}
_CHANGES_NEXUS = ("reimport", "restore", "sync", "image_link", "image_import")  # actions of the audit trail
_LABELS = {"sms_messages": "SMS messages", LETTERS: "letters", REMINDERS: "reminders"}
_FILES = {DOCUMENTS: "documents", BATCHES: "image batches"}


@dataclass(frozen=True)
class Defect:
    """Rows in which something is missing, for example `without a clinic`."""

    what: str
    rows: int


@dataclass(frozen=True)
class CountedRows:
    """The rows of one table of Nexus.

    Attributes:
        label: what the rows are, in the plural.
        linked: rows that point to a patient who exists; None for what is no file.
        defects: also those of no row, so that a reader sees what was counted.
    """

    label: str
    rows: int
    linked: int | None = None
    defects: Sequence[Defect] = ()

    @property
    def missing(self) -> list[Defect]:
        """The defects of at least one row."""
        return [defect for defect in self.defects if defect.rows]


@dataclass(frozen=True)
class NexusCounts:
    """What Nexus has.

    Attributes:
        tables: in a fixed order; a table that this release of Nexus does not have is left out.
        patients_by: patients by clinic and by funding source.
        last_read: when FileMaker was last read to the end of an entity; None before the first time.
        last_reimport: when the newest reimport began; None before the first one.
        last_reimport_rows: rows of Nexus that it changed.
        last_reimport_undone: the restore that has undone it; None if Nexus has it.
        last_backup: when the newest verified backup was made; None before the first one.
    """

    database: str
    tables: Sequence[CountedRows]
    patients_by: Counts
    last_read: datetime | None
    last_reimport: datetime | None
    last_backup: datetime | None
    last_reimport_undone: Restore | None = None
    last_reimport_rows: int = 0


def read_nexus_counts(settings: Settings) -> NexusCounts:
    """Count, in one snapshot of the database. Nothing is written.

    Raises:
        DatabaseError: the database does not answer, or a table may not be read.
    """
    with connect(settings.nexus_database_url.get_secret_value()) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            catalogue = read_catalogue(cursor, settings.nexus_schema)
            tables = [_count(cursor, catalogue, name) for name in _NEEDED if catalogue.has(name)]
            by = count_patients(cursor, catalogue) if catalogue.has("patients") else {}
            tables += list(_files(cursor, catalogue))
            return NexusCounts(database_name(cursor), tables, by, *_last_times(cursor))


@dataclass(frozen=True)
class Newest:
    """By which a page that is open tells cheaply whether it shows what is true.

    Attributes:
        change: what `newest_change` returns.
        plan_id: of the newest plan; empty if there is none.
    """

    change: int = 0
    plan_id: str = ""


def read_newest(database_url: str) -> Newest:
    """Return the newest change and the newest plan, also those of commands."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        plan_id = ""
        if has_table(cursor, "fm_pipeline.plans"):
            cursor.execute("SELECT id::text FROM fm_pipeline.plans ORDER BY created_at DESC LIMIT 1")
            (plan_id,) = cursor.fetchone() or ("",)
        return Newest(_newest_change(cursor), plan_id)


def newest_change(database_url: str) -> int:
    """Return the number of the newest run that has ended and may have changed Nexus; 0 before the first one.

    A later one has a greater number. Runs of commands count too.
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        return _newest_change(cursor)


def _newest_change(cursor: Cursor) -> int:
    if not has_table(cursor, "fm_pipeline.audit"):
        return 0
    cursor.execute(
        "SELECT max(id) FROM fm_pipeline.audit WHERE action = ANY(%s) AND outcome <> 'started'",
        (list(_CHANGES_NEXUS),),
    )
    ((number,),) = cursor.fetchall()
    return number or 0


def _count(cursor: Cursor, catalogue: Catalogue, name: str) -> CountedRows:
    table = catalogue.table(name)
    needed = {column: what for column, what in _NEEDED[name].items() if column in catalogue.columns[table]}
    counts: list[sql.Composable] = [sql.SQL("count(*)")]
    for column in needed:
        # jsonb: an object without FileMaker's id is as good as none.
        missing = "{0} ->> 'filemaker_id' IS NULL" if column == "filemaker_metadata" else "{0} IS NULL"
        counts.append(sql.SQL(f"count(*) FILTER (WHERE {missing})").format(sql.Identifier(column)))
    cursor.execute(sql.SQL("SELECT {} FROM {}").format(comma(counts), table.identifier))
    rows, *missing_rows = cursor.fetchone() or (0, *[0] * len(needed))
    defects = [Defect(what, number) for what, number in zip(needed.values(), missing_rows, strict=True)]
    return CountedRows(_LABELS.get(name, name), rows, defects=defects)


def _files(cursor: Cursor, catalogue: Catalogue) -> Sequence[CountedRows]:
    """Documents, image batches, and images by their batch."""
    if not (catalogue.has("patients") and catalogue.content_types in catalogue.columns):
        return []
    linked = sql.SQL(
        "EXISTS (SELECT 1 FROM {patients} p JOIN {types} c ON c.app_label = 'patients' AND c.model = 'patient'"
        " WHERE p.id = f.object_id AND c.id = f.content_type_id)"
    ).format(
        patients=catalogue.table("patients").identifier,
        types=catalogue.content_types.identifier,
    )
    counted = []
    for name, label in _FILES.items():
        if catalogue.has(name):
            files = catalogue.table(name).identifier
            query = sql.SQL("SELECT count(*), count(*) FILTER (WHERE {}) FROM {} f").format(linked, files)
            counted.append(_file_count(cursor, query, label))
    if catalogue.has(IMAGES) and catalogue.has(BATCHES):
        query = sql.SQL(
            "SELECT count(*), count(*) FILTER (WHERE {}) FROM {} i LEFT JOIN {} f ON f.id = i.batch_id"
        ).format(linked, catalogue.table(IMAGES).identifier, catalogue.table(BATCHES).identifier)
        counted.append(_file_count(cursor, query, "images"))
    return counted


def _file_count(cursor: Cursor, query: sql.Composed, label: str) -> CountedRows:
    cursor.execute(query)
    rows, linked = cursor.fetchone() or (0, 0)
    return CountedRows(label, rows, linked, [Defect("without a patient", rows - linked)])


def _last_times(cursor: Cursor) -> tuple[datetime | None, datetime | None, datetime | None, Restore | None, int]:
    if not has_table(cursor, "fm_pipeline.reimports"):
        return None, None, None, None, 0
    cursor.execute(
        "SELECT started_at, backup_id::text, (report ->> 'changed_rows')::bigint FROM fm_pipeline.reimports"
        " ORDER BY started_at DESC LIMIT 1"
    )
    reimport = cursor.fetchone()
    cursor.execute(
        "SELECT (SELECT max(finished_at) FROM fm_pipeline.source_extractions),"
        " (SELECT max(created_at) FROM fm_pipeline.backups)"
    )
    ((read, backup),) = cursor.fetchall()
    if reimport is None:
        return read, None, backup, None, 0
    at, backup_id, rows = reimport
    return read, at, backup, read_restores(cursor.connection).undone_by(at, backup_id), rows
