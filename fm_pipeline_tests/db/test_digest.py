"""The digest that plans, backups and validation compare: what it must see, and what it must not."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from fm_pipeline.db.digest import Digest, table_digest
from fm_pipeline.db.table import Table

TABLE = Table("public", "people")
COLUMNS = ("id", "name", "born", "seen_at", "cost", "contact", "raw", "place")
ROWS = """
INSERT INTO people VALUES
  (1, 'Alpha', '1980-01-31', '2025-11-20 03:00:00.000001Z', 1.0, '{"a": ["", "x"]}', '{"a":1}', '(1,2)'),
  (2, 'Beta', '1981-02-01', NULL, NULL, NULL, NULL, NULL)
"""


def digest_after(database_url: str, *statements: str) -> Digest:
    """The digest of the two people, after some statements that are not committed."""
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE people (id bigint, name varchar(20), born date, seen_at timestamptz, cost numeric,"
            " contact jsonb, raw json, place point)"
        )
        cursor.execute(ROWS)
        for statement in statements:
            cursor.execute(statement)
        return table_digest(cursor, TABLE, COLUMNS)


def test_the_order_of_rows_does_not_count(database_url: str) -> None:
    first_row_last = "UPDATE people SET id = id WHERE id = 1"
    assert digest_after(database_url, first_row_last) == digest_after(database_url)


@pytest.mark.parametrize(
    "change",
    [
        "name = name || ' '",
        "born = born + 1",
        "seen_at = seen_at + interval '1 microsecond'",
        "cost = 1.00",
        """contact = '{"a": ["x", ""]}'""",
        """raw = '{"a": 1}'""",
        "place = '(1,3)'",
        "name = NULL",
    ],
)
def test_every_change_of_a_value_is_seen(database_url: str, change: str) -> None:
    changed = digest_after(database_url, f"UPDATE people SET {change} WHERE id = 1")  # noqa: S608
    assert changed.rows == 2
    assert changed != digest_after(database_url)


@pytest.mark.parametrize("other", ["Beta", "Gamma", "Delta", "Epsilon", "Zeta"])
def test_two_rows_that_exchange_a_value_are_seen(database_url: str, other: str) -> None:
    before = digest_after(database_url, f"UPDATE people SET name = '{other}' WHERE id = 2")  # noqa: S608
    exchanged = f"UPDATE people SET name = CASE id WHEN 1 THEN '{other}' ELSE 'Alpha' END"  # noqa: S608
    assert digest_after(database_url, exchanged) != before


def test_a_value_that_moves_to_another_column_is_seen(database_url: str) -> None:
    before = digest_after(database_url, "UPDATE people SET contact = '1', raw = NULL")
    assert digest_after(database_url, "UPDATE people SET contact = NULL, raw = '1'") != before


@pytest.mark.parametrize("method", ["record", "text"])
def test_a_digest_of_another_server_is_compared_as_it_was_made(database_url: str, method: str) -> None:
    """PostgreSQL 13 hashes rows as text; a backup made there is restored on a newer server."""
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE people (id bigint, name text); INSERT INTO people VALUES (1, 'Alpha'), (2, NULL)")
        there = table_digest(cursor, TABLE, ("id", "name"), like=Digest(0, f"{method}:0"))
        assert there.hash.startswith(f"{method}:")
        assert table_digest(cursor, TABLE, ("id", "name"), like=there) == there
        cursor.execute("UPDATE people SET name = 'alpha' WHERE id = 1")
        assert table_digest(cursor, TABLE, ("id", "name"), like=there) != there
