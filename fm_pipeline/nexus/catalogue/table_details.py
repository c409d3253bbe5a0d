"""Details of single tables, of any schema: columns, keys, triggers, rules, sequences."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.table import INTEGER_TYPES, Table


@dataclass(frozen=True)
class BackupColumn:
    """A column of a backup; `type` is as `format_type` writes it."""

    name: str
    type: str


def columns_of(cursor: Cursor, table: Table) -> list[BackupColumn]:
    """Return the columns in their order."""
    cursor.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (table.identifier.as_string(cursor),),
    )
    return [BackupColumn(*row) for row in cursor.fetchall()]


def is_wider(was: str, now: str) -> bool:
    """Return whether a changed type holds every value of the old one with the same text.

    `real` to `double precision` is not such a change: it turns 0.1 into 0.10000000149.

    Args: types as `format_type` writes them.
    """
    if was in INTEGER_TYPES and now in INTEGER_TYPES:
        return INTEGER_TYPES.index(now) > INTEGER_TYPES.index(was)
    if match := re.fullmatch(r"character varying\((\d+)\)", was):
        longer = re.fullmatch(r"character varying\((\d+)\)", now)
        return now in ("character varying", "text") or (longer is not None and int(longer[1]) > int(match[1]))
    if was == "character varying":
        return now == "text"
    old, new = (re.fullmatch(r"numeric\((\d+),(\d+)\)", text) for text in (was, now))
    return old is not None and new is not None and int(new[1]) > int(old[1]) and new[2] == old[2]


def key_columns(cursor: Cursor, table: Table) -> list[str]:
    """Return the columns of the primary key in their order; an empty list if there is none."""
    cursor.execute(
        "SELECT a.attname FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY k(attnum, n)"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum"
        " WHERE i.indrelid = %s::regclass AND i.indisprimary ORDER BY k.n",
        (table.identifier.as_string(cursor),),
    )
    return [row[0] for row in cursor.fetchall()]


def generated_columns(cursor: Cursor, table: Table) -> set[str]:
    """Return the generated columns, which cannot be written."""
    cursor.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attgenerated <> ''",
        (table.identifier.as_string(cursor),),
    )
    return {row[0] for row in cursor.fetchall()}


def identity_always_columns(cursor: Cursor, table: Table) -> set[str]:
    """Return the columns that are GENERATED ALWAYS AS IDENTITY, which cannot be updated."""
    cursor.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attidentity = 'a' AND NOT attisdropped",
        (table.identifier.as_string(cursor),),
    )
    return {row[0] for row in cursor.fetchall()}


def has_rules(cursor: Cursor, table: Table) -> bool:
    """Return whether the table has rewrite rules."""
    cursor.execute("SELECT relhasrules FROM pg_class WHERE oid = %s::regclass", (table.identifier.as_string(cursor),))
    row = cursor.fetchone()
    return bool(row and row[0])


def has_delete_triggers(cursor: Cursor, table: Table) -> bool:
    """Return whether the table has enabled triggers of the application that fire on DELETE."""
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal"
        " AND tgenabled <> 'D' AND tgtype & 8 <> 0)",
        (table.identifier.as_string(cursor),),
    )
    return cursor.fetchone() == (True,)


def enabled_triggers(cursor: Cursor, tables: Iterable[Table]) -> list[str]:
    """Return the enabled triggers of the application, as `table: name`."""
    found = []
    for table in tables:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgenabled <> 'D'"
            " ORDER BY 1",
            (table.identifier.as_string(cursor),),
        )
        found += [f"{table}: {name}" for (name,) in cursor.fetchall()]
    return found


@dataclass(frozen=True)
class ColumnSequence:
    """A sequence that gives a column its values.

    Attributes:
        sequence: schema and name, quoted where they must be.
        is_identity: it needs no privilege of its own for an INSERT.
        is_number: the column holds the sequence's values as they are.
    """

    column: str
    sequence: str
    is_identity: bool
    is_number: bool


# Owned by a column (identities and serials), or called by its default.
_SEQUENCES = """
SELECT a.attname, format('%%I.%%I', n.nspname, s.relname), a.attidentity <> '',
       a.atttypid = ANY ('{smallint,integer,bigint}'::regtype[]) FROM (
    SELECT d.refobjsubid AS attnum, d.objid AS sequence FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %(table)s::regclass
      AND d.deptype IN ('a', 'i')
    UNION
    SELECT f.adnum, d.refobjid FROM pg_attrdef f
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
    WHERE f.adrelid = %(table)s::regclass) used
JOIN pg_class s ON s.oid = used.sequence AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace
JOIN pg_attribute a ON a.attrelid = %(table)s::regclass AND a.attnum = used.attnum
ORDER BY 1, 2
"""


def sequences_of(cursor: Cursor, table: Table) -> list[ColumnSequence]:
    """Return the sequences that give columns of a table their values."""
    cursor.execute(_SEQUENCES, {"table": table.identifier.as_string(cursor)})
    return [ColumnSequence(*row) for row in cursor.fetchall()]


def advance_sequences(cursor: Cursor, tables: Iterable[Table]) -> list[str]:
    """Advance the sequences of columns past the values in the tables, so that the next value is unused.

    Sequences are not transactional. They only move forward, which does no harm if the transaction is rolled back.

    Returns:
        What somebody else has to do, in sentences.
    """
    to_do = []
    for table in tables:
        for each in sequences_of(cursor, table):
            if not each.is_number:
                to_do.append(f"See that the next value of {each.sequence} is not used in {table}.{each.column}.")
                continue
            cursor.execute(
                sql.SQL("SELECT max({}), has_sequence_privilege(%s, 'UPDATE, SELECT') FROM {}").format(
                    sql.Identifier(each.column), table.identifier
                ),
                (each.sequence,),
            )
            highest, may = cursor.fetchone() or (None, False)
            if highest is None:
                continue
            if not may:
                to_do.append(
                    f"As the owner of {each.sequence}, run: SELECT setval('{each.sequence}', {highest}) if it is lower."
                )
                continue
            cursor.execute(
                "SELECT setval(%(sequence)s, greatest(%(highest)s, pg_sequence_last_value(%(sequence)s::regclass)))",
                {"sequence": each.sequence, "highest": highest},
            )
    return to_do
