"""A table of a backup during a restore: its scratch table, and the catalogue's facts about its target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

from fm_pipeline.db.queries import column_list
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.backup.manifest import BackupTable
from fm_pipeline.nexus.catalogue.file_ids import id_key
from fm_pipeline.nexus.crosswalk import PATIENT_KEYS
from fm_pipeline.pluralize import counted

_OURS = "fm_pipeline."  # the schema of the pipeline's own tables
_WRITTEN = ("deleted", "updated", "inserted", "emptied", "repointed", "set_aside")  # counts of rows


@dataclass(frozen=True)
class RestoredTable:
    """Counts of what was done with a table's rows.

    Attributes:
        newer: rows that are missing from the backup and stay.
        emptied: references to deleted rows that were set to NULL.
        repointed: references to deleted rows that now point to the backup's row of the same FileMaker record.
        set_aside: rows that are missing from the backup, cannot stay, and were moved to `fm_pipeline.set_aside_rows`.
    """

    table: str
    backup: int
    deleted: int = 0
    updated: int = 0
    inserted: int = 0
    newer: int = 0
    emptied: int = 0
    repointed: int = 0
    set_aside: int = 0

    @property
    def changed(self) -> int:
        """Rows written."""
        return sum(int(getattr(self, name)) for name in _WRITTEN)


def changed_words(report: Mapping[str, Any]) -> str:
    """Return how many rows a restore has changed, those of the pipeline's own tables apart.

    Args:
        report: `RestoreReport.as_dict()`, also of an earlier release.
    """
    rows = own = 0
    for table in report.get("tables", ()):
        changed = sum(int(table.get(name, 0)) for name in _WRITTEN)
        if table["table"].startswith(_OURS):
            own += changed
        else:
            rows += changed
    words = f"{counted(rows, 'row')} of Nexus" if rows else "no row of Nexus"
    return f"{words} and {own:,} of the pipeline's own tables" if own else words


# What to do with a row of the backup, in an extra column of the scratch table. Rows without an action are equal.
ACTION = "fm_pipeline_action"
INSERT, UPDATE, REPLACE, PARK = "insert", "update", "replace", "park"


@dataclass(frozen=True)
class LoadedTable:
    """A table of the backup in its scratch table, and the columns of the table that gets its rows.

    Attributes:
        target: the table in Nexus; while a backup is verified, a copy of it.
        key: columns of the primary key; empty if there is none, and then the whole row is the key.
        writable: columns that an INSERT may set.
        updatable: columns that an UPDATE may set; none without a primary key.
        number: part of the names of temporary tables.
    """

    backup: BackupTable
    target: Table
    scratch: Table
    key: list[str]
    writable: list[str]
    updatable: list[str]
    number: int

    @property
    def live(self) -> sql.Identifier:
        """The target's identifier."""
        return self.target.identifier

    @property
    def gone(self) -> sql.Identifier:
        """Temporary table of the rows to delete: missing from the backup, or set aside."""
        return sql.Identifier(f"gone_of_backup_{self.number}")

    def row(self, alias: str) -> sql.Composable:
        """Return a row as text, which compares rows also of types without an equality operator (json)."""
        return sql.SQL("ROW({})::text").format(column_list(self.backup.names, of=alias))

    def same(self, one: str, other: str) -> sql.Composable:
        """Condition: two rows have the same key."""
        if not self.key:
            return sql.SQL("{} = {}").format(self.row(one), self.row(other))
        return sql.SQL("({}) = ({})").format(column_list(self.key, of=one), column_list(self.key, of=other))

    def in_backup(self, alias: str = "t", other: str = "b") -> sql.Composable:
        """Condition: the backup has the row. `other` is an alias that is used nowhere outside the condition."""
        return sql.SQL("EXISTS (SELECT 1 FROM {} {} WHERE {})").format(
            self.scratch.identifier, sql.Identifier(other), self.same(alias, other)
        )

    def marked(self, *actions: str) -> sql.Composable:
        """Condition: row `b` of the backup is marked with one of these actions."""
        return sql.SQL("b.{} = ANY({})").format(sql.Identifier(ACTION), sql.Literal(list(actions)))


def filemaker_keys(entity: str, loaded: LoadedTable, rows: sql.Identifier) -> sql.Composable:
    """Return a query for id and FileMaker id of rows, as far as Nexus itself has it."""
    if entity == "patient" and {"filemaker_metadata", "notes", "created_at"} <= set(loaded.backup.names):
        return sql.SQL("SELECT p.id::text, p.key FROM ({}) p WHERE p.key IS NOT NULL").format(
            sql.SQL(PATIENT_KEYS).format(patients=rows)
        )
    if entity == "appointment" and "filemaker_event_id" in loaded.backup.names:
        return sql.SQL("SELECT id::text, {key} FROM {rows} WHERE {key} <> ''").format(
            key=id_key("filemaker_event_id"), rows=rows
        )
    return sql.SQL("SELECT NULL::text, NULL::text WHERE false")
