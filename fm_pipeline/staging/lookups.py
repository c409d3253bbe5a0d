"""What a build reads from Nexus before it starts: names, and FileMaker ids of clinics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.entities.registry import LOOK_UPS, looked_up_in
from fm_pipeline.filemaker.exports.options import TypedOrder
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.staging.record import Context
from fm_pipeline.staging.values.keys import as_key
from fm_pipeline.staging.values.names import NameIndex
from fm_pipeline.staging.values.time_zone import read_zone
from fm_pipeline.staging.values.typed_dates import readers


def read_context(
    cursor: Cursor,
    catalogue: Catalogue,
    *,
    fed: frozenset[str],
    now: datetime,
    time_zone: str,
    more: Iterable[str],
    date_orders: Mapping[str, TypedOrder | None],
) -> Context:
    """Everything that the transformations look up.

    Args:
        more: look-ups of an entity beside those of `LOOK_UPS`, as `table.column`.
        date_orders: of the dates in text fields.

    Raises:
        CatalogueStop: Nexus lacks one of the tables.
        SettingsError: no such time zone.
    """
    zone = read_zone(time_zone)
    names = {}
    for name in dict.fromkeys([*LOOK_UPS, *more]):
        table, column = looked_up_in(name)
        cursor.execute(
            sql.SQL("SELECT id::text, {column}::text FROM {table} WHERE {column} IS NOT NULL").format(
                column=sql.Identifier(column), table=table_identifier(catalogue, table)
            )
        )
        names[name] = NameIndex(cursor)
    cursor.execute(
        sql.SQL("SELECT filemaker_id::text, id::text FROM {} WHERE filemaker_id IS NOT NULL").format(
            table_identifier(catalogue, "clinics")
        )
    )
    clinics = {as_key(key): nexus_id for key, nexus_id in cursor}
    return Context(zone, now.astimezone(zone).date(), fed, names, clinics, readers(date_orders))


def table_identifier(catalogue: Catalogue, name: str) -> sql.Identifier:
    """A Nexus table for a statement.

    Raises:
        CatalogueStop: there is no such table.
    """
    catalogue.require([name])
    return catalogue.table(name).identifier
