"""Texts of the columns of a row, as SQL: the form in which three states of a row are compared.

A session of ours has fixed formats of dates, times and numbers (`db/connection.py`), so equal values have equal texts.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg2 import sql

from fm_pipeline.db.queries import comma
from fm_pipeline.nexus.reimport.difference import Difference, column_of

# FileMaker decides these in every case. The metadata of a patient are merged with those of Nexus by the load itself.
_ALWAYS_FILEMAKER = {"created_at", "filemaker_metadata", "filemaker_event_id", "filemaker_id"}
_MOST_ARGUMENTS = 40  # pairs for one call of jsonb_build_object, which takes 100 arguments


def merged_columns(difference: Difference) -> list[str]:
    """Return the columns that users may edit and FileMaker may change, in a fixed order."""
    always = {*_ALWAYS_FILEMAKER, difference.entity.id_column}
    return sorted(name for name in difference.updates if name not in always)


def in_nexus(name: str) -> sql.Composable:
    """Return the text of a column of the row in Nexus."""
    return sql.SQL("(t.{})::text").format(column_of(name))


def desired(difference: Difference, name: str) -> sql.Composable:
    """Return the text of a column as FileMaker has it, in the type of Nexus' column."""
    return sql.SQL("({})::text").format(difference.updates[name])


def literal(name: str) -> sql.Composable:
    """Return a literal for a statement with parameters, in which a % must be doubled."""
    return sql.Literal(name.replace("%", "%%"))


def as_object(values: Mapping[str, sql.Composable]) -> sql.Composable:
    """Return an expression for a jsonb object of these values."""
    names = list(values)
    parts = [
        sql.SQL("jsonb_build_object({})").format(
            comma(part for name in names[start : start + _MOST_ARGUMENTS] for part in (literal(name), values[name]))
        )
        for start in range(0, len(names), _MOST_ARGUMENTS)
    ]
    return sql.SQL(" || ").join(parts) if parts else sql.SQL("'{}'::jsonb")
