"""Phases 6 and 7: re-points documents and image batches that refer to no existing patient.

Both have a generic key to the patient (content type and object id), which no constraint guards. A row that refers to an
existing patient is never moved; if FileMaker's record names another patient, the row is listed. For other rows all
evidence is collected. A row is relinked only if all of it names one patient:

1. crosswalk: its object id was an earlier id of a patient;
2. metadata: the document's own `filemaker_patient_id`; for a batch, the ledger of linked images;
3. FileMaker's record of the document, or of the batch's images;
4. earlier id: other documents or images with the same object id belong to that patient, by 2 or 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import count, has_table
from fm_pipeline.db.table import Table
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.file_ids import file_id_type, same_record
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.table_names import DOCUMENTS, IMAGES

REASONS = {
    "no_evidence": "there is no evidence which patient it belongs to",
    "patient_unknown": "it belongs to a patient that FileMaker does not have or that was not loaded",
    "evidence_conflict": "its evidence names different patients",
    "disagrees": "it points to an existing patient, but FileMaker's record names another",
}


@dataclass(frozen=True)
class RelinkResult:
    """What was done with the rows of one table.

    Attributes:
        already: number of rows that refer to an existing patient and were not changed.
        by_evidence: number of relinked rows, by the first evidence that named the patient.
        unresolved: Nexus ids of rows that still refer to no patient, by reason.
        disagreeing: Nexus ids of unchanged rows for which FileMaker names another patient.
        archived, detached: Nexus ids of rows whose patient is deleted, each with the id of that patient.
        archive_patient: the patient that the archived rows refer to now.
    """

    total: int
    already: int
    by_evidence: Mapping[str, int] = field(default_factory=dict)
    unresolved: Mapping[str, list[str]] = field(default_factory=dict)
    disagreeing: list[str] = field(default_factory=list)
    archived: Mapping[str, str] = field(default_factory=dict)
    detached: Mapping[str, str] = field(default_factory=dict)
    archive_patient: str | None = None

    @property
    def settled(self) -> int:
        """Number of rows whose patient is deleted and that were archived or detached."""
        return len(self.archived) + len(self.detached)

    @property
    def relinked(self) -> int:
        """Number of relinked rows."""
        return sum(self.by_evidence.values())


def patient_content_type(cursor: Cursor, catalogue: Catalogue) -> int:
    """Return the id of Django's content type patients.patient.

    Raises:
        CatalogueStop: Nexus does not have it.
    """
    cursor.execute(
        sql.SQL("SELECT id FROM {} WHERE app_label = 'patients' AND model = 'patient'").format(
            catalogue.content_types.identifier
        )
    )
    row = cursor.fetchone()
    if row is None:
        raise CatalogueStop(
            "Nexus has no content type patients.patient.",
            meaning="Patients' documents and images could not be distinguished from others. Nothing was changed.",
            remedy="Run the application's migrations (manage.py migrate), which create it.",
        )
    return int(row[0])


# The columns from which the evidence is derived.
_DOCUMENT_COLUMNS = """
d.id, d.object_id, lower(btrim(d.filemaker_metadata ->> 'filemaker_patient_id')) AS patient_key
"""
_BATCH_COLUMNS = "d.id, d.object_id"

# One row for each piece of evidence: document or batch, kind of evidence, patient.
_EVIDENCE_OF_IDS = """
SELECT d.id, d.object_id, CASE WHEN r.origin = 'duplicate' THEN 'crosswalk' ELSE 'earlier_id' END AS evidence,
       CASE WHEN r.origin = 'duplicate' THEN 1 ELSE 4 END AS rank, r.filemaker_key AS key
FROM {rows} d JOIN fm_pipeline.retired_patient_ids r ON r.nexus_id = d.object_id
UNION ALL
SELECT d.id, d.object_id, 'crosswalk', 1, c.filemaker_key
FROM {rows} d JOIN fm_pipeline.crosswalk c ON c.entity = 'patient' AND c.nexus_id = d.object_id
UNION ALL
"""
_DOCUMENT_EVIDENCE = """
SELECT d.id, d.object_id, 'metadata', 2, d.patient_key FROM {rows} d WHERE d.patient_key <> ''
UNION ALL
SELECT d.id, d.object_id, 'filemaker_record', 3, l.patient_key
FROM {rows} d JOIN fm_pipeline.staged_file_links l
     ON l.entity = 'document' AND {same_record}
"""
_BATCH_EVIDENCE = """
SELECT DISTINCT d.id, d.object_id, 'filemaker_record', 3, l.patient_key
FROM {rows} d JOIN {images} i ON i.batch_id = d.id
     JOIN fm_pipeline.staged_file_links l ON l.entity = 'image' AND {same_record}
UNION ALL
SELECT DISTINCT d.id, d.object_id, 'image_link', 2, c.patient_key
FROM {rows} d JOIN {images} i ON i.batch_id = d.id JOIN fm_pipeline.image_copies c ON c.image_id = i.id
"""


def evidence_of(catalogue: Catalogue, table: str) -> tuple[sql.Composable, sql.Composable]:
    """Return the SQL that collects the evidence for documents or image batches.

    Returns:
        The columns of a row (`d`) from which the evidence is derived, and a query of one row for each piece of evidence
        (`id`, `object_id`, `evidence`, `rank`, `key`), in which `{rows}` stands for a relation with these columns.
    """
    if table == DOCUMENTS:
        own_id = "" if file_id_type(catalogue, DOCUMENTS) == "other" else ", d.filemaker_id"
        return sql.SQL(_DOCUMENT_COLUMNS + own_id), sql.SQL(_EVIDENCE_OF_IDS + _DOCUMENT_EVIDENCE).format(
            rows=sql.SQL("{rows}"), same_record=same_record(catalogue, DOCUMENTS, "d")
        )
    return sql.SQL(_BATCH_COLUMNS), sql.SQL(_EVIDENCE_OF_IDS + _BATCH_EVIDENCE).format(
        rows=sql.SQL("{rows}"),
        images=catalogue.table(IMAGES).identifier,
        same_record=same_record(catalogue, IMAGES, "i"),
    )


def relink(cursor: Cursor, catalogue: Catalogue, table: Table, patient_type: int, now: datetime) -> RelinkResult:
    """Run phase 6 (documents) or 7 (batches, to whose patient their images belong); after the patients are loaded.

    Args:
        cursor: inside the transaction.
        patient_type: as `patient_content_type` gives it.
    """
    patients = catalogue.table("patients").identifier
    total, evidence = _collect_evidence(cursor, catalogue, table, patient_type)
    stamp = sql.SQL(", updated_at = %(now)s" if "updated_at" in catalogue.columns[table] else "")
    cursor.execute(
        sql.SQL(
            "UPDATE {table} d SET content_type_id = %(type)s, object_id = a.patient{stamp} FROM answers a"
            " WHERE a.id = d.id AND a.patients = 1"
        ).format(table=table.identifier, stamp=stamp),
        {"type": patient_type, "now": now},
    )
    cursor.execute("SELECT count(*) FROM files WHERE linked")
    already = count(cursor)
    cursor.execute("SELECT evidence, count(*) FROM answers WHERE patients = 1 GROUP BY evidence ORDER BY 1")
    by_evidence = dict(cursor.fetchall())
    cursor.execute(
        """
        SELECT CASE WHEN patients > 1 THEN 'evidence_conflict' WHEN named > 0 THEN 'patient_unknown'
                    ELSE 'no_evidence' END AS reason, array_agg(id::text ORDER BY id)
        FROM answers WHERE patients <> 1 GROUP BY reason ORDER BY 1
        """
    )
    unresolved = dict(cursor.fetchall())
    cursor.execute(
        sql.SQL(
            "SELECT DISTINCT e.id::text FROM ({evidence}) e"
            " JOIN fm_pipeline.crosswalk c ON c.entity = 'patient' AND c.filemaker_key = e.key"
            " AND c.nexus_id <> e.object_id JOIN {patients} p ON p.id = c.nexus_id ORDER BY 1"
        ).format(evidence=evidence.format(rows=sql.SQL("(SELECT * FROM files WHERE linked)")), patients=patients)
    )
    disagreeing = [row[0] for row in cursor.fetchall()]
    cursor.execute(
        sql.SQL(
            "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT id::text, patient::text FROM answers WHERE patients = 1;"
            "DROP TABLE files, answers"
        ).format(relinked_table(table))
    )
    return RelinkResult(total, already, by_evidence, unresolved, disagreeing)


def _collect_evidence(cursor: Cursor, catalogue: Catalogue, table: Table, patient_type: int) -> tuple[int, sql.SQL]:
    """Fill the temporary tables `files` (all rows) and `answers` (the evidence of rows without a patient).

    Returns:
        The number of rows, and the query of `evidence_of` as text.
    """
    columns, query = evidence_of(catalogue, table.name)
    patients = catalogue.table("patients").identifier
    # Rows with another content type (a company's documents) are left alone.
    cursor.execute(
        sql.SQL(
            "CREATE TEMP TABLE files ON COMMIT DROP AS SELECT {columns}, p.id IS NOT NULL AS linked FROM {table} d"
            " LEFT JOIN {patients} p ON p.id = d.object_id AND d.content_type_id = %(type)s"
            " WHERE d.content_type_id = %(type)s OR d.content_type_id IS NULL"
        ).format(columns=columns, table=table.identifier, patients=patients),
        {"type": patient_type},
    )
    total = cursor.rowcount
    cursor.execute("ANALYZE files")  # nothing else does it for a temporary table, and all that follows joins it
    evidence = sql.SQL(query.as_string(cursor))
    # The few rows without a patient need all evidence; for the many others only contradictions are searched for.
    cursor.execute(
        sql.SQL(
            """
            CREATE TEMP TABLE answers ON COMMIT DROP AS
            SELECT f.id, count(e.id) AS named, count(DISTINCT p.id) AS patients, min(p.id::text)::uuid AS patient,
                   (array_agg(e.evidence ORDER BY e.rank) FILTER (WHERE p.id IS NOT NULL))[1] AS evidence
            FROM files f LEFT JOIN ({evidence}) e ON e.id = f.id
                 LEFT JOIN fm_pipeline.crosswalk c ON c.entity = 'patient' AND c.filemaker_key = e.key
                 LEFT JOIN {patients} p ON p.id = c.nexus_id
            WHERE NOT f.linked GROUP BY f.id
            """
        ).format(evidence=evidence.format(rows=sql.SQL("(SELECT * FROM files WHERE NOT linked)")), patients=patients)
    )
    return total, evidence


def relinked_rows(cursor: Cursor, table: Table) -> set[str]:
    """Return ids of the rows whose patient this transaction has changed or removed."""
    if not has_relinked(cursor, table):
        return set()
    cursor.execute(sql.SQL("SELECT id FROM {}").format(relinked_table(table)))
    return {row[0] for row in cursor.fetchall()}


def has_relinked(cursor: Cursor, table: Table) -> bool:
    """Return whether this transaction has made the table of `relinked_table`."""
    return has_table(cursor, f"pg_temp.{relinked_table(table).as_string(cursor)}")


def relinked_table(table: Table) -> sql.Identifier:
    """Return the name of the temporary table of rows whose patient was changed or removed: `id`, `patient`."""
    return sql.Identifier(f"relinked_{table.name}")
