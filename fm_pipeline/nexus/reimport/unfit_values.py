"""Names the columns whose type cannot take the staged values, after PostgreSQL has refused a statement for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import count
from fm_pipeline.db.table import Column
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.reimport.difference import Difference

_ANY_LENGTH = 1 << 30  # the longest text that PostgreSQL stores


@contextmanager
def unfit_values_named(
    cursor: Cursor, difference: Difference, columns: Mapping[str, Column], now: datetime
) -> Iterator[None]:
    """Turn a refused value inside the block into a CatalogueStop that names its column and type.

    Args:
        columns: of the table, in the catalogue.
    """
    cursor.execute("SAVEPOINT loading")
    try:
        yield
    except psycopg2.DataError:
        cursor.execute("ROLLBACK TO SAVEPOINT loading")
        unfit = [name for name in difference.inserts if not _fits(cursor, difference, columns[name], now)]
        if not unfit:
            raise
        table = difference.table
        raise CatalogueStop(
            "FileMaker's values do not fit into "
            + ", ".join(f"{table}.{name} ({columns[name].type})" for name in unfit)
            + ".",
            meaning="The column has another type or length than when the rows were staged, or than the pipeline knows."
            " Nothing was changed.",
            remedy="Extract and stage again: the staging then names the records. If it names none, take the fields out"
            " of the mapping profile, or tell the maintainers the release of Nexus.",
        ) from None
    cursor.execute("RELEASE SAVEPOINT loading")


def _fits(cursor: Cursor, difference: Difference, column: Column, now: datetime) -> bool:
    """Return whether a column can take the staged values."""
    value = sql.SQL("({})::{}").format(difference.inserts[column.name], sql.SQL(column.uncut_type))
    too_long = sql.SQL("length({}::text) > {}").format(value, sql.Literal(column.most_characters or _ANY_LENGTH))
    cursor.execute("SAVEPOINT fitting")
    try:
        cursor.execute(
            sql.SQL("SELECT count(*) FROM {} s LEFT JOIN {} t ON t.id = s.nexus_id WHERE {}").format(
                difference.staged, difference.table.identifier, too_long
            ),
            {"now": now},
        )
        return count(cursor) == 0
    except psycopg2.DataError:
        return False
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT fitting; RELEASE SAVEPOINT fitting")
