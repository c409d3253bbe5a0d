"""Checks that new rows of images and batches are in Nexus as they were written, and that batches count their images.

A trigger or a rule may leave a row out, change it, or delete it later, and the INSERT succeeds all the same. The image
would then count as linked, and its patient would not have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from fm_pipeline.db.queries import column_list, comma, count
from fm_pipeline.db.table import Column, Table
from fm_pipeline.nexus.checks import Check

PAGE_SIZE = 500  # rows a statement
_SET_LATER = {"updated_at", "image_count"}  # by a trigger, and when all images are there
_REMEDY = (
    "A trigger or a rule of the table changed, left out or deleted new rows (psql: \\d TABLE shows them). Disable it"
    " for this run."
)


def check_rows_written(
    cursor: Cursor, table: Table, columns: Mapping[str, Column], rows: Sequence[Mapping[str, object]]
) -> Check:
    """Check that a table has these rows with these values; after deferred triggers have run.

    Args:
        columns: of the table, in the catalogue.
        rows: as they were inserted, all with the same columns.
    """
    names = [name for name in rows[0] if name not in _SET_LATER]
    compared = [name for name in names if name != "id"]
    counts = [sql.SQL("count(*) FILTER (WHERE t.id IS NULL)")] + [
        sql.SQL(
            'count(*) FILTER (WHERE t.id IS NOT NULL AND t.{0}::text COLLATE "C" IS DISTINCT FROM'
            ' (v.{0}::{1})::text COLLATE "C")'
        ).format(sql.Identifier(name), sql.SQL(columns[name].type))
        for name in compared
    ]
    statement = sql.SQL("SELECT {} FROM (VALUES %s) v ({}) LEFT JOIN {} t ON t.id = v.id::{}").format(
        comma(counts),
        column_list(names),
        table.identifier,
        sql.SQL(columns["id"].type),
    )
    pages = execute_values(
        cursor, statement, [[row[name] for name in names] for row in rows], page_size=PAGE_SIZE, fetch=True
    )
    missing, *unlike = map(sum, zip(*pages, strict=True))
    found = [f"{missing:,} of {len(rows):,} rows are missing"] if missing else []
    found += [f"{name} of {number:,} rows is another" for name, number in zip(compared, unlike, strict=True) if number]
    return Check(f"{table.name}_as_written", not found, "; ".join(found) or "every row", _REMEDY if found else "")


def check_counts(cursor: Cursor, batches: Table, images: Table, ids: Sequence[str]) -> Check:
    """Check that these batches have the number of their images in `image_count`."""
    cursor.execute(
        sql.SQL(
            "SELECT count(*) FROM {} b WHERE b.id = ANY(%s::uuid[])"
            " AND b.image_count <> (SELECT count(*) FROM {} i WHERE i.batch_id = b.id)"
        ).format(batches.identifier, images.identifier),
        (list(ids),),
    )
    wrong = count(cursor)
    found = f"{wrong:,} batches have another number of images" if wrong else "every batch"
    return Check(f"{batches.name}_counts", not wrong, found, _REMEDY if wrong else "")
