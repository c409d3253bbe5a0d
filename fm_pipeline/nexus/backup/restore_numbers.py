"""Translates numeric ids of referenced rows (content types, accounts) to those of the target server.

Rows are matched by their unique columns: a content type by its application and model, an account by its user name. The
backup's numbers are translated before anything is compared. In the database that the backup was made of, a number
without a match is the same row under a new name.
"""

from __future__ import annotations

from dataclasses import replace

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.digest import table_digest
from fm_pipeline.db.queries import count
from fm_pipeline.db.table import INTEGER_TYPES
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.backup.manifest import Manifest
from fm_pipeline.nexus.backup.restore_tables import LoadedTable
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.catalogue.unique_rules import unique_rules
from fm_pipeline.pluralize import counted


def translate_numbers(
    cursor: Cursor, catalogue: Catalogue, manifest: Manifest, tables: list[LoadedTable]
) -> tuple[list[LoadedTable], list[str]]:
    """Give the rows in the scratch tables the numbers of this database.

    Returns:
        The tables with their new digests, and what was translated, in sentences.

    Raises:
        BackupStop: a row of the backup matches two rows of this database.
    """
    changed: set[int] = set()
    notes = []
    for parent in tables:
        types = {column.name: column.type for column in parent.backup.columns}
        if parent.backup.role != "referenced" or len(parent.key) != 1 or types[parent.key[0]] not in INTEGER_TYPES:
            continue
        if not (rows := _find_others(cursor, manifest, parent)):
            continue
        notes.append(f"{counted(rows, 'row')} of {parent.backup.table} had other numbers where the backup was made.")
        changed.add(parent.number)
        _translate(cursor, parent, parent, parent.key[0])
        for child in tables:
            columns = catalogue.columns_pointing_to(parent.target, child.target)
            for column in sorted(columns & set(child.backup.names)):
                _translate(cursor, parent, child, column)
                changed.add(child.number)
    return [_with_digest(cursor, loaded) if loaded.number in changed else loaded for loaded in tables], notes


def _find_others(cursor: Cursor, manifest: Manifest, parent: LoadedTable) -> int:
    """Fill the temporary table of old and new numbers of the rows whose number differs here; return how many."""
    key, numbers = sql.Identifier(parent.key[0]), _numbers(parent)
    rules = [rule for rule in unique_rules(cursor, parent.target) if set(rule.columns) <= set(parent.backup.names)]
    pairs = [
        sql.SQL("SELECT y.{key} AS old, x.{key} AS new FROM ({here}) x JOIN ({there}) y ON {same}").format(
            key=key,
            here=rule.rows(parent.live, key, sql.SQL("true")),
            there=rule.rows(parent.scratch.identifier, key, sql.SQL("true")),
            same=same,
        )
        for rule in rules
        for same in rule.collisions()
    ]
    if not pairs:
        return 0
    cursor.execute(sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS {}").format(numbers, sql.SQL(" UNION ").join(pairs)))
    cursor.execute("SELECT EXISTS (SELECT 1 FROM fm_pipeline.backups WHERE id::text = %s)", (manifest.id,))
    # In the backup's own database, a number without a match is a renamed row. In another database it is another row:
    # then a row that is missing here gets an unused number.
    if cursor.fetchone() == (False,):
        names = {"numbers": numbers, "key": key, "here": parent.live, "there": parent.scratch.identifier}
        cursor.execute(
            sql.SQL(
                "INSERT INTO {numbers} SELECT b.{key}, (SELECT max(m) FROM (SELECT max({key}) FROM {here} UNION ALL"
                " SELECT max({key}) FROM {there}) s (m)) + row_number() OVER (ORDER BY b.{key}) FROM {there} b"
                " WHERE NOT EXISTS (SELECT 1 FROM {numbers} n WHERE n.old = b.{key})"
                " AND EXISTS (SELECT 1 FROM {here} t WHERE t.{key} = b.{key})"
            ).format(**names)
        )
    cursor.execute(sql.SQL("SELECT count(*) - count(DISTINCT old) FROM {}").format(numbers))
    if twice := count(cursor):
        of = f"of {parent.backup.table} that the backup refers to by number"
        raise BackupStop(
            f"{counted(twice, f'row {of} matches', f'rows {of} match')} two rows each here.",
            meaning="It is not known which of the two restored rows belong to. Nothing was changed.",
            remedy=f"Correct the values in {parent.backup.table} that must be unique"
            f" ({', '.join(rule.name for rule in rules)}), then start again.",
        )
    cursor.execute(sql.SQL("DELETE FROM {} WHERE old = new").format(numbers))
    cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(numbers))
    return count(cursor)


def _numbers(parent: LoadedTable) -> sql.Identifier:
    return sql.Identifier(f"numbers_of_backup_{parent.number}")


def _translate(cursor: Cursor, parent: LoadedTable, child: LoadedTable, column: str) -> None:
    cursor.execute(
        sql.SQL("UPDATE {rows} t SET {column} = n.new FROM {numbers} n WHERE t.{column} = n.old").format(
            rows=child.scratch.identifier, column=sql.Identifier(column), numbers=_numbers(parent)
        )
    )


def _with_digest(cursor: Cursor, loaded: LoadedTable) -> LoadedTable:
    digest = table_digest(cursor, loaded.scratch, loaded.backup.names, like=loaded.backup.digest)
    return replace(loaded, backup=replace(loaded.backup, digest=digest))
