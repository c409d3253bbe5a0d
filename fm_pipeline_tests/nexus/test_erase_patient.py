"""The erasure of a patient from the pipeline's own tables."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

import pytest
from click.testing import CliRunner, Result

from fm_pipeline.cli.main import main
from fm_pipeline.dicom.history.erase_patient import erase_patient_files
from fm_pipeline.dicom.model import orthanc_id
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.unexpected_patients import erased_ids
from fm_pipeline_tests.support.clinics import MigrationBench, Origin

OTHER = "00000000-0000-4000-8000-000000000000"
# Two rows of the history that belong to the patient, one directly and one by the other; one of somebody else.
HISTORY = """
INSERT INTO fm_pipeline.crosswalk (entity, filemaker_key, nexus_id, origin) VALUES ('patient', %(key)s, %(id)s, 'new');
INSERT INTO fm_pipeline.set_aside_rows (table_schema, table_name, row_key, content) VALUES
    ('public', 'images_batch', '11111111-1111-4111-8111-111111111111', json_build_object('object_id', %(id)s)),
    ('public', 'images_image', '22222222-2222-4222-8222-222222222222',
     '{"batch_id": "11111111-1111-4111-8111-111111111111"}'),
    ('public', 'images_image', '5', json_build_object('batch_id', %(other)s, 'order', 5));
INSERT INTO fm_pipeline.syncs (id, requested_by, created_at, status, inputs, report)
VALUES (%(other)s, 'x', now(), 'committed', '{}', '{}');
INSERT INTO fm_pipeline.sync_changes VALUES (%(other)s, 'public', 'patients', %(id)s, %(row)s, NULL),
    (%(other)s, 'public', 'patients', %(other)s, json_build_object('id', %(other)s), NULL);
INSERT INTO fm_pipeline.synced_rows (entity, nexus_id, filemaker_key, filemaker, nexus, state) VALUES
    ('patient', %(id)s, %(key)s, '{}', '{}', 0), ('patient', %(other)s, 'another', '{}', '{}', 0);
INSERT INTO fm_pipeline.sync_decisions VALUES (%(other)s, 'patient', %(id)s, 'phone', 'kept', true, %(key)s);
INSERT INTO fm_pipeline.retired_patient_ids VALUES ('33333333-3333-4333-8333-333333333333', %(key)s, 'duplicate');
INSERT INTO fm_pipeline.image_copies (recid, patient_key, batch_id, source_key, source_size, source_etag, target_key,
    state, planned_at) VALUES (1, upper(%(key)s), %(other)s, 'a', 1, 'e', 'patients/' || %(id)s, 'copied', now()),
    (2, 'another', %(other)s, 'b', 1, 'e', 'patients/another', 'copied', now());
INSERT INTO fm_pipeline.waterfall_lists VALUES (%(other)s, NULL, now(), 'API_Images', 2);
INSERT INTO fm_pipeline.waterfall_images (record_id, list_id, filemaker_key, image) VALUES
    (1, %(other)s, 'an image', json_build_object('patient', upper(%(key)s), 'caption', 'left knee of Quollthorpe')),
    (2, %(other)s, 'another image', '{"patient": "another"}');
"""
# A hospital that names its folders after patients: one of the patient, one of two patients.
HOSPITAL = """
INSERT INTO fm_pipeline.sync_configuration (hospital_data_path, monitoring_enabled, monitoring_interval, quiet_period,
    files_per_job, sync_enabled, sync_interval, ftp_enabled, ftp_port, ftp_password_set, ftp_path, ftp_passive,
    ftp_security, ftp_folder, updated_at, updated_by)
VALUES ('/hospital', true, 1, 1, 1, false, 1, true, 21, false, '/out', true, 'none', 'QUOLL', now(), 'x');
INSERT INTO fm_pipeline.watched_roots (path_hash, directory, mount_point) VALUES (gen_random_uuid(), '/hospital', '/');
INSERT INTO fm_pipeline.watched_directories (root_id, path_hash, directory) SELECT 1, gen_random_uuid(), unnest(
    '{/hospital,/hospital/QUOLL,/hospital/QUOLL/Zephyrine,/hospital/QUOLL/Zephyrine/CT,/hospital/shared}'::text[]);
INSERT INTO fm_pipeline.import_jobs (job_type, source_path, status, requested_by) VALUES
    ('initial', '/hospital', 'completed', 'x'), ('manual', '/hospital/QUOLL/Zephyrine', 'completed', 'x');
INSERT INTO fm_pipeline.import_job_files VALUES (1, '/hospital/QUOLL/Zephyrine/CT/1'), (1, '/hospital/shared/2');
INSERT INTO fm_pipeline.import_chunks (job_id, number, files, size_bytes, paths) VALUES (1, 1, 3, 3,
    '{/hospital/shared/2,/hospital/QUOLL/Zephyrine/CT/2,/hospital/shared/Zephyrine.dcm}');
INSERT INTO fm_pipeline.import_patients VALUES ('P-77', 'Zephyrine 1970'), ('P-78', 'Another 1970');
INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, status, patient_id,
    orthanc_instance_id) VALUES
    (1, '/hospital/QUOLL/Zephyrine/CT/1', '1', gen_random_uuid(), 'imported', 'P-77', 'one'),
    (1, '/hospital/QUOLL/Zephyrine/Zephyrine.txt', 'Zephyrine.txt', gen_random_uuid(), 'skipped', NULL, NULL),
    (1, '/hospital/shared/Zephyrine.dcm', 'Zephyrine.dcm', gen_random_uuid(), 'failed', 'P-77', NULL),
    (1, '/hospital/shared/Zephyrine.zip!/2', '2', gen_random_uuid(), 'imported', 'P-77', 'two'),
    (1, '/hospital/shared/Zephyrine.zip', 'Zephyrine.zip', gen_random_uuid(), 'skipped', NULL, NULL),
    (1, '/hospital/shared/2', '2', gen_random_uuid(), 'imported', 'P-78', 'three'),
    (1, '/hospital/QUOLL/3', '3', gen_random_uuid(), 'imported', 'P-78', 'four');
INSERT INTO fm_pipeline.ftp_files (server, remote_path, size_bytes, state) VALUES
    ('s', '/out/Zephyrine/CT/1', 1, 'pulled'), ('s', '/out/3', 1, 'pulled');
"""


STAGED = """
SELECT s.nexus_id::text, s.filemaker_key, row_to_json(s)::text FROM fm_pipeline.staged_patients s
WHERE EXISTS (SELECT FROM patients p WHERE p.id = s.nexus_id) = %s
  AND EXISTS (SELECT FROM fm_pipeline.staged_appointments a WHERE a.patient_id = s.nexus_id) ORDER BY 1 LIMIT 1
"""


@pytest.fixture
def nexus(staged_once: Origin, bench: MigrationBench, monkeypatch: pytest.MonkeyPatch) -> MigrationBench:
    """A staged clinic that was not reimported yet, so that Nexus lacks some patients."""
    for name, value in bench.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    return bench


def fm_pipeline(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["patient", *arguments])


def holding(bench: MigrationBench, text: str) -> set[str]:
    """Our tables that hold a text in any of their rows."""
    tables = bench.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'fm_pipeline'")
    return {
        table
        for (table,) in tables
        if bench.execute(f"SELECT 1 FROM fm_pipeline.{table} t WHERE t::text ILIKE %s LIMIT 1", f"%{text}%")  # noqa: S608
    }


def test_a_patient_who_is_gone_is_removed_from_every_table_but_those_that_say_what_happened(
    nexus: MigrationBench,
) -> None:
    ((nexus_id, key, row),) = nexus.execute(STAGED, False)
    with nexus.connection() as connection, connection.cursor() as cursor:
        cursor.execute(HISTORY, {"id": nexus_id, "key": key, "row": row, "other": OTHER})
        connection.commit()
    values = _of_nobody_else(nexus, json.loads(row))
    assert len(values) > 3
    before, digests = holding(nexus, nexus_id) | holding(nexus, key), nexus.digests()
    assert {"source_records", "staged_patients", "staged_appointments", "staged_outcomes", "set_aside_rows"} <= before
    shown = fm_pipeline(key.upper(), "--erase")
    assert shown.exit_code == 0, shown.output
    assert holding(nexus, nexus_id) | holding(nexus, key) == before | {"audit"}, "a dry run removes nothing"
    words = shlex.split(shown.stdout.splitlines()[-1])[-1]
    assert fm_pipeline(key, "--erase", "--confirm", "another 1").exit_code == 1

    ((rows,),) = nexus.execute("SELECT count(*) FROM fm_pipeline.staged_patients")
    done = fm_pipeline(key, "--erase", "--confirm", words)
    assert done.exit_code == 0, done.output
    assert f"Removed {words.split()[-1]} rows." in done.stdout
    assert "So may histories in Nexus" in done.stdout  # nothing but the application may write there
    assert holding(nexus, nexus_id) | holding(nexus, key) == {"audit"}
    for value in values:
        assert holding(nexus, value) <= ({"audit"} if value.lower() in {key, nexus_id} else set()), value
    assert nexus.execute("SELECT count(*) FROM fm_pipeline.staged_patients") == [(rows - 1,)]
    for table in ("set_aside_rows", "sync_changes", "synced_rows", "image_copies", "waterfall_images"):
        kept = 1
        assert nexus.execute(f"SELECT count(*) FROM fm_pipeline.{table}") == [(kept,)], table  # noqa: S608
    assert nexus.digests() == digests
    ends = "SELECT outcome FROM fm_pipeline.audit WHERE action = 'prune' AND position(%s in detail) > 0 ORDER BY id"
    assert [end for (end,) in nexus.execute(ends, key)] == ["started", "done", "started", "refused", "started", "done"]
    assert "hold nothing of this patient" in fm_pipeline(key, "--erase").stdout
    with nexus.connection() as connection, connection.cursor() as cursor:
        assert {key, nexus_id} <= set(erased_ids(cursor))  # by both a sync knows the patient who comes back


def _of_nobody_else(bench: MigrationBench, row: object) -> list[str]:
    """The values of a staged row that no other staged row has."""
    if isinstance(row, Mapping):
        return [value for each in row.values() for value in _of_nobody_else(bench, each)]
    if not isinstance(row, str) or len(row) < 6:
        return []
    found = bench.execute("SELECT count(*) FROM fm_pipeline.staged_patients s WHERE position(%s in s::text) > 0", row)
    return [row] if found == [(1,)] else []


def test_names_and_paths_leave_the_history_of_dicom_imports_and_files_stay_known(nexus: MigrationBench) -> None:
    nexus.execute(HOSPITAL)
    known = "SELECT path_hash, status FROM fm_pipeline.import_history ORDER BY id"
    hashes = nexus.execute(known)
    asked = ("gone", "--erase", "--dicom-patient-id", "P-77")
    shown = fm_pipeline(*asked)
    assert shown.exit_code == 0, shown.output
    assert "import_history" in holding(nexus, "Zephyrine")
    words = shlex.split(shown.stdout.splitlines()[-1])[-1]
    nexus.execute("UPDATE fm_pipeline.import_jobs SET status = 'running' WHERE id = 1")
    assert "is waiting or at work" in fm_pipeline(*asked, "--confirm", words).stderr
    nexus.execute("UPDATE fm_pipeline.import_jobs SET status = 'completed'")

    done = fm_pipeline(*asked, "--confirm", words)
    assert done.exit_code == 0, done.output
    assert holding(nexus, "Zephyrine") | holding(nexus, "P-77") == set()
    assert nexus.execute(known) == hashes
    paths = "SELECT file_path FROM fm_pipeline.import_history WHERE file_path <> '/erased' ORDER BY 1"
    assert nexus.execute(paths) == [("/hospital/QUOLL/3",), ("/hospital/shared/2",)]
    directories = "SELECT directory FROM fm_pipeline.watched_directories ORDER BY 1"
    assert nexus.execute(directories) == [("/hospital",), ("/hospital/QUOLL",), ("/hospital/shared",)]
    pulled = nexus.execute("SELECT left(convert_from(remote_path, 'UTF8'), 7) FROM fm_pipeline.ftp_files ORDER BY 1")
    assert pulled == [("/out/3",), ("erased ",)]
    assert nexus.execute("SELECT source_path FROM fm_pipeline.import_jobs ORDER BY id") == [
        ("/hospital",),
        ("/erased",),
    ]
    assert nexus.execute("SELECT paths FROM fm_pipeline.import_chunks") == [(["/hospital/shared/2"],)]
    assert "Orthanc and the hospital's directory" in done.stdout


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_patient_id_of_dicom_is_refused_before_anything_is_done(nexus: MigrationBench, empty: str) -> None:
    """As of an unset variable of the shell: the files without a Patient ID may be of anybody."""
    nexus.execute(HOSPITAL)
    nexus.execute("UPDATE fm_pipeline.import_history SET patient_id = '' WHERE file_name = '3'")
    before = nexus.execute("SELECT * FROM fm_pipeline.import_history ORDER BY id")
    trail = nexus.execute("SELECT count(*) FROM fm_pipeline.audit")
    refused = fm_pipeline("gone", "--erase", "--dicom-patient-id", "P-77", "--dicom-patient-id", empty)
    assert (refused.exit_code, "A Patient ID is empty." in refused.stderr) == (1, True), refused.output
    assert nexus.execute("SELECT count(*) FROM fm_pipeline.audit") == trail
    with nexus.connection() as connection, connection.cursor() as cursor:
        with pytest.raises(RequestError, match="A Patient ID is empty"):
            erase_patient_files(cursor, ["P-77", empty], [])
        connection.commit()
    assert nexus.execute("SELECT * FROM fm_pipeline.import_history ORDER BY id") == before


def test_an_erasure_says_whose_new_files_are_kept_out_and_which_patient_id_is_shared_or_unknown(
    nexus: MigrationBench,
) -> None:
    nexus.execute(HOSPITAL)
    nexus.execute("INSERT INTO fm_pipeline.import_patients VALUES ('P-77', 'Somebody 1950'), ('P-78', 'Another 1971')")
    nexus.execute("UPDATE fm_pipeline.import_patients SET one_person_since = now() WHERE patient_id = 'P-78'")
    asked = ("gone", "--erase", *(word for each in ("P-77", "P-78", "P 79") for word in ("--dicom-patient-id", each)))
    shown = fm_pipeline(*asked).stdout
    assert "Once it is confirmed, incremental imports keep out new files with the Patient ID P-77, P-78." in shown
    assert "The Patient ID P-77 was met with 2 combinations" in shown
    assert "The Patient ID P-78 was met" not in shown
    assert "No import has met the Patient ID 'P 79': is it mistyped?" in shown
    assert "Zephyrine" not in shown
    done = fm_pipeline(*asked, "--confirm", shlex.split(shown.splitlines()[-1])[-1])
    assert "From now on incremental imports keep out new files with the Patient ID P-77, P-78." in done.stdout
    kept_out = {each for (each,) in nexus.execute("SELECT orthanc_patient_id FROM fm_pipeline.erased_dicom_patients")}
    assert {orthanc_id("P-77"), orthanc_id("P-78")} <= kept_out
    assert orthanc_id("P 79") not in kept_out
    unknown = fm_pipeline("gone", "--erase", "--dicom-patient-id", "P 79").stdout
    assert "keep out" not in unknown
    assert "--confirm" not in unknown
    again = fm_pipeline("gone", "--erase", "--dicom-patient-id", "P-77").stdout
    assert "To keep new files with these Patient IDs out" in again


def test_before_an_erasure_the_studies_of_each_patient_id_are_counted_so_that_a_mistyped_one_is_noticed(
    nexus: MigrationBench,
) -> None:
    nexus.execute(HOSPITAL)
    nexus.execute(
        "UPDATE fm_pipeline.import_history SET study_uid = '1.' || (id % 2), study_month = '2021-0' || id"
        " WHERE patient_id = 'P-77'"
    )
    asked = ("gone", "--erase", *(word for each in ("P-77", "P-78", "P-79") for word in ("--dicom-patient-id", each)))
    shown = fm_pipeline(*asked).stdout
    assert "The Patient ID P-77 has 3 files of 2 studies in the history, examined 2021-01 to 2021-04." in shown
    assert "The Patient ID P-78 has 2 files of 0 studies in the history." in shown
    assert "The Patient ID P-79 has" not in shown
    done = fm_pipeline(*asked, "--confirm", shlex.split(shown.splitlines()[-1])[-1])
    assert "in the history" not in done.stdout


@pytest.mark.parametrize("given", ["P-77", "P-77 "])
def test_a_patient_id_is_erased_with_and_without_the_space_at_its_end(nexus: MigrationBench, given: str) -> None:
    nexus.execute(HOSPITAL)
    nexus.execute("UPDATE fm_pipeline.import_history SET patient_id = 'P-77 ' WHERE orthanc_instance_id = 'two'")
    with nexus.connection() as connection, connection.cursor() as cursor:
        erase_patient_files(cursor, [given], ["/hospital"])
        connection.commit()
    left = "SELECT DISTINCT patient_id FROM fm_pipeline.import_history WHERE patient_id IS NOT NULL"
    assert nexus.execute(left) == [("P-78",)]
    kept_out = {each for (each,) in nexus.execute("SELECT orthanc_patient_id FROM fm_pipeline.erased_dicom_patients")}
    assert kept_out == {orthanc_id("P-77"), orthanc_id("P-77 ")}


def test_a_patient_whom_nexus_has_is_not_removed(nexus: MigrationBench) -> None:
    ((nexus_id, key, _),) = nexus.execute(STAGED, True)
    before = holding(nexus, key)
    for reference in (key, nexus_id):
        refused = fm_pipeline(reference, "--erase", "--confirm", "nexus 1")
        assert refused.exit_code == 1
        assert f"Nexus still has the patient {nexus_id}." in refused.stderr
    assert holding(nexus, key) == before | {"audit"}
    assert fm_pipeline(key, "--confirm", "nexus 1").exit_code == 2
