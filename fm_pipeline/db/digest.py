"""Digests of tables: equal content gives an equal digest, whatever the order of the rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import comma
from fm_pipeline.db.table import Table

# The expression that is hashed for a value, by type. Converting values to text takes most of the time, so types whose
# own hash covers every bit are hashed directly. Not among them: 64-bit numbers (folded to 32 bits), jsonb (its shifts
# and XORs can cancel out) and numeric (1.0 equals 1.00). These and all other types are hashed as text.
_AS_IT_IS = "{}"
# Values that the column's collation treats as equal (letter case, for example) must get different digests.
_AS_TEXT = '{}::text COLLATE "C"'
_BY_BYTES = '{} COLLATE "C"'
_AS_HASHED = {
    "boolean": _AS_IT_IS,
    "character varying": _BY_BYTES,
    "date": _AS_IT_IS,
    "integer": _AS_IT_IS,
    "text": _BY_BYTES,
    "timestamp with time zone": "timestamptz_send({})",  # its eight bytes: a 64-bit number inside
    "uuid": _AS_IT_IS,
}


# How a row is hashed. `record` is four times as fast and needs PostgreSQL 14.
_RECORD, _TEXT = "record", "text"
_ROW_HASHES = {
    # A row's hash is linear in those of its values, so sums of it would not see two rows exchange a value. Hashing it
    # once more (as text, which keeps all 64 bits) ties the values of a row together.
    _RECORD: "hashtextextended(hash_record_extended(ROW({}), 0)::text, 0)",
    _TEXT: "hashtextextended(ROW({})::text, 0)",
}
_RECORD_SINCE = 140000


class Digest(NamedTuple):
    """Number of rows, and how they were hashed with the sum of their 64-bit hashes: `record:123…`."""

    rows: int
    hash: str


def table_digest(
    cursor: Cursor,
    table: Table,
    columns: Collection[str] | None = None,
    *,
    without: Collection[str] = (),
    where: sql.Composable | None = None,
    like: Digest | None = None,
) -> Digest:
    """Digest of a table's rows.

    Args:
        columns: of the table, None for all; sorted by name, so that their order in the table does not count.
        without: columns that are left out.
        where: a condition, for some of the rows.
        like: use the method of this digest, so that the two can be compared; it may come from another server. None
            for the best method of this server. PostgreSQL 13 has no `record`.

    Source: PostgreSQL 14 and later, src/backend/access/hash/hashfunc.c and utils/adt/rowtypes.c.
    """
    best = _RECORD if cursor.connection.server_version >= _RECORD_SINCE else _TEXT
    method = like.hash.split(":")[0] if like else best
    cursor.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (table.identifier.as_string(cursor),),
    )
    types = dict(cursor.fetchall())
    as_hashed = _AS_HASHED if method == _RECORD else {}
    values = [
        sql.SQL(as_hashed.get(types.get(name, ""), _AS_TEXT)).format(sql.Identifier(name))
        for name in sorted(types if columns is None else columns)
        if name not in without
    ]
    cursor.execute(
        sql.SQL("SELECT count(*), {} || ':' || coalesce(sum({}), 0)::text FROM {} WHERE {}").format(
            sql.Literal(method),
            sql.SQL(_ROW_HASHES[method]).format(comma(values)),
            table.identifier,
            where or sql.SQL("true"),
        )
    )
    rows, digest = cursor.fetchone() or (0, "")
    return Digest(rows, digest)
