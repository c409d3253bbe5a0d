"""Compares a Nexus database with the expected result, row by row and column by column. Names no value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extras import register_uuid

from fm_pipeline.db.queries import column_list
from fm_pipeline.sandbox.clinic.nexus.oracle import Expected
from fm_pipeline.sandbox.clinic.nexus.state import ANY, TableContent

_FETCH = 2_000  # rows a round trip


@dataclass(frozen=True)
class Mismatch:
    """A row that is not as expected: it is missing, was not expected, or differs in `columns`."""

    table: str
    id: str
    kind: Literal["missing", "unexpected", "different"]
    columns: tuple[str, ...] = ()


def differences(connection: Connection, expected: Expected, schema: str = "public") -> list[Mismatch]:
    """Compare every table of the expected result with the database.

    Args:
        connection: psycopg2 connection; its transaction is left open.
        expected: what `Clinic.expected` returned.
        schema: where Nexus' tables are.

    Returns:
        The rows that differ; none when the database is exactly as expected. A value without an expectation may be
        anything but null.
    """
    return [found for table in expected.tables.values() for found in _in_table(connection, table, schema)]


def _in_table(connection: Connection, table: TableContent, schema: str) -> Iterator[Mismatch]:
    statement = sql.SQL("SELECT {} FROM {}").format(column_list(table.columns), sql.Identifier(schema, table.name))
    missing = set(table.rows)
    at = table.columns.index("id")
    with connection.cursor(name="clinic_compare") as cursor:
        register_uuid(conn_or_curs=cursor)  # type: ignore[no-untyped-call]
        cursor.itersize = _FETCH
        cursor.execute(statement)
        for actual in cursor:
            row_id = actual[at]
            if row_id not in missing:
                yield Mismatch(table.name, str(row_id), "unexpected")
                continue
            missing.remove(row_id)
            pairs = zip(table.columns, table.rows[row_id], actual, strict=True)
            columns = tuple(column for column, wanted, found in pairs if not _equal(wanted, found))
            if columns:
                yield Mismatch(table.name, str(row_id), "different", columns)
    yield from (Mismatch(table.name, str(row_id), "missing") for row_id in sorted(missing, key=str))


def _equal(wanted: object, found: object) -> bool:
    if wanted is ANY:
        return found is not None
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(_equal(wanted[key], found[key]) for key in wanted)
    # 1 == True in Python, not in JSON
    return wanted == found and isinstance(wanted, bool) == isinstance(found, bool)
