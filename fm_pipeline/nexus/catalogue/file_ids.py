"""FileMaker's id in the tables of files: a uuid in most releases, its text in some, the record's number in others.

Where it is a number, or there is no such column, FileMaker's records cannot be joined by their id. Those images and
documents are found by the crosswalk, their metadata, and what the link of images wrote down.
"""

from __future__ import annotations

from typing import Literal

from psycopg2 import sql

from fm_pipeline.nexus.catalogue.schema import Catalogue

COLUMN = "filemaker_id"


def file_id_type(catalogue: Catalogue, table: str) -> Literal["uuid", "text", "other"]:
    """What the column `filemaker_id` of a table of Nexus holds; `other` also where there is none.

    Args:
        table: DOCUMENTS or IMAGES; Nexus has it.
    """
    found = catalogue.columns[catalogue.table(table)].get(COLUMN)
    if found is None or not found.type.startswith(("uuid", "character", "text")):
        return "other"
    return "uuid" if found.type == "uuid" else "text"


def same_record(catalogue: Catalogue, table: str, row: str) -> sql.SQL:
    """The condition that joins a staged record, `l.filemaker_id`, to a row of a table of files.

    Args:
        row: alias of the table, or of rows that were read from it.

    Returns:
        Two uuids where the column is one, so that either index serves; `false`, which reads nothing, where there is
        no such id.
    """
    kind = file_id_type(catalogue, table)
    if kind == "uuid":
        return sql.SQL(f"l.{COLUMN} = {row}.{COLUMN}")
    return sql.SQL(f"l.{COLUMN}::text = lower(btrim({row}.{COLUMN}))" if kind == "text" else "false")
