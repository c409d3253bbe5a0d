"""Whether a table was written since, by its row versions: every write is seen, whatever it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect
from fm_pipeline.db.row_versions import own_transaction, read_horizon, read_shapes, read_versions
from fm_pipeline.db.table import Table

TABLES = [Table("public", "plain"), Table("public", "parted")]
WRITES = [
    "INSERT INTO {} VALUES (9, 'new')",
    "UPDATE {} SET word = 'other' WHERE number = 2",
    "UPDATE {} SET word = word WHERE number = 2",
    "DELETE FROM {} WHERE number = 2",
    "DELETE FROM {0} WHERE number = 2; INSERT INTO {0} VALUES (2, 'two')",
    "BEGIN; SAVEPOINT a; UPDATE {} SET word = 'other' WHERE number = 2; RELEASE a; COMMIT",
    "TRUNCATE {}",
    "CREATE TABLE kept AS SELECT * FROM {0}; TRUNCATE {0}; INSERT INTO {0} SELECT * FROM kept",
]


@pytest.fixture
def user(database_url: str) -> Iterator[Connection]:
    """Somebody else, who has made a plain and a partitioned table with three rows each."""
    with closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE plain (number int, word text);"
                "CREATE TABLE parted (number int, word text) PARTITION BY RANGE (number);"
                "CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (10);"
                "INSERT INTO plain VALUES (1, 'one'), (2, 'two'), (3, NULL); INSERT INTO parted SELECT * FROM plain"
            )
        yield connection


def seen(connection: Connection, since: str) -> list[tuple[int, int]]:
    """Rows and later versions of both tables, in a transaction of their own."""
    with connection.cursor() as cursor:
        versions = read_versions(cursor, TABLES, since)
    connection.commit()
    return [tuple(versions[table]) for table in TABLES]  # type: ignore[misc]  # a tuple of two


def horizon(connection: Connection) -> str:
    """The horizon of a snapshot that is taken now."""
    with connection.cursor() as cursor:
        since = read_horizon(cursor)
    connection.commit()
    return since


def test_a_table_without_writes_has_no_later_version(user: Connection, database_url: str) -> None:
    with connect(database_url) as ours:
        since = horizon(ours)
        with user.cursor() as cursor:
            cursor.execute("CREATE TABLE elsewhere AS SELECT 1")
            cursor.execute("VACUUM (FULL, FREEZE) plain")
            cursor.execute("SELECT * FROM parted FOR UPDATE")
        assert seen(ours, since) == [(3, 0), (3, 0)]


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("write", WRITES)
def test_every_write_is_seen(user: Connection, database_url: str, write: str, position: int) -> None:
    with connect(database_url) as ours:
        since = horizon(ours)
        with user.cursor() as cursor:
            for statement in write.format(TABLES[position].name).split(";"):
                cursor.execute(statement)
        expected = [(3, 0), (3, 0)]
        found = seen(ours, since)
        assert found[position] != expected[position]
        assert found[1 - position] == expected[1 - position]


def test_a_writer_that_began_before_the_snapshot_and_committed_after_it_is_seen(
    user: Connection, database_url: str
) -> None:
    user.autocommit = False
    with connect(database_url) as ours, user.cursor() as cursor:
        cursor.execute("UPDATE plain SET word = 'other' WHERE number = 1")
        since = horizon(ours)
        user.commit()
        assert seen(ours, since) == [(3, 1), (3, 0)]


def test_rows_that_the_transaction_has_written_itself_are_those_since_its_own_id(
    user: Connection, database_url: str
) -> None:
    del user
    with connect(database_url) as ours, ours.cursor() as cursor:
        assert seen(ours, horizon(ours)) == [(3, 0), (3, 0)]
        own = own_transaction(cursor)
        assert read_versions(cursor, TABLES, own)[TABLES[0]] == (3, 0)
        cursor.execute("UPDATE plain SET word = word WHERE number = 1")
        cursor.execute("SAVEPOINT a")
        cursor.execute("INSERT INTO plain VALUES (4, 'four')")
        assert read_versions(cursor, TABLES, own)[TABLES[0]] == (4, 2)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE {} DROP COLUMN word; ALTER TABLE {} ADD COLUMN word text",
        "ALTER TABLE {} ALTER COLUMN word TYPE varchar(10)",
        "ALTER TABLE {} RENAME COLUMN word TO term",
        "ALTER TABLE {} ADD COLUMN more int",
    ],
)
@pytest.mark.parametrize("position", [0, 1])
def test_another_meaning_of_the_same_versions_is_another_shape(
    user: Connection, database_url: str, change: str, position: int
) -> None:
    with connect(database_url) as ours, ours.cursor() as cursor, user.cursor() as other:
        before = read_shapes(cursor, TABLES)
        ours.commit()
        other.execute(change.replace("{}", TABLES[position].name))
        after = read_shapes(cursor, TABLES)
        assert [before[table] != after[table] for table in TABLES] == [position == 0, position == 1]


def test_a_replaced_partition_changes_the_shape(user: Connection, database_url: str) -> None:
    with connect(database_url) as ours, ours.cursor() as cursor, user.cursor() as other:
        other.execute(
            "CREATE TABLE spare (number int, word text); INSERT INTO spare VALUES (1, 'x'), (2, 'y'), (3, 'z')"
        )
        since, before = horizon(ours), read_shapes(cursor, TABLES)
        ours.commit()
        other.execute("ALTER TABLE parted DETACH PARTITION low")
        other.execute("ALTER TABLE parted ATTACH PARTITION spare FOR VALUES FROM (0) TO (10)")
        assert seen(ours, since) == [(3, 0), (3, 0)]
        assert read_shapes(cursor, TABLES)[TABLES[1]] != before[TABLES[1]]
