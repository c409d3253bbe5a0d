"""A table of a backup while it is restored: in its scratch table, with what the catalogue says of its target."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql

from fm_pipeline.db.table import Table
from fm_pipeline.nexus.backup.manifest import BackupTable


@dataclass(frozen=True)
class RestoredTable:
    """What became of a table's rows; counts.

    Attributes:
        newer: rows that the backup does not have and that stay.
        emptied: references to rows that went, set to NULL.
        repointed: references to rows that went, led to the row that the same FileMaker record has in the backup.
        set_aside: rows that the backup does not have and that cannot stay, moved to `fm_pipeline.set_aside_rows`.
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
        return self.deleted + self.updated + self.inserted + self.emptied + self.repointed + self.set_aside


# What happens to a row of the backup, in a column of its own in the scratch table. Rows without a mark are left alone.
ACTION = "fm_action"
INSERT, UPDATE, REPLACE, PARK = "insert", "update", "replace", "park"


@dataclass(frozen=True)
class LoadedTable:
    """A table of the backup in its scratch table, and what the catalogue says of the table that gets its rows.

    Attributes:
        target: the table in Nexus; while a backup is verified, a copy of it.
        key: columns of the primary key; empty when there is none, and then the whole row is the key.
        writable: columns that may be given on insert.
        updatable: columns that may be set in a row that is there; none without a key, which tells the row.
        number: makes the names of temporary tables.
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
        """The table that gets the rows."""
        return self.target.identifier

    @property
    def gone(self) -> sql.Identifier:
        """Temporary table of the rows that go: the backup does not have them, or they were set aside."""
        return sql.Identifier(f"gone_of_backup_{self.number}")

    def row(self, alias: str) -> sql.Composable:
        """A row as text: equal texts are equal rows, also of types without an equality (json)."""
        return sql.SQL("ROW({})::text").format(qualified_columns(alias, self.backup.names))

    def same(self, one: str, other: str) -> sql.Composable:
        """Condition: two rows have the same key."""
        if not self.key:
            return sql.SQL("{} = {}").format(self.row(one), self.row(other))
        return sql.SQL("({}) = ({})").format(qualified_columns(one, self.key), qualified_columns(other, self.key))

    def in_backup(self, alias: str = "t", other: str = "b") -> sql.Composable:
        """Condition: the backup has the row; `other` is a name that nothing outside the condition has."""
        return sql.SQL("EXISTS (SELECT 1 FROM {} {} WHERE {})").format(
            self.scratch.identifier, sql.Identifier(other), self.same(alias, other)
        )

    def marked(self, *actions: str) -> sql.Composable:
        """Condition: one of these things happens to row `b` of the backup."""
        return sql.SQL("b.{} = ANY({})").format(sql.Identifier(ACTION), sql.Literal(list(actions)))


def qualified_columns(alias: str, names: list[str] | tuple[str, ...]) -> sql.Composed:
    """Columns of a row, each with its alias."""
    return sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(name)) for name in names)
