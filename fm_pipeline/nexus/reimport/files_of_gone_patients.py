"""Documents and image batches whose patient a reimport deletes.

No constraint guards their reference to the patient, so a deleted patient would leave dangling references. By default
that stops a reimport. A clinic may decide otherwise by NEXUS_FILES_OF_GONE_PATIENTS: `archive` assigns them to one
patient that it names, `detach` sets their patient to NULL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Literal

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import comma, has_table
from fm_pipeline.db.table import Table
from fm_pipeline.errors import CatalogueStop, StagingStop
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.reimport.difference import gone
from fm_pipeline.nexus.reimport.relink import RelinkResult, evidence_of, relinked_table
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS
from fm_pipeline.settings import Settings

Decision = Literal["stop", "archive", "detach"]
NOT_IN_FILEMAKER = "not_in_filemaker"
HOW_TO_LIST = "fm-pipeline files without-patient lists all of them."


@dataclass(frozen=True)
class FilesOfGonePatients:
    """The clinic's decision about these files.

    Attributes:
        archive_patient: for `archive`: a Nexus id or a FileMaker id, as in the setting.
    """

    decision: Decision = "stop"
    archive_patient: str = ""

    @classmethod
    def of(cls, settings: Settings) -> FilesOfGonePatients:
        """Return the decision of the settings."""
        return cls(settings.nexus_files_of_gone_patients, (settings.nexus_archive_patient or "").strip().lower())

    @property
    def kept(self) -> tuple[str, ...]:
        """Nexus ids of patients that are kept although FileMaker does not have them."""
        return (self.archive_patient,) if self.decision == "archive" else ()

    def with_archive_patient(self, cursor: Cursor, catalogue: Catalogue) -> FilesOfGonePatients:
        """Return the decision with the archive patient's Nexus id.

        The patient may come from FileMaker, also with the next reimport, or exist in Nexus only.

        Raises:
            CatalogueStop: there is no such patient.
        """
        if self.decision != "archive":
            return self
        cursor.execute(
            sql.SQL(
                "SELECT nexus_id::text FROM fm_pipeline.staged_patients"
                " WHERE nexus_id::text = %(named)s OR filemaker_key = %(named)s"
                " UNION SELECT p.id::text FROM {} p WHERE p.id::text = %(named)s OR p.id IN (SELECT c.nexus_id"
                " FROM fm_pipeline.crosswalk c WHERE c.entity = 'patient' AND c.filemaker_key = %(named)s)"
            ).format(catalogue.table("patients").identifier),
            {"named": self.archive_patient},
        )
        found = cursor.fetchall()
        if len(found) != 1:
            raise CatalogueStop(
                f"NEXUS_ARCHIVE_PATIENT names {'no patient' if not found else 'two patients'}.",
                meaning="Files of deleted patients could not be assigned to anybody. Nothing was changed.",
                remedy="Set it to the id of a patient in Nexus, or to a FileMaker id, in upper or lower case.",
            )
        return replace(self, archive_patient=found[0][0])


@dataclass(frozen=True)
class FileWithoutPatient:
    """A document or an image batch whose patient the next reimport would delete.

    Attributes:
        patient_id: Nexus id of that patient.
        filemaker_id: of that patient; empty if it is not known.
        reason: `not_in_filemaker`, or the rule by which the patient's record is not loaded.
    """

    table: str
    id: str
    patient_id: str
    filemaker_id: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        """Return the fields for JSON and CSV."""
        return asdict(self)


# Patients whose record is staged are kept. So are those whose record breaks a rule with the action `stop`, because no
# reimport runs until that is resolved.
_LEFT = """
WITH f AS MATERIALIZED (
    SELECT {columns} FROM {table} d JOIN {patients} p ON p.id = d.object_id
    WHERE (d.content_type_id = ANY(%(types)s) OR d.content_type_id IS NULL) AND NOT p.id = ANY(%(kept)s::uuid[])
      AND NOT EXISTS (SELECT 1 FROM fm_pipeline.staged_patients s WHERE s.nexus_id = p.id)
), record AS MATERIALIZED (
    SELECT DISTINCT ON (c.nexus_id) c.nexus_id, c.filemaker_key, o.rule,
           EXISTS (SELECT 1 FROM fm_pipeline.staged_findings x WHERE x.entity = 'patient'
                   AND x.record_id = o.record_id AND x.rule = o.rule AND x.action = 'stop') AS is_stopped
    FROM fm_pipeline.crosswalk c
         LEFT JOIN fm_pipeline.source_records r ON r.entity = 'patient' AND r.filemaker_key = c.filemaker_key
         LEFT JOIN fm_pipeline.staged_outcomes o ON o.entity = 'patient' AND o.record_id = r.record_id
    WHERE c.entity = 'patient' AND c.nexus_id IN (SELECT object_id FROM f) ORDER BY c.nexus_id, r.record_id
)
SELECT f.id::text, f.object_id::text, coalesce(min(record.filemaker_key), ''), coalesce(min(record.rule), %(no_record)s)
FROM f LEFT JOIN record ON record.nexus_id = f.object_id
     LEFT JOIN ({evidence}) e ON e.id = f.id
     LEFT JOIN fm_pipeline.staged_patients s ON s.filemaker_key = e.key
WHERE record.is_stopped IS NOT TRUE
GROUP BY f.id, f.object_id HAVING count(DISTINCT s.nexus_id) <> 1 ORDER BY f.object_id, f.id
"""


def find_files_without_patient(
    cursor: Cursor, catalogue: Catalogue, table: str, kept: Sequence[str]
) -> list[FileWithoutPatient]:
    """Find the rows of a table whose patient the next reimport would delete, by what is staged now. Reads only.

    Args:
        table: documents or image batches.
        kept: Nexus ids of patients that are kept although FileMaker does not have them.
    """
    columns, evidence = evidence_of(catalogue, table)
    cursor.execute(
        sql.SQL("SELECT array_agg(id) FROM {} WHERE app_label = 'patients' AND model = 'patient'").format(
            catalogue.content_types.identifier
        )
    )
    ((types,),) = cursor.fetchall()
    cursor.execute(
        sql.SQL(_LEFT).format(
            columns=columns,
            table=catalogue.table(table).identifier,
            patients=catalogue.table("patients").identifier,
            evidence=sql.SQL(evidence.as_string(cursor)).format(rows=sql.SQL("f")),
        ),
        {"types": types or [], "kept": list(kept), "no_record": NOT_IN_FILEMAKER},
    )
    return [FileWithoutPatient(table, *row) for row in cursor.fetchall()]


def list_files_without_patient(cursor: Cursor, settings: Settings) -> list[FileWithoutPatient]:
    """Return all documents and image batches whose patient the next reimport would delete, by what is staged now.

    Raises:
        CatalogueStop: NEXUS_ARCHIVE_PATIENT names no patient.
        StagingStop: no patients are staged.
    """
    is_staged = has_table(cursor, "fm_pipeline.staged_builds")
    if is_staged:
        cursor.execute("SELECT EXISTS (SELECT FROM fm_pipeline.staged_builds WHERE entity = 'patient')")
        is_staged = cursor.fetchone() == (True,)
    if not is_staged:
        raise StagingStop(
            "FileMaker's patients have not been read into this database yet.",
            meaning="Which of Nexus' patients would be deleted is not known.",
            remedy="Run fm-pipeline check --full first.",
        )
    catalogue = read_catalogue(cursor, settings.nexus_schema)
    kept = FilesOfGonePatients.of(settings).with_archive_patient(cursor, catalogue).kept
    return [
        file for table in (DOCUMENTS, BATCHES) for file in find_files_without_patient(cursor, catalogue, table, kept)
    ]


def can_detach(catalogue: Catalogue, table: str) -> bool:
    """Return whether a row of the table may have no patient."""
    return not catalogue.columns[catalogue.table(table)]["object_id"].not_null


def apply_decision(
    cursor: Cursor,
    catalogue: Catalogue,
    table: Table,
    patient_type: int,
    files: FilesOfGonePatients,
    relinked: RelinkResult,
    now: datetime,
) -> RelinkResult:
    """Apply the decision; inside the transaction, after relinking. The validation refuses rows that it leaves.

    Args:
        files: with the archive patient's Nexus id.

    Returns:
        The result of relinking, with the archived or detached rows.

    Raises:
        CatalogueStop: a constraint forbids it.
    """
    if files.decision == "stop":
        return relinked
    settled = _settle(cursor, catalogue, table, patient_type, files, now)
    unresolved = {
        reason: left for reason, ids in relinked.unresolved.items() if (left := [i for i in ids if i not in settled])
    }
    if files.decision == "archive":
        return replace(relinked, unresolved=unresolved, archived=settled, archive_patient=files.archive_patient)
    return replace(relinked, unresolved=unresolved, detached=settled)


def _settle(
    cursor: Cursor,
    catalogue: Catalogue,
    table: Table,
    patient_type: int,
    files: FilesOfGonePatients,
    now: datetime,
) -> Mapping[str, str]:
    """Archive or detach the rows; return their ids, each with the id of its former patient."""
    columns = catalogue.columns[table]
    if files.decision == "detach":
        if not can_detach(catalogue, table.name):
            return {}
        changes: list[sql.Composable] = [sql.SQL("object_id = NULL")]
        if not columns["content_type_id"].not_null:
            changes.append(sql.SQL("content_type_id = NULL"))
    else:
        changes = [
            sql.SQL("object_id = {}").format(sql.Literal(files.archive_patient)),
            sql.SQL("content_type_id = {}").format(sql.Literal(patient_type)),
        ]
    if "updated_at" in columns:
        changes.append(sql.SQL("updated_at = {}").format(sql.Literal(now)))
    try:
        cursor.execute(
            sql.SQL(
                "WITH changed AS (UPDATE {table} d SET {changes} FROM {gone} g"
                " WHERE g.id = d.object_id AND (d.content_type_id = %s OR d.content_type_id IS NULL)"
                " RETURNING d.id::text AS id, g.id::text AS former, d.object_id::text AS now),"
                " noted AS (INSERT INTO {noted} SELECT id, now FROM changed)"
                " SELECT id, former FROM changed ORDER BY id"
            ).format(
                table=table.identifier,
                gone=gone(catalogue.table("patients")),
                changes=comma(changes),
                noted=relinked_table(table),
            ),
            (patient_type,),
        )
    except psycopg2.IntegrityError as error:
        raise CatalogueStop(
            f"Rows of {table} whose patient would be deleted cannot be changed as"
            f" NEXUS_FILES_OF_GONE_PATIENTS={files.decision} says: the constraint {error.diag.constraint_name}"
            " forbids it.",
            meaning="They would refer to no patient. Nothing was changed.",
            remedy=f"Use the other value of NEXUS_FILES_OF_GONE_PATIENTS, or change these rows in Nexus. {HOW_TO_LIST}",
        ) from None
    return dict(cursor.fetchall())
