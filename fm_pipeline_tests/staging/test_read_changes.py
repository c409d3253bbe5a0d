"""What changed since the last reading is read, and no new or deleted record is overlooked."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.filemaker.errors import RecordsHidden
from fm_pipeline.nexus.erase_patient import erase_patient
from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline.sequence.sync import sync_staged
from fm_pipeline.staging.read_changes import FEW
from fm_pipeline.staging.run import stage
from fm_pipeline_tests.sequence.nights_clinic import Clinic
from fm_pipeline_tests.sequence.nights_systems import LAYOUTS
from fm_pipeline_tests.staging.changing import OLD, edit, first, known, read
from fm_pipeline_tests.support.clinics import DATABASE, RUN_TIME
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL


@pytest.fixture
def clinic(clinic_read_before: Clinic) -> Clinic:
    """A clinic whose records were edited long ago, and read whole at RUN_TIME."""
    return clinic_read_before


def over_odata(clinic: Clinic) -> Clinic:
    """The same clinic, read whole over OData at RUN_TIME."""
    clinic.bench = clinic.bench.with_settings(filemaker_door="odata")
    read(clinic, 0)
    return clinic


def held(clinic: Clinic) -> list[tuple[object, ...]]:
    """Every record but the patients, with the digest of its entity."""
    return clinic.bench.execute(
        "SELECT entity, record_id, mod_id, filemaker_key, patient_key, modified, fields::text, row_count, digest"
        " FROM fm_pipeline.source_records JOIN fm_pipeline.source_extractions USING (entity)"
        " WHERE entity <> 'patient' ORDER BY entity, record_id"
    )


def test_only_what_was_modified_is_read_until_a_week_has_passed(clinic: Clinic) -> None:
    assert not read(clinic, 1)
    patient, second = list(clinic.model.of("patient"))[:2]
    edit(clinic, patient, "last_name", "seen", "2025-11-21T09:00:00")
    edit(clinic, second, "last_name", "not stamped", OLD)
    assert read(clinic, 2)
    names = known(clinic, "patient", "last_name")
    assert (names[patient.record_id], names[second.record_id] != "not stamped") == ("seen", True)
    assert not read(clinic, 3)
    assert read(clinic, 7.5)
    assert known(clinic, "patient", "last_name")[second.record_id] == "not stamped"


def test_a_deleted_record_is_noticed_by_the_number_and_found_by_the_ids(clinic: Clinic) -> None:
    note, (appointment, other, *_) = first(clinic, "note"), clinic.model.of("appointment")
    edit(clinic, other, "notes", "not stamped", OLD)
    for row in (note, appointment):
        clinic.bench.store.delete(DATABASE, LAYOUTS[row.kind], row.record_id)
    assert read(clinic, 1)
    assert note.record_id not in known(clinic, "note", "content")
    notes = known(clinic, "appointment", "notes")  # by its layout for ids, not whole
    assert appointment.record_id not in notes
    assert notes[other.record_id] != "not stamped"


def test_records_that_the_account_may_not_see_any_more_are_not_taken_for_deleted(clinic: Clinic) -> None:
    clinic.bench.stand_in.faults(hidden_records={"Notes": [first(clinic, "note").record_id]})
    for days in (1, 8):  # the second one reads whole
        with pytest.raises(RecordsHidden, match=r"may not see 1 of \d+ records of the layout Notes") as stop:
            read(clinic, days)
        assert "filemaker_records_hidden: flag" in stop.value.remedy
    rules = clinic.bench.settings.rules_file
    assert rules
    rules.write_text(f"{rules.read_text('utf-8')}\nfilemaker_records_hidden: flag\n", "utf-8")
    assert read(clinic, 9)


def test_what_changed_leaves_the_digest_of_a_whole_reading(clinic: Clinic) -> None:
    gone, edited, *_ = clinic.model.of("appointment")
    clinic.bench.store.delete(DATABASE, "Appointments", gone.record_id)
    edit(clinic, edited, "notes", "edited", "2025-11-21T09:00:00")
    record = {"id": "A-NEW-ONE", "content": "new", "modified": "2025-11-21T09:00:00"}
    clinic.bench.store.insert(DATABASE, "Notes", [record])
    assert read(clinic, 1)
    read_whole = "SELECT count(*) FROM fm_pipeline.source_readings WHERE whole_at <> %s"
    assert clinic.bench.execute(read_whole, RUN_TIME) == [(0,)]
    by_changes = held(clinic)
    assert read(clinic, 7.5)
    assert held(clinic) == by_changes


def test_postgresql_that_logs_its_statements_logs_no_value_of_a_changed_record(
    clinic: Clinic, postgresql: DisposablePostgreSQL
) -> None:
    ((database,),) = clinic.bench.execute("SELECT quote_ident(current_database())")
    clinic.bench.execute(f"ALTER DATABASE {database} SET log_statement = 'all'")
    logged = postgresql.log.stat().st_size
    edit(clinic, first(clinic, "patient"), "last_name", "Canarysdottir", "2025-11-21T09:00:00")
    assert read(clinic, 1)
    assert "Canarysdottir" in known(clinic, "patient", "last_name").values()
    sync_staged(clinic.bench.settings, now=RUN_TIME + dt.timedelta(days=1), actor="the test")
    log = postgresql.log.read_bytes()[logged:].decode(errors="replace")
    assert "Canarysdottir" not in log
    assert "statement: COPY fm_pipeline.source_records" in log


def test_a_server_that_refuses_the_date_of_a_find_is_read_whole(clinic: Clinic) -> None:
    clinic.bench.stand_in.disturb("code", code=500, of=["find"], times=None)
    edit(clinic, first(clinic, "patient"), "last_name", "not stamped", OLD)
    assert read(clinic, 1)
    assert "not stamped" in known(clinic, "patient", "last_name").values()


def test_a_layout_whose_digest_is_of_an_earlier_release_is_read_whole(clinic: Clinic) -> None:
    clinic.bench.execute("UPDATE fm_pipeline.source_extractions SET digest = md5(entity)")
    edit(clinic, first(clinic, "patient"), "last_name", "not stamped", OLD)
    assert read(clinic, 1)
    assert "not stamped" in known(clinic, "patient", "last_name").values()


def test_a_deletion_is_not_hidden_by_a_new_record_with_an_old_time(clinic: Clinic) -> None:
    note = first(clinic, "note")
    clinic.bench.store.delete(DATABASE, "Notes", note.record_id)
    record = {"id": "A-NEW-ONE", "patient": first(clinic, "patient").key, "content": "imported", "modified": OLD}
    clinic.bench.store.insert(DATABASE, "Notes", [record])
    assert read(clinic, 1)
    contents = known(clinic, "note", "content")
    assert note.record_id not in contents
    assert "imported" in contents.values()


def test_over_odata_only_records_of_another_version_are_read_and_the_result_is_that_of_a_whole_reading(
    clinic: Clinic,
) -> None:
    over_odata(clinic)
    assert not read(clinic, 1)
    patient, second, *_ = clinic.model.of("patient")
    note = first(clinic, "note")
    edit(clinic, patient, "last_name", "without a time", OLD)
    clinic.bench.store.delete(DATABASE, "Notes", note.record_id)
    record = {"id": "A-NEW-ONE", "patient": patient.key, "content": "imported", "modified": OLD}
    clinic.bench.store.insert(DATABASE, "Notes", [record])
    clinic.bench.execute(  # what nobody reads again stays
        """UPDATE fm_pipeline.source_records SET fields = (fields::jsonb || '{"last_name": "as known"}')::json"""
        " WHERE entity = 'patient' AND record_id = %s",
        second.record_id,
    )
    assert read(clinic, 2)
    names = known(clinic, "patient", "last_name")
    assert (names[patient.record_id], names[second.record_id]) == ("without a time", "as known")
    contents = known(clinic, "note", "content")
    assert note.record_id not in contents
    assert "imported" in contents.values()
    by_versions = held(clinic)
    assert read(clinic, 7.5)
    assert held(clinic) == by_versions
    assert known(clinic, "patient", "last_name")[second.record_id] == second.fm["last_name"]  # type: ignore[index]


def test_a_record_that_goes_after_it_was_listed_is_not_kept(clinic: Clinic) -> None:
    over_odata(clinic)
    patient = first(clinic, "patient")
    edit(clinic, patient, "last_name", "edited", OLD)
    gone = {"delete": {"table": "Patients", "record_id": patient.record_id}}
    clinic.bench.stand_in.faults(between_pages=[{"after": 3, "do": [gone]}])
    assert read(clinic, 1)
    assert patient.record_id not in known(clinic, "patient", "last_name")


@pytest.mark.parametrize("door", ["data_api", "odata"])
def test_another_field_in_the_profile_is_read_from_every_record(clinic: Clinic, door: str) -> None:
    clinic.bench = clinic.bench.with_settings(filemaker_door=door)
    read(clinic, 0)
    profile = Path(clinic.bench.settings.filemaker_profile)
    profile.write_text(profile.read_text().replace("last_name: [last_name]", "last_name: [coordinator_name]"))
    assert read(clinic, 1)
    assert known(clinic, "patient", "last_name") == known(clinic, "patient", "coordinator_name")


@pytest.mark.parametrize("door", ["data_api", "odata"])
def test_a_calculation_whose_value_changes_without_an_edit_is_read_from_every_record(clinic: Clinic, door: str) -> None:
    store, table = clinic.bench.store, clinic.bench.store.table(DATABASE, "Notes")
    fields = [replace(each, kind="calculation") if each.name == "content" else each for each in table.fields.values()]
    with store.transaction() as db:
        db.execute("UPDATE fm_table SET definition = ? WHERE name = 'Notes'", (json.dumps([*map(asdict, fields)]),))
    clinic.bench = clinic.bench.with_settings(filemaker_door=door)
    read(clinic, 0)
    read(clinic, 2)
    with store.transaction() as db:
        db.execute(f"UPDATE {table.rows} SET {table.column('content')} = 'another'")  # noqa: S608  # our own names
    assert read(clinic, 4)
    assert set(known(clinic, "note", "content").values()) == {"another"}


def test_a_layout_that_was_emptied_is_read_as_empty(clinic: Clinic) -> None:
    for row in list(clinic.model.of("patient")):
        clinic.bench.store.delete(DATABASE, LAYOUTS["patient"], row.record_id)
    assert read(clinic, 1)
    assert known(clinic, "patient", "last_name") == {}


def test_a_night_without_a_change_asks_each_layout_three_times(clinic: Clinic) -> None:
    counters = clinic.bench.stand_in.counters()["requests"]
    assert not read(clinic, 1)
    asked = Counter(clinic.bench.stand_in.counters()["requests"])
    asked.subtract(counters)
    # A page of records tells the form of dates.
    assert [asked[what] for what in ("layouts", "layout", "find", "records")] == [1, 3, 3, 4]


def test_a_layout_with_very_many_changes_is_read_whole(clinic: Clinic) -> None:
    record = {"patient": first(clinic, "patient").key, "content": "imported", "modified": "2025-11-21T09:00:00"}
    clinic.bench.store.insert(DATABASE, "Notes", [record | {"id": f"NEW-{number}"} for number in range(FEW + 1)])
    assert read(clinic, 1)
    read_whole = "SELECT entity FROM fm_pipeline.source_readings WHERE whole_at <> %s"
    assert clinic.bench.execute(read_whole, RUN_TIME) == [("note",)]


def test_no_commit_waits_for_the_disk_before_that_of_nexus(clinic: Clinic) -> None:
    clinic.bench.execute(
        """
        CREATE TABLE fm_pipeline.waiting (name text, waits text);
        CREATE FUNCTION fm_pipeline.note_waiting() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO fm_pipeline.waiting VALUES (TG_TABLE_NAME, current_setting('synchronous_commit'));
        RETURN NULL; END $$;
        CREATE TRIGGER waiting AFTER UPDATE ON fm_pipeline.source_readings EXECUTE FUNCTION fm_pipeline.note_waiting();
        CREATE TRIGGER waiting AFTER INSERT ON fm_pipeline.staged_builds EXECUTE FUNCTION fm_pipeline.note_waiting();
        CREATE TRIGGER waiting AFTER INSERT ON fm_pipeline.crosswalk EXECUTE FUNCTION fm_pipeline.note_waiting();
        CREATE TRIGGER waiting AFTER UPDATE ON patients EXECUTE FUNCTION fm_pipeline.note_waiting()
        """
    )
    edit(clinic, first(clinic, "patient"), "last_name", "edited", "2025-11-21T09:00:00")
    settings = clinic.bench.settings
    read_changes_and_stage(settings, now=lambda: RUN_TIME + dt.timedelta(days=1))
    staged = clinic.bench.execute("SELECT DISTINCT name, waits FROM fm_pipeline.waiting ORDER BY 1, 2")
    assert staged == [("crosswalk", "off"), ("source_readings", "off"), ("staged_builds", "off")]
    sync_staged(settings, now=RUN_TIME + dt.timedelta(days=1), actor="the test")
    assert ("patients", "on") in clinic.bench.execute("SELECT name, waits FROM fm_pipeline.waiting")


def test_the_first_sync_after_a_plan_stages_nothing_if_nothing_has_changed(clinic: Clinic) -> None:
    clinic.bench.execute("DELETE FROM fm_pipeline.built_entities")
    clinic.bench.extract_and_stage()
    assert not read_changes_and_stage(clinic.bench.settings)


def test_what_a_job_has_staged_with_another_time_zone_is_staged_again(clinic: Clinic) -> None:
    assert not read(clinic, 1)
    starts = "SELECT nexus_id, start_time FROM fm_pipeline.staged_appointments ORDER BY 1"
    before, elsewhere = clinic.bench.execute(starts), clinic.bench.with_settings(clinic_time_zone="Europe/Vienna")
    with connect(clinic.bench.database_url) as connection:
        stage(connection, "appointment", elsewhere.settings, run_id=None, now=RUN_TIME + dt.timedelta(days=1))
    assert clinic.bench.execute(starts) != before
    assert read(clinic, 1.5)
    assert clinic.bench.execute(starts) == before
    assert not read(clinic, 2)


def test_what_changes_in_nexus_while_a_sync_stages_is_not_noted_as_staged(clinic: Clinic) -> None:
    edit(clinic, first(clinic, "patient"), "last_name", "edited", "2025-11-20T09:00:00")

    def add_a_clinic(step: str, done: int, _total: int | None) -> None:
        if step == "stage what patients have" and not done:
            clinic.bench.execute(
                "INSERT INTO clinics (id, name, filemaker_id, sms_reminders_enabled, created_at, updated_at)"
                " VALUES (gen_random_uuid(), 'New', gen_random_uuid(), false, now(), now())"
            )

    assert read_changes_and_stage(
        clinic.bench.settings, now=lambda: RUN_TIME + dt.timedelta(days=0.5), on_step=add_a_clinic
    )
    assert read(clinic, 1)
    assert not read(clinic, 1.5)


def test_after_an_erasure_the_next_sync_reads_what_is_left(clinic: Clinic) -> None:
    over_odata(clinic)
    other, gone = first(clinic, "patient"), {"id": "GONE", "first_name": "Jo", "last_name": "Gone", "modified": OLD}
    clinic.bench.store.insert(DATABASE, "Patients", [gone])
    assert read(clinic, 1)
    clinic.bench.store.delete(DATABASE, "Patients", max(known(clinic, "patient", "last_name")))
    shown = erase_patient(clinic.bench.settings, "gone", confirm="", elsewhere=lambda _: {})
    noted = "SELECT count(*) FROM fm_pipeline.source_readings WHERE went_back_at IS NOT NULL"
    clinic.bench.execute("UPDATE fm_pipeline.source_readings SET went_back_at = %s", RUN_TIME + dt.timedelta(days=9))
    before = clinic.bench.execute(noted)
    erase_patient(clinic.bench.settings, "gone", confirm=shown.confirmation, elsewhere=lambda _: {})
    assert clinic.bench.execute(noted) == before, "a restored file of FileMaker is not forgotten"
    edit(clinic, other, "last_name", "edited", OLD)
    assert read(clinic, 2)
    assert known(clinic, "patient", "last_name")[other.record_id] == "edited"
