"""What a restore has done so far, for its steps and its report."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.table import Table
from fm_pipeline.nexus.backup.restore_tables import LoadedTable, RestoredTable
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.pluralize import counted

NewerRowsPolicy = Literal["stop", "set-aside"]
NewerRowsAction = Literal[
    "re-pointed to the row of the backup",
    "set to NULL",
    "set aside",
    "deleted, and saved in fm_pipeline.set_aside_rows",
]


@dataclass(frozen=True)
class NewerRows:
    """Rows of one table that were created after the backup, and what was done with them.

    Attributes:
        why: the reference, as `table.column (constraint)`, or the constraint that they conflict with.
        ids: their primary keys.
    """

    table: str
    why: str
    done: NewerRowsAction
    ids: tuple[str, ...]

    def sentence(self, shown: int | None = None) -> str:
        """Return a sentence for the report, without data of the rows."""
        ids = ", ".join(self.ids[:shown])
        more = len(self.ids) - len(self.ids[:shown])
        rows = counted(len(self.ids), "row")
        return f"{rows} of {self.why}: {self.done} ({ids}{f' and {more:,} more' if more else ''})"


@dataclass
class RestoreState:
    """A restore inside its transaction.

    Attributes:
        catalogue: of the tables that get the rows.
        newer: what to do with rows that were created after the backup and cannot stay as they are.
        results: what was done, by table.
        newer_rows: what was done with rows that were created after the backup, by their ids.
        notes: what else the report should say, in sentences.
    """

    cursor: Cursor
    catalogue: Catalogue
    tables: list[LoadedTable]
    newer: NewerRowsPolicy = "stop"
    results: dict[Table, RestoredTable] = field(default_factory=dict)
    newer_rows: list[NewerRows] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, table: Table, **rows: int) -> None:
        """Add to the counts of a table."""
        old = self.results.get(table) or RestoredTable(str(table), 0)
        added = {name: getattr(old, name) + number for name, number in rows.items()}
        self.results[table] = replace(old, **added)
