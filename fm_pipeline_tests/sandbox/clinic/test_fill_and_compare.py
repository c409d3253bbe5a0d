"""The clinic loads into a real database, and the comparison finds what was changed in it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from fm_pipeline.sandbox.clinic.change import change_one_percent
from fm_pipeline.sandbox.clinic.filemaker.containers import NAMES
from fm_pipeline.sandbox.clinic.fill import fill_filemaker, fill_nexus
from fm_pipeline.sandbox.clinic.generate import Clinic, generate_clinic
from fm_pipeline.sandbox.clinic.nexus.compare import Mismatch, differences
from fm_pipeline.sandbox.clinic.nexus.oracle import NexusOnlyColumns
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database


@pytest.fixture
def nexus(database_url: str) -> Iterator[Connection]:
    connection = psycopg2.connect(database_url)
    create_nexus(connection)
    yield connection
    connection.close()


def execute(connection: Connection, statement: str | sql.Composed) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def ask(connection: Connection, question: str | sql.Composed) -> object:
    with connection.cursor() as cursor:
        cursor.execute(question)
        row = cursor.fetchone()
    return row and row[0]


def test_the_state_before_the_run_satisfies_every_constraint(nexus: Connection, clinic: Clinic) -> None:
    fill_nexus(nexus, clinic)
    for table in clinic.nexus_tables():
        count = ask(nexus, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.name)))
        assert count == len(table.rows), table.name
    assert differences(nexus, clinic.expected()), "the reimport has not run"


def test_the_application_can_add_users_after_the_load(nexus: Connection, clinic: Clinic) -> None:
    fill_nexus(nexus, clinic)
    execute(nexus, "INSERT INTO django_content_type (app_label, model) VALUES ('new', 'model')")


def test_a_state_that_breaks_a_foreign_key_is_not_loaded(nexus: Connection) -> None:
    broken = generate_clinic(scale=0.02)
    broken.truth.before["clinics"].rows.clear()
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        fill_nexus(nexus, broken)
    assert ask(nexus, "SELECT count(*) FROM patients") == 0


@pytest.mark.parametrize("setting", ["keep", "reset"])
def test_a_database_as_expected_has_no_differences(
    nexus: Connection, clinic: Clinic, setting: NexusOnlyColumns
) -> None:
    fill_nexus(nexus, change_one_percent(clinic, 1, setting))  # it begins where the first reimport ends
    assert differences(nexus, clinic.expected(setting)) == []


@pytest.fixture(scope="module")
def expected_database(postgresql: DisposablePostgreSQL, clinic: Clinic) -> Iterator[Connection]:
    """A database as the first reimport must leave it."""
    with empty_database(postgresql) as url:
        connection = psycopg2.connect(url)
        create_nexus(connection)
        fill_nexus(connection, change_one_percent(clinic, 1))
        yield connection
        connection.close()


@pytest.fixture
def reimported(expected_database: Connection) -> Iterator[Connection]:
    """The same, for a test that changes it: what the test did is rolled back."""
    yield expected_database
    expected_database.rollback()


@pytest.mark.parametrize(
    ("table", "column", "changed"),
    [
        ("patients", "dob", "dob + 1"),
        ("patients", "last_name", "last_name || ' '"),
        ("patients", "mrn", "NULL"),
        ("patients", "filemaker_metadata", "filemaker_metadata - 'xero_contact_id'"),
        ("patients", "filemaker_metadata", "filemaker_metadata - 'imported_at'"),
        ("patients", "archived", "NOT archived"),
        ("appointments", "start_time", "start_time + interval '1 hour'"),
        ("appointments", "parent_appointment_id", "NULL"),
        ("sms_messages", "cost", "cost + 0.0001"),
        ("documents_document", "object_id", "gen_random_uuid()"),
        ("images_batch", "image_count", "image_count + 1"),
        ("clinics", "color", "'#000000'"),
    ],
)
def test_one_changed_value_is_one_difference(
    reimported: Connection, clinic: Clinic, table: str, column: str, changed: str
) -> None:
    statement = sql.SQL(
        "UPDATE {table} SET {column} = {changed} WHERE id ="
        " (SELECT id FROM {table} WHERE {column} IS NOT NULL ORDER BY id LIMIT 1)"
    ).format(table=sql.Identifier(table), column=sql.Identifier(column), changed=sql.SQL(changed))
    execute(reimported, statement)
    (found,) = differences(reimported, clinic.expected())
    assert (found.table, found.kind, found.columns) == (table, "different", (column,))


def test_a_time_of_the_run_may_be_any_but_not_that_of_an_unchanged_row(reimported: Connection, clinic: Clinic) -> None:
    execute(reimported, "UPDATE patients SET updated_at = now()")
    found = differences(reimported, clinic.expected())
    assert len(found) == clinic.expected().changes["patients"].unchanged
    assert {difference.columns for difference in found} == {("updated_at",)}


def test_a_row_too_few_and_a_row_too_many_are_found(reimported: Connection, clinic: Clinic) -> None:
    with reimported.cursor() as cursor:
        cursor.execute("DELETE FROM notes WHERE id = (SELECT id FROM notes LIMIT 1) RETURNING *")
        (gone, *rest) = cursor.fetchone() or ()
        other = "00000000-0000-4000-8000-000000000000"
        cursor.execute("INSERT INTO notes VALUES (%s, %s, %s, %s, %s, %s, %s)", (other, *rest))
    assert set(differences(reimported, clinic.expected())) == {
        Mismatch("notes", gone, "missing"),
        Mismatch("notes", other, "unexpected"),
    }


def test_a_difference_names_no_value(reimported: Connection, clinic: Clinic) -> None:
    execute(reimported, "UPDATE patients SET last_name = 'CANARY'")
    assert "CANARY" not in repr(differences(reimported, clinic.expected()))


def test_the_stand_in_for_filemaker_holds_the_records_in_order(tmp_path: object, clinic: Clinic) -> None:
    store = Store(f"{tmp_path}/store.sqlite")
    try:
        fill_filemaker(store, clinic, "Clinic")
        layouts = {layout.name: layout for layout in store.layouts("Clinic")}
        for table in clinic.filemaker_tables():
            layout = layouts[table.layout]
            containers = NAMES if table.layout == "API_Images" else ()
            assert list(layout.fields) == [*(name for name, _ in table.fields), *containers]
            rows = store.table("Clinic", layout.table)
            with store.reading() as connection:
                found = connection.execute(
                    f"SELECT record_id, {rows.column('id')} FROM {rows.rows} ORDER BY record_id"  # noqa: S608
                ).fetchall()
            ids = [row[0] for row in table.rows]
            assert [(row[0], row[1]) for row in found] == list(enumerate(ids, start=1))
    finally:
        store.close()
