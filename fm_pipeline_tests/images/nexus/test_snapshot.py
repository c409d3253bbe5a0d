"""What was read of patients and images is read again when, and only when, somebody has written to it."""

from __future__ import annotations

import uuid

import pytest

from fm_pipeline.images.nexus.snapshot import NexusSnapshot, read_snapshot
from fm_pipeline.images.nexus.writer import writing_images
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.sandbox.stack.waiting import wait_until
from fm_pipeline_tests.support.clinics import MigrationBench, Origin

PREFIX = "bulk/"
NEW, OTHER = str(uuid.UUID(int=7 << 108)), str(uuid.UUID(int=8 << 108))
# :new and :other are ids of patients.
_COPY = """
INSERT INTO patients SELECT (jsonb_populate_record(p, jsonb_build_object('id', ':id', 'mrn', left(':id', 5)))).*
FROM patients p ORDER BY id LIMIT 1
"""
WRITES = {
    "a patient goes": "DELETE FROM patients WHERE id = ':new'",
    "a patient comes for another": "; ".join(
        ("DELETE FROM patients WHERE id = ':new'", _COPY.replace(":id", ":other"))
    ),
    "a patient's id": """UPDATE patients SET filemaker_metadata = '{"filemaker_id": "k"}' WHERE id = ':new'""",
    "an image's key": "UPDATE images_image SET s3_key = 'patients/x/77.jpg'"
    " WHERE id = (SELECT id FROM images_image ORDER BY id LIMIT 1)",
    "an image goes": "DELETE FROM images_image WHERE id = (SELECT id FROM images_image ORDER BY id LIMIT 1)",
    "a batch is another's": "UPDATE images_batch SET object_id = ':new'"
    " WHERE id = (SELECT id FROM images_batch ORDER BY id LIMIT 1)",
    "an id becomes known": "INSERT INTO fm_pipeline.crosswalk"
    " SELECT 'image_recid', '77', id, 'link' FROM images_image ORDER BY id LIMIT 1",
    "an id of before": "INSERT INTO fm_pipeline.retired_patient_ids VALUES (':other', 'k', 'document')",
    "FileMaker's records": "INSERT INTO fm_pipeline.staged_file_links"
    " SELECT 'image', filemaker_id, 77, 'k' FROM images_image WHERE filemaker_id IS NOT NULL ORDER BY id LIMIT 1",
}


@pytest.fixture
def clinic(migrated_once: Origin, bench: MigrationBench) -> MigrationBench:
    """Nexus with a patient whom nothing points to."""
    bench.execute(_COPY.replace(":id", NEW))
    return bench


def carry_out(clinic: MigrationBench, write: str) -> None:
    """One of the writes, as somebody else."""
    clinic.execute(WRITES[write].replace(":new", NEW).replace(":other", OTHER))


def read(clinic: MigrationBench) -> NexusSnapshot:
    """All of it."""
    with clinic.connection() as connection, connection.cursor() as cursor:
        return read_snapshot(cursor, read_catalogue(cursor, "public"), PREFIX)


def refreshed(clinic: MigrationBench, before: NexusSnapshot) -> NexusSnapshot:
    """In another session."""
    with clinic.connection() as connection, connection.cursor() as cursor:
        return before.refreshed(cursor, read_catalogue(cursor, "public"), PREFIX)


def certain(clinic: MigrationBench) -> NexusSnapshot:
    """As soon as nobody on the server is at work any more who began before the clinic was filled."""
    found: list[NexusSnapshot] = []

    def holds() -> bool:
        found[:] = [read(clinic)]
        return refreshed(clinic, found[0]) is found[0]

    assert wait_until(holds, 60)
    return found[0]


@pytest.mark.parametrize("write", WRITES)
def test_every_write_invalidates_the_snapshot(clinic: MigrationBench, write: str) -> None:
    before = certain(clinic)
    carry_out(clinic, write)
    now, anew = refreshed(clinic, before), read(clinic)
    assert now is not before
    assert (now.patients, now.known) == (anew.patients, anew.known)
    assert (now.patients, now.known) != (before.patients, before.known)


def test_under_the_locks_an_unchanged_table_is_not_read_again(clinic: MigrationBench) -> None:
    before = certain(clinic)
    with writing_images(clinic.settings, before) as writer:
        assert writer.snapshot() is before
        writer.cursor.execute("UPDATE images_image SET s3_key = 'patients/x/77.jpg'")
        with_own = writer.snapshot()
        assert with_own is not before
        assert 77 in with_own.known.by_hint


def test_a_write_between_snapshot_and_locks_is_detected(clinic: MigrationBench) -> None:
    before = certain(clinic)
    carry_out(clinic, "a batch is another's")
    with writing_images(clinic.settings, before) as writer:
        assert NEW in set(writer.snapshot().known.batches.values())


def test_a_transaction_that_is_open_during_the_snapshot_is_detected_later(clinic: MigrationBench) -> None:
    with clinic.connection() as other, other.cursor() as cursor:
        cursor.execute("UPDATE images_image SET s3_key = 'patients/x/77.jpg'")
        before = read(clinic)
        assert 77 not in before.known.by_hint
        other.commit()
    assert 77 in refreshed(clinic, before).known.by_hint
