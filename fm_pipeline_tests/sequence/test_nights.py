"""Some nights at random, and some that went wrong; `scripts/nights` goes on with others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from functools import partial

import pytest
from hypothesis import Phase, settings

from fm_pipeline.db.connection import connect
from fm_pipeline.errors import RequestError
from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline.sequence.sync import SyncResult, sync_staged
from fm_pipeline.sequence.undo_sync import undo_sync
from fm_pipeline_tests.sequence.nights import Nights, nights
from fm_pipeline_tests.sequence.nights_clinic import Clinic
from fm_pipeline_tests.sequence.nights_systems import FIELDS, LAYOUTS
from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL
from fm_pipeline_tests.support.searching import run_machines
from fm_pipeline_tests.support.waiting import InThread, wait_until


@pytest.fixture(scope="module")
def tried(postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """Makes clinics."""
    with nights(postgresql, tmp_path_factory.mktemp("nights")) as made:
        yield made


def cascade_from_patients(bench: MigrationBench) -> None:
    """Let PostgreSQL delete the notes of a patient with the patient."""
    ((name,),) = bench.execute(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'notes'::regclass AND confrelid = 'patients'::regclass"
    )
    bench.execute(
        f"ALTER TABLE notes DROP CONSTRAINT {name}, ADD CONSTRAINT {name} FOREIGN KEY (patient_id)"
        " REFERENCES patients ON DELETE CASCADE DEFERRABLE"
    )


def show(clinic: Clinic, fields: Sequence[str]) -> None:
    """Let the layout of the patients have these fields."""
    clinic.bench.store.create_layout(DATABASE, LAYOUTS["patient"], LAYOUTS["patient"], fields)


def night_beside_the_model(clinic: Clinic) -> SyncResult:
    clinic.now += dt.timedelta(days=1)
    staged = read_changes_and_stage(clinic.bench.settings, now=lambda: clinic.now)
    return sync_staged(clinic.bench.settings, now=clinic.now, actor="bench", staged_again=staged)


def test_each_morning_is_as_expected(tried: Nights) -> None:
    some = settings(max_examples=6, stateful_step_count=25, phases=[Phase.generate], database=None)
    run_machines(lambda: tried.make(4), some)
    assert {"waits", "conflicts"} <= tried.seen.keys()


def test_of_two_patients_who_were_made_one_in_filemaker_one_stays_with_the_records_of_both(tried: Nights) -> None:
    with tried.clinic() as clinic:
        before = clinic.bench.execute("SELECT count(*) FROM notes")
        clinic.fm_merge(0, 1)
        clinic.night()
        assert clinic.bench.execute("SELECT count(*) FROM patients") == [(5,)]
        assert clinic.bench.execute("SELECT count(*) FROM notes") == before


def test_what_was_shown_before_a_restore_of_other_links_is_shown_again(tried: Nights) -> None:
    """The backup was made before the first reimport, so it has no links of records to rows."""
    with tried.clinic() as clinic:
        clinic.fm_delete(0, 1)
        clinic.night_with_a_restore()


def test_an_edit_that_was_taken_back_on_a_quiet_day_is_no_conflict_later(tried: Nights) -> None:
    with tried.clinic() as clinic:
        clinic.nexus_edit(0, 0)
        clinic.fm_edit(1, 0)  # so that the edit is in the baseline
        clinic.night()
        clinic.nexus_revert(0)
        clinic.night()
        clinic.fm_edit(0, 0)
        clinic.night()


def test_a_row_that_was_deleted_in_nexus_does_not_come_back_after_a_rule_held_its_record_back(tried: Nights) -> None:
    with tried.clinic() as clinic:
        clinic.fm_delete(0, 0)  # a patient alone: a rule holds the records back
        clinic.nexus_delete(7)  # the patient's note
        clinic.night()
        clinic.fm_move(1, 0)
        clinic.night()


def test_a_row_that_a_reimport_has_deleted_comes_back_with_its_record(tried: Nights) -> None:
    with tried.clinic() as clinic:
        clinic.fm_delete(0, 0)  # a patient alone: a rule holds the records back
        clinic.reimport(replace=False)
        clinic.fm_move(0, 0)
        clinic.night()


def test_a_column_that_the_profile_gains_is_kept_by_a_sync_and_loaded_by_a_reimport(tried: Nights) -> None:
    with tried.clinic() as clinic:
        clinic.add_column_to_profile()
        clinic.night()
        assert clinic.bench.execute("SELECT DISTINCT middle_names FROM patients") == [(None,)]
        clinic.nexus_edit(0, 2)
        clinic.night()
        clinic.reimport(replace=False)
        names = clinic.bench.execute("SELECT count(*) FILTER (WHERE middle_names = 'Jo'), count(*) FROM patients")
        assert names == [(5, 6)]


def test_a_reimport_keeps_no_reference_to_a_row_that_it_deletes(tried: Nights) -> None:
    with tried.clinic() as clinic:
        clinic.fm_insert(0, 0)
        clinic.night()
        clinic.nexus_delete(18)  # the new patient
        clinic.fm_move(1, 6)  # a note of the first patient becomes the new one's, and the sync keeps the first one
        clinic.night()
        clinic.fm_delete(0, 0)
        clinic.reimport(replace=False)


def test_a_sync_is_not_undone_if_users_have_made_rows_for_what_it_has_inserted(tried: Nights) -> None:
    with tried.clinic() as clinic:
        clinic.fm_insert(0, 0)
        clinic.night()
        clinic.nexus_insert(6)  # a note about the new patient
        cascade_from_patients(clinic.bench)
        sync_id = clinic.last_sync()
        (own,) = clinic.model.made
        with pytest.raises(RequestError, match=f"1 row of notes was changed after the sync, for example {own}"):
            undo_sync(clinic.bench.settings, sync_id, actor="bench", run_id="undo")
        clinic.compare()


def test_a_sync_that_was_confirmed_and_has_changed_nothing_is_not_undone(tried: Nights) -> None:
    with tried.clinic() as clinic:
        clinic.both_edit(0, 1)
        clinic.night()
        ((sync_id,),) = clinic.bench.execute("SELECT id::text FROM fm_pipeline.syncs WHERE status = 'committed'")
        with pytest.raises(RequestError, match="This sync has changed nothing"):
            undo_sync(clinic.bench.settings, sync_id, actor="bench", run_id="undo")


def test_undoing_a_sync_waits_for_users_who_are_making_rows_for_what_it_has_inserted(tried: Nights) -> None:
    with tried.clinic() as clinic:
        clinic.fm_insert(0, 0)
        clinic.night()
        bench, sync_id = clinic.bench, clinic.last_sync()
        cascade_from_patients(bench)
        with connect(bench.database_url) as user, user.cursor() as cursor:
            cursor.execute(
                "INSERT INTO notes SELECT (json_populate_record(n, json_build_object('id', gen_random_uuid(),"
                " 'patient_id', (SELECT row_id FROM fm_pipeline.sync_changes WHERE table_name = 'patients')))).*"
                " FROM notes n LIMIT 1 RETURNING id::text"
            )
            (own,) = cursor.fetchone() or ("",)
            undoing = InThread(partial(undo_sync, bench.settings, sync_id, actor="bench", run_id="undo"))
            wait_until(lambda: bench.execute("SELECT 1 FROM pg_locks WHERE NOT granted") != [])
            user.commit()
        with pytest.raises(RequestError, match=own):
            undoing.outcome()
        assert bench.execute("SELECT 1 FROM notes WHERE id = %s", own) == [(1,)]


def test_what_users_edited_is_known_over_a_night_without_the_field(tried: Nights) -> None:
    with tried.clinic() as clinic:
        clinic.nexus_edit(0, 1)
        clinic.night()
        fields = FIELDS["patient"]
        show(clinic, [name for name in fields if name != "coordinator_name"])
        night_beside_the_model(clinic)
        night_beside_the_model(clinic)
        show(clinic, fields)
        clinic.fm_edit(1, 1)
        clinic.night()
        clinic.reimport(replace=False)


def test_a_row_that_was_deleted_in_nexus_is_no_conflict_after_a_night_without_the_field(tried: Nights) -> None:
    with tried.clinic() as clinic:
        clinic.fm_insert(0, 0)
        clinic.night()
        clinic.nexus_delete(18)  # the new patient
        clinic.night()
        fields = FIELDS["patient"]
        show(clinic, [name for name in fields if name != "coordinator_name"])
        night_beside_the_model(clinic)
        show(clinic, fields)
        clinic.night()


def test_a_row_that_a_reimport_inserts_again_without_the_field_gets_it_by_a_later_reimport(tried: Nights) -> None:
    with tried.clinic() as clinic:
        for _ in range(2):
            clinic.fm_insert(0, 0)
        clinic.night()
        clinic.nexus_delete(18)  # a new patient
        clinic.night()
        clinic.nexus_delete(18)  # the other one, of whom no sync knows it
        fields = FIELDS["patient"]
        show(clinic, [name for name in fields if name != "coordinator_name"])
        clinic.now += dt.timedelta(days=1)
        clinic.bench.extract_and_stage().reimport(clinic.now)
        show(clinic, fields)
        assert night_beside_the_model(clinic).status == "nothing_new"
        clinic.reimport(replace=False)


def test_a_sync_that_does_not_know_what_was_before_waits(tried: Nights) -> None:
    with tried.clinic() as clinic:
        clinic.bench.execute("TRUNCATE fm_pipeline.synced_rows")
        clinic.fm_insert(0, 0)
        waits = night_beside_the_model(clinic)
        assert (waits.status, len(waits.why)) == ("waits", 1)
        assert "not known what FileMaker and Nexus had before" in waits.why[0]
