"""The reference Nexus database is as the application's models make it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from fm_pipeline.sandbox.nexus.columns import nexus_columns
from fm_pipeline.sandbox.nexus.create import create_nexus


@pytest.fixture
def nexus(database_url: str) -> Iterator[Connection]:
    connection = psycopg2.connect(database_url)
    create_nexus(connection)
    yield connection
    connection.close()


def ask(connection: Connection, question: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchall()


def test_every_foreign_key_does_nothing_and_is_checked_at_commit(nexus: Connection) -> None:
    kinds = ask(
        nexus, "SELECT confdeltype::text, condeferrable, condeferred, count(*) FROM pg_constraint"
        " WHERE contype = 'f' GROUP BY 1, 2, 3",
    )  # fmt: skip
    assert kinds == [("a", True, True, 38)]


def test_every_foreign_key_column_is_indexed(nexus: Connection) -> None:
    bare = ask(
        nexus,
        "SELECT conrelid::regclass, conkey FROM pg_constraint k WHERE contype = 'f' AND NOT EXISTS"
        " (SELECT 1 FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indkey[0] = k.conkey[1])",
    )
    assert bare == []


def test_generic_keys_have_an_index_and_no_constraint(nexus: Connection) -> None:
    found = ask(
        nexus, "SELECT t.relname, count(i.*) FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid"
        " AND a.attname = 'object_id' LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indnkeyatts = 2"
        " AND i.indkey[1] = a.attnum WHERE t.relkind = 'r' GROUP BY 1 ORDER BY 1",
    )  # fmt: skip
    assert found == [("core_bookmark", 1), ("documents_document", 1), ("images_batch", 1)]


def test_the_application_s_integer_ids_are_identities(nexus: Connection) -> None:
    found = ask(
        nexus, "SELECT table_name FROM information_schema.columns WHERE is_identity = 'YES'"
        " AND identity_generation = 'BY DEFAULT' ORDER BY 1",
    )  # fmt: skip
    assert found == [
        ("audit_log",),
        ("auth_group",),
        ("auth_user",),
        ("auth_user_groups",),
        ("django_content_type",),
        ("django_migrations",),
    ]


def test_the_columns_read_from_the_file_are_those_of_the_database(nexus: Connection) -> None:
    real: dict[str, list[str]] = {}
    for table, column in ask(
        nexus, "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        " ORDER BY table_name, ordinal_position",
    ):  # fmt: skip
        real.setdefault(str(table), []).append(str(column))
    assert {table: list(columns) for table, columns in nexus_columns().items()} == real


def test_it_can_lie_in_a_schema_of_another_name(nexus: Connection) -> None:
    create_nexus(nexus, "nexus two")
    counts = ask(
        nexus, "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'nexus two') GROUP BY schemaname"
    )  # fmt: skip
    assert counts == [(31,), (31,)]
    assert ask(nexus, "SHOW search_path") == [('"$user", public',)]


def test_a_second_time_is_refused_and_changes_nothing(nexus: Connection) -> None:
    with pytest.raises(psycopg2.errors.DuplicateTable):
        create_nexus(nexus)
    assert ask(nexus, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(31,)]
