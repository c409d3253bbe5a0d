"""Repair batches that refer to no existing patient, because an earlier reimport gave patients new ids.

As in phase 7 of a reimport, a batch of an existing patient is never moved, and an orphaned one only if all evidence
names one patient. Evidence: the id that it carries, the ledger of the link, the export's records of
its images, and FileMaker's records of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from fm_pipeline.images.exports.metadata_table import read_metadata
from fm_pipeline.images.nexus.image_index import ImageIndex
from fm_pipeline.images.nexus.patient_index import PatientIndex, PatientMatch
from fm_pipeline.nexus.catalogue.file_ids import file_id_type, same_record
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.reimport.relink import patient_content_type
from fm_pipeline.nexus.table_names import BATCHES, IMAGES


@dataclass(frozen=True)
class BatchRepair:
    """Number of repaired batches, and of those that are still orphaned, by reason as in `relink`."""

    repaired: int = 0
    unresolved: Mapping[str, int] = field(default_factory=dict)


def repair_batches(cursor: Cursor, catalogue: Catalogue, patients: PatientIndex, known: ImageIndex) -> BatchRepair:
    """Repair orphaned batches in the caller's transaction."""
    table = catalogue.table(BATCHES)
    if "object_id" not in catalogue.columns[table]:  # a foreign key guards it there
        return BatchRepair()
    patient_type = patient_content_type(cursor, catalogue)
    cursor.execute(
        sql.SQL(
            "SELECT b.id::text, b.object_id::text FROM {} b WHERE b.content_type_id = %s"
            " AND NOT EXISTS (SELECT 1 FROM {} p WHERE p.id = b.object_id)"
        ).format(table.identifier, catalogue.table("patients").identifier),
        (patient_type,),
    )
    orphans: dict[str, str] = dict(cursor.fetchall())
    if not orphans:
        return BatchRepair()
    named: dict[str, set[str]] = defaultdict(set)
    for batch, reference in [*orphans.items(), *_evidence(cursor, catalogue, list(orphans))]:
        named[batch].add(reference)
    for record in read_metadata(cursor.connection):
        image = known.find(record.recid, record.filemaker_id, None, record.taken)
        if image and image.batch_id in orphans and not known.has_another_uuid(image, record.filemaker_id):
            named[image.batch_id].add(record.patient_ref)
    moves: list[tuple[str, str]] = []
    unresolved: dict[str, int] = defaultdict(int)
    for batch, references in named.items():
        answers = {reference: patients.resolve(reference) for reference in references}
        found = {answer.nexus_id for answer in answers.values() if isinstance(answer, PatientMatch)}
        if len(found) == 1:
            moves.append((batch, found.pop()))
        elif found:
            unresolved["evidence_conflict"] += 1
        else:
            unresolved["patient_unknown" if len(references) > 1 else "no_evidence"] += 1
    if moves:
        execute_values(
            cursor,
            sql.SQL(
                "UPDATE {} b SET object_id = v.patient::uuid FROM (VALUES %s) v (id, patient) WHERE b.id = v.id::uuid"
            ).format(table.identifier),
            moves,
            page_size=1000,
        )
    return BatchRepair(len(moves), dict(unresolved))


def _evidence(cursor: Cursor, catalogue: Catalogue, batches: list[str]) -> list[tuple[str, str]]:
    """(batch, FileMaker id of a patient) from the ledger and from FileMaker's records of the images."""
    images = catalogue.table(IMAGES)
    cursor.execute(
        sql.SQL(
            "SELECT DISTINCT i.batch_id::text, c.patient_key FROM {} i"
            " JOIN fm_pipeline.image_copies c ON c.image_id = i.id WHERE i.batch_id = ANY(%s::uuid[])"
        ).format(images.identifier),
        (batches,),
    )
    found = cursor.fetchall()
    if file_id_type(catalogue, IMAGES) != "other":
        cursor.execute(
            sql.SQL(
                "SELECT DISTINCT i.batch_id::text, l.patient_key FROM {} i JOIN fm_pipeline.staged_file_links l"
                " ON l.entity = 'image' AND {} WHERE i.batch_id = ANY(%s::uuid[])"
            ).format(images.identifier, same_record(catalogue, IMAGES, "i")),
            (batches,),
        )
        found += cursor.fetchall()
    return [(batch, reference) for batch, reference in found]
