"""Constraints that are NOT VALID: PostgreSQL checks new rows against them, but has not checked the old ones.

So a table may have rows that cannot be written again. A backup of such rows can only be restored by the owner of the
table, who may drop the constraint inside the transaction.

Source: PostgreSQL manual, ALTER TABLE, "ADD table_constraint [ NOT VALID ]".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import column_list, count
from fm_pipeline.db.table import Table
from fm_pipeline.pluralize import counted

IDS_SHOWN = 10


@dataclass(frozen=True)
class NotValidConstraint:
    """A constraint that is NOT VALID.

    Attributes:
        kind: check, not null, foreign key.
        definition: in the syntax of ALTER TABLE … ADD CONSTRAINT.
        breaks: condition in SQL, over the table's columns: the row violates it. Empty for a foreign key.
        references: of a foreign key: the referenced table.
        ours: whether the current role owns the table.
    """

    table: Table
    name: str
    kind: Literal["c", "n", "f"]
    columns: tuple[str, ...]
    definition: str
    breaks: str
    references: Table
    referenced_columns: tuple[str, ...]
    comment: str | None
    ours: bool

    def broken(self, rows: str, parents: Iterable[sql.Composable]) -> sql.Composable:
        """Condition: a row violates the constraint.

        Args:
            rows: alias of the row.
            parents: of a foreign key, the tables that may hold the referenced row.
        """
        if self.kind != "f":
            return sql.SQL(f"({self.breaks})")
        given = [sql.SQL("{}.{} IS NOT NULL").format(sql.Identifier(rows), sql.Identifier(n)) for n in self.columns]
        missing = [
            sql.SQL("NOT EXISTS (SELECT 1 FROM {} p WHERE ({}) = ({}))").format(
                parent,
                column_list(self.referenced_columns, of="p"),
                column_list(self.columns, of=rows),
            )
            for parent in parents
        ]
        return sql.SQL(" AND ").join(given + missing)

    def take_away(self, cursor: Cursor) -> None:
        """Drop the constraint, as the owner of the table; impossible while deferred checks of the table are pending."""
        cursor.execute(
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(self.table.identifier, sql.Identifier(self.name))
        )

    def put_back(self, cursor: Cursor) -> None:
        """Add it again as it was: NOT VALID, with its comment."""
        table, name = self.table.identifier, sql.Identifier(self.name)
        cursor.execute(sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(table, name, sql.SQL(self.definition)))
        if self.comment is not None:
            cursor.execute(
                sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(name, table, sql.Literal(self.comment))
            )


# A constraint that is NOT ENFORCED (since PostgreSQL 18) is not valid either, but nothing is checked against it.
_NOT_VALID = """
SELECT k.conname, k.contype::text,
       (SELECT array_agg(a.attname::text ORDER BY o.n) FROM unnest(k.conkey) WITH ORDINALITY o (attnum, n)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = o.attnum),
       pg_get_constraintdef(k.oid),
       CASE k.contype WHEN 'c' THEN 'NOT (' || pg_get_expr(k.conbin, k.conrelid) || ')'
            WHEN 'n' THEN (SELECT quote_ident(attname) || ' IS NULL' FROM pg_attribute
                            WHERE attrelid = k.conrelid AND attnum = k.conkey[1]) ELSE '' END,
       coalesce(n.nspname, ''), coalesce(p.relname, ''),
       (SELECT array_agg(a.attname::text ORDER BY o.n) FROM unnest(k.confkey) WITH ORDINALITY o (attnum, n)
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = o.attnum),
       obj_description(k.oid, 'pg_constraint'), pg_has_role(c.relowner, 'USAGE')
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
     LEFT JOIN pg_class p ON p.oid = k.confrelid LEFT JOIN pg_namespace n ON n.oid = p.relnamespace
WHERE k.conrelid = %s::regclass AND NOT k.convalidated AND k.contype IN ('c', 'n', 'f')
  AND coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true)
ORDER BY k.conname
"""


def not_valid_constraints_of(cursor: Cursor, table: Table) -> list[NotValidConstraint]:
    """Return the constraints of a table that are enforced and NOT VALID."""
    cursor.execute(_NOT_VALID, (table.identifier.as_string(cursor),))
    return [
        NotValidConstraint(
            *(table, name, kind, tuple(columns or ()), definition, breaks),
            *(Table(schema, parent), tuple(referenced or ()), comment, ours),
        )
        for name, kind, columns, definition, breaks, schema, parent, referenced, comment, ours in cursor.fetchall()
    ]


def count_violations(
    cursor: Cursor,
    constraint: NotValidConstraint,
    rows: sql.Composable,
    parents: Callable[[Table], Iterable[sql.Composable]],
    condition: str = "true",
) -> int:
    """Return how many rows violate a constraint.

    Args:
        rows: the table, or another one with its columns.
        parents: of a foreign key: the tables that may hold the referenced row.
        condition: in SQL, which rows `t` are checked.
    """
    cursor.execute(
        sql.SQL("SELECT count(*) FROM {} AS t WHERE {} AND {}").format(
            rows, sql.SQL(condition), constraint.broken("t", parents(constraint.references))
        )
    )
    return count(cursor)


def violated_not_valid_constraint(cursor: Cursor, table: Table, error: psycopg2.Error) -> NotValidConstraint | None:
    """Return the NOT VALID constraint that a statement has violated, if it was one.

    Args:
        cursor: of a transaction that has not failed.
        table: the table that was written, or the parent of the partition.
    """
    for constraint in not_valid_constraints_of(cursor, table):
        if constraint.name == error.diag.constraint_name or constraint.columns == (error.diag.column_name,):
            return constraint
    return None


def ids_of_violating_rows(cursor: Cursor, constraint: NotValidConstraint) -> list[str]:
    """Return ids of the first rows that violate a constraint; none if the table has no column `id`."""
    table = constraint.table
    cursor.execute(
        "SELECT 1 FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'id' AND NOT attisdropped",
        (table.identifier.as_string(cursor),),
    )
    if not cursor.fetchall():
        return []
    cursor.execute(
        sql.SQL("SELECT id::text FROM {} AS t WHERE {} ORDER BY id LIMIT {}").format(
            table.identifier, constraint.broken("t", [constraint.references.identifier]), sql.Literal(IDS_SHOWN)
        )
    )
    return [str(row[0]) for row in cursor.fetchall()]


@dataclass(frozen=True)
class UnrestorableRows:
    """Why a backup of rows could not be restored, as the parts of an error."""

    what: str
    meaning: str
    remedy: str


def find_unrestorable_rows(
    cursor: Cursor, rows: Mapping[Table, sql.Composable], parents: Mapping[Table, sql.Composable]
) -> UnrestorableRows | None:
    """Find rows that violate a NOT VALID constraint, in tables that the role does not own.

    Args:
        rows: by table of Nexus: the relation that has its rows, the table itself or a copy.
        parents: the same for tables that foreign keys refer to; the table itself if it is not in it.
    """
    found = []
    for table, place in rows.items():
        for constraint in not_valid_constraints_of(cursor, table):
            if constraint.ours:
                continue
            number = count_violations(cursor, constraint, place, lambda other: [parents.get(other, other.identifier)])
            if number:
                found.append(f"{counted(number, f'row of {table} breaks', f'rows of {table} break')} {constraint.name}")
    if not found:
        return None
    return UnrestorableRows(
        f"{'; '.join(found)}: constraints that are NOT VALID, which PostgreSQL checks for each row that is written.",
        "A reimport may delete or change such rows, and no restore with this role could bring them back.",
        "Correct these rows in Nexus (psql: \\d TABLE shows the constraint), or let their owner drop the constraint. Or"
        " make the pipeline's role a member of the role that owns these tables: then a restore drops the constraint and"
        " adds it again in its transaction.",
    )
