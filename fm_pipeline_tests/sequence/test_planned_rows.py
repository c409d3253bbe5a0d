from __future__ import annotations

import pytest

from fm_pipeline.entities.rules import load_rules
from fm_pipeline.errors import PlanStop, RequestError
from fm_pipeline.sequence.planned_rows import ROW_CHANGES, read_planned_rows
from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench, Origin
from fm_pipeline_tests.support.second_rows import add_second_row


def test_the_rows_are_those_that_the_plan_has_counted(staged_once: Origin, bench: MigrationBench) -> None:
    plan = bench.plan()
    for table in plan.report.tables.values():
        counted = {"delete": table.deleted, "insert": table.inserted, "change": table.updated}
        for change in ROW_CHANGES:
            if not counted[change]:
                continue
            found = read_planned_rows(bench.settings, plan.id, table.table, change)
            assert (table.table, change, len(found.ids)) == (table.table, change, counted[change])
            assert (found.more, found.changes) == (False, [])
            assert change != "insert" or all(key for _, key in found.ids), "FileMaker's record is what is loaded"
    only_in_nexus = [key for _, key in read_planned_rows(bench.settings, plan.id, "notes", "delete").ids]
    assert only_in_nexus.count(None) == plan.report.tables["notes"].without_filemaker_id
    some = read_planned_rows(bench.settings, plan.id, "notes", "delete", limit=3)
    assert (len(some.ids), some.more) == (3, True)


def test_each_row_to_delete_has_its_reason(reimported_once: Origin, bench: MigrationBench) -> None:
    ((record_id,),) = bench.execute(
        "SELECT record_id FROM fm_pipeline.source_records WHERE entity = 'note' ORDER BY record_id LIMIT 1"
    )
    bench.store.edit(DATABASE, "Notes", record_id, {"note": ""})
    bench.store.delete(DATABASE, "Notes", record_id + 1)
    bench.execute(
        "INSERT INTO notes SELECT (jsonb_populate_record(n, jsonb_build_object('id', gen_random_uuid()))).*"
        " FROM notes n LIMIT 1"
    )
    plan = bench.extract_and_stage().plan()
    found = read_planned_rows(bench.settings, plan.id, "notes", "delete")
    assert sorted(why.kind for why in found.why.values()) == ["gone", "kept_out", "only_in_nexus"]
    (kept_out,) = [why for why in found.why.values() if why.kind == "kept_out"]
    assert (kept_out.entity, kept_out.record_id) == ("note", record_id)
    assert kept_out.rule in load_rules().by_id
    assert kept_out.means == load_rules()[kept_out.rule].means
    assert set(found.why) == {nexus_id for nexus_id, _ in found.ids}
    assert read_planned_rows(bench.settings, plan.id, "notes", "change").why == {}


def test_a_patient_who_is_gone_from_filemaker_is_no_patient_of_nexus_alone(gone: str, bench: MigrationBench) -> None:
    plan = bench.plan()
    found = read_planned_rows(bench.settings, plan.id, "patients", "delete")
    assert found.why[gone].kind == "gone"


def test_the_second_row_of_a_patient_is_not_gone_from_filemaker(reimported_once: Origin, bench: MigrationBench) -> None:
    ((patient, key),) = bench.execute(
        "SELECT nexus_id::text, filemaker_key FROM fm_pipeline.staged_patients ORDER BY record_id LIMIT 1"
    )
    second = add_second_row(bench, patient)
    plan = bench.extract_and_stage().plan()
    found = read_planned_rows(bench.settings, plan.id, "patients", "delete")
    assert (found.ids, found.why[second].kind) == ([(second, key)], "replaced")
    change = plan.report.tables["patients"]
    assert (change.deleted, change.replaced, change.kept_out, change.without_filemaker_id) == (1, 1, 0, 0)
    (deleted,) = [sentence for sentence in plan.report.losses if "would be deleted" in sentence]
    assert deleted == "1 patient would be deleted. It is a duplicate: FileMaker's record is loaded as another row."


def test_both_rows_of_a_patient_are_gone_if_filemaker_has_the_record_no_longer(
    gone: str, bench: MigrationBench
) -> None:
    second = add_second_row(bench, gone)
    plan = bench.extract_and_stage().plan()
    found = read_planned_rows(bench.settings, plan.id, "patients", "delete")
    assert (found.why[gone].kind, found.why[second].kind) == ("gone", "gone")
    assert plan.report.tables["patients"].replaced == 0


def test_rows_that_a_setting_deletes_say_so(staged_once: Origin, bench: MigrationBench) -> None:
    plan = bench.plan()
    found = read_planned_rows(bench.settings, plan.id, "reminders", "delete")
    assert {why.kind for why in found.why.values()} == {"cleared"}
    some = read_planned_rows(bench.settings, plan.id, "reminders", "delete", limit=2)
    assert (len(some.ids), some.more) == (2, True)
    assert list(some.why) == [nexus_id for nexus_id, _ in some.ids]


def test_what_has_changed_since_the_plan_is_said(staged_once: Origin, bench: MigrationBench) -> None:
    plan = bench.plan()
    bench.execute("UPDATE patients SET last_name = 'Another' WHERE id = (SELECT id FROM patients ORDER BY id LIMIT 1)")
    (sentence,) = read_planned_rows(bench.settings, plan.id, "patients", "change").changes
    assert "patients" in sentence


def test_an_unknown_table_or_plan_is_refused(staged_once: Origin, bench: MigrationBench) -> None:
    plan = bench.plan()
    for table, change in (("auth_user", "delete"), ("reminders", "insert"), ("notes; DROP TABLE notes", "delete")):
        with pytest.raises(RequestError, match="no rows to"):
            read_planned_rows(bench.settings, plan.id, table, change)  # type: ignore[arg-type]
    with pytest.raises(PlanStop, match="no plan of that id"):
        read_planned_rows(bench.settings, "00000000-0000-0000-0000-000000000000", "patients", "delete")
