"""Documents and image batches of patients who are not in FileMaker: told early, settled as the clinic decides."""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from fm_pipeline.cli.main import main
from fm_pipeline.errors import CatalogueStop, SettingsError, StagingStop
from fm_pipeline.nexus.reimport.files_of_gone_patients import FileWithoutPatient, list_files_without_patient
from fm_pipeline.sequence.report_files import write_report
from fm_pipeline.settings import load_settings
from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench, Origin, copied_bench
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL


def leave_files(bench: MigrationBench) -> dict[str, str]:
    """Two patients with documents and batches whom FileMaker does not have: the files' ids, with the patient's."""
    left = {}
    for number in range(2):
        patient = add_patient(bench, {"filemaker_id": str(uuid.uuid4())} if number else {})
        for table, rows in (("documents_document", 3), ("images_batch", 2)):
            for (row,) in bench.execute(
                f"UPDATE {table} SET object_id = %s, content_type_id = (SELECT id FROM django_content_type"  # noqa: S608
                " WHERE app_label = 'patients' AND model = 'patient') WHERE id IN (SELECT d.id"
                f" FROM {table} d JOIN patients p ON p.id = d.object_id WHERE p.last_name <> 'Example'"
                f" ORDER BY d.id LIMIT {rows}) RETURNING id::text",
                patient,
            ):
                left[row] = patient
    # So that nothing but the id that they carry tells whose they are.
    bench.execute("UPDATE documents_document SET filemaker_metadata = NULL, filemaker_id = gen_random_uuid()"
                  " WHERE id = ANY(%s::uuid[])", list(left))  # fmt: skip
    bench.execute("UPDATE images_image SET filemaker_id = NULL WHERE batch_id = ANY(%s::uuid[])", list(left))
    assert len(left) == 10
    return left


def add_patient(bench: MigrationBench, metadata: dict[str, str]) -> str:
    """A patient whom somebody made in Nexus; the id."""
    own_id = str(uuid.uuid4())
    bench.execute(
        "INSERT INTO patients (id, first_name, last_name, filemaker_metadata, archived, created_at, updated_at)"
        " VALUES (%s, 'Jo', 'Example', %s, false, now(), now())",
        own_id,
        json.dumps(metadata),
    )
    return own_id


@pytest.fixture(scope="module")
def staged(
    postgresql: DisposablePostgreSQL, staged_clinic: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[MigrationBench, dict[str, str]]]:
    """For what is only planned: a clinic with such files, staged."""
    with copied_bench(postgresql, staged_clinic, tmp_path_factory.mktemp("gone_files")) as bench:
        yield bench, leave_files(bench)


def owners(bench: MigrationBench) -> dict[str, str | None]:
    """Of every document and batch."""
    return dict(
        bench.execute(
            "SELECT id::text, object_id::text FROM documents_document"
            " UNION ALL SELECT id::text, object_id::text FROM images_batch"
        )
    )


def run(bench: MigrationBench, *words: str) -> Result:
    return CliRunner().invoke(main, words, env=bench.environment() | {"COLUMNS": "200"})


def files_left_now(bench: MigrationBench) -> list[FileWithoutPatient]:
    with bench.connection() as connection, connection.cursor() as cursor:
        return list_files_without_patient(cursor, bench.settings)


Staged = tuple[MigrationBench, dict[str, str]]


def test_by_default_they_stop_the_plan_before_it_locks_anything_and_all_of_them_can_be_listed(staged: Staged) -> None:
    clinic, left = staged
    before = clinic.digests()
    with clinic.connection() as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE patients IN ROW EXCLUSIVE MODE")  # a plan that came to its locks would stop at them
        with pytest.raises(StagingStop) as caught:
            clinic.with_settings(nexus_lock_timeout_seconds=0.1).plan()
    assert "file_patient_gone (document, 6 documents of 2 patients)" in str(caught.value)
    assert "file_patient_gone (image, 4 image batches of 2 patients)" in str(caught.value)
    assert "fm-pipeline files without-patient lists all of them" in str(caught.value)
    listed = json.loads(run(clinic, "files", "without-patient", "--json").output)
    assert {file["id"]: file["patient_id"] for file in listed} == left
    assert {file["reason"] for file in listed} == {"not_in_filemaker"}
    text = run(clinic, "files", "without-patient").output
    assert all(row in text for row in left)
    assert "10 documents and batches would be left without a patient." in text
    assert clinic.digests() == before


def test_the_full_check_tells_them(staged: Staged) -> None:
    clinic, _ = staged
    full = run(clinic, "check", "--full", "--json")
    stops = [each for each in json.loads(full.stdout) if each["level"] == "stop"]
    assert {(each["subject"], each["rule"]) for each in stops} == {
        ("document", "file_patient_gone"),
        ("image", "file_patient_gone"),
    }
    assert full.exit_code == 1


def test_the_archive_patient_may_be_one_of_filemaker_s(staged: Staged) -> None:
    clinic, left = staged
    ((archive, named),) = clinic.execute(
        "SELECT nexus_id::text, upper(filemaker_key) FROM fm_pipeline.staged_patients ORDER BY 1 LIMIT 1"
    )
    decided = clinic.with_settings(nexus_files_of_gone_patients="archive", nexus_archive_patient=named)
    report = decided.plan().report
    assert report.documents
    assert report.batches
    assert {**report.documents.archived, **report.batches.archived} == left
    assert (
        f"6 documents would lose a patient who would be deleted and would go to the archive patient {archive}."
        " fm-pipeline files without-patient lists them." in report.losses
    )
    findings = json.loads(run(decided, "check", "--full", "--json").stdout)
    assert {each["level"] for each in findings if each["rule"] == "file_patient_gone"} == {"warning"}


def test_an_unknown_archive_patient_stops_and_names_the_setting(staged: Staged) -> None:
    clinic = staged[0].with_settings(nexus_files_of_gone_patients="archive", nexus_archive_patient=str(uuid.uuid4()))
    with pytest.raises(StagingStop, match="NEXUS_ARCHIVE_PATIENT names no patient"):
        clinic.plan()
    assert "NEXUS_ARCHIVE_PATIENT names no patient" in run(clinic, "files", "without-patient").output


def test_archive_without_a_patient_is_no_setting() -> None:
    with pytest.raises(SettingsError, match="NEXUS_ARCHIVE_PATIENT must name the patient"):
        load_settings(_env_file=None, nexus_database_url="x", nexus_files_of_gone_patients="archive")


def test_image_batches_cannot_be_detached_where_their_table_does_not_allow_it(staged: Staged) -> None:
    with pytest.raises(StagingStop) as caught:
        staged[0].with_settings(nexus_files_of_gone_patients="detach").plan()
    assert "(image, 4 image batches of 2 patients)" in str(caught.value)
    assert "(document, " not in str(caught.value)
    assert "NEXUS_FILES_OF_GONE_PATIENTS=archive" in str(caught.value)


def test_a_constraint_that_forbids_it_stops_with_its_name(staged: Staged) -> None:
    clinic, _ = staged
    ((archive,),) = clinic.execute("SELECT nexus_id::text FROM fm_pipeline.staged_patients ORDER BY 1 DESC LIMIT 1")
    clinic.execute(
        f"ALTER TABLE documents_document ADD CONSTRAINT not_there CHECK (object_id <> '{archive}') NOT VALID"
    )
    decided = clinic.with_settings(nexus_files_of_gone_patients="archive", nexus_archive_patient=archive)
    try:
        with pytest.raises(CatalogueStop, match="the constraint not_there forbids it"):
            decided.plan()
    finally:
        clinic.execute("ALTER TABLE documents_document DROP CONSTRAINT not_there")


def test_archive_assigns_all_of_them_to_one_kept_patient_and_changes_nothing_else(
    bench: MigrationBench,
) -> None:
    left, archive = leave_files(bench), add_patient(bench, {})
    clinic = bench.with_settings(nexus_files_of_gone_patients="archive", nexus_archive_patient=archive.upper())
    before = owners(clinic)
    report = clinic.extract_and_stage().reimport()
    now = owners(clinic)
    assert {row: now[row] for row in left} == dict.fromkeys(left, archive)
    patients = {row for (row,) in clinic.execute("SELECT id::text FROM patients")}
    assert archive in patients
    assert {row for row, owner in before.items() if owner in patients and now[row] != owner} == set()
    assert report.documents
    assert report.batches
    assert {**report.documents.archived, **report.batches.archived} == left
    assert not left.keys() & {row for rows in report.documents.unresolved.values() for row in rows}
    folder = write_report(clinic.database_url, clinic.settings.state_dir, report, warn=pytest.fail)
    assert folder
    with (folder / "files_of_gone_patients.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert {row["id"]: row["former_patient_id"] for row in listed} == left
    assert {row["patient_id"] for row in listed} == {archive}
    assert clinic.extract_and_stage().plan().report.changed_rows == 0, "the next one finds nothing to do"


def test_detach_leaves_them_without_a_patient_where_their_table_allows_it(bench: MigrationBench) -> None:
    bench.execute("ALTER TABLE images_batch ALTER object_id DROP NOT NULL")
    left = leave_files(bench)
    clinic = bench.with_settings(nexus_files_of_gone_patients="detach")
    before = owners(clinic)
    report = clinic.extract_and_stage().reimport()
    now = owners(clinic)
    assert {row: now[row] for row in left} == dict.fromkeys(left, None)
    assert now.keys() == before.keys()
    assert "6 documents lost a patient who was deleted and have no patient." in str(report.losses)
    assert clinic.extract_and_stage().plan().report.changed_rows == 0


@pytest.mark.usefixtures("staged_once")
def test_a_patient_whom_a_rule_keeps_out_is_named_with_the_rule_unless_the_rule_stops_everything(
    bench: MigrationBench,
) -> None:
    (stopped, first, _), (nameless, second, patient) = bench.execute(
        "SELECT DISTINCT ON (c.nexus_id) c.filemaker_key, r.record_id, c.nexus_id::text FROM fm_pipeline.crosswalk c"
        " JOIN fm_pipeline.source_records r ON r.entity = 'patient' AND r.filemaker_key = c.filemaker_key"
        " JOIN documents_document d ON d.object_id = c.nexus_id WHERE c.entity = 'patient' ORDER BY c.nexus_id LIMIT 2"
    )
    assert stopped != nameless
    bench.store.edit(DATABASE, "Patients", first, {"clinic_name": "A clinic that nobody knows"})
    bench.store.edit(DATABASE, "Patients", second, {"first_name": "", "last_name": "", "middle_name": ""})
    left = files_left_now(bench.extract_and_stage())
    assert {(file.patient_id, file.filemaker_id, file.reason) for file in left} == {
        (patient, nameless, "patient_without_name")
    }
