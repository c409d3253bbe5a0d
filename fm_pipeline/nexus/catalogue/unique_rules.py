"""Unique indexes and exclusion constraints of a table, and queries for rows that conflict by them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import comma
from fm_pipeline.db.table import Table


@dataclass(frozen=True)
class UniqueRule:
    """A unique index other than the primary key's, or an exclusion constraint.

    Attributes:
        at_the_end: whether it is DEFERRABLE, and so checked when the transaction ends; else with every row.
        columns: all columns that its expressions and its condition read.
        elements: its expressions, in SQL, over the table's columns.
        operators: one for each element; two rows conflict if all of them hold.
        condition: of a partial index, in SQL.
        nulls_equal: NULLS NOT DISTINCT.
    """

    name: str
    at_the_end: bool
    columns: tuple[str, ...]
    elements: tuple[str, ...]
    operators: tuple[str, ...]
    condition: str | None
    nulls_equal: bool

    def rows(self, table: sql.Composable, key: sql.Composable, condition: sql.Composable) -> sql.Composed:
        """Return a query for the keys of the rows that the rule applies to, and for its elements as e1, e2, …"""
        elements = [sql.SQL(f"({element}) AS e{n}") for n, element in enumerate(self.elements, start=1)]
        return sql.SQL("SELECT {}, {} FROM {} WHERE {} AND ({})").format(
            key, comma(elements), table, condition, sql.SQL(self.condition or "true")
        )

    def collisions(self) -> Iterator[sql.Composable]:
        """Yield conditions for the conflict of the rows `x` and `y` of `rows`. Several: each can use a hash join."""
        numbers = range(1, len(self.elements) + 1)
        for both_null in itertools.product((False, True) if self.nulls_equal else (False,), repeat=len(self.elements)):
            yield sql.SQL(" AND ").join(
                sql.SQL(f"x.e{n} IS NULL AND y.e{n} IS NULL" if null else f"x.e{n} {operator} y.e{n}")
                for n, operator, null in zip(numbers, self.operators, both_null, strict=True)
            )


# Operators are qualified, because their name alone could mean another schema's (citext's, for example). `to_jsonb`
# reads columns of the catalogue that older versions do not have.
_RULES = """
SELECT c.relname, NOT i.indimmediate,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
         WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND (a.attnum = ANY (i.indkey) OR EXISTS
               (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                   AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))),
       (SELECT array_agg(pg_get_indexdef(i.indexrelid, n, false) || coalesce(' COLLATE ' ||
                         l.collnamespace::regnamespace::text || '.' || quote_ident(l.collname), '')
                         ORDER BY n)
          FROM generate_series(1, i.indnkeyatts) n
          LEFT JOIN pg_collation l ON l.oid = i.indcollation[n - 1] AND l.collname <> 'default'),
       (SELECT array_agg(format('OPERATOR(%%I.%%s)', s.nspname, o.oprname) ORDER BY n)
          FROM generate_series(1, i.indnkeyatts) n
          JOIN pg_opclass p ON p.oid = i.indclass[n - 1]
          JOIN pg_operator o ON o.oid = coalesce(k.conexclop[n],
               (SELECT m.amopopr FROM pg_amop m WHERE m.amopfamily = p.opcfamily AND m.amopstrategy = 3
                   AND m.amoplefttype = p.opcintype AND m.amoprighttype = p.opcintype))
          JOIN pg_namespace s ON s.oid = o.oprnamespace),
       pg_get_expr(i.indpred, i.indrelid), coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('u', 'x') AND k.conrelid = i.indrelid
WHERE i.indrelid = %s::regclass AND (i.indisunique OR i.indisexclusion) AND NOT i.indisprimary AND i.indisready
ORDER BY c.relname
"""


def unique_rules(cursor: Cursor, table: Table) -> list[UniqueRule]:
    """Return the rules of a table, ordered by name."""
    cursor.execute(_RULES, (table.identifier.as_string(cursor),))
    return [
        UniqueRule(name, at_the_end, tuple(columns), tuple(elements), tuple(operators), condition, nulls_equal)
        for name, at_the_end, columns, elements, operators, condition, nulls_equal in cursor.fetchall()
    ]
