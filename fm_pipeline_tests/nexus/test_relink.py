"""Documents whose patient id leads nowhere: by which evidence each is relinked, and why some are not."""

from __future__ import annotations

import json
import uuid

import pytest

from fm_pipeline.nexus.relink import Relinked
from fm_pipeline_tests.bench.clinics import RUN_TIME, MigrationBench


@pytest.fixture
def clinic(bench: MigrationBench) -> MigrationBench:
    """After a reimport that repaired what was orphaned; no document has metadata, so each test gives its own."""
    bench.extract_and_stage().reimport()
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
    return rows  # type: ignore[return-value]


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


def relinked(clinic: MigrationBench) -> Relinked:
    clinic.extract_and_stage()
    report = clinic.reimport(RUN_TIME)
    assert report.documents
    return report.documents


def test_each_kind_of_evidence_is_counted_by_the_first_that_names_the_patient(clinic: MigrationBench) -> None:
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


def test_what_cannot_be_relinked_is_listed_by_reason_and_left_as_it_is(clinic: MigrationBench) -> None:
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
