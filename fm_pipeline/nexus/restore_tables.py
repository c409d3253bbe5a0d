"""A table of a backup while it is restored: in its scratch table, with what the live table's catalogue says."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql

from fm_pipeline.nexus.backup_manifest import BackupTable
from fm_pipeline.nexus.catalogue import Table


@dataclass(frozen=True)
class TableRestored:
    """What became of a table's rows; counts.

    Attributes:
        newer: rows that the backup does not have and that stay.
        emptied: references to rows that went, set to NULL.
    """

    table: str
    backup: int
    deleted: int = 0
    updated: int = 0
    inserted: int = 0
    newer: int = 0
    emptied: int = 0

    @property
    def changed(self) -> int:
        """Rows written."""
        return self.deleted + self.updated + self.inserted + self.emptied


@dataclass(frozen=True)
class Loaded:
    """A table of the backup in its scratch table, and what the live table's catalogue says.

    Attributes:
        key: columns of the primary key; empty when there is none, and then the whole row is the key.
        writable: columns that may be given on insert.
        number: makes the names of temporary tables.
    """

    backup: BackupTable
    scratch: Table
    key: list[str]
    writable: list[str]
    number: int

    @property
    def live(self) -> sql.Identifier:
        """The table in Nexus."""
        return self.backup.table.identifier

    @property
    def gone(self) -> sql.Identifier:
        """Temporary table of the live rows that the backup does not have and that go."""
        return sql.Identifier(f"gone_of_backup_{self.number}")

    def row(self, alias: str) -> sql.Composable:
        """A row as text: equal texts are equal rows, also of types without an equality (json)."""
        return sql.SQL("ROW({})::text").format(columns_of_row(alias, self.backup.names))

    def same(self, one: str, other: str) -> sql.Composable:
        """Condition: two rows have the same key."""
        if not self.key:
            return sql.SQL("{} = {}").format(self.row(one), self.row(other))
        return sql.SQL("({}) = ({})").format(columns_of_row(one, self.key), columns_of_row(other, self.key))

    def in_backup(self, alias: str = "t") -> sql.Composable:
        """Condition: the backup has the row."""
        return sql.SQL("EXISTS (SELECT 1 FROM {} b WHERE {})").format(self.scratch.identifier, self.same(alias, "b"))


def columns_of_row(alias: str, names: list[str] | tuple[str, ...]) -> sql.Composed:
    """Columns of a row, each with its alias."""
    return sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(name)) for name in names)
