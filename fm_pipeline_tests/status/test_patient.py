"""What a patient has: found by any of its ids, counted from every table, each file looked for, and no name."""

from __future__ import annotations

import json
import uuid

import pytest
from click.testing import CliRunner

from fm_pipeline.cli.main import main
from fm_pipeline.errors import PipelineError
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.crosswalk import fill_crosswalk
from fm_pipeline.status.patient import PatientData, read_patient_data
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import MigrationBench, Origin
from fm_pipeline_tests.support.services import LazyStack

CANARY = "Zephyrine Quollthorpe"
# A patient with documents and with a batch of several images.
_PATIENT = """
SELECT p.id::text, c.filemaker_key FROM patients p
JOIN fm_pipeline.crosswalk c ON c.entity = 'patient' AND c.nexus_id = p.id
JOIN images_batch b ON b.object_id = p.id AND b.image_count > 1
WHERE EXISTS (SELECT FROM documents_document d WHERE d.object_id = p.id)
  AND EXISTS (SELECT FROM appointments a WHERE a.patient_id = p.id) ORDER BY p.id LIMIT 1
"""


@pytest.fixture
def s3(stack: LazyStack) -> BucketBench:
    """An empty bucket."""
    return BucketBench(stack.s3)


@pytest.fixture
def clinic(migrated_once: Origin, bench: MigrationBench, s3: BucketBench) -> MigrationBench:
    """Nexus as it was found, its patients in the crosswalk, and an empty bucket."""
    with bench.connection() as connection, connection.cursor() as cursor:
        fill_crosswalk(connection, read_catalogue(cursor, "public"))
    bench.execute("UPDATE documents_document SET s3_bucket = ''")
    return bench.with_settings(**s3.settings(bench.settings).model_dump(exclude_unset=True))


def count(clinic: MigrationBench, statement: str, *values: object) -> int:
    return int(clinic.execute(statement, *values)[0][0])


def test_every_id_of_a_patient_finds_the_same_in_any_letters(clinic: MigrationBench) -> None:
    ((nexus_id, key),) = clinic.execute(_PATIENT)
    earlier = str(uuid.uuid4())
    clinic.execute("INSERT INTO fm_pipeline.retired_patient_ids VALUES (%s, %s, 'document')", earlier, key)
    found: dict[str, PatientData] = {}
    for reference in (nexus_id, nexus_id.upper(), key, key.upper(), f" {key} ", earlier, earlier.upper()):
        found[reference] = read_patient_data(clinic.settings, reference)
    assert {each.nexus_id for each in found.values()} == {nexus_id}
    assert {each.filemaker_id for each in found.values()} == {key}
    assert found[earlier].found_by == "earlier_id"


def test_it_counts_what_the_database_has_also_in_tables_that_nobody_named(clinic: MigrationBench) -> None:
    clinic.execute("CREATE TABLE gait_report (id uuid PRIMARY KEY, whose uuid REFERENCES patients (id))")
    ((nexus_id, _),) = clinic.execute(_PATIENT)
    clinic.execute("INSERT INTO gait_report VALUES (%s, %s)", str(uuid.uuid4()), nexus_id)
    held = read_patient_data(clinic.settings, nexus_id)
    for table in ("appointments", "notes", "sms_messages"):
        wanted = count(clinic, f"SELECT count(*) FROM {table} WHERE patient_id = %s", nexus_id)  # noqa: S608
        assert len(held.rows[table]) == wanted
    assert held.rows["gait_report"]
    assert len(held.documents) == count(
        clinic, "SELECT count(*) FROM documents_document WHERE object_id = %s", nexus_id
    )
    batches = clinic.execute("SELECT id::text, image_count FROM images_batch WHERE object_id = %s", nexus_id)
    assert {batch.id: len(batch.images) for batch in held.batches} == dict(batches)


def test_each_file_is_looked_for(clinic: MigrationBench, s3: BucketBench) -> None:
    ((nexus_id, _),) = clinic.execute(_PATIENT)
    held = read_patient_data(clinic.settings, nexus_id)
    first, second = next(batch for batch in held.batches if len(batch.images) > 1).images[:2]
    assert (first.exists, first.thumbnail_exists) == (False, False)
    there = clinic.execute("SELECT s3_key FROM images_image WHERE id = %s", first.id)
    there += clinic.execute("SELECT s3_thumbnail_key FROM images_image WHERE id = %s", second.id)
    there += clinic.execute("SELECT s3_key FROM documents_document WHERE id = %s", held.documents[0].id)
    for (key,) in there:
        s3.put(key, b"file")
    clinic.execute("UPDATE images_image SET s3_thumbnail_key = '' WHERE id = %s", first.id)
    held = read_patient_data(clinic.settings, nexus_id)
    images = {image.id: image for batch in held.batches for image in batch.images}
    assert (images[first.id].exists, images[first.id].thumbnail_exists) == (True, None)
    assert (images[second.id].exists, images[second.id].thumbnail_exists) == (False, True)
    assert held.documents[0].exists is True


def test_many_files_of_a_patient_are_listed_and_not_asked_for_one_by_one(
    clinic: MigrationBench, s3: BucketBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two requests for each image of a patient with 200,000 would take hours."""
    ((nexus_id, _),) = clinic.execute(_PATIENT)
    for (key,) in clinic.execute("SELECT s3_key FROM images_image ORDER BY id"):
        s3.put(key, b"file")
    by_one = read_patient_data(clinic.settings, nexus_id)
    asked: list[str] = []
    monkeypatch.setattr("fm_pipeline.status.patient.MANY_FILES", 1)
    monkeypatch.setattr("fm_pipeline.storage.bucket.Bucket.exists", lambda _, key: asked.append(key))
    assert read_patient_data(clinic.settings, nexus_id) == by_one
    assert not asked
    assert {image.exists for batch in by_one.batches for image in batch.images} == {True}


def test_a_row_that_names_the_patient_twice_is_counted_once_and_each_image_is_with_its_batch(
    clinic: MigrationBench,
) -> None:
    ((nexus_id, _),) = clinic.execute(_PATIENT)
    clinic.execute(
        "CREATE TABLE gait_report (id uuid PRIMARY KEY, whose uuid REFERENCES patients (id),"
        " of uuid REFERENCES patients (id))"
    )
    own_ids = sorted(str(uuid.uuid4()) for _ in range(20))
    for own_id in own_ids:
        clinic.execute("INSERT INTO gait_report VALUES (%s, %s, %s)", own_id, nexus_id, nexus_id)
    clinic.execute("UPDATE images_batch SET object_id = %s", nexus_id)
    held = read_patient_data(clinic.settings, nexus_id)
    assert held.rows["gait_report"] == own_ids
    images = {(batch.id, image.id) for batch in held.batches for image in batch.images}
    assert images == set(clinic.execute("SELECT batch_id::text, id::text FROM images_image"))


def test_an_id_that_nobody_has_is_a_clear_error_and_so_is_a_name(clinic: MigrationBench) -> None:
    for reference in (str(uuid.uuid4()), CANARY, "", "%"):
        with pytest.raises(PipelineError, match="no patient of this id") as caught:
            read_patient_data(clinic.settings, reference)
        assert CANARY not in str(caught.value)


def test_a_database_that_the_pipeline_never_saw_is_a_clear_error_and_stays_as_it_is(bench: MigrationBench) -> None:
    with pytest.raises(PipelineError, match="no tables in this database yet"):
        read_patient_data(bench.settings, str(uuid.uuid4()))
    assert bench.execute("SELECT to_regnamespace('fm_pipeline')") == [(None,)]


def test_the_command_shows_counts_and_ids_and_no_name(clinic: MigrationBench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in clinic.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "160")
    ((nexus_id, key),) = clinic.execute(_PATIENT)
    clinic.execute("UPDATE patients SET first_name = %s, last_name = %s WHERE id = %s", *CANARY.split(), nexus_id)
    clinic.execute("UPDATE images_batch SET name = %s, image_count = 99", CANARY)
    clinic.execute("UPDATE documents_document SET original_name = %s, s3_key = %s", CANARY, f"documents/{CANARY}.pdf")
    shown = CliRunner().invoke(main, ["patient", key.upper()])
    assert shown.exit_code == 0, shown.output
    as_json = CliRunner().invoke(main, ["patient", nexus_id, "--json"])
    held = json.loads(as_json.stdout)
    assert held["filemaker_id"] == key
    for row_id in [document["id"] for document in held["documents"]] + [batch["id"] for batch in held["batches"]]:
        assert row_id in shown.output
    assert "but its row says 99" in shown.output
    for word in CANARY.split():
        assert word not in shown.output + as_json.output
    refused = CliRunner().invoke(main, ["patient", "nobody"])
    assert refused.exit_code == 1
