"""The gate: what is staged must be whole, current, and break no rule that stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.entities.rules import load_rules
from fm_pipeline.errors import CatalogueStop, SettingsError, StagingStop
from fm_pipeline.staging.build import build
from fm_pipeline.staging.check import check_staging, source_outcomes, staged_columns
from fm_pipeline.staging.summary import summary
from fm_pipeline_tests.staging.bench import NOW, PATIENT, Staging, a_patient, an_appointment, uuid_of

CANARY = "Zebedee Quagmire"


def stops(staging: Staging, *entities: str) -> str:
    with pytest.raises(StagingStop) as caught:
        check_staging(staging.connection, entities or None)
    return str(caught.value)


def test_what_breaks_no_rule_passes(staging: Staging) -> None:
    staging.stage("patient", a_patient())
    staging.stage("appointment", an_appointment())
    check_staging(staging.connection)
    check_staging(staging.connection, ["patient", "appointment"])


def test_every_stop_is_named_at_once_with_its_sentence_counts_and_records_and_without_a_value(staging: Staging) -> None:
    staging.stage(
        "patient",
        a_patient(),
        *[a_patient(filemaker_id=f"p{n}", last_name=CANARY, clinic=f"Clinic {CANARY}") for n in range(7)],
        a_patient(filemaker_id="twice", last_name=CANARY),
        a_patient(filemaker_id="TWICE", last_name=CANARY),
    )
    staging.stage("appointment", an_appointment(clinician=CANARY, appointment_type=CANARY))
    message = stops(staging)
    assert "clinic_unknown (patient, 7 of 10 rows): Nexus has no clinic of that name." in message
    assert "  Create the clinic in Nexus, or correct its name in FileMaker.\n  Records: 2, 3, 4, 5, 6, …\n" in message
    assert "filemaker_id_twice (patient, 2 of 10 rows)" in message
    assert "Records: 9, 10\n" in message
    assert "clinician_unknown (appointment, 1 of 1 rows)" in message
    assert "appointment_type_unknown (appointment, 1 of 1 rows)" in message
    assert "Nexus is unchanged." in message
    assert CANARY not in message
    assert CANARY not in str(staging.execute("SELECT * FROM fm_pipeline.staged_findings"))


def test_a_row_that_another_rule_keeps_out_does_not_stop(staging: Staging) -> None:
    staging.stage("patient", a_patient())
    staging.stage("appointment", an_appointment(patient="", clinician="", appointment_type="Lunch"))
    assert staging.ends("appointment") == {1: "record_without_patient"}
    assert (1, "appointment_type_unknown", "appointment_type") in staging.findings("appointment")
    check_staging(staging.connection)


def test_one_wrongly_mapped_field_is_never_a_success(staging: Staging) -> None:
    wrong_dob = [a_patient(filemaker_id=f"p{n}", dob=PATIENT) for n in range(30)]
    staging.stage("patient", *wrong_dob)
    staging.stage("appointment", *[an_appointment(filemaker_id=uuid_of(n), patient="wrong") for n in range(30)])
    message = stops(staging)
    assert "date_unreadable (patient, 30 of 30 rows)" in message
    assert "patient_unknown (appointment, 30 of 30 rows)" in message
    assert "check the mapped field first" in message


def test_a_rule_that_skips_stops_too_when_it_is_nearly_all_rows(staging: Staging) -> None:
    staging.extract("patient", [a_patient()])
    staging.extract(
        "contact_detail",
        [{"filemaker_id": f"c{n}", "patient": PATIENT, "kind": "Phone", "phone": ""} for n in range(30)],
    )
    staging.build("patient")
    assert "contact_detail_empty (contact_detail, 30 of 30 rows)" in stops(staging, "patient")


def test_a_few_odd_rows_do_not_stop(staging: Staging) -> None:
    odd = [a_patient(filemaker_id=f"o{n}", dob="?") for n in range(25)]
    staging.stage("patient", *odd, *[a_patient(filemaker_id=f"p{n}") for n in range(500)])
    check_staging(staging.connection, ["patient"])


def test_the_clinics_own_rules_decide(staging: Staging, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("appointment_without_clinician: flag\nappointment_without_type: quarantine\nsex_unknown: stop\n")
    rules = load_rules(file)
    staging.extract("patient", [a_patient()])
    staging.build("patient", rules=rules)
    staging.extract(
        "appointment",
        [an_appointment(clinician=""), an_appointment(filemaker_id=uuid_of(2), appointment_type="")],
    )
    staging.build("appointment", rules=rules)
    assert staging.ends("appointment") == {1: "ready", 2: "appointment_without_type"}
    assert staging.rows("staged_appointments", "clinician_id") == [None]
    check_staging(staging.connection)
    staging.extract("patient", [a_patient(sex="?")])
    staging.build("patient", rules=rules)
    assert staging.ends("patient") == {1: "sex_unknown"}
    assert "sex_unknown (patient, 1 of 1 rows)" in stops(staging, "patient")


def test_what_is_not_staged_or_older_than_its_extraction_is_refused(staging: Staging) -> None:
    assert "patient is not staged" in stops(staging)
    staging.stage("patient", a_patient())
    assert "appointment is not staged" in stops(staging)
    staging.stage("appointment", an_appointment())
    staging.extract("note", [])
    assert "note is not staged" in stops(staging)
    check_staging(staging.connection, ["patient", "appointment"])
    staging.extract("appointment", [an_appointment()])
    assert "appointment was staged before the last extraction" in stops(staging, "appointment")
    staging.extract("patient", [a_patient()])
    message = stops(staging, "patient", "appointment")
    assert "patient was staged before the last extraction" in message
    assert "appointment was staged before the last extraction" in message


def test_new_contact_details_make_the_staged_patients_old(staging: Staging) -> None:
    staging.stage("patient", a_patient())
    staging.extract("contact_detail", [])
    assert "patient was staged before the last extraction" in stops(staging, "patient")


def test_appointments_are_staged_again_when_the_patients_were(staging: Staging) -> None:
    staging.stage("patient", a_patient())
    staging.stage("appointment", an_appointment())
    staging.build("patient", minutes=5)
    assert "appointment was staged before the patients were staged again" in stops(staging, "appointment")
    staging.build("appointment", minutes=6)
    check_staging(staging.connection)


def test_an_entity_with_patients_is_not_staged_before_them(staging: Staging) -> None:
    staging.extract("appointment", [an_appointment()])
    with pytest.raises(StagingStop, match=r"patient is not staged.*Stage the patients first"):
        staging.build("appointment")
    staging.stage("patient", a_patient())
    staging.build("appointment")
    staging.extract("patient", [a_patient()])
    with pytest.raises(StagingStop, match="patient was staged before the last extraction"):
        staging.build("appointment")
    assert staging.rows("staged_appointments", "record_id") == [1]


def test_an_entity_that_was_not_extracted_cannot_be_staged(staging: Staging) -> None:
    with pytest.raises(StagingStop, match="There is no extraction of patient"):
        staging.build("patient")


def test_a_build_that_fails_leaves_what_was_staged_before(staging: Staging) -> None:
    staging.stage("patient", a_patient())
    staging.extract("patient", [a_patient(filemaker_id=f"p{n}") for n in range(3000)])

    def fail(done: int, _total: int) -> None:
        if done > 1000:
            raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError):
        build(
            staging.connection, "patient", rules=load_rules(), run_id=None, now=NOW, time_zone="Australia/Sydney",
            on_progress=fail,
        )  # fmt: skip
    assert staging.rows("staged_patients", "filemaker_key") == [PATIENT.lower()]
    assert staging.ends("patient") == {1: "ready"}


def test_rows_that_the_extraction_did_not_count_are_never_overlooked(staging: Staging) -> None:
    staging.extract("patient", [a_patient(), a_patient(filemaker_id="p2")])
    staging.execute("DELETE FROM fm_pipeline.source_records WHERE record_id = 2")
    with pytest.raises(StagingStop, match=r"2 records were extracted, 1 are stored.*Extract patient again"):
        staging.build("patient")


def test_an_extraction_in_the_middle_of_a_build_is_noticed(staging: Staging, staging_url: str) -> None:
    staging.extract("patient", [a_patient()])

    def extract_again(_done: int, _total: int) -> None:
        with connect(staging_url) as other:
            Staging(other).extract("patient", [a_patient(), a_patient(filemaker_id="p2")])

    with pytest.raises(StagingStop, match="extracted again while"):
        build(
            staging.connection, "patient", rules=load_rules(), run_id=None, now=NOW, time_zone="Australia/Sydney",
            on_progress=extract_again,
        )  # fmt: skip


def test_building_twice_gives_the_same_and_nothing_is_left_over(staging: Staging) -> None:
    staging.extract("patient", [a_patient(dob="?"), a_patient(filemaker_id="p2", first_name="", last_name="")])
    first = staging.build("patient")
    rows = staging.rows("staged_patients", "nexus_id", "last_name")
    assert staging.build("patient") == first
    assert staging.rows("staged_patients", "nexus_id", "last_name") == rows
    assert staging.findings("patient") == [(1, "date_unreadable", "dob"), (2, "patient_without_name", "")]
    staging.stage("patient")
    assert staging.ends("patient") == {}
    assert staging.rows("staged_patients", "nexus_id") == []


def test_the_summary_adds_up_for_every_entity(staging: Staging) -> None:
    staging.extract("contact_detail", [{"filemaker_id": "c1", "patient": PATIENT, "kind": "Phone", "phone": ""}])
    staging.stage(
        "patient",
        a_patient(title="Sir", dob="?", plan_start_date="?"),
        a_patient(filemaker_id="p2", first_name="", last_name=""),
    )
    result = staging.stage("appointment", an_appointment())
    by_entity = {s.entity: s for s in summary(staging.connection)}
    patient, detail = by_entity["patient"], by_entity["contact_detail"]
    assert (patient.source_rows, patient.ready, patient.quarantined, patient.skipped) == (2, 1, 1, 0)
    assert patient.by_rule == {"patient_without_name": 1}
    assert patient.flagged == {"title_unknown": 1, "date_unreadable": 1}
    assert (detail.source_rows, detail.skipped, detail.by_rule) == (1, 1, {"contact_detail_empty": 1})
    assert result.summaries == [by_entity["appointment"]]
    assert [(e.entity, e.source, e.loaded) for e in source_outcomes(staging.connection)] == [
        ("appointment", 1, 1), ("contact_detail", 1, 0), ("patient", 2, 1),
    ]  # fmt: skip
    with staging.connection.cursor() as cursor:
        columns = staged_columns(cursor)
    assert columns["contact_detail"] == []
    assert "clinic_id" in columns["appointment"]


def test_progress_ends_at_the_number_of_source_rows(staging: Staging) -> None:
    staging.extract("patient", [a_patient(filemaker_id=f"p{n}") for n in range(2500)])
    staging.extract("contact_detail", [{"filemaker_id": "c1", "patient": "", "kind": "Phone", "phone": "1"}])
    seen: list[tuple[int, int]] = []
    build(
        staging.connection, "patient", rules=load_rules(), run_id=None, now=NOW, time_zone="Australia/Sydney",
        on_progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen[-1] == (2501, 2501)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert 3 <= len(seen) <= 4


def test_a_database_that_is_not_nexus_is_refused(staging: Staging) -> None:
    staging.extract("patient", [a_patient()])
    staging.execute("ALTER TABLE clinicians RENAME TO people")
    with pytest.raises(CatalogueStop, match="no table clinicians"):
        staging.build("patient")


def test_a_wrong_time_zone_is_refused(staging: Staging) -> None:
    staging.extract("patient", [a_patient()])
    with pytest.raises(SettingsError, match="CLINIC_TIME_ZONE"):
        build(staging.connection, "patient", rules=load_rules(), run_id=None, now=NOW, time_zone="Sydney")
