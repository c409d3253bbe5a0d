"""Records that exchange values which a constraint allows once: written in steps, or refused with their ids."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2.errors
import pytest
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.reimport.difference import Difference, plan_difference
from fm_pipeline.nexus.reimport.exchanged_values import update_changed
from fm_pipeline.nexus.table_policy import LOADED
from fm_pipeline.staging.check import staged_columns
from fm_pipeline_tests.nexus.backup.restoring import give_back
from fm_pipeline_tests.support.clinics import DATABASE, RUN_TIME, MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database


@dataclass
class Loading:
    """The load of one table inside a transaction that is rolled back: staged rows equal Nexus but for what is moved."""

    cursor: Cursor
    difference: Difference
    ids: list[str]

    @property
    def columns(self) -> dict[str, object]:
        """Of the table."""
        return dict(read_catalogue(self.cursor, "public").columns[self.difference.table])

    def rotate(self, column: str) -> None:
        """In staging the first row gets the value of the second, and so on around."""
        staged = f"fm_pipeline.{self.difference.entity.staged_table}"
        self.cursor.execute(
            f"UPDATE {staged} s SET {column} = o.value FROM (SELECT id, lead(value, 1, first) OVER (ORDER BY id)"  # noqa: S608
            f" AS value FROM (SELECT nexus_id AS id, {column} AS value, first_value({column}) OVER (ORDER BY nexus_id)"
            f" AS first FROM {staged} WHERE nexus_id = ANY(%s::uuid[])) v) o WHERE o.id = s.nexus_id",
            (self.ids,),
        )

    def update(self) -> int:
        """Update the rows that differ, and look whether the result is right."""
        rows = update_changed(self.cursor, self.difference, self.columns, RUN_TIME)  # type: ignore[arg-type]
        self.cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        staged, there, unlike = self.difference.compare(self.cursor, RUN_TIME)
        assert (staged, unlike) == (there, 0)
        return rows


@pytest.fixture(scope="module")
def imported(postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MigrationBench]:
    """A clinic after its reimport: what is staged is what Nexus has."""
    folder = tmp_path_factory.mktemp("imported")
    with empty_database(postgresql) as url, migration_bench(url, folder, small_clinic()) as running:
        running.extract_and_stage().reimport()
        yield running


@contextmanager
def loading(bench: MigrationBench, entity: str, *, setup: str) -> Iterator[Loading]:
    """The load of an entity, with what `setup` makes, and four of its rows."""
    loaded = next(each for each in LOADED if each.name == entity)
    with bench.connection() as connection, connection.cursor() as cursor:
        difference = plan_difference(loaded, read_catalogue(cursor, "public"), staged_columns(cursor)[entity], "keep")
        cursor.execute(f"SELECT nexus_id::text FROM fm_pipeline.{loaded.staged_table} ORDER BY record_id LIMIT 4")  # noqa: S608
        ids = [row[0] for row in cursor.fetchall()]
        cursor.execute(setup)
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        yield Loading(cursor, difference, ids)
        connection.rollback()


NUMBERS = "UPDATE patients SET health_number = substr(id::text, 1, 30); "
STAGED_NUMBERS = "UPDATE fm_pipeline.staged_patients SET health_number = substr(nexus_id::text, 1, 30); "
UNIQUE = {
    "a unique column": "ALTER TABLE patients ADD CONSTRAINT once UNIQUE (health_number)",
    "a unique index": "CREATE UNIQUE INDEX once ON patients (health_number)",
    "a unique index of some rows": "CREATE UNIQUE INDEX once ON patients (health_number) WHERE NOT archived",
    "a unique index of an expression": "CREATE UNIQUE INDEX once ON patients (lower(health_number), archived)",
    "nulls that are not distinct": "CREATE UNIQUE INDEX once ON patients (health_number) NULLS NOT DISTINCT",
    "two columns": "ALTER TABLE patients ADD CONSTRAINT once UNIQUE (archived, health_number)",
    "a constraint that waits": "ALTER TABLE patients ADD CONSTRAINT once UNIQUE (health_number) DEFERRABLE",
    "an exclusion constraint": "ALTER TABLE patients ADD CONSTRAINT once EXCLUDE USING btree (health_number WITH =)",
    "a column that may not be empty": "ALTER TABLE patients ADD CONSTRAINT once UNIQUE (health_number),"
    " ALTER health_number SET NOT NULL",
    "a check that the column is filled": "ALTER TABLE patients ADD CONSTRAINT once UNIQUE (health_number),"
    " ADD CONSTRAINT filled CHECK (health_number <> '' IS TRUE)",
    "a generated column": "ALTER TABLE patients ADD code text GENERATED ALWAYS AS (upper(health_number)) STORED UNIQUE",
    "a number that PostgreSQL gives": "ALTER TABLE patients ADD CONSTRAINT once UNIQUE (health_number),"
    " ALTER health_number SET NOT NULL, ADD number bigint GENERATED ALWAYS AS IDENTITY UNIQUE",
    "keys that cascade": "ALTER TABLE patients ADD CONSTRAINT once UNIQUE (health_number),"
    " ALTER health_number SET NOT NULL; CREATE TABLE cards (id serial PRIMARY KEY,"
    " patient_id uuid NOT NULL REFERENCES patients ON DELETE CASCADE); INSERT INTO cards (patient_id)"
    " SELECT id FROM patients",
    "keys that are checked at once": "ALTER TABLE patients ADD CONSTRAINT once UNIQUE (health_number),"
    " ALTER health_number SET NOT NULL; CREATE TABLE cards (id serial PRIMARY KEY,"
    " patient_id uuid NOT NULL REFERENCES patients); INSERT INTO cards (patient_id) SELECT id FROM patients",
}


@pytest.mark.parametrize("case", UNIQUE)
def test_records_that_exchange_a_unique_value_are_written_under_every_kind_of_constraint(
    imported: MigrationBench, case: str
) -> None:
    with loading(imported, "patient", setup=NUMBERS + STAGED_NUMBERS + UNIQUE[case]) as patients:
        patients.rotate("health_number")
        patients.cursor.execute("SAVEPOINT before")
        if "waits" not in case:
            with pytest.raises((psycopg2.errors.UniqueViolation, psycopg2.errors.ExclusionViolation)):
                patients.difference.update(patients.cursor, RUN_TIME)
        patients.cursor.execute("ROLLBACK TO before")
        assert patients.update() == len(patients.ids)
        if "cards" in UNIQUE[case]:
            patients.cursor.execute("SELECT count(*) = (SELECT count(*) FROM patients) FROM cards")
            assert patients.cursor.fetchone() == (True,)


def test_rows_that_are_equal_are_not_written(imported: MigrationBench) -> None:
    with loading(imported, "patient", setup=NUMBERS + STAGED_NUMBERS + UNIQUE["a unique column"]) as patients:
        patients.rotate("health_number")
        where_each_is = "SELECT ctid::text, xmin::text, id FROM patients"
        patients.cursor.execute(where_each_is)
        before = set(patients.cursor.fetchall())
        patients.update()
        patients.cursor.execute(where_each_is)
        assert {row[2] for row in set(patients.cursor.fetchall()) - before} == set(patients.ids)


def test_appointments_of_one_clinician_exchange_their_times(imported: MigrationBench) -> None:
    setup = "".join(
        f"UPDATE {table} SET start_time = o.start_time, end_time = o.start_time + interval '1 hour' FROM"  # noqa: S608
        " (SELECT nexus_id AS id, '2025-01-01'::timestamptz + interval '1 day' * row_number() OVER () AS start_time"
        f" FROM fm_pipeline.staged_appointments) o WHERE o.id = {key};"
        for table, key in (("appointments", "appointments.id"), ("fm_pipeline.staged_appointments", "nexus_id"))
    )
    constraint = (
        "ALTER TABLE appointments ADD CONSTRAINT one_at_a_time EXCLUDE USING gist"
        " (tstzrange(start_time, end_time) WITH &&)"
    )
    if imported.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'btree_gist'"):
        constraint = "CREATE EXTENSION btree_gist;" + constraint.replace("(tstz", "(clinician_id WITH =, tstz")
    with loading(imported, "appointment", setup=setup + constraint) as appointments:
        appointments.rotate("start_time")
        appointments.rotate("end_time")
        assert appointments.update() == len(appointments.ids)


def test_a_trigger_that_records_deletes_is_not_given_any(imported: MigrationBench) -> None:
    setup = (
        NUMBERS
        + STAGED_NUMBERS
        + UNIQUE["a column that may not be empty"]
        + "; CREATE FUNCTION record() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'deleted'; END $$;"
        "CREATE TRIGGER record AFTER DELETE ON patients FOR EACH ROW EXECUTE FUNCTION record()"
    )
    with loading(imported, "patient", setup=setup) as patients:
        patients.rotate("health_number")
        assert patients.update() == len(patients.ids)


def test_an_exchange_without_an_allowed_step_stops_and_names_the_records(imported: MigrationBench) -> None:
    form = "; ALTER TABLE patients ADD CONSTRAINT form CHECK (health_number ~ '^[0-9a-f-]{30}$')"
    setup = NUMBERS + STAGED_NUMBERS + UNIQUE["keys that cascade"] + form
    with loading(imported, "patient", setup=setup) as patients:
        patients.rotate("health_number")
        patients.cursor.execute(
            "SELECT filemaker_key FROM fm_pipeline.staged_patients WHERE nexus_id = ANY(%s::uuid[])", (patients.ids,)
        )
        keys = [key for (key,) in patients.cursor.fetchall()]
        with pytest.raises(CatalogueStop, match="exchange values that once of patients allows once") as caught:
            patients.update()
        assert all(key in caught.value.what for key in keys)
        assert "DEFERRABLE" in caught.value.remedy


def test_two_records_with_the_same_value_are_still_refused_as_such(imported: MigrationBench) -> None:
    with loading(imported, "patient", setup=NUMBERS + STAGED_NUMBERS + UNIQUE["keys that cascade"]) as patients:
        patients.cursor.execute(
            "UPDATE fm_pipeline.staged_patients SET health_number = 'same' WHERE nexus_id = ANY(%s::uuid[])",
            (patients.ids,),
        )
        with pytest.raises(psycopg2.errors.UniqueViolation):
            patients.update()


def test_exchanged_values_are_loaded_by_a_reimport_and_reverted_by_a_restore(bench: MigrationBench, gone: str) -> None:
    """Two records exchange a number, one takes that of a patient who goes, a new one that of a record that changes."""
    chosen = bench.execute(
        "SELECT s.record_id, s.nexus_id, r.fields FROM fm_pipeline.staged_patients s JOIN fm_pipeline.source_records r"
        " USING (record_id) WHERE r.entity = 'patient' AND nexus_id <> %s AND nexus_id IN (SELECT id FROM patients)"
        " ORDER BY record_id LIMIT 4",
        gone,
    )
    ids = [*(nexus_id for _, nexus_id, _ in chosen), gone]
    bench.execute("UPDATE patients SET health_number = NULL; ALTER TABLE patients ADD UNIQUE (health_number)")
    for position, nexus_id in enumerate(ids):
        bench.execute("UPDATE patients SET health_number = %s WHERE id = %s", f"N{position}", nexus_id)
    new_numbers = ["N1", "N0", "N4", "N5"]
    for (record, _, _), number in zip(chosen, new_numbers, strict=True):
        bench.store.edit(DATABASE, "Patients", record, {"health_number": number})
    fields = chosen[0][2]
    new = {"id": str(uuid.uuid4()), "first_name": "New", "last_name": "Patient", "health_number": "N3"}
    new |= {"clinic_name": fields["clinic"], "funding_type": fields["funding"]}
    bench.store.insert(DATABASE, "Patients", [new])
    before = bench.digests()
    bench.extract_and_stage().reimport()
    assert [bench.execute("SELECT health_number FROM patients WHERE id = %s", nexus_id) for nexus_id in ids] == [
        [(number,)] for number in new_numbers
    ] + [[]]
    assert bench.execute("SELECT count(*) FROM patients WHERE health_number = 'N3'") == [(1,)]
    give_back(bench, list_backups(bench.settings)[0].folder)
    assert bench.digests() == before
