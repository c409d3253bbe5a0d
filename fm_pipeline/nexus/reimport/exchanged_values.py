"""Updates rows that exchange unique values.

PostgreSQL checks a unique index or an exclusion constraint for each row as it is written, unless the constraint is
DEFERRABLE (PostgreSQL manual, "CREATE TABLE"; "Index Uniqueness Checks"). If two records exchange a number, or a chain
of records passes one on, a single UPDATE fails although the rows before and after satisfy the constraint.

The single UPDATE is tried first. If a constraint refuses it, the rows whose unique values change are written in two
steps, by the first of these methods that the table allows:

1. these columns become NULL, then all columns get their new values;
2. the rows are deleted and inserted again by one statement, if nothing acts on a delete or insert;
3. some of these columns become NULL and others get values that no row has, then all columns get their new values.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

import psycopg2
import psycopg2.errors
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import column_list, comma
from fm_pipeline.db.table import Column
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.reimport.difference import Difference

IDS_SHOWN = 20
COMBINATIONS = 30  # of columns that become NULL, get another value, or stay
_CLASHES = (psycopg2.errors.UniqueViolation, psycopg2.errors.ExclusionViolation)
_REFUSALS = (psycopg2.IntegrityError, psycopg2.DataError, psycopg2.InternalError)  # the last one: RAISE of a trigger

# The columns that the indexes depend on: their keys, those in expressions and predicates, and those that a generated
# column follows from.
_COLUMNS = """
WITH RECURSIVE checked AS (
    SELECT i.indexrelid, k.oid AS constraint_oid
    FROM pg_index i LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('u', 'x')
    WHERE i.indrelid = %(table)s::regclass AND (i.indisunique OR i.indisexclusion) AND i.indimmediate
      AND NOT i.indisprimary
), used AS (
    SELECT d.refobjsubid AS attnum FROM pg_depend d JOIN checked c
        ON (d.classid = 'pg_class'::regclass AND d.objid = c.indexrelid)
        OR (d.classid = 'pg_constraint'::regclass AND d.objid = c.constraint_oid)
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %(table)s::regclass AND d.refobjsubid > 0
    UNION
    SELECT d.refobjsubid FROM used u JOIN pg_attrdef e ON e.adrelid = %(table)s::regclass AND e.adnum = u.attnum
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = e.adrelid AND d.refobjsubid > 0
)
SELECT a.attname FROM used JOIN pg_attribute a ON a.attrelid = %(table)s::regclass AND a.attnum = used.attnum ORDER BY 1
"""
# The table itself, or a partition of it.
_IS_PART = """
SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(name)s
  AND coalesce(pg_partition_root(c.oid), c.oid) = %(table)s::regclass
"""
# Whether a delete and insert of a row has side effects: a cascading key, a trigger, a rule; or could put the row into
# another table.
_ACTS = """
SELECT EXISTS (SELECT 1 FROM pg_constraint WHERE contype = 'f' AND confrelid = t.oid AND confdeltype <> 'a')
    OR EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid IN (SELECT t.oid UNION SELECT relid FROM pg_partition_tree(t.oid))
               AND NOT tgisinternal AND tgenabled <> 'D' AND tgtype & 12 <> 0)
    OR EXISTS (SELECT 1 FROM pg_rewrite WHERE ev_class = t.oid AND ev_type IN ('3', '4') AND ev_enabled <> 'D')
    OR (t.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = t.oid))
FROM pg_class t WHERE t.oid = %s::regclass
"""
# Values that the other rows do not have, by the beginning of a type's name.
_UNUSED = {
    "character varying": "'~' || md5(t.id::text || {column})",
    "text": "'~' || md5(t.id::text || {column})",
    "uuid": "gen_random_uuid()",
    "date": "{column} + 365000",
    "timestamp": "{column} + interval '1000 years'",
    "integer": "-1 - abs({column})",
    "bigint": "-1 - abs({column})",
    "smallint": "-1 - abs({column})",
    "numeric": "-1 - abs({column})",
}


def update_changed(cursor: Cursor, difference: Difference, columns: Mapping[str, Column], now: datetime) -> int:
    """Update the rows that differ, also if they exchange unique values; return how many.

    Args:
        columns: of the table, in the catalogue.

    Raises:
        CatalogueStop: they exchange values, and the table allows none of the methods.
        psycopg2.Error: the new rows themselves break a constraint, or something else is refused.
    """
    try:
        with _savepoint(cursor):
            return difference.update(cursor, now)
    except _CLASHES as clash:
        return _Exchange(cursor, difference, columns).run(now, clash)


@contextmanager
def _savepoint(cursor: Cursor) -> Iterator[None]:
    cursor.execute("SAVEPOINT update_changed")
    try:
        yield
    except _REFUSALS:
        cursor.execute("ROLLBACK TO SAVEPOINT update_changed; RELEASE SAVEPOINT update_changed")
        raise
    cursor.execute("RELEASE SAVEPOINT update_changed")


class _Exchange:
    """One table whose changed rows cannot be written by one UPDATE."""

    def __init__(self, cursor: Cursor, difference: Difference, columns: Mapping[str, Column]) -> None:
        self._cursor, self._difference, self._columns = cursor, difference, columns
        name = difference.table.name
        self._names = {
            "table": difference.table.identifier,
            "changed": sql.Identifier(f"changed_{name}"),
            "moving": sql.Identifier(f"moving_{name}"),
        }

    def run(self, now: datetime, clash: psycopg2.Error) -> int:
        """Write the rows by the first method that the table allows; return how many."""
        writable = [name for name, column in self._columns.items() if not column.generated]
        table = self._difference.table.identifier.as_string(self._cursor)
        self._cursor.execute(_COLUMNS, {"table": table})
        checked = [name for (name,) in self._cursor.fetchall() if name in writable]
        self._cursor.execute(
            _IS_PART, {"table": table, "schema": clash.diag.schema_name, "name": clash.diag.table_name}
        )
        if not checked or not self._cursor.fetchall():  # a trigger has written to another table, say
            raise clash
        changed = self._difference.copy_changed(self._cursor, self._names["changed"], self._columns, now)
        self._execute(
            "CREATE TEMP TABLE {moving} ON COMMIT DROP AS SELECT t.id FROM {table} t JOIN {changed} c ON c.id = t.id"
            " WHERE ({old}) IS DISTINCT FROM ({new})",
            old=comma([_as_bytes("t", name) for name in checked]),
            new=comma([_as_bytes("c", name) for name in checked]),
        )
        moving = [name for name in checked if name in self._difference.updates]
        for way in self._ways(moving):
            try:
                with _savepoint(self._cursor):
                    if way():
                        self._execute("DROP TABLE {changed}, {moving}")
                        return changed
            except _REFUSALS:
                continue
        self._refuse_unless_real(writable, clash)
        raise clash

    def _execute(self, statement: str, **parts: sql.Composable) -> None:
        self._cursor.execute(sql.SQL(statement).format(**self._names, **parts))

    def _ways(self, moving: Sequence[str]) -> Iterator[Callable[[], bool]]:
        """Yield the methods in their order. Each returns whether it could be tried."""
        parked = [self._parked(name) for name in moving]
        yield lambda: self._park([options.get("null") for options in parked])
        yield self._anew
        combinations = itertools.product(*([*options.values(), None] for options in parked))
        for combination in itertools.islice(combinations, COMBINATIONS):
            yield functools.partial(self._park, combination)

    def _parked(self, name: str) -> dict[str, sql.Composable]:
        """Return the possible intermediate values of a column, for rows whose value of it changes."""
        column, old = self._columns[name], sql.SQL("t.{}").format(sql.Identifier(name))
        values: dict[str, sql.Composable] = {} if column.not_null else {"null": sql.SQL("NULL")}
        if unused := _unused(column.type):
            values["unused"] = sql.SQL(unused).format(column=old)
        return {
            kind: sql.SQL("{name} = CASE WHEN {was} IS DISTINCT FROM {will} THEN {value} ELSE {old} END").format(
                name=sql.Identifier(name), was=_as_bytes("t", name), will=_as_bytes("c", name), value=value, old=old
            )
            for kind, value in values.items()
        }

    def _park(self, settings: Iterable[sql.Composable | None]) -> bool:
        """Set the intermediate values first, then write all changed rows."""
        given = [setting for setting in settings if setting is not None]
        if not given:
            return False
        self._execute(
            "UPDATE {table} t SET {settings} FROM {changed} c JOIN {moving} m USING (id) WHERE c.id = t.id",
            settings=comma(given),
        )
        self._update(sql.SQL("true"))
        return True

    def _anew(self) -> bool:
        """Delete the rows and insert them again, by one statement, so that immediate keys hold."""
        self._cursor.execute(_ACTS, (self._difference.table.identifier.as_string(self._cursor),))
        if self._cursor.fetchone() != (False,):
            return False
        names = [name for name, column in self._columns.items() if not column.generated]
        self._execute(
            "WITH deleted AS (DELETE FROM {table} t USING {moving} m WHERE m.id = t.id RETURNING t.id)"
            " INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {changed} c"
            # The count comes first, and needs every row to be deleted.
            " WHERE (SELECT count(*) FROM deleted) > 0 AND c.id IN (SELECT id FROM {moving})",
            columns=column_list(names),
            values=column_list(names, of="c"),
        )
        self._update(sql.SQL("c.id NOT IN (SELECT id FROM {moving})").format(**self._names))
        return True

    def _update(self, condition: sql.Composable) -> None:
        names = [name for name in self._columns if name in self._difference.written]
        self._execute(
            "UPDATE {table} t SET {settings} FROM {changed} c WHERE c.id = t.id AND {condition}",
            condition=condition,
            settings=comma([sql.SQL("{0} = c.{0}").format(sql.Identifier(name)) for name in names]),
        )

    def _refuse_unless_real(self, writable: Sequence[str], clash: psycopg2.Error) -> None:
        """Stop and name the records, if the new rows satisfy the constraints by themselves."""
        columns = column_list(writable)
        try:
            with _savepoint(self._cursor):
                self._execute(
                    "CREATE TEMP TABLE trial (LIKE {table} INCLUDING INDEXES INCLUDING GENERATED) ON COMMIT DROP;"
                    "INSERT INTO trial ({columns}) SELECT {columns} FROM {changed};"
                    "INSERT INTO trial ({columns}) SELECT {columns} FROM {table}"
                    " WHERE id NOT IN (SELECT id FROM {changed}); DROP TABLE trial",
                    columns=columns,
                )
        except _CLASHES:
            return
        self._execute(
            "SELECT count(*), (array_agg(s.filemaker_key ORDER BY s.filemaker_key))[1:{shown}]"
            " FROM {moving} m JOIN {staged} s ON s.nexus_id = m.id",
            shown=sql.Literal(IDS_SHOWN),
            staged=self._difference.staged,
        )
        number, ids = self._cursor.fetchone() or (0, [])
        table, constraint = self._difference.table, clash.diag.constraint_name
        more = f" and {number - len(ids)} more" if number > len(ids) else ""
        raise CatalogueStop(
            f"Records exchange values that {constraint} of {table} allows once. They are among the {number} records of"
            f" {table} with these FileMaker ids: {', '.join(ids)}{more}.",
            meaning="The records as they will be satisfy the constraint. But PostgreSQL checks it for each row, and the"
            f" columns, keys or triggers of {table} allow no step in between. Nothing was changed.",
            remedy=f"As the owner of {table}, make {constraint} a DEFERRABLE constraint. Or give one of the two records"
            " another value in FileMaker, reimport, give it the right value, and reimport again.",
        )


def _unused(kind: str) -> str:
    """Return an expression for a value of the type that no row has; empty if none is known."""
    expression = next((value for start, value in _UNUSED.items() if kind.startswith(start)), "")
    if length := re.fullmatch(r"character varying\((\d+)\)", kind):
        return f"left({expression}, {length[1]})"
    return expression


def _as_bytes(row: str, name: str) -> sql.Composable:
    return sql.SQL('{}.{}::text COLLATE "C"').format(sql.SQL(row), sql.Identifier(name))
