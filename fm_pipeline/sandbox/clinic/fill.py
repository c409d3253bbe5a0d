"""Loads the clinic into both systems: the reference Nexus database and the FileMaker stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import repeat

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.copy import copy_rows
from fm_pipeline.sandbox.clinic.filemaker import containers
from fm_pipeline.sandbox.clinic.generate import Clinic
from fm_pipeline.sandbox.clinic.nexus.state import TableContent
from fm_pipeline.sandbox.clinic.nexus.values import Profile
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.nexus.columns import nexus_columns


def fill_nexus(connection: Connection, clinic: Clinic, schema: str = "public") -> None:
    """Load the clinic's Nexus rows into empty tables, in one transaction, and commit.

    Args:
        connection: psycopg2 connection to a database that `create_nexus` made.
        schema: where the tables are.

    Raises:
        psycopg2.Error: a row is refused, or a foreign key points nowhere; nothing is loaded.
    """
    with connection, connection.cursor() as cursor:
        for table in clinic.nexus_tables():
            name = sql.Identifier(schema, table.name)
            copy_rows(cursor, name.as_string(cursor), table.columns, _storable(table))
            if isinstance(next(iter(table.rows), None), int):
                # The application's next insert must get an unused id.
                cursor.execute(
                    sql.SQL("SELECT setval(pg_get_serial_sequence(%s, 'id'), max(id)) FROM {}").format(name),
                    (name.as_string(cursor),),
                )
            cursor.execute(sql.SQL("ANALYZE {}").format(name))
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def fill_filemaker(store: Store, clinic: Clinic, database: str = "clinic", profile: Profile = "nexus") -> None:
    """Create the layouts of a profile in a FileMaker file and insert the clinic's records.

    Args:
        store: of the stand-in.
        database: the file's name; it is made, without accounts, when the store does not have it.

    Raises:
        sqlite3.IntegrityError: the file has such tables already.
    """
    if database not in store.databases():
        store.create_database(database)
    for table in clinic.filemaker_tables(profile):
        name = table.layout.removeprefix("API_")
        fields = [FieldDefinition(field, kind) for field, kind in table.fields]
        records: Iterable[Mapping[str, object]] = table.records()
        if name == "Images":
            fields += [FieldDefinition(field, "container") for field in containers.NAMES]
            # Only of a clinic whose images are not linked yet; the files of the others are in S3 already.
            filled = map(containers.contents, clinic.truth.images) if clinic.bulk_dump else repeat({})
            records = [{**row, **pictures} for row, pictures in zip(records, filled, strict=False)]
        store.create_table(database, name, fields)
        store.create_layout(database, table.layout, name, [field.name for field in fields])
        store.insert(database, name, records)


def _storable(table: TableContent) -> Iterator[list[object]]:
    """Yield rows with JSON as text, for COPY."""
    types = nexus_columns()[table.name]
    json_columns = {at for at, column in enumerate(table.columns) if types[column] == "jsonb"}
    for row in table.rows.values():
        yield [
            json.dumps(value, ensure_ascii=False) if at in json_columns and value is not None
            else str(value) if isinstance(value, Decimal)
            else value
            for at, value in enumerate(row)
        ]  # fmt: skip
