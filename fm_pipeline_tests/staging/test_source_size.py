"""Hard case 1: a source without rows, or with a third of what it had, stops everything."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from fm_pipeline.entities.rules import Rules, load_rules
from fm_pipeline.errors import StagingStop
from fm_pipeline.staging.check import check_staging
from fm_pipeline_tests.staging.bench import Staging, a_patient, an_appointment, uuid_of
from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench


def patients_in_nexus(staging: Staging, count: int) -> None:
    staging.execute(
        "INSERT INTO patients (id, first_name, last_name, archived, created_at, updated_at)"
        " SELECT gen_random_uuid(), 'Jo', 'Example', false, now(), now() FROM generate_series(1, %s)",
        (count,),
    )


def reimported_before(staging: Staging, **loaded: int) -> None:
    sources = [{"entity": entity, "source": rows, "loaded": rows} for entity, rows in loaded.items()]
    staging.execute(
        "INSERT INTO fm_pipeline.reimports (id, phases, started_at, report) VALUES (%s, '{}', now(), %s)",
        (str(uuid.uuid4()), json.dumps({"sources": sources})),
    )


def staged_patients(staging: Staging, count: int) -> None:
    staging.stage("patient", *[a_patient(filemaker_id=f"p{n}") for n in range(count)], fed=a_patient())


def verdict(staging: Staging, rules: Rules | None = None) -> str:
    try:
        check_staging(staging.connection, ["patient"], rules=rules)
    except StagingStop as stop:
        return str(stop)
    return ""


@pytest.mark.parametrize(
    ("count", "says"), [(0, "source_empty"), (33, "source_shrunk"), (89, "source_shrunk"), (90, "")]
)
def test_case_1_what_there_is_to_load_is_held_against_what_nexus_has(staging: Staging, count: int, says: str) -> None:
    patients_in_nexus(staging, 100)
    staged_patients(staging, count)
    found = verdict(staging)
    assert bool(found) == bool(says)
    if says:
        assert f"- {says} (patient, {count} rows; Nexus has 100): " in found


def test_case_1_what_there_is_to_load_is_held_against_the_last_reimport(staging: Staging) -> None:
    reimported_before(staging, patient=100, contact_detail=400)
    staged_patients(staging, 60)
    assert "- source_shrunk (patient, 60 rows; the last reimport or sync had 100): " in verdict(staging)
    staged_patients(staging, 0)
    assert "- source_empty (patient, 0 rows; the last reimport or sync had 100): " in verdict(staging)


@pytest.mark.parametrize(
    ("status", "age", "stops"), [("committed", 1, True), ("waits", 1, False), ("committed", 9, False)]
)
def test_case_1_a_later_sync_counts_in_place_of_the_last_reimport(
    staging: Staging, status: str, age: int, stops: bool
) -> None:
    reimported_before(staging, patient=60)
    staging.execute("UPDATE fm_pipeline.reimports SET started_at = now() - interval '5 days'")
    staging.execute(
        "INSERT INTO fm_pipeline.syncs (id, requested_by, created_at, status, inputs, report)"
        " VALUES (%s, 'bench', now() - %s * interval '1 day', %s, '{}', %s),"
        " (%s, 'bench', now(), 'nothing_new', '{}', %s)",
        (
            *(str(uuid.uuid4()), age, status),
            json.dumps({"sources": [{"entity": "patient", "source": 100, "loaded": 100}]}),
            *(str(uuid.uuid4()), json.dumps({"sources": []})),  # a quiet night has not counted
        ),
    )
    staged_patients(staging, 60)
    assert ("source_shrunk (patient, 60 rows; the last reimport or sync had 100)" in verdict(staging)) == stops


def test_case_1_a_reimport_that_a_restore_has_undone_is_not_the_last_one(staging: Staging) -> None:
    reimported_before(staging, patient=60)
    staging.execute("UPDATE fm_pipeline.reimports SET started_at = now() - interval '5 days'")
    reimported_before(staging, patient=100)  # as of a file that had all patients of two clinics
    staged_patients(staging, 60)
    assert "source_shrunk (patient, 60 rows; the last reimport or sync had 100)" in verdict(staging)
    backup = str(uuid.uuid4())
    staging.execute(
        "INSERT INTO fm_pipeline.backups (id, created_at, folder, encrypted, bytes, digests, verified_at)"
        " VALUES (%s, now() - interval '1 day', 'x', false, 1, '{}', now())",
        (backup,),
    )
    staging.execute(
        "INSERT INTO fm_pipeline.run_reports (run_id, action, subject, report) VALUES ('r', 'restore', %s, '{}')",
        (backup,),
    )
    assert verdict(staging) == ""


def test_an_empty_source_that_replaces_nothing_is_no_stop(staging: Staging) -> None:
    staged_patients(staging, 0)
    assert verdict(staging) == ""


def test_of_a_handful_of_rows_there_is_no_share(staging: Staging) -> None:
    patients_in_nexus(staging, 19)
    staged_patients(staging, 5)
    assert verdict(staging) == ""


def test_rows_that_only_a_stop_keeps_out_are_not_missing(staging: Staging) -> None:
    patients_in_nexus(staging, 100)
    staging.stage(
        "patient", *[a_patient(filemaker_id=f"p{n}", clinic="" if n < 50 else "Newcastle") for n in range(100)]
    )
    assert "patient_without_clinic (patient, 50 of 100 rows)" in verdict(staging)
    assert "source_shrunk" not in verdict(staging)


def test_records_of_a_patient_who_is_stopped_are_listed_with_the_patient(staging: Staging) -> None:
    """The list is whole at once: settling the patient must not bring up the next stop."""
    staging.stage("patient", a_patient(clinic=""))
    staging.stage(
        "appointment",
        an_appointment(clinician=""),
        an_appointment(filemaker_id=uuid_of(2), clinician="", patient="gone"),
        an_appointment(filemaker_id=uuid_of(3), clinician="", start=""),
    )
    assert list(staging.ends("appointment").values()) == ["patient_not_loaded", "patient_unknown", "patient_not_loaded"]
    with pytest.raises(StagingStop) as caught:
        check_staging(staging.connection)
    assert "patient_without_clinic (patient, 1 of 1 rows)" in str(caught.value)
    assert "appointment_without_clinician (appointment, 1 of 3 rows)" in str(caught.value)


def test_a_clinic_may_set_the_share_lower_or_be_told_only_but_never_load_nothing(
    staging: Staging, tmp_path: Path
) -> None:
    file = tmp_path / "rules.yaml"
    patients_in_nexus(staging, 100)
    staged_patients(staging, 50)
    file.write_text("source_shrunk: {least: 0.5}\n")
    assert verdict(staging, load_rules(file)) == ""
    file.write_text("source_shrunk: flag\n")
    assert verdict(staging, load_rules(file)) == ""
    staged_patients(staging, 0)
    assert "source_empty" in verdict(staging, load_rules(file))


def rules_of(folder: Path, text: str) -> Rules:
    file = folder / "rules.yaml"
    file.write_text(text)
    return load_rules(file)


def test_the_stop_says_what_to_write_where_a_table_is_rightly_smaller_and_that_helps_this_entity_only(
    staging: Staging, tmp_path: Path
) -> None:
    reimported_before(staging, patient=100, contact_detail=400)
    staged_patients(staging, 61)
    found = verdict(staging)
    assert "`source_shrunk: {least_of: {patient: 0.61}}`" in found
    assert verdict(staging, rules_of(tmp_path, "source_shrunk: {least_of: {patient: 0.61}}")) == ""
    assert verdict(staging, rules_of(tmp_path, "source_shrunk: {least_of: {note: 0.61}}")) == found


def test_patients_can_never_be_rightly_empty(staging: Staging) -> None:
    patients_in_nexus(staging, 100)
    staged_patients(staging, 0)
    assert "may_be_empty" not in verdict(staging)


def test_a_table_that_is_rightly_empty_is_emptied_in_nexus_and_the_plan_says_so(
    bench: MigrationBench, tmp_path: Path
) -> None:
    ((rows,),) = bench.execute("SELECT count(*) FROM sms_messages")
    with bench.store.transaction() as files:
        files.execute(f"DELETE FROM {bench.store.table(DATABASE, 'Messages').rows}")  # noqa: S608  # our own words
    bench.extract_and_stage()
    with pytest.raises(StagingStop) as caught:
        bench.plan()
    assert "source_empty: {may_be_empty: [sms_message]}" in str(caught.value)
    (tmp_path / "rules.yaml").write_text("source_empty: {may_be_empty: [sms_message]}")
    decided = bench.with_settings(rules_file=tmp_path / "rules.yaml")
    assert (
        f"FileMaker has no record of sms_message (0 rows; Nexus has {rows}); RULES_FILE says that this is right."
        in decided.plan().report.losses
    )
    assert decided.reimport().tables["sms_messages"].after == 0
    assert "RULES_FILE" not in str(decided.plan().report.losses), "there is nothing left that could be emptied"
    with bench.store.transaction() as files:
        files.execute(f"DELETE FROM {bench.store.table(DATABASE, 'Notes').rows}")  # noqa: S608  # our own words
    decided.extract_and_stage()
    with pytest.raises(StagingStop, match=r"source_empty \(note, "):
        decided.plan()


def test_case_1_a_reimport_refuses_by_itself_whoever_starts_it_and_however(bench: MigrationBench) -> None:
    before = bench.digests()
    rows = bench.store.table(DATABASE, "Appointments").rows
    with bench.store.transaction() as files:
        files.execute(f"DELETE FROM {rows} WHERE record_id % 3 > 0")  # noqa: S608  # our own words
    bench.extract_and_stage()
    with pytest.raises(StagingStop, match="source_shrunk"):
        bench.plan()
    with pytest.raises(StagingStop, match="source_shrunk"):
        bench.reimport()
    assert bench.digests() == before
