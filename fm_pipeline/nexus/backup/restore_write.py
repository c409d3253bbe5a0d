"""Writes the rows of a backup in an order that satisfies every constraint.

Each row is first marked: insert, update, or replace. Tables that are connected by immediate foreign keys are then
written by one statement, which deletes, updates and inserts in all of them. PostgreSQL checks such keys when the
statement ends, so no intermediate state can break one. Deferred keys need no such statement.

A row is replaced (deleted and inserted again) if another row needs a unique value that it holds. If a delete would
delete or change rows of other tables, or is not allowed, the row is parked instead: it first gets an unused value.

Source: PostgreSQL manual, "WITH Queries", "CREATE TABLE" (DEFERRABLE), "CREATE TRIGGER".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.privileges import missing_privileges
from fm_pipeline.db.queries import column_list, comma
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.backup.restore_tables import (
    ACTION,
    INSERT,
    PARK,
    REPLACE,
    UPDATE,
    LoadedTable,
)
from fm_pipeline.nexus.catalogue.schema import Catalogue, ForeignKey
from fm_pipeline.nexus.catalogue.table_details import has_delete_triggers, has_rules
from fm_pipeline.nexus.catalogue.unique_rules import UniqueRule, unique_rules

_NO_ACTION, _RESTRICT = "a", "r"
# Builds a statement from a condition that is true, and that can be evaluated only after other statements have ended.
_Statement = Callable[[sql.Composable], sql.Composed]


def mark(cursor: Cursor, loaded: LoadedTable) -> tuple[int, int]:
    """Mark the rows that differ from the target; return how many are missing there, and how many differ."""
    cursor.execute(sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(loaded.live))
    if cursor.fetchone() == (False,):  # a new server, or the trial: a column's default writes no row
        cursor.execute(
            sql.SQL(
                "ALTER TABLE {scratch} DROP COLUMN IF EXISTS {action}, ADD COLUMN {action} text DEFAULT 'insert'"
            ).format(scratch=loaded.scratch.identifier, action=sql.Identifier(ACTION))
        )
        return loaded.backup.digest.rows, 0
    cursor.execute(
        sql.SQL(
            "ALTER TABLE {scratch} ADD COLUMN IF NOT EXISTS {action} text;"
            "UPDATE {scratch} SET {action} = NULL WHERE {action} IS NOT NULL;"
            "UPDATE {scratch} b SET {action} = 'insert' WHERE NOT EXISTS (SELECT 1 FROM {live} t WHERE {same})"
        ).format(
            scratch=loaded.scratch.identifier,
            action=sql.Identifier(ACTION),
            live=loaded.live,
            same=loaded.same("t", "b"),
        )
    )
    missing = cursor.rowcount
    if not loaded.key or missing == loaded.backup.digest.rows:
        return missing, 0
    fixed = [name for name in loaded.writable if name not in loaded.updatable and name not in loaded.key]
    moved: sql.Composable = sql.SQL("false")
    if fixed:  # numbers that nobody may update (GENERATED ALWAYS AS IDENTITY)
        moved = sql.SQL("ROW({}) IS DISTINCT FROM ROW({})").format(
            column_list(fixed, of="t"), column_list(fixed, of="b")
        )
    cursor.execute(
        sql.SQL(
            "UPDATE {scratch} b SET {action} = CASE WHEN {moved} THEN 'replace' ELSE 'update' END FROM {live} t"
            " WHERE {same} AND {old} <> {new}"
        ).format(
            scratch=loaded.scratch.identifier,
            action=sql.Identifier(ACTION),
            moved=moved,
            live=loaded.live,
            same=loaded.same("t", "b"),
            old=loaded.row("t"),
            new=loaded.row("b"),
        )
    )
    return missing, cursor.rowcount


def conflicting_keys(
    loaded: LoadedTable, rule: UniqueRule, *, of: sql.Composable, into: sql.Composable
) -> Iterator[sql.Composable]:
    """Yield queries for the keys of target rows that hold a unique value of a marked row of the backup.

    Args:
        of: condition on the target's rows, which are called `t`.
        into: condition on the backup's rows, which are called `b`.
    """
    key = column_list(loaded.key)
    target = sql.SQL("{} t").format(loaded.live)
    scratch = sql.SQL("{} b").format(loaded.scratch.identifier)
    for collision in rule.collisions():
        yield sql.SQL(
            "SELECT DISTINCT {keys} FROM ({held}) x JOIN ({wanted}) y ON {collision} AND NOT ({same})"
        ).format(
            keys=column_list(loaded.key, of="x"),
            held=rule.rows(target, key, of),
            wanted=rule.rows(scratch, key, into),
            collision=collision,
            same=loaded.same("x", "y"),
        )


def write(
    cursor: Cursor,
    catalogue: Catalogue,
    tables: Sequence[LoadedTable],
    going: Collection[Table],
    new: Collection[Table] = (),
    known: Sequence[LoadedTable] = (),
) -> bool:
    """Delete the rows to delete and write the marked ones; return whether anything was deleted.

    Args:
        tables: with at least one row to write or to delete.
        going: the tables with rows to delete.
        new: the tables in which all rows of the backup are missing.
        known: all tables of the backup.

    Raises:
        BackupStop: rows exchange a unique value, and no order of writing is safe.
    """
    for loaded in tables:
        if loaded.key and loaded.target not in new:
            _mark_replacements(cursor, catalogue, loaded, {each.target: each for each in known})
    deleted = False
    for together in _group_by_immediate_keys(catalogue, tables):
        steps: list[list[_Statement]] = [[], [], []]
        for loaded in together:
            actions = {INSERT} if loaded.target in new else _marks(cursor, loaded)
            if loaded.target in going:
                steps[0].append(_delete_gone(loaded))
            # No statement without rows: PostgreSQL wants the privilege also for none.
            if REPLACE in actions:
                steps[0].append(_delete_replaced(loaded))
            if UPDATE in actions:
                steps[1].append(_update(loaded))
            if actions & {INSERT, REPLACE}:
                steps[2].append(_insert(loaded))
        if any(has_rules(cursor, loaded.target) for loaded in together):  # PostgreSQL refuses these in WITH
            for statement in [statement for step in steps for statement in step]:
                cursor.execute(statement(sql.SQL("true")))
        elif any(steps):
            cursor.execute(_as_one(steps))
        deleted = deleted or bool(steps[0])
    return deleted


def _as_one(steps: Iterable[Sequence[_Statement]]) -> sql.Composed:
    """Combine the steps into one statement. Each step needs the row count of the one before, so they run in order."""
    parts: list[sql.Composable] = []
    counts: list[sql.Composable] = [sql.SQL("0")]
    for statements in steps:
        after = sql.SQL("{} >= 0").format(sql.SQL(" + ").join(counts))
        for statement in statements:
            name = sql.Identifier(f"statement_{len(parts)}")
            parts.append(sql.SQL("{} AS ({} RETURNING 1)").format(name, statement(after)))
            counts.append(sql.SQL("(SELECT count(*) FROM {})").format(name))
    return sql.SQL("WITH {} SELECT {}").format(comma(parts), sql.SQL(" + ").join(counts))


def _marks(cursor: Cursor, loaded: LoadedTable) -> set[str]:
    """Return the actions that at least one row is marked with."""
    cursor.execute(sql.SQL("SELECT DISTINCT {} FROM {}").format(sql.Identifier(ACTION), loaded.scratch.identifier))
    return {row[0] for row in cursor.fetchall() if row[0]}


def _delete_gone(loaded: LoadedTable) -> _Statement:
    return lambda after: sql.SQL("DELETE FROM {} t USING {} g WHERE {} AND {}").format(
        loaded.live, loaded.gone, loaded.same("t", "g"), after
    )


def _delete_replaced(loaded: LoadedTable) -> _Statement:
    return lambda after: sql.SQL("DELETE FROM {} t USING {} b WHERE {} AND {} AND {}").format(
        loaded.live, loaded.scratch.identifier, loaded.same("t", "b"), loaded.marked(REPLACE), after
    )


def _update(loaded: LoadedTable) -> _Statement:
    names = map(sql.Identifier, loaded.updatable)
    values = comma(sql.SQL("{0} = b.{0}").format(name) for name in names)
    return lambda after: sql.SQL("UPDATE {} t SET {} FROM {} b WHERE {} AND {} AND {}").format(
        loaded.live, values, loaded.scratch.identifier, loaded.same("t", "b"), loaded.marked(UPDATE), after
    )


def _insert(loaded: LoadedTable) -> _Statement:
    return lambda after: sql.SQL(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} b WHERE {} AND {}"
    ).format(
        loaded.live,
        column_list(loaded.writable),
        column_list(loaded.writable, of="b"),
        loaded.scratch.identifier,
        loaded.marked(INSERT, REPLACE),
        after,
    )


def _group_by_immediate_keys(catalogue: Catalogue, tables: Sequence[LoadedTable]) -> list[list[LoadedTable]]:
    """Group the tables that are connected by immediate foreign keys."""
    groups = {loaded.target: [loaded] for loaded in tables}
    for key in catalogue.foreign_keys:
        one, other = groups.get(key.table), groups.get(key.references)
        if one is None or other is None or one is other or not is_immediate(key):
            continue
        one += other
        groups |= dict.fromkeys([loaded.target for loaded in other], one)
    return list({id(group): group for group in groups.values()}.values())


def is_immediate(key: ForeignKey) -> bool:
    """Return whether a key acts at the end of a statement. A deferred key with CASCADE or SET NULL does so too."""
    return not key.deferrable or key.on_delete != _NO_ACTION


def _mark_replacements(
    cursor: Cursor, catalogue: Catalogue, loaded: LoadedTable, known: Mapping[Table, LoadedTable]
) -> None:
    """Mark rows to be replaced, or park them, because another row needs a unique value that they hold."""
    fixed = set(loaded.writable) - set(loaded.updatable) - set(loaded.key)
    rules = [rule for rule in unique_rules(cursor, loaded.target) if not rule.at_the_end]
    for rule in rules:
        for query in conflicting_keys(loaded, rule, of=sql.SQL("true"), into=loaded.marked(INSERT, UPDATE, REPLACE)):
            _remark(
                cursor, loaded, UPDATE, REPLACE, sql.SQL("({}) IN ({})").format(column_list(loaded.key, of="b"), query)
            )
    for key in catalogue.foreign_keys_to(loaded.target):
        # A delete would cascade to other rows, or be refused.
        if key.on_delete != _NO_ACTION:
            conditions = [loaded.same("t", "b")]
            child = known.get(key.table)
            if fixed and key.on_delete != _RESTRICT and child and child.backup.role != "referenced":
                # An identity that cannot be updated can only be inserted. Rows that cascade come back in the next pass.
                conditions.append(sql.SQL("NOT {}").format(child.in_backup("c", "k")))
            referred_to = sql.SQL("EXISTS (SELECT 1 FROM {} t JOIN {} c ON ({}) = ({}) WHERE {})").format(
                loaded.live,
                key.table.identifier,
                column_list(key.columns, of="c"),
                column_list(key.referenced_columns, of="t"),
                sql.SQL(" AND ").join(conditions),
            )
            _remark(cursor, loaded, REPLACE, PARK, referred_to)
    if REPLACE in _marks(cursor, loaded) and missing_privileges(cursor, {loaded.target: {"DELETE"}}):
        _remark(cursor, loaded, REPLACE, PARK, sql.SQL("true"))
    if PARK in _marks(cursor, loaded):
        if not _park(cursor, catalogue, loaded, rules):
            raise _no_safe_order(catalogue, loaded, rules)
        _remark(cursor, loaded, PARK, UPDATE, sql.SQL("true"))
    # A trigger may keep a row that is deleted.
    if REPLACE in _marks(cursor, loaded) and not fixed and has_delete_triggers(cursor, loaded.target):
        _remark(cursor, loaded, REPLACE, PARK, sql.SQL("true"))
        _remark(cursor, loaded, PARK, UPDATE if _park(cursor, catalogue, loaded, rules) else REPLACE, sql.SQL("true"))


def _remark(cursor: Cursor, loaded: LoadedTable, old: str, new: str, condition: sql.Composable) -> None:
    cursor.execute(
        sql.SQL("UPDATE {} b SET {} = {} WHERE {} AND {}").format(
            loaded.scratch.identifier, sql.Identifier(ACTION), sql.Literal(new), loaded.marked(old), condition
        )
    )


# An expression for an unused value of a parked row, by type.
_UNUSED_VALUES = {
    "uuid": "gen_random_uuid()",
    "text": "'restore ' || gen_random_uuid()",
    "character varying": "left(translate(gen_random_uuid()::text, '-', ''), {length})",
    "smallint": "-32768 + (row_number() OVER ())::smallint",
    "integer": "-2147483648 + (row_number() OVER ())::integer",
    "bigint": "-9223372036854775808 + row_number() OVER ()",
}


def _park(cursor: Cursor, catalogue: Catalogue, loaded: LoadedTable, rules: Sequence[UniqueRule]) -> bool:
    """Give parked rows NULL or an unused value in their unique columns.

    Returns:
        Whether the table allows one of the two.
    """
    columns = catalogue.columns[loaded.target]
    taking_part = [name for name in loaded.updatable if any(name in rule.columns for rule in rules)]
    ways = []
    if nullable := [name for name in taking_part if not columns[name].not_null]:
        ways.append(dict.fromkeys(nullable, "NULL"))
    for names in (taking_part, *([name] for name in taking_part)):
        by_name = {name: _unused_value(columns[name].type) for name in names}
        if values := {name: value for name, value in by_name.items() if value}:
            ways.append(values)
    for way in ways:
        cursor.execute("SAVEPOINT way")
        try:
            cursor.execute(
                sql.SQL(
                    "UPDATE {live} t SET {settings} FROM (SELECT {key}, {values} FROM {scratch} b WHERE {parked}) v"
                    " WHERE {same}"
                ).format(
                    live=loaded.live,
                    settings=comma(
                        sql.SQL("{} = v.{}").format(sql.Identifier(name), sql.Identifier(f"fm_{n}"))
                        for n, name in enumerate(way)
                    ),
                    key=column_list(loaded.key, of="b"),
                    values=comma(
                        sql.SQL("({})::{} AS {}").format(
                            sql.SQL(value), sql.SQL(columns[name].type), sql.Identifier(f"fm_{n}")
                        )
                        for n, (name, value) in enumerate(way.items())
                    ),
                    scratch=loaded.scratch.identifier,
                    parked=loaded.marked(PARK),
                    same=loaded.same("t", "v"),
                )
            )
        except (psycopg2.IntegrityError, psycopg2.DataError):
            cursor.execute("ROLLBACK TO SAVEPOINT way")
            continue
        cursor.execute("RELEASE SAVEPOINT way")
        return True
    return False


def _no_safe_order(catalogue: Catalogue, loaded: LoadedTable, rules: Sequence[UniqueRule]) -> BackupStop:
    acting = sorted(
        f"{key.table} ({key.name})" for key in catalogue.foreign_keys_to(loaded.target) if key.on_delete != _NO_ACTION
    )
    hanging = f"rows of {', '.join(acting)} depend on them" if acting else "the role may not delete them"
    return BackupStop(
        f"Rows of {loaded.backup.table} have exchanged values that must be unique"
        f" ({', '.join(rule.name for rule in rules)}), and {hanging}.",
        meaning="They cannot be deleted and inserted again, and the table allows no intermediate value. Nothing was"
        " changed.",
        remedy=f"As the owner of {loaded.backup.table}, make these constraints DEFERRABLE for the time of the restore,"
        " then start again.",
    )


def _unused_value(type_: str) -> str:
    name, _, length = type_.partition("(")
    return _UNUSED_VALUES.get(name, "").format(length=length.rstrip(")") or "40")
