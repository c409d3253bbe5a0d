"""What a sync decided about values and rows that it did not simply take from FileMaker, by id and column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.copy import copy_rows
from fm_pipeline.nexus.reimport.difference import Difference

# What each decision means. A conflict needs a person: both sides have changed.
MEANINGS = {
    "edit": "Edited in Nexus; FileMaker has not changed it.",
    "edit_without_baseline": "FileMaker and Nexus differ, and no sync or reimport has recorded yet who changed it.",
    "conflict": "Changed in FileMaker and edited in Nexus since the last sync.",
    "parent_deleted": "FileMaker's record refers to a record whose row was deleted in Nexus.",
    "deleted_in_nexus": "The row was deleted in Nexus. FileMaker still has the record, unchanged.",
    "deleted_conflict": "The row was deleted in Nexus, and the record was changed in FileMaker since.",
    "not_loaded": "FileMaker has the record, and a rule does not load it. The row in Nexus stays.",
    "gone_without_baseline": "FileMaker does not have the record, and no sync knows that it ever had. The row stays.",
    "gone_edited": "FileMaker does not have the record any more, and the row was edited in Nexus. It stays.",
    "gone_referenced": "FileMaker does not have the record any more, and rows of Nexus refer to the row. It stays.",
    "gone_kept": "FileMaker does not have the record any more. An earlier sync has kept the row.",
    "gone": "FileMaker does not have the record any more. The row is deleted.",
}
CONFLICTS = frozenset({"conflict", "parent_deleted", "deleted_conflict", "gone_edited", "gone_referenced"})


@dataclass(frozen=True, order=True)
class Decision:
    """One decision.

    Attributes:
        column: of Nexus; empty if it is about the whole row.
        kept: whether Nexus stays as it is; else FileMaker is followed.
    """

    entity: str
    nexus_id: str
    column: str
    decision: str
    kept: bool
    filemaker_key: str = ""

    @property
    def is_conflict(self) -> bool:
        """Whether both sides have changed, so that a person has to know."""
        return self.decision in CONFLICTS

    def as_dict(self) -> dict[str, str | bool]:
        """Return the fields for JSON and CSV."""
        return asdict(self)


def decided_values(difference: Difference) -> sql.Identifier:
    """Return the temporary table of the values of an entity that differ, each with its decision."""
    return sql.Identifier(f"sync_columns_{difference.entity.name}")


def left_out_rows(difference: Difference) -> sql.Identifier:
    """Return the temporary table of the staged rows of an entity that a sync leaves out, each with its decision."""
    return sql.Identifier(f"sync_out_{difference.entity.name}")


def gone_rows(difference: Difference) -> sql.Identifier:
    """Return the temporary table of the rows of an entity that are not staged, each with its decision."""
    return sql.Identifier(f"sync_rows_{difference.entity.name}")


def read_decisions(cursor: Cursor, differences: Sequence[Difference], *, rows: bool = True) -> list[Decision]:
    """Read the decisions of a merge from its temporary tables, in a fixed order.

    Args:
        rows: also those about whole rows.
    """
    found = []
    for difference in differences:
        parts = ["SELECT nexus_id::text, name, decision, kept, filemaker_key FROM {columns} WHERE decision <> 'change'"]
        if rows:
            parts += [
                "SELECT nexus_id::text, '', decision, true, filemaker_key FROM {out}",
                "SELECT id::text, '', decision, decision <> 'gone', filemaker_key FROM {rows}"
                " WHERE decision <> 'made_in_nexus'",
            ]
        cursor.execute(
            sql.SQL(" UNION ALL ".join(parts) + " ORDER BY 1, 2").format(
                columns=decided_values(difference), out=left_out_rows(difference), rows=gone_rows(difference)
            )
        )
        found += [
            Decision(difference.entity.name, nexus_id, column, decision, kept, key or "")
            for nexus_id, column, decision, kept, key in cursor.fetchall()
        ]
    return found


def store_decisions(cursor: Cursor, sync_id: str, decisions: Iterable[Decision]) -> None:
    """Store the decisions of a sync."""
    columns = ("sync_id", "entity", "nexus_id", "column_name", "decision", "kept", "filemaker_key")
    copy_rows(
        cursor,
        "fm_pipeline.sync_decisions",
        columns,
        ((sync_id, d.entity, d.nexus_id, d.column, d.decision, d.kept, d.filemaker_key) for d in decisions),
    )
