"""What was read of patients and images is read again when, and only when, somebody has written to it."""

from __future__ import annotations

import uuid
from datetime import date
from random import Random

import pytest

from fm_pipeline.images.nexus.batch_and_image_values import NewImage, batch_id
from fm_pipeline.images.nexus.overlay_mapping import OverlayMapping
from fm_pipeline.images.nexus.snapshot import NexusSnapshot, read_snapshot
from fm_pipeline.images.nexus.writer import writing_images
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.sandbox.stack.waiting import wait_until
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, Origin

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
    "an image comes": """
        INSERT INTO images_image SELECT (jsonb_populate_record(i, jsonb_build_object('id', ':other', 'filemaker_id',
        ':other', 's3_key', 'patients/x/78.jpg'))).* FROM images_image i ORDER BY id LIMIT 1""",
    "an image comes for another": """
        DELETE FROM images_image WHERE id = (SELECT max(id::text)::uuid FROM images_image);
        INSERT INTO images_image SELECT (jsonb_populate_record(i, jsonb_build_object('id', ':new', 'filemaker_id',
        ':new', 's3_key', 'patients/x/79.jpg'))).* FROM images_image i ORDER BY id LIMIT 1""",
    "a patient becomes known": """
        INSERT INTO fm_pipeline.crosswalk SELECT 'patient', 'k', id, 'link' FROM patients ORDER BY id LIMIT 1""",
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


def parts(snapshot: NexusSnapshot) -> tuple[object, ...]:
    """All that may differ between two snapshots; of several uuids of an image, either may stand in `uuid_of`."""
    known = snapshot.known
    return snapshot.patients, known, set(known.uuid_of), set(known.recid_of)


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
    assert parts(now) == parts(anew)
    assert (now.patients, now.known) != (before.patients, before.known)


def test_a_batch_of_new_images_is_added_without_reading_the_others(clinic: MigrationBench) -> None:
    before = certain(clinic)
    for number in (1, 2):  # the second one into the batch of the first
        add_image(clinic, number)
        now, anew = refreshed(clinic, before), read(clinic)
        assert now.patients is before.patients
        assert isinstance(now.known.images, OverlayMapping)
        assert len(now.known.images.added) == number
        assert parts(now) == parts(anew)
        assert now.known.find(number + 900_000, None) is not None
        before = now


def test_an_image_that_comes_back_is_none_that_nexus_only_had(clinic: MigrationBench) -> None:
    number, uuids = 900_001, [str(uuid.UUID(int=each << 100)) for each in (1, 2)]
    add_image(clinic, 1)
    clinic.execute("DELETE FROM images_image WHERE filemaker_id = %s", uuids[0])
    before = certain(clinic)
    assert (number in before.known.gone_recids, uuids[0] in before.known.gone_uuids) == (True, True)
    add_image(clinic, 1)
    now, anew = refreshed(clinic, before), read(clinic)
    assert parts(now) == parts(anew)
    assert isinstance(now.known.gone_recids, OverlayMapping)
    assert (number in now.known.gone_recids, uuids[0] in now.known.gone_uuids) == (False, False)
    for known in (before.known, now.known, anew.known):
        assert [known.is_number_of_another(number, each) for each in uuids] == [False, True]


def add_image(clinic: MigrationBench, number: int) -> None:
    """By the writer, as the import does it."""
    day = date(2016, 10, 18)
    image = NewImage(
        patient=NEW,
        batch_id=batch_id(NEW, day),
        taken=day,
        s3_key=f"patients/{NEW}/{number}.jpg",
        original_name=f"{number}.jpg",
        size=1,
        mime_type="image/jpeg",
        recid=900_000 + number,
        filemaker_id=str(uuid.UUID(int=number << 100)),
    )
    with writing_images(clinic.settings) as writer:
        writer.write([image], RUN_TIME)  # inserts it, unless its patient has gone


def test_any_writes_after_each_other_are_all_seen(clinic: MigrationBench) -> None:
    now, chance = certain(clinic), Random(1)  # noqa: S311
    writes = chance.sample(list(WRITES), len(WRITES))
    for number, write in enumerate(writes):
        carry_out(clinic, write)
        if number % 3 == 0:
            add_image(clinic, number)
        now, anew = refreshed(clinic, now), read(clinic)
        assert parts(now) == parts(anew), write


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
