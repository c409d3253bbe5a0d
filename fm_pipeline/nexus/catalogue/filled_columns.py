"""Columns that a backup leaves out: the trial of a restore has them too, and tells which constraints refuse them.

A row that a restore adds gets a value of its own in a column for a secret (`unread_columns.py`). Whether the table
accepts it is known only by trying: a CHECK may want a key of a certain form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import comma
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.catalogue.unique_rules import unique_rules

_DEFAULTS = """
SELECT a.attname, coalesce(pg_get_expr(d.adbin, d.adrelid), 'NULL')
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s::regclass AND a.attname = ANY (%s) ORDER BY a.attnum
"""
_CHECKS = """
SELECT k.conname, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
WHERE k.conrelid = %s::regclass AND k.contype = 'c' GROUP BY k.oid HAVING array_agg(a.attname::text) && %s::text[]
ORDER BY k.conname
"""


def add_columns(cursor: Cursor, catalogue: Catalogue, table: Table, names: Sequence[str], copy: Table) -> None:
    """Give an empty copy of a table some of its columns, with their defaults."""
    columns = catalogue.columns[table]
    cursor.execute(_DEFAULTS, (table.identifier.as_string(cursor), list(names)))
    parts = [
        sql.SQL("ADD {} {} DEFAULT {}{}").format(
            sql.Identifier(name),
            sql.SQL(columns[name].type),
            sql.SQL(default),
            sql.SQL(" NOT NULL" if columns[name].not_null else ""),
        )
        for name, default in cursor.fetchall()
    ]
    if parts:
        cursor.execute(sql.SQL("ALTER TABLE {} {}").format(copy.identifier, comma(parts)))


def refusing_constraints(cursor: Cursor, table: Table, names: Sequence[str], copy: Table) -> Iterator[str]:
    """Yield the names of a table's CHECKs and unique indexes on some columns that the rows of a copy do not satisfy."""
    cursor.execute(_CHECKS, (table.identifier.as_string(cursor), list(names)))
    for name, definition in cursor.fetchall():
        cursor.execute("SAVEPOINT filled")
        try:
            cursor.execute(sql.SQL("ALTER TABLE {} ADD {}").format(copy.identifier, sql.SQL(definition)))
        except psycopg2.Error:  # also an error of a function that the CHECK calls
            yield name
        cursor.execute("ROLLBACK TO SAVEPOINT filled")
    for rule in unique_rules(cursor, table):
        if not set(rule.columns) & set(names):
            continue
        rows = rule.rows(copy.identifier, sql.SQL("ctid"), sql.SQL("true"))
        for collision in rule.collisions():
            cursor.execute(
                sql.SQL(
                    "SELECT EXISTS (SELECT 1 FROM ({rows}) x JOIN ({rows}) y ON {collision} AND x.ctid <> y.ctid)"
                ).format(rows=rows, collision=collision)
            )
            if cursor.fetchone() == (True,):
                yield rule.name
                break
