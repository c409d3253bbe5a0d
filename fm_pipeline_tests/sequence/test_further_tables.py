"""Tables that a profile adds, from FileMaker to Nexus and back: the example of docs/mapping.md, without any Python."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from fm_pipeline.errors import CatalogueStop, PlanStop
from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline.sequence.reimport import reimport
from fm_pipeline_tests.support.clinics import DATABASE, RUN_TIME, MigrationBench
from fm_pipeline_tests.support.further_tables import (
    DOCTORS,
    add_to_filemaker,
    add_to_nexus,
    with_example,
    write_profile,
)

LATER = RUN_TIME + dt.timedelta(days=1)
NAMES = ("referral_practices", "referral_doctors", "referrals")


@pytest.fixture
def further(bench: MigrationBench, tmp_path: Path) -> MigrationBench:
    """The clinic, with the tables of the example in both systems, and defaults with a %."""
    add_to_nexus(bench)
    bench.execute("ALTER TABLE referral_practices ADD terms varchar(20), ADD options jsonb")
    add_to_filemaker(bench)
    practice = {"nexus": {"defaults": {"terms": "10 % off", "options": {"share": "5 %s"}}}}
    content = with_example(patient={"layout": ["API_Patients_And_Doctors"]}, practice=practice)
    profile = write_profile(tmp_path, content)
    return bench.with_settings(filemaker_profile=str(profile))


def ends(bench: MigrationBench, entity: str) -> list[str]:
    rows = bench.execute(
        "SELECT coalesce(rule, outcome) FROM fm_pipeline.staged_outcomes WHERE entity = %s ORDER BY record_id", entity
    )
    return [end for (end,) in rows]


def test_a_table_of_a_profile_is_staged_planned_loaded_validated_backed_up_and_restored(
    further: MigrationBench,
) -> None:
    further.extract_and_stage()
    assert ends(further, "practice") == ["ready", "ready"]
    assert ends(further, "doctor") == ["ready", "ready", "parent_unknown"]
    assert ends(further, "referral") == [
        "ready", "ready", "parent_not_loaded", "record_without_patient", "record_without_parent",
    ]  # fmt: skip

    before = further.digests()
    plan = further.plan().report
    changes = {name: plan.tables[name] for name in NAMES}
    assert {name: (c.before, c.deleted, c.inserted, c.updated) for name, c in changes.items()} == {
        "referral_practices": (2, 1, 1, 1),
        "referral_doctors": (0, 0, 2, 0),
        "referrals": (0, 0, 2, 0),
    }
    assert "1 row of practice_visits would lose its row of referral_practices" in " ".join(plan.losses)
    assert further.digests() == before

    report = further.reimport()
    checks = {check.name for check in report.checks}
    assert {f"{name}_{kind}" for name in NAMES for kind in ("count", "content", "kept_columns")} <= checks
    assert further.execute(
        "SELECT id::text, name, suburb, is_active FROM referral_practices ORDER BY name"
    ) == [
        ("aaaaaaaa-0000-4000-8000-000000000001", "High Street Practice", "Newcastle", False),
        (further.execute("SELECT practice_id::text FROM referral_doctors WHERE full_name = 'B'")[0][0],
         "Station Practice", None, True),
    ]  # fmt: skip
    assert further.execute(
        "SELECT terms, options ->> 'share' FROM referral_practices ORDER BY name"
    ) == [(None, None), ("10 % off", "5 %s")]  # fmt: skip
    assert further.execute(
        "SELECT full_name, filemaker_id, fee::text, joined_on::text FROM referral_doctors ORDER BY full_name"
    ) == [("A", DOCTORS[0], "1250.50", "2020-02-01"), ("B", DOCTORS[1], None, None)]
    assert further.execute(
        "SELECT r.reason, r.is_urgent, d.full_name, r.clinic_id = p.clinic_id, p.usual_doctor_id = d.id,"
        " r.created_at::text FROM referrals r JOIN referral_doctors d ON d.id = doctor_id JOIN patients p ON"
        " p.id = r.patient_id ORDER BY r.reason DESC"
    )[0] == ("one\ntwo", True, "A", True, True, "2025-07-14 23:00:00+00")
    assert further.execute("SELECT count(*) FROM practice_visits WHERE practice_id IS NULL") == [(1,)]
    assert further.execute(
        "SELECT p.name, r.name FROM referral_practices p LEFT JOIN regions r ON r.id = region_id ORDER BY 1"
    ) == [("High Street Practice", "North"), ("Station Practice", None)]
    assert further.execute(
        "SELECT count(*) > 20, count(DISTINCT usual_doctor_id) FROM patients WHERE usual_doctor_id IS NOT NULL"
    ) == [(True, 2)]

    again = further.extract_and_stage().reimport(LATER)
    assert again.changed_rows == 0

    oldest = list_backups(further.settings)[-1]
    dry = restore(further.settings, oldest.folder, confirm="", dry_run=True)
    restore(further.settings, oldest.folder, confirm=dry.confirmation)
    assert further.digests() == before


def test_a_row_that_filemaker_no_longer_has_goes_with_what_belongs_to_it_and_references_to_it_are_emptied(
    further: MigrationBench,
) -> None:
    further.extract_and_stage().reimport()
    ((record_id,),) = further.execute(
        "SELECT record_id FROM fm_pipeline.source_records WHERE entity = 'doctor' AND filemaker_key = %s", DOCTORS[1]
    )
    further.store.delete(DATABASE, "Doctors", record_id)
    report = further.extract_and_stage().reimport(LATER)
    assert (report.tables["referral_doctors"].deleted, report.tables["referrals"].deleted) == (1, 1)
    assert ends(further, "referral")[1] == "parent_unknown"
    assert further.execute("SELECT count(DISTINCT usual_doctor_id) FROM patients") == [(1,)]
    assert further.execute(
        "SELECT count(*) > 5 FROM fm_pipeline.staged_findings WHERE entity = 'patient' AND rule = 'reference_unknown'"
    ) == [(True,)]


def test_a_row_that_others_must_point_to_stops_when_it_would_go(further: MigrationBench) -> None:
    further.execute("ALTER TABLE practice_visits ALTER practice_id SET NOT NULL")
    with pytest.raises(CatalogueStop, match=r"practice_visits.practice_id .* points? to rows of referral_practices"):
        further.extract_and_stage().plan()


def test_a_column_that_must_be_given_and_whose_field_filemaker_does_not_have_is_told(
    further: MigrationBench, tmp_path: Path
) -> None:
    write_profile(tmp_path, with_example(referral={"fields": {"reason": ["No such field"]}}))
    with pytest.raises(CatalogueStop, match=r"Nothing feeds referrals\.reason, .* names for reason of referral"):
        further.extract_and_stage().plan()


def test_a_profile_without_the_table_leaves_its_rows_and_forgets_what_was_staged(
    further: MigrationBench, tmp_path: Path
) -> None:
    further.extract_and_stage().reimport()
    rows = further.execute("SELECT id FROM referrals ORDER BY id")
    bench = further.with_settings(filemaker_profile="nexus").extract_and_stage()
    assert bench.execute("SELECT to_regclass('fm_pipeline.staged_referrals')::text") == [(None,)]
    report = bench.reimport(LATER)
    assert "referrals" not in report.tables
    assert bench.execute("SELECT id FROM referrals ORDER BY id") == rows


def test_a_plan_is_void_when_what_the_profile_adds_was_changed(further: MigrationBench, tmp_path: Path) -> None:
    plan = further.extract_and_stage().plan()
    changed = with_example(
        patient={"layout": ["API_Patients_And_Doctors"]}, practice={"nexus": {"defaults": {"is_active": False}}}
    )
    write_profile(tmp_path, changed)
    further.extract_and_stage()
    with pytest.raises(PlanStop, match="the mapping profile adds other tables or columns than it did"):
        reimport(further.settings, now=RUN_TIME, permission=further.permission(plan))
