"""Marks by which an application hides a row from its users: an archive, soft deletion."""

from __future__ import annotations

import re
from collections.abc import Mapping

from psycopg2 import sql

# Nexus' own, and the usual ones of soft deletion.
_HIDING = ("archived", "is_archived", "archived_at", "deleted", "is_deleted", "deleted_at", "is_removed")
_TIME = re.compile(r"date|timestamp(\(\d\))? with(out)? time zone")


def is_marked(types: Mapping[str, str], row: str) -> sql.Composed:
    """Return the condition that users do not see a row; it is never NULL.

    A boolean hides it if it is true, and a date or a point in time if it is set. Columns of other types say nothing. A
    time (`archived_at`) says nothing either if there is a boolean (`archived`, `is_archived`): it may outlast it.

    Args:
        types: of the table's columns, as `format_type` writes them.
        row: alias of the table.
    """
    marks = {name: type_ for name, type_ in types.items() if name in _HIDING}
    hiding: list[sql.Composable] = [sql.SQL("false")]
    for name, type_ in marks.items():
        word = name.removesuffix("_at")
        if type_ == "boolean":
            hiding.append(sql.SQL("{} IS TRUE").format(sql.Identifier(row, name)))
        elif _TIME.fullmatch(type_) and "boolean" not in {marks.get(word), marks.get(f"is_{word}")}:
            hiding.append(sql.SQL("{} IS NOT NULL").format(sql.Identifier(row, name)))
    return sql.SQL("({})").format(sql.SQL(" OR ").join(hiding))
