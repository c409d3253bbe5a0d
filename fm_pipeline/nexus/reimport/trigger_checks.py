"""Checks for side effects of triggers and rules on the rows that a reimport writes.

A trigger may return NULL and a rule may do something else instead: the statement succeeds, and the row is unchanged or
different. So the result of each statement is read again, and compared with what another connection still sees.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.copy import copy_rows
from fm_pipeline.db.digest import table_digest
from fm_pipeline.db.queries import count
from fm_pipeline.db.row_versions import later_than, own_transaction
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.catalogue.table_details import generated_columns
from fm_pipeline.nexus.checks import Check
from fm_pipeline.nexus.reimport.difference import Difference, gone

IDS_AT_ONCE = 10_000  # of a statement: more would have to be held twice, by this process and by PostgreSQL
_ALL = sql.SQL("true")


def check_rows_deleted(cursor: Cursor, tables: Iterable[Table]) -> Check:
    """Check that every row that was to be deleted is gone; after the deletions."""
    left = []
    for table in tables:
        cursor.execute(
            sql.SQL("SELECT count(*) FROM {} t JOIN {} g ON g.id = t.id").format(table.identifier, gone(table))
        )
        if rows := count(cursor):
            left.append(f"{rows:,} of {table}")
    return Check("deleted_rows_gone", not left, f"{', '.join(left) or 'none'} still there")


def check_kept_columns(
    cursor: Cursor, other: Cursor, catalogue: Catalogue, difference: Difference, written: Collection[str]
) -> Check:
    """Check that existing rows changed only in the columns that this transaction sets.

    Args:
        other: of another connection, which still sees the rows as they were.
        written: the columns that this transaction sets.
    """
    table = difference.table
    names = sorted(set(catalogue.columns[table]) - {*written} - _kept_by_the_database(cursor, catalogue, table))
    name = f"{table.name}_kept_columns"
    if names == ["id"]:  # all other columns are set, and another check compares them
        return Check(name, holds=True, found="every column is set")
    unlike: set[str] = set()
    for ids in written_ids(cursor, table):
        these = one_of(catalogue, table, ids)
        other.execute(sql.SQL("SELECT id::text FROM {} WHERE {}").format(table.identifier, these))
        updated = one_of(catalogue, table, [row[0] for row in other.fetchall()])
        unlike.update(_unlike(cursor, other, table, names, updated, updated))
    return Check(name, not unlike, f"{', '.join(sorted(unlike)) or 'none'} changed")


def check_other_columns_unchanged(
    cursor: Cursor,
    other: Cursor,
    catalogue: Catalogue,
    repointed: Mapping[Table, Collection[str]],
    growing: Collection[Table],
) -> list[Check]:
    """Check that tables with re-pointed references changed only in those columns.

    Args:
        repointed: the columns, by table.
        growing: the tables that may have new rows.
    """
    checks = []
    for number, (table, columns) in enumerate(sorted(repointed.items())):
        names = sorted(set(catalogue.columns[table]) - {*columns} - _kept_by_the_database(cursor, catalogue, table))
        old = _not_new(cursor, other, catalogue, table, number) if table in growing else _ALL
        unlike = _unlike(cursor, other, table, names, old, _ALL)
        checks.append(Check(f"{table}_only_repointed", not unlike, f"{', '.join(unlike) or 'none'} changed"))
    return checks


def _not_new(cursor: Cursor, other: Cursor, catalogue: Catalogue, table: Table, number: int) -> sql.Composable:
    """Condition: this transaction did not insert the row. True for every row of a table without a column `id`.

    Args:
        number: of the table. PostgreSQL cuts long names, so two tables may have the same first 63 characters.
    """
    if "id" not in catalogue.columns[table]:
        return _ALL
    new = sql.Identifier(f"new_rows_{number}")
    cursor.execute(
        sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT id FROM {} WHERE false").format(new, table.identifier)
    )
    for ids in written_ids(cursor, table):
        these = one_of(catalogue, table, ids)
        other.execute(sql.SQL("SELECT id::text FROM {} WHERE {}").format(table.identifier, these))
        inserted = set(ids) - {row[0] for row in other.fetchall()}
        copy_rows(cursor, new.as_string(cursor), ["id"], ([each] for each in inserted))
    return sql.SQL("NOT EXISTS (SELECT FROM {} n WHERE n.id = {}.id)").format(new, table.identifier)


def written_ids(cursor: Cursor, table: Table) -> Iterator[list[str]]:
    """Yield the ids of the rows that this transaction has written, in portions: it may have written millions."""
    own = later_than(own_transaction(cursor))
    with cursor.connection.cursor("ids_that_were_written") as reading:
        reading.execute(sql.SQL("SELECT id::text FROM {} WHERE {}").format(table.identifier, own))
        while ids := [row[0] for row in reading.fetchmany(IDS_AT_ONCE)]:
            yield ids


def one_of(catalogue: Catalogue, table: Table, ids: Collection[str]) -> sql.Composable:
    """Condition: the row has one of these ids.

    Args:
        ids: at most some thousands. They are sent with the statement.
    """
    kind = sql.SQL(catalogue.columns[table]["id"].type)
    return sql.SQL("id = ANY({}::text[]::{}[])").format(sql.Literal(list(ids)), kind)


def _kept_by_the_database(cursor: Cursor, catalogue: Catalogue, table: Table) -> set[str]:
    """Return the columns that triggers may maintain: generated ones, tsvector columns, and `updated_at`."""
    following = {name for name, column in catalogue.columns[table].items() if column.type == "tsvector"}
    return {"updated_at"} | following | generated_columns(cursor, table)


def _unlike(
    cursor: Cursor, other: Cursor, table: Table, names: Collection[str], where: sql.Composable, before: sql.Composable
) -> list[str]:
    """Return the columns that differ between the two connections; "rows" if no single column accounts for it.

    Args:
        where, before: the condition for the rows, as `cursor` sees them and as `other` does.
    """

    def same(columns: Collection[str]) -> bool:
        return table_digest(cursor, table, columns, where=where) == table_digest(other, table, columns, where=before)

    if same(names):
        return []
    key = [name for name in names if name == "id"]
    return [name for name in names if name not in key and not same([*key, name])] or ["rows"]
