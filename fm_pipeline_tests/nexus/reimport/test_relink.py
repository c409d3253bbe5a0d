"""Documents whose patient id leads nowhere: by which evidence each is relinked, and why some are not."""

from __future__ import annotations

import json
import uuid

import pytest

from fm_pipeline.nexus.catalogue.file_ids import same_record
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.reimport.relink import RelinkResult
from fm_pipeline.nexus.table_names import DOCUMENTS, IMAGES
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, Origin


@pytest.fixture
def clinic(reimported_once: Origin, bench: MigrationBench) -> MigrationBench:
    """After a reimport that repaired what was orphaned; no document has metadata, so each test gives its own."""
    bench.execute("UPDATE documents_document SET filemaker_metadata = NULL")
    return bench


def documents(clinic: MigrationBench, count: int) -> list[tuple[str, str, str]]:
    """Documents of different patients: their id, their patient's Nexus id, and that patient's FileMaker id."""
    rows = clinic.execute(
        "SELECT DISTINCT ON (d.object_id) d.id::text, d.object_id::text, c.filemaker_key FROM documents_document d"
        " JOIN fm_pipeline.crosswalk c ON c.entity = 'patient' AND c.nexus_id = d.object_id"
        " ORDER BY d.object_id, d.id LIMIT %s",
        count,
    )
    assert len(rows) == count
    return rows


def orphan(clinic: MigrationBench, document: str, at: str | None = None, patient_key: str | None = None) -> str:
    """Let a document point at an id that no patient has."""
    nobody = at or str(uuid.uuid4())
    metadata = json.dumps({"filemaker_patient_id": patient_key}) if patient_key else None
    clinic.execute(
        "UPDATE documents_document SET object_id = %s, filemaker_metadata = %s WHERE id = %s",
        nobody,
        metadata,
        document,
    )
    return nobody


def without_record(clinic: MigrationBench, *documents: str) -> None:
    """FileMaker has no record of these documents (any more)."""
    clinic.execute(
        "UPDATE documents_document SET filemaker_id = gen_random_uuid() WHERE id = ANY(%s::uuid[])", list(documents)
    )


def relinked(clinic: MigrationBench) -> RelinkResult:
    clinic.extract_and_stage()
    report = clinic.reimport(RUN_TIME)
    assert report.documents
    return report.documents


def test_each_kind_of_evidence_is_counted_by_the_first_that_names_the_patient(clinic: MigrationBench) -> None:
    # Columns of a release that have the name of one of the documents.
    clinic.execute("ALTER TABLE images_image ADD object_id integer; ALTER TABLE patients ADD object_id uuid")
    by_crosswalk, by_metadata, by_record, by_others = documents(clinic, 4)
    without_record(clinic, by_crosswalk[0], by_metadata[0], by_others[0])
    earlier = orphan(clinic, by_crosswalk[0])
    clinic.execute("INSERT INTO fm_pipeline.retired_patient_ids VALUES (%s, %s, 'duplicate')", earlier, by_crosswalk[2])
    shared = orphan(clinic, by_metadata[0], patient_key=by_metadata[2].upper())
    orphan(clinic, by_record[0])
    orphan(clinic, by_others[0], at=shared)  # only the document before it tells whose the id was
    found = relinked(clinic)
    assert found.by_evidence == {"crosswalk": 1, "earlier_id": 1, "filemaker_record": 1, "metadata": 1}
    owners = dict(clinic.execute("SELECT id::text, object_id::text FROM documents_document"))
    for document, owner, _ in (by_crosswalk, by_metadata, by_record):
        assert owners[document] == owner
    assert owners[by_others[0]] == by_metadata[1]


def test_files_that_cannot_be_relinked_are_listed_by_reason_and_unchanged(clinic: MigrationBench) -> None:
    silent, stranger, torn = documents(clinic, 3)
    other = documents(clinic, 4)[3]
    without_record(clinic, silent[0], stranger[0])
    points_at = [
        orphan(clinic, silent[0]),
        orphan(clinic, stranger[0], patient_key=str(uuid.uuid4())),
        orphan(clinic, torn[0], patient_key=other[2]),  # FileMaker's record names its own patient
    ]
    found = relinked(clinic)
    assert found.unresolved == {
        "no_evidence": [silent[0]],
        "patient_unknown": [stranger[0]],
        "evidence_conflict": [torn[0]],
    }
    owners = dict(clinic.execute("SELECT id::text, object_id::text FROM documents_document"))
    assert [owners[document] for document, _, _ in (silent, stranger, torn)] == points_at


def orphan_batch(clinic: MigrationBench) -> tuple[str, str]:
    """Let a batch whose image the link made point at nobody: its id, and that of its patient."""
    ((batch, patient),) = clinic.execute(
        "SELECT b.id::text, b.object_id::text FROM images_batch b JOIN patients p ON p.id = b.object_id"
        " JOIN images_image i ON i.batch_id = b.id ORDER BY b.id LIMIT 1"
    )
    clinic.execute("UPDATE images_batch SET object_id = gen_random_uuid() WHERE id = %s", batch)
    clinic.execute(
        "INSERT INTO fm_pipeline.image_copies (recid, patient_key, batch_id, source_key, source_size, source_etag,"
        " target_key, state, image_id, planned_at, verified_at)"
        " SELECT 7, c.filemaker_key, i.batch_id, 'bulk/7.jpg', 1, 'e', 'patients/7.jpg', 'linked', i.id, now(), now()"
        " FROM images_image i, fm_pipeline.crosswalk c"
        " WHERE i.batch_id = %s AND c.entity = 'patient' AND c.nexus_id = %s LIMIT 1",
        batch,
        patient,
    )
    return batch, patient


@pytest.mark.parametrize(
    "change",
    [
        "ALTER filemaker_id TYPE integer USING (random() * 1e9)::integer",
        "ALTER filemaker_id TYPE varchar(64) USING filemaker_id::text",
        "DROP filemaker_id",
        "ADD harmless integer",
    ],
)
def test_files_without_a_uuid_in_filemaker_id_are_relinked_by_other_evidence(
    clinic: MigrationBench, change: str
) -> None:
    batch, patient = orphan_batch(clinic)
    ((document, owner, key),) = documents(clinic, 1)
    orphan(clinic, document, patient_key=key)
    for table in ("images_image", "documents_document"):
        clinic.execute(f"ALTER TABLE {table} {change}")
    clinic.execute("DELETE FROM fm_pipeline.reimports")  # this release never was another one
    clinic.extract_and_stage()
    report = clinic.reimport(RUN_TIME)
    assert report.documents
    assert report.batches
    assert report.documents.by_evidence == {"metadata": 1}
    assert report.batches.by_evidence == {"image_link": 1}
    assert clinic.execute("SELECT object_id::text FROM documents_document WHERE id = %s", document) == [(owner,)]
    assert clinic.execute("SELECT object_id::text FROM images_batch WHERE id = %s", batch) == [(patient,)]


def test_text_ids_in_any_spelling_tell_the_patient_by_filemakers_record(clinic: MigrationBench) -> None:
    ((document, owner, _),) = documents(clinic, 1)
    orphan(clinic, document)
    clinic.execute("ALTER TABLE documents_document ALTER filemaker_id TYPE text USING upper(filemaker_id::text) || ' '")
    clinic.extract_and_stage()
    assert relinked(clinic).by_evidence == {"filemaker_record": 1}
    assert clinic.execute("SELECT object_id::text FROM documents_document WHERE id = %s", document) == [(owner,)]


def test_two_uuids_are_compared_as_such_so_that_an_index_serves(clinic: MigrationBench) -> None:
    with clinic.connection() as connection, connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, "public")
        for table in (DOCUMENTS, IMAGES):
            assert same_record(catalogue, table, "d").as_string(cursor) == "l.filemaker_id = d.filemaker_id"
