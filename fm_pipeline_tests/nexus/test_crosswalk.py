"""Rows that somebody else loaded again after a reimport: with the same FileMaker ids, under other ids in Nexus."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from psycopg2 import sql

from fm_pipeline.entities.registry import ENTITIES
from fm_pipeline.images.nexus.patient_index import read_patient_index
from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.catalogue.file_ids import id_key
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.crosswalk import fill_patients
from fm_pipeline.nexus.reimport.validation import check_duplicates
from fm_pipeline_tests.nexus.backup.restoring import give_back
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, Origin
from fm_pipeline_tests.support.second_rows import add_second_row

LATER = RUN_TIME + dt.timedelta(days=1)


@pytest.fixture
def reimported(reimported_once: Origin, bench: MigrationBench) -> MigrationBench:
    """The clinic after a reimport."""
    return bench


def _load_again(bench: MigrationBench, table: str, old: str) -> str:
    """As the clinic's own scripts did it: the row is made anew, and so is what has a foreign key to it."""
    new = str(uuid.uuid4())
    with bench.connection() as connection, connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, "public")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute(f"UPDATE {table} SET id = %s WHERE id = %s", (new, old))  # noqa: S608
        for key in catalogue.foreign_keys_to(catalogue.table(table)):
            cursor.execute(
                f"UPDATE {key.table} SET {key.columns[0]} = %s WHERE {key.columns[0]} = %s",  # noqa: S608
                (new, old),
            )
        connection.commit()
    return new


def test_an_appointment_that_was_loaded_again_keeps_its_row_and_its_invoices(reimported: MigrationBench) -> None:
    ((invoice, old),) = reimported.execute(
        "SELECT id, appointment_id FROM xero_invoices WHERE appointment_id IS NOT NULL ORDER BY id LIMIT 1"
    )
    new = _load_again(reimported, "appointments", old)
    report = reimported.extract_and_stage().reimport(LATER)
    assert reimported.execute("SELECT appointment_id::text FROM xero_invoices WHERE id = %s", invoice) == [(new,)]
    assert (report.tables["appointments"].deleted, report.tables["appointments"].inserted) == (0, 0)
    assert report.references == []


def test_appointments_whose_filemaker_id_is_a_text_in_capitals_keep_their_rows(reimported: MigrationBench) -> None:
    """FileMaker's Get ( UUID ) has capitals, and a release may have kept it as a text."""
    reimported.execute(
        "ALTER TABLE appointments ALTER filemaker_event_id TYPE varchar(40) USING upper(filemaker_event_id::text);"
        " DELETE FROM fm_pipeline.crosswalk WHERE entity = 'appointment'"
    )
    report = reimported.extract_and_stage().reimport(LATER)
    assert (report.tables["appointments"].deleted, report.tables["appointments"].inserted) == (0, 0)


@pytest.mark.parametrize("kind", ["varchar(40)", "uuid"])
def test_appointments_that_an_earlier_release_knew_by_ids_in_capitals_keep_their_rows(
    reimported: MigrationBench, kind: str
) -> None:
    """It wrote the ids into the crosswalk as they were; of an id in two spellings, the row that Nexus has counts."""
    crosswalk = (
        "SELECT filemaker_key, nexus_id::text FROM fm_pipeline.crosswalk"
        " WHERE entity = 'appointment' AND nexus_id IN (SELECT id FROM appointments) ORDER BY filemaker_key"
    )
    before = reimported.execute(crosswalk)
    reimported.execute(
        f"ALTER TABLE appointments ALTER filemaker_event_id TYPE {kind} USING upper(filemaker_event_id::text)::{kind}"
    )
    reimported.execute(
        "UPDATE fm_pipeline.crosswalk SET filemaker_key = upper(filemaker_key) || ' ' WHERE entity = 'appointment';"
        " INSERT INTO fm_pipeline.crosswalk (entity, filemaker_key, nexus_id, origin)"
        " (SELECT entity, lower(btrim(filemaker_key)), gen_random_uuid(), 'new' FROM fm_pipeline.crosswalk"
        "  WHERE entity = 'appointment' AND nexus_id IN (SELECT id FROM appointments) ORDER BY nexus_id LIMIT 2)"
        " UNION ALL (SELECT entity, upper(btrim(filemaker_key)), gen_random_uuid(), 'new' FROM fm_pipeline.crosswalk"
        "  WHERE entity = 'appointment' AND nexus_id IN (SELECT id FROM appointments) ORDER BY nexus_id DESC LIMIT 2)"
    )
    reimported.extract_and_stage()
    assert reimported.execute(crosswalk) == before
    report = reimported.reimport(LATER)
    assert (report.tables["appointments"].deleted, report.tables["appointments"].inserted) == (0, 0)


def test_keys_in_another_spelling_are_found_without_reading_the_whole_crosswalk(reimported: MigrationBench) -> None:
    with reimported.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")  # the crosswalk of the test is small
        cursor.execute(
            sql.SQL(
                "EXPLAIN SELECT count(*) FROM fm_pipeline.crosswalk"
                " WHERE entity = 'appointment' AND filemaker_key <> {}"
            ).format(id_key("filemaker_key"))
        )
        assert "crosswalk_unfolded" in str(cursor.fetchall())


def test_a_filemaker_id_in_two_spellings_is_there_twice(reimported: MigrationBench) -> None:
    reimported.execute(
        "ALTER TABLE appointments ALTER filemaker_event_id TYPE varchar(40) USING filemaker_event_id::text;"
        " UPDATE appointments SET filemaker_event_id = (SELECT upper(max(filemaker_event_id)) FROM appointments)"
        " WHERE filemaker_event_id = (SELECT min(filemaker_event_id) FROM appointments);"
        " UPDATE appointments SET filemaker_event_id = '' WHERE filemaker_event_id IS NULL"
    )
    with reimported.connection() as connection, connection.cursor() as cursor:
        checks = check_duplicates(cursor, read_catalogue(cursor, "public"), [ENTITIES["appointment"]])
    assert [(check.name, check.found) for check in checks if not check.holds] == [
        ("appointments_filemaker_id_once", "1 FileMaker ids more than once")
    ]


def test_a_patient_that_was_loaded_again_keeps_what_only_nexus_knows_and_gets_its_files(
    reimported: MigrationBench,
) -> None:
    ((old, files),) = reimported.execute(
        "SELECT object_id, count(*) FROM documents_document d WHERE object_id IN (SELECT id FROM patients)"
        " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1"
    )
    ((patients,),) = reimported.execute("SELECT count(*) FROM patients")
    new = _load_again(reimported, "patients", old)
    reimported.execute("UPDATE patients SET mrn = 'only here', archived = true WHERE id = %s", new)
    report = reimported.extract_and_stage().reimport(LATER)
    assert reimported.execute("SELECT mrn, archived FROM patients WHERE id = %s", new) == [("only here", True)]
    assert report.documents
    assert report.documents.by_evidence == {"crosswalk": files}
    assert reimported.execute("SELECT count(*) FROM documents_document WHERE object_id = %s", new) == [(files,)]
    # And again as it was: no row is doubled, whichever id the crosswalk knew first.
    assert reimported.extract_and_stage().reimport(LATER).changed_rows == 0
    assert reimported.execute("SELECT count(*) FROM patients") == [(patients,)]


@pytest.mark.parametrize(
    ("column", "mark"),
    [
        ("archived boolean", "archived = true"),
        ("deleted_at timestamptz", "deleted_at = now()"),
        ("is_deleted boolean", "is_deleted = true"),
        ("is_archived boolean", "is_archived = true"),
        ("deleted date", "deleted = now()"),
        ("deleted smallint NOT NULL DEFAULT 0", "archived = true"),
    ],
)
@pytest.mark.usefixtures("migrated_once")
def test_of_two_rows_of_a_patient_the_one_that_users_see_stays_also_if_it_is_younger(
    bench: MigrationBench, column: str, mark: str
) -> None:
    ((first, key),) = bench.execute(
        "SELECT id::text, lower(filemaker_metadata ->> 'filemaker_id') FROM patients"
        " WHERE filemaker_metadata ->> 'filemaker_id' <> '' ORDER BY id LIMIT 1"
    )
    second = add_second_row(bench, first)
    bench.execute(f"ALTER TABLE patients ADD COLUMN IF NOT EXISTS {column}")
    bench.execute(f"UPDATE patients SET {mark} WHERE id = %s", first)  # noqa: S608
    with bench.connection() as connection, connection.cursor() as cursor:
        found = read_patient_index(cursor, read_catalogue(cursor, "public")).resolve(key)
    assert not isinstance(found, str)
    assert found.nexus_id == second
    bench.extract_and_stage()
    of_patient = "WHERE filemaker_key = %s"
    assert bench.execute(f"SELECT nexus_id::text FROM fm_pipeline.staged_patients {of_patient}", key) == [(second,)]  # noqa: S608
    assert bench.execute(f"SELECT nexus_id::text FROM fm_pipeline.retired_patient_ids {of_patient}", key) == [(first,)]  # noqa: S608


@pytest.mark.parametrize(
    ("columns", "marks"),
    [
        ("deleted smallint NOT NULL DEFAULT 0, ADD is_removed text DEFAULT 'no'", "deleted = 1, is_removed = 'yes'"),
        ("is_deleted boolean, ADD deleted_at timestamptz", "is_deleted = false, deleted_at = now()"),
        ("deleted_at timestamptz[]", "deleted_at = ARRAY[now()]"),
        ("archived_by text", "archived = false, archived_at = now()"),
    ],
    ids=["numbers_and_texts", "deleted_once", "several_times", "archived_once"],
)
@pytest.mark.usefixtures("migrated_once")
def test_what_does_not_hide_a_patient_leaves_the_id_to_the_older_row(
    bench: MigrationBench, columns: str, marks: str
) -> None:
    first, key = _a_patient(bench)
    add_second_row(bench, first)
    bench.execute(f"ALTER TABLE patients ADD COLUMN IF NOT EXISTS {columns}")
    bench.execute(f"UPDATE patients SET {marks} WHERE id = %s", first)  # noqa: S608
    bench.extract_and_stage()
    assert _mapped(bench, key) == first


@pytest.mark.usefixtures("migrated_once")
def test_of_two_equal_notes_the_one_that_users_see_stays(bench: MigrationBench) -> None:
    """A note carries no id of FileMaker. The other one, which a user has deleted, has the lower id here."""
    bench.execute("ALTER TABLE notes ADD deleted_at timestamptz")
    ((number,),) = bench.execute(
        "WITH copies AS (INSERT INTO notes SELECT (jsonb_populate_record(NULL::notes, to_jsonb(n) ||"
        " jsonb_build_object('id', overlay(n.id::text placing '00000000' from 1), 'deleted_at', now()))).* FROM notes n"
        " ORDER BY id LIMIT 20 RETURNING 1) SELECT count(*) FROM copies"
    )
    bench.extract_and_stage()
    kept = bench.execute(
        "SELECT DISTINCT n.deleted_at IS NULL FROM fm_pipeline.staged_notes s JOIN notes n ON n.id = s.nexus_id"
        " WHERE right(n.id::text, 27) IN (SELECT right(id::text, 27) FROM notes WHERE deleted_at IS NOT NULL)"
    )
    assert number == 20
    assert kept == [(True,)]


@pytest.mark.parametrize("known_before", [False, True], ids=["new_row", "a_row_that_was_a_duplicate"])
def test_a_row_that_users_see_takes_the_place_of_the_known_one_that_they_do_not_see(
    reimported: MigrationBench, known_before: bool
) -> None:
    ((old,),) = reimported.execute(
        "SELECT c.nexus_id::text FROM fm_pipeline.crosswalk c JOIN appointments a ON a.patient_id = c.nexus_id"
        " JOIN documents_document d ON d.object_id = c.nexus_id WHERE c.entity = 'patient' ORDER BY 1 LIMIT 1"
    )
    _, key = _a_patient(reimported, old)
    new = add_second_row(reimported, old)
    reimported.execute("UPDATE patients SET mrn = 'only here', archived = false WHERE id = %s", new)
    if known_before:
        reimported.extract_and_stage()
        assert (_mapped(reimported, key), _retired(reimported, key)) == (old, [new])
    reimported.execute("UPDATE patients SET archived = true WHERE id = %s", old)
    with reimported.connection() as connection, connection.cursor() as cursor:
        index = read_patient_index(cursor, read_catalogue(cursor, "public"))
    assert index.by_key[key][0] == new
    references = (
        "SELECT (SELECT count(*) FROM appointments WHERE patient_id::text = %s),"
        " (SELECT count(*) FROM documents_document WHERE object_id::text = %s)"
    )
    (of_old,) = reimported.execute(references, old, old)
    reimported.extract_and_stage()
    before = reimported.digests()
    state = (_mapped(reimported, key), _retired(reimported, key))
    assert state == (new, [old])
    reimported.reimport(LATER)
    assert reimported.execute("SELECT id::text, mrn, archived FROM patients WHERE id IN (%s, %s)", old, new) == [
        (new, "only here", False)
    ]
    assert reimported.execute(references, new, new) == [of_old]
    after = reimported.digests()
    assert reimported.extract_and_stage().reimport(LATER + dt.timedelta(hours=1)).changed_rows == 0
    assert reimported.digests() == after
    give_back(reimported, list_backups(reimported.settings)[1].folder)
    assert reimported.digests() == before
    assert (_mapped(reimported, key), _retired(reimported, key)) == state


def test_the_id_moves_only_after_somebody_hides_the_row_that_has_it(reimported: MigrationBench) -> None:
    old, key = _a_patient(reimported)
    new = add_second_row(reimported, old)
    for hidden, expected in (
        ((), old),
        ((old, new), old),
        ((old,), new),
        ((), new),
        ((old, new), new),
        ((new,), old),
        ((), old),
    ):
        reimported.execute(
            "UPDATE patients SET archived = id = ANY(%s::uuid[]) WHERE id IN (%s, %s)", list(hidden), old, new
        )
        for _ in range(2):
            _fill(reimported)
            assert _mapped(reimported, key) == expected
            assert _retired(reimported, key) == [old if expected == new else new]


def test_a_hidden_row_that_got_another_filemaker_id_is_the_patient_of_that_id(reimported: MigrationBench) -> None:
    old, key = _a_patient(reimported)
    new, other = add_second_row(reimported, old), str(uuid.uuid4())
    reimported.execute(
        "UPDATE patients SET archived = true,"
        " filemaker_metadata = jsonb_set(filemaker_metadata, '{filemaker_id}', to_jsonb(%s::text)) WHERE id = %s",
        other,
        old,
    )
    _fill(reimported)
    assert (_mapped(reimported, key), _mapped(reimported, other)) == (new, old)
    assert _retired(reimported, key) == []


def _a_patient(bench: MigrationBench, nexus_id: str | None = None) -> tuple[str, str]:
    ((found, key),) = bench.execute(
        "SELECT id::text, lower(filemaker_metadata ->> 'filemaker_id') FROM patients"
        " WHERE filemaker_metadata ->> 'filemaker_id' <> '' AND id = coalesce(%s::uuid, id) AND NOT archived"
        " ORDER BY id LIMIT 1",
        nexus_id,
    )
    return found, key


def _fill(bench: MigrationBench) -> None:
    with bench.connection() as connection, connection.cursor() as cursor:
        fill_patients(connection, read_catalogue(cursor, "public"))


def _mapped(bench: MigrationBench, key: str) -> str:
    ((nexus_id,),) = bench.execute(
        "SELECT nexus_id::text FROM fm_pipeline.crosswalk WHERE entity = 'patient' AND filemaker_key = %s", key
    )
    return str(nexus_id)


def _retired(bench: MigrationBench, key: str) -> list[str]:
    rows = bench.execute("SELECT nexus_id::text FROM fm_pipeline.retired_patient_ids WHERE filemaker_key = %s", key)
    return [row[0] for row in rows]
