"""Rows of Nexus' tables in memory: the state before a reimport, and the expected state after it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from fm_pipeline.sandbox.nexus.columns import nexus_columns

RowId = uuid.UUID | int
Values = dict[str, Any]  # a row by column
Row = tuple[object, ...]


class AnyValue:
    """A placeholder for a value that is not determined: a time of the run."""

    def __repr__(self) -> str:
        return "ANY"


ANY = AnyValue()

# Values of a new row in columns that are not fed, if not NULL.
NEW_ROW: dict[str, dict[str, object]] = {
    "patients": {"archived": False},
    "appointments": {
        **dict.fromkeys(("needs_followup_reminder", "followup_scheduled", "is_recurring"), False),
        **dict.fromkeys(("sms_confirmed", "sms_cancelled"), False),
        "invoice_contact_type": "patient",
        "billing_notes": "",
    },
    "sms_messages": {
        "external_message_id": "",
        "error_message": "",
        "retry_count": 0,
        "sms_count": 1,
        "notes": "",
    },
}


@dataclass
class TableContent:
    """The rows of one table by their id; values in the order of `columns`."""

    name: str
    columns: tuple[str, ...]
    rows: dict[RowId, Row] = field(default_factory=dict)

    def add(self, **values: object) -> None:
        """Add a row. Columns that are not given have the values of a new row.

        Raises:
            ValueError: a column does not exist, or the id is taken.
        """
        unknown = values.keys() - set(self.columns)
        row_id = values["id"]
        if unknown or row_id in self.rows or not isinstance(row_id, uuid.UUID | int):
            raise ValueError(f"{self.name}: columns {sorted(unknown)} do not exist, or the id is taken.")
        self.rows[row_id] = self.row(values)

    def row(self, values: Values) -> Row:
        """Return the values in the order of the columns, missing ones as in a new row."""
        rest = NEW_ROW.get(self.name, {})
        return tuple([values[c] if c in values else rest.get(c) for c in self.columns])

    def values(self, row: Row) -> Values:
        """Return a row's values by column."""
        return dict(zip(self.columns, row, strict=True))

    def ids(self, column: str) -> set[object]:
        """Return the distinct values of a column."""
        at = self.columns.index(column)
        return {row[at] for row in self.rows.values()}


State = dict[str, TableContent]


def empty_state() -> State:
    """Return every table of Nexus, without rows, in an order for loading."""
    return {name: TableContent(name, tuple(columns)) for name, columns in nexus_columns().items()}
