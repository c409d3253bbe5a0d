"""What a sync and a reimport ask of tables with millions of rows."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.table import Table
from fm_pipeline.entities.registry import ENTITIES
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.reimport import trigger_checks
from fm_pipeline.nexus.reimport.difference import Difference
from fm_pipeline.nexus.reimport.validation import check_relinked
from fm_pipeline.nexus.sync import before_images
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS

PATIENTS = Table("public", "patients")
_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}")
ROWS = """
CREATE TABLE patients (id uuid PRIMARY KEY, name text);
INSERT INTO patients SELECT md5(n::text)::uuid, 'before ' || n FROM generate_series(1, 20) n
"""
# Files, one of which was relinked
FILES = """
CREATE TABLE NAME (id uuid PRIMARY KEY, content_type_id integer, object_id uuid);
INSERT INTO NAME SELECT md5(n::text)::uuid, 1, md5('p' || n)::uuid FROM generate_series(1, 20000) n;
CREATE TEMP TABLE relinked_NAME AS SELECT id::text, object_id::text AS patient FROM NAME LIMIT 1;
ANALYZE NAME, relinked_NAME
"""


def test_rows_that_stay_are_found_by_a_join_and_not_by_a_list_that_each_row_is_compared_with(migrated_url: str) -> None:
    with connect(migrated_url) as connection, connection.cursor() as cursor:
        cursor.execute(ROWS)
        cursor.execute("SELECT id::text FROM patients LIMIT 15")
        kept = [row[0] for row in cursor.fetchall()]
        difference = Difference(ENTITIES["patient"], PATIENTS, {}, {}, kept=kept)
        assert difference.find_rows_to_delete(cursor) == 5
        statement = (cursor.query or b"").decode()
        cursor.execute("DROP TABLE gone_patients")
        cursor.execute(f"EXPLAIN {statement}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
        assert plan.count("Anti Join") == 2, plan
        assert "ALL (" not in plan


def test_the_rows_that_a_sync_changes_are_stored_in_portions(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(before_images, "ROWS_AT_ONCE", 4)
    sync_id = str(uuid.uuid4())
    with connect(migrated_url) as other, connect(migrated_url) as connection, connection.cursor() as cursor:
        cursor.execute(ROWS)
        cursor.execute(
            "INSERT INTO fm_pipeline.syncs (id, requested_by, created_at, status, inputs, report)"
            " VALUES (%s, 'x', now(), 'committed', '{}', '{}')",
            (sync_id,),
        )
        connection.commit()
        _change(connection)
        with other.cursor() as before:
            stored = before_images.store_before_images(
                cursor, before, read_catalogue(cursor, "public"), sync_id, [PATIENTS], []
            )
        cursor.execute(
            "SELECT before ->> 'name', after ->> 'name' FROM fm_pipeline.sync_changes WHERE sync_id = %s", (sync_id,)
        )
        found = set(cursor.fetchall())
    assert stored == len(found) == 20
    assert found == {
        *((f"before {n}", f"after {n}") for n in range(1, 11)),
        *((f"before {n}", None) for n in range(11, 16)),
        *((None, f"new {n}") for n in range(5)),
    }


class CountingCursor(Cursor):
    """Knows the most ids that any of its statements had."""

    most = 0

    def execute(self, *statement: Any) -> None:
        super().execute(*statement)
        self.most = max(self.most, len(_UUID.findall(self.query or b"")))


@pytest.mark.parametrize("changed", ["none", "note"])
def test_no_statement_has_more_than_some_of_the_ids_of_rows_that_were_written(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    monkeypatch.setattr(trigger_checks, "IDS_AT_ONCE", 4)
    with connect(migrated_url) as gate, connect(migrated_url) as connection:
        with connection.cursor() as cursor:
            cursor.execute(ROWS)
            cursor.execute("ALTER TABLE patients ADD note text")
        connection.commit()
        with (
            gate.cursor(cursor_factory=CountingCursor) as other,
            connection.cursor(cursor_factory=CountingCursor) as own,
        ):
            own.execute("UPDATE patients SET name = replace(name, 'before', 'after')")
            own.execute("INSERT INTO patients SELECT gen_random_uuid(), 'new ' || n FROM generate_series(1, 9) n")
            if changed == "note":
                own.execute("UPDATE patients SET note = 'by a trigger' WHERE name = 'after 7'")
            catalogue = read_catalogue(own, "public")
            difference = Difference(ENTITIES["patient"], PATIENTS, {}, {}, kept=[])
            checks = [
                trigger_checks.check_kept_columns(own, other, catalogue, difference, ["name"]),
                *trigger_checks.check_other_columns_unchanged(
                    own, other, catalogue, {PATIENTS: ["name"]}, growing=[PATIENTS]
                ),
            ]
            assert max(own.most, other.most) == 4
    assert {check.found for check in checks} == {f"{changed} changed"}
    assert {check.holds for check in checks} == {changed == "none"}


def test_two_tables_whose_long_names_begin_alike_are_checked_in_one_transaction(migrated_url: str) -> None:
    tables = [Table("public", "x" * 59 + each) for each in ("aaaa", "aabb")]  # "new_public_" comes before
    with connect(migrated_url) as gate, connect(migrated_url) as connection:
        with connection.cursor() as cursor:
            for table in tables:
                cursor.execute(f"CREATE TABLE {table.name} (id integer PRIMARY KEY, name text)")
        connection.commit()
        with gate.cursor() as other, connection.cursor() as own:
            for number, table in enumerate(tables):
                own.execute(sql.SQL("INSERT INTO {} VALUES (%s, 'new')").format(table.identifier), (number,))
            checks = trigger_checks.check_other_columns_unchanged(
                own, other, read_catalogue(own, "public"), {table: ["name"] for table in tables}, growing=tables
            )
    assert [check.holds for check in checks] == [True, True]


def test_a_few_relinked_rows_are_looked_up_and_the_table_is_not_read(migrated_url: str) -> None:
    with connect(migrated_url) as connection, connection.cursor() as cursor:
        for name in (DOCUMENTS, BATCHES):
            cursor.execute(FILES.replace("NAME", name))
        checks = check_relinked(cursor, read_catalogue(cursor, "public"), 1)
        statement = (cursor.query or b"").decode()
        cursor.execute(f"EXPLAIN {statement}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert [check.holds for check in checks] == [True, True]
    assert f"Seq Scan on {BATCHES}" not in plan, plan


def _change(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE gone_patients ON COMMIT DROP AS SELECT md5(n::text)::uuid AS id FROM"
            " generate_series(11, 15) n;"
            "UPDATE patients SET name = replace(name, 'before', 'after') WHERE id = ANY(ARRAY(SELECT md5(n::text)::uuid"
            " FROM generate_series(1, 10) n));"
            "DELETE FROM patients p USING gone_patients g WHERE g.id = p.id;"
            "INSERT INTO patients SELECT gen_random_uuid(), 'new ' || n FROM generate_series(0, 4) n"
        )
