"""Which table an asset is, and its columns: metadata that Dagster shows beside the graph. Names and types only.

https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

from __future__ import annotations

from typing import Any

import dagster as dg
from psycopg2.extensions import connection as Connection

from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue

# Assets that are one table of Nexus. `image_batches` relinks rows of the table to which `linked_image_batches` adds.
NEXUS_TABLES = {
    "patients": "patients",
    "appointments": "appointments",
    "documents": "documents_document",
    "image_batches": "images_batch",
    "linked_image_batches": "images_batch",
    "linked_images": "images_image",
}


def own_table(name: str) -> dict[str, Any]:
    """For the definition of an asset that is one table of the schema `fm_pipeline`."""
    return {"dagster/table_name": f"fm_pipeline.{name}"}


def table_metadata(catalogue: Catalogue, name: str) -> dict[str, Any]:
    """For a materialization or observation of a table of Nexus: its schema is a setting, its columns the application's.

    Args:
        name: of the table.

    Returns:
        Nothing if Nexus has no such table.
    """
    if not catalogue.has(name):
        return {}
    table = catalogue.table(name)
    columns = [
        dg.TableColumn(column.name, column.type, constraints=dg.TableColumnConstraints(nullable=not column.not_null))
        for column in catalogue.columns[table].values()
    ]
    return {
        "dagster/table_name": f"{table.schema}.{table.name}",
        "dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(columns)),
    }


def tables_of_assets(connection: Connection, schema: str) -> dict[str, dict[str, Any]]:
    """The metadata of each asset of `NEXUS_TABLES`, by its name.

    Args:
        schema: where Nexus' tables are.
    """
    with connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, schema)
    return {asset: table_metadata(catalogue, name) for asset, name in NEXUS_TABLES.items()}
