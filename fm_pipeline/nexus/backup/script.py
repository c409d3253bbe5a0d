"""Writes the file `load.psql` of a backup, with which psql, gunzip and age load it without this program.

It loads into empty tables that the application has created, in one transaction, parents before children. Rows of tables
that the application fills itself (content types, accounts, clinics) are added where they are missing; numeric ids that
belong to another row there are translated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import column_list, comma
from fm_pipeline.db.table import INTEGER_TYPES, Table
from fm_pipeline.nexus.backup.files import ENCRYPTED
from fm_pipeline.nexus.backup.manifest import BackupTable
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.catalogue.table_details import generated_columns, key_columns, sequences_of
from fm_pipeline.nexus.catalogue.unique_rules import UniqueRule, unique_rules
from fm_pipeline.nexus.catalogue.unread_columns import unread_columns

SCRIPT = "load.psql"
_BEGIN = """\
-- Loads this backup into tables that the application has made and that are empty. In this folder:
{how}
-- One transaction: if anything fails, nothing was loaded.
\\set ON_ERROR_STOP on
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
SET LOCAL row_security = off;
SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL TimeZone = 'UTC';
"""
_HOW = '-- psql -X -f load.psql "postgresql://…"'
_HOW_ENCRYPTED = """\
-- export BACKUP_KEY_FILE=…   (a file that holds BACKUP_KEY)
-- age -d -i "$BACKUP_KEY_FILE" load.psql.age | psql -X "postgresql://…\""""


def load_script(cursor: Cursor, catalogue: Catalogue, tables: Sequence[BackupTable]) -> str:
    """Return the script for the tables of a backup."""
    encrypted = any(table.file.endswith(ENCRYPTED) for table in tables)
    parts = [_BEGIN.format(how=_HOW_ENCRYPTED if encrypted else _HOW)]
    ordered = _parents_first(catalogue, tables)
    for number, table in enumerate(ordered, start=1):
        parts.append(sql.Composed(_into_scratch(number, table)).as_string(cursor))
    for number, table in enumerate(ordered, start=1):
        if rule := _numbered_rule(cursor, table):
            parts.append(sql.Composed(_translate(cursor, catalogue, number, table, rule, ordered)).as_string(cursor))
    for number, table in enumerate(ordered, start=1):
        parts.append(sql.Composed(_insert(cursor, catalogue, number, table)).as_string(cursor))
    return "\n".join([*parts, "COMMIT;", ""])


def _parents_first(catalogue: Catalogue, tables: Sequence[BackupTable]) -> list[BackupTable]:
    by_table = {table.table: table for table in tables}
    before: dict[Table, set[Table]] = {table: set() for table in by_table}
    for key in catalogue.foreign_keys:
        if key.table in by_table and key.references in by_table and key.table != key.references:
            before[key.table].add(key.references)
    try:
        return [by_table[table] for table in TopologicalSorter(before).static_order()]
    except CycleError:  # immediate keys in a circle need `fm-pipeline restore`
        return list(tables)


def _scratch(number: int) -> sql.Identifier:
    return sql.Identifier(f"load_{number:02}")


def _into_scratch(number: int, table: BackupTable) -> Iterator[sql.Composable]:
    """Load a file into a temporary table, and check the number of its rows."""
    columns = [sql.SQL("{} {}").format(sql.Identifier(c.name), sql.SQL(c.type)) for c in table.columns]
    yield sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP;\n").format(_scratch(number), comma(columns))
    if table.file.endswith(ENCRYPTED):
        program = f'age -d -i "$BACKUP_KEY_FILE" {table.file} | gunzip'
    else:
        program = f"gunzip < {table.file}"
    yield sql.SQL("\\copy {} FROM PROGRAM '{}' WITH (FORMAT text, ENCODING 'UTF8')\n").format(
        _scratch(number), sql.SQL(program)
    )
    yield sql.SQL("DO $$ BEGIN ASSERT (SELECT count(*) FROM {}) = {}, 'the file {} is not whole'; END $$;\n").format(
        _scratch(number), sql.Literal(table.digest.rows), sql.SQL(table.file)
    )


def _numbered_rule(cursor: Cursor, table: BackupTable) -> UniqueRule | None:
    """Return the unique rule that identifies rows of a referenced table whose key is a number."""
    types = {column.name: column.type for column in table.columns}
    key = key_columns(cursor, table.table)
    if table.role != "referenced" or len(key) != 1 or types[key[0]] not in INTEGER_TYPES:
        return None
    rules = unique_rules(cursor, table.table)
    return next((rule for rule in rules if types.keys() >= set(rule.columns)), None)


def _translate(
    cursor: Cursor,
    catalogue: Catalogue,
    number: int,
    table: BackupTable,
    rule: UniqueRule,
    tables: Sequence[BackupTable],
) -> Iterator[sql.Composable]:
    """Translate numeric ids to those of the target database."""
    (key,) = map(sql.Identifier, key_columns(cursor, table.table))
    numbers = sql.Identifier(f"numbers_{number:02}")
    pairs = [
        sql.SQL("SELECT y.{0} AS old, x.{0} AS new FROM ({1}) x JOIN ({2}) y ON {3} WHERE x.{0} <> y.{0}").format(
            key, *(rule.rows(place, key, sql.SQL("true")) for place in (table.table.identifier, _scratch(number))), same
        )
        for same in rule.collisions()
    ]
    yield sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS {};\n").format(numbers, sql.SQL(" UNION ").join(pairs))
    children = [(number, key)]
    for child_number, child in enumerate(tables, start=1):
        columns = catalogue.columns_pointing_to(table.table, child.table)
        children += [(child_number, sql.Identifier(name)) for name in sorted(columns & set(child.names))]
    for child_number, column in children:
        yield sql.SQL("UPDATE {0} t SET {1} = n.new FROM {2} n WHERE t.{1} = n.old;\n").format(
            _scratch(child_number), column, numbers
        )
    yield sql.SQL(
        "DO $$ BEGIN ASSERT NOT EXISTS (SELECT 1 FROM {here} t JOIN {there} b USING ({key})"
        " WHERE ({t}) IS DISTINCT FROM ({b})), 'numbers of {name} mean other rows here'; END $$;\n"
    ).format(
        here=table.table.identifier,
        there=_scratch(number),
        key=key,
        t=column_list(rule.columns, of="t"),
        b=column_list(rule.columns, of="b"),
        name=sql.SQL(str(table.table).replace("'", "")),
    )


def _insert(cursor: Cursor, catalogue: Catalogue, number: int, table: BackupTable) -> Iterator[sql.Composable]:
    name = table.table.identifier
    own = table.table.schema == "fm_pipeline"
    if own:  # the pipeline's own tables may not be there yet
        yield sql.SQL("SELECT to_regclass({}) IS NOT NULL AS known \\gset\n\\if :known\n").format(
            sql.Literal(name.as_string(cursor))
        )
    generated = generated_columns(cursor, table.table)
    values: dict[str, sql.Composable] = {
        column: sql.Identifier(column) for column in table.names if column not in generated
    }
    for column, value in unread_columns(catalogue, table.table).items():
        if value and column not in table.names:
            values[column] = sql.SQL(value)
    yield sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}{};\n").format(
        name,
        column_list(values),
        comma(values.values()),
        _scratch(number),
        sql.SQL(" ON CONFLICT DO NOTHING" if table.role == "referenced" else ""),
    )
    for each in sequences_of(cursor, table.table):
        if each.is_number and each.column in table.names:
            yield sql.SQL(
                "SELECT setval({0}, greatest(max({1}), pg_sequence_last_value({0}::regclass))) FROM {2};\n"
            ).format(sql.Literal(each.sequence), sql.Identifier(each.column), name)
    if own:
        yield sql.SQL("\\endif\n")
