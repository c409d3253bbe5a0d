"""The columns with FileMaker's ids. That of documents and images is a uuid, a text or a record number by release.

Where it is a number or missing, FileMaker's records cannot be joined by it. Such images and documents are found by the
crosswalk, by their metadata, and by the ledger of linked images.
"""

from __future__ import annotations

from typing import Literal

from psycopg2 import sql

from fm_pipeline.nexus.catalogue.schema import Catalogue

COLUMN = "filemaker_id"


def file_id_type(catalogue: Catalogue, table: str) -> Literal["uuid", "text", "other"]:
    """Return the kind of ids that a table's column `filemaker_id` holds; `other` also if there is no such column.

    Args:
        table: DOCUMENTS or IMAGES; Nexus has it.
    """
    found = catalogue.columns[catalogue.table(table)].get(COLUMN)
    if found is None or not found.can_hold_a_uuid:
        return "other"
    return "uuid" if found.type == "uuid" else "text"


def is_uuid(catalogue: Catalogue, table: str, column: str) -> bool:
    """Return whether a table of Nexus has such a column, and it is a uuid."""
    found = catalogue.columns[catalogue.table(table)].get(column)
    return found is not None and found.type == "uuid"


def id_key(column: str, *, is_uuid: bool = False) -> sql.Composed:
    """Return FileMaker's id in a column as `source_records` has it; the column may be a text in any spelling.

    Args:
        column: of a type that can be cast to text.
        is_uuid: it is a uuid, whose text has one spelling.
    """
    return sql.SQL("{}::text" if is_uuid else 'lower(btrim({}::text) COLLATE "default")').format(sql.Identifier(column))


def same_record(catalogue: Catalogue, table: str, row: str) -> sql.SQL:
    """Return the condition that joins a staged record, `l.filemaker_id`, to a row of a table of files.

    Args:
        row: alias of the table, or of rows that were read from it.

    Returns:
        A comparison of two uuids if the column is one, so that either index can be used; `false` if there is no such
        id.
    """
    kind = file_id_type(catalogue, table)
    if kind == "uuid":
        return sql.SQL(f"l.{COLUMN} = {row}.{COLUMN}")
    return sql.SQL(f"l.{COLUMN}::text = lower(btrim({row}.{COLUMN}))" if kind == "text" else "false")
