"""The rows and files of one patient in Nexus, by counts and ids, for a spot check. No names, no contents.

The catalogue names the tables: every foreign key and every generic key to patients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.db.table import Table
from fm_pipeline.errors import PipelineError
from fm_pipeline.images.nexus.patient_index import AMBIGUOUS, PatientMatch, read_patient_index
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.reimport.relink import patient_content_type
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS, IMAGES
from fm_pipeline.settings import Settings
from fm_pipeline.status.stored_files import LookupResult, StoredFile, look_up_by_listing, look_up_each, read_files

MANY_FILES = 1000  # from here on a listing is cheaper: one request for a thousand objects
Existence = bool | str | None  # S3's error code if it is unknown; None if the row names no file


@dataclass(frozen=True)
class FileExistence:
    """An image or document by its Nexus id, and whether its files exist."""

    id: str
    exists: Existence
    thumbnail_exists: Existence = None


@dataclass(frozen=True)
class BatchExistence:
    """A batch; `image_count` is the value in its row."""

    id: str
    image_count: int | None
    images: Sequence[FileExistence]


@dataclass(frozen=True)
class PatientData:
    """The rows and files of a patient.

    Attributes:
        filemaker_id: in lower case; the Nexus id if FileMaker does not have the patient.
        found_by: crosswalk, metadata, notes, nexus_id or earlier_id.
        rows: ids by table, without documents and image batches.
    """

    nexus_id: str
    filemaker_id: str
    found_by: str
    rows: dict[str, list[str]]
    documents: Sequence[FileExistence] = ()
    batches: Sequence[BatchExistence] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def read_patient_data(settings: Settings, reference: str) -> PatientData:
    """Look up a patient, its rows, and its files in S3.

    Args:
        reference: a FileMaker id in any letter case, a Nexus id, or the Nexus id of an earlier reimport.

    Raises:
        PipelineError: there is no such patient, the id names two, or the pipeline has no tables in this database.
    """
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        _require_own_tables(cursor)
        catalogue = read_catalogue(cursor, settings.nexus_schema)
        found = read_patient_index(cursor, catalogue).resolve(reference)
        if not isinstance(found, PatientMatch):
            raise PipelineError(
                "The id names two patients." if found == AMBIGUOUS else "Nexus has no patient of this id.",
                remedy="Give FileMaker's id or the id in Nexus, in upper or lower case; names are not looked for.",
            )
        rows = _rows(cursor, catalogue, found.nexus_id)
        documents, batches = (rows.pop(name, []) for name in (DOCUMENTS, BATCHES))
        cursor.execute(
            sql.SQL("SELECT id::text, batch_id::text FROM {} WHERE batch_id = ANY(%s::uuid[]) ORDER BY {}id").format(
                catalogue.table(IMAGES).identifier,
                sql.SQL('"order", ' if "order" in catalogue.columns[catalogue.table(IMAGES)] else ""),
            ),
            (batches,),
        )
        of_batch: dict[str, list[str]] = defaultdict(list)
        for image_id, batch in cursor:
            of_batch[batch].append(image_id)
        ids = [*documents, *(image_id for images in of_batch.values() for image_id in images)]
        files = list(read_files(cursor, catalogue, settings.s3_bucket or "", rows=ids))
        counts = _counts(cursor, catalogue, batches)
    look = look_up_each if len(files) <= MANY_FILES else look_up_by_listing
    exists = _Existence(files, look(settings, [file for file in files if file.key]))
    return PatientData(
        found.nexus_id,
        found.key,
        found.matched_by,
        rows,
        [FileExistence(own_id, exists.of("documents", own_id)) for own_id in documents],
        [
            BatchExistence(
                batch,
                counts.get(batch),
                [
                    FileExistence(own_id, exists.of("images", own_id), exists.of("thumbnails", own_id))
                    for own_id in of_batch[batch]
                ],
            )
            for batch in batches
        ],
    )


def _require_own_tables(cursor: Cursor) -> None:
    if not has_table(cursor, "fm_pipeline.retired_patient_ids"):
        raise PipelineError(
            "The pipeline has no tables in this database yet.",
            meaning="It would not know a patient by an id of an earlier reimport. Nothing was written.",
            remedy="Run fm-pipeline plan first: it makes them.",
        )


class _Existence:
    """Whether files exist, by kind and row."""

    def __init__(self, files: Sequence[StoredFile], answers: LookupResult) -> None:
        self._found: dict[tuple[str, str], Existence] = {
            (file.kind, file.row_id): answers.exists.get(file, answers.unknown.get(file)) for file in files
        }

    def of(self, kind: str, row_id: str) -> Existence:
        return self._found.get((kind, row_id))


def _rows(cursor: Cursor, catalogue: Catalogue, patient_id: str) -> dict[str, list[str]]:
    """Return the ids of all rows that refer to the patient, by table; tables without such rows are included."""
    patients = catalogue.table("patients")
    keys: list[tuple[Table, sql.Composable]] = [
        (key.table, sql.SQL("{}::text = %(patient)s").format(sql.Identifier(key.columns[0])))
        for key in catalogue.foreign_keys_to(patients)
        if len(key.columns) == 1
    ]
    keys += [
        (
            key.table,
            sql.SQL("{}::text = %(patient)s AND {} = %(type)s").format(
                sql.Identifier(key.object_id_column), sql.Identifier(key.content_type_column)
            ),
        )
        for key in catalogue.generic_keys
    ]
    values = {"patient": patient_id, "type": patient_content_type(cursor, catalogue)}
    found: dict[str, dict[str, None]] = {}  # ordered and unique: two keys of a table may refer to the patient
    for table, condition in keys:
        if "id" not in catalogue.columns.get(table, {}):
            continue
        order = "uploaded_at, " if "uploaded_at" in catalogue.columns[table] else ""
        cursor.execute(
            sql.SQL("SELECT id::text FROM {} WHERE {} ORDER BY {}id").format(
                table.identifier, condition, sql.SQL(order)
            ),
            values,
        )
        found.setdefault(str(table), {}).update(dict.fromkeys(row[0] for row in cursor))
    return {table: list(ids) for table, ids in found.items()}


def _counts(cursor: Cursor, catalogue: Catalogue, batches: Sequence[str]) -> dict[str, int]:
    if "image_count" not in catalogue.columns[catalogue.table(BATCHES)]:
        return {}
    cursor.execute(
        sql.SQL("SELECT id::text, image_count FROM {} WHERE id = ANY(%s::uuid[])").format(
            catalogue.table(BATCHES).identifier
        ),
        (list(batches),),
    )
    return dict(cursor.fetchall())
