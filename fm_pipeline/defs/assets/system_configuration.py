"""Phase 1: what Nexus keeps for itself. External assets: they cannot be materialized, only observed.

Every run that reads Nexus reports them, before staging and after the transaction.
"""

from collections.abc import Iterator

import dagster as dg
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.digest import table_digest
from fm_pipeline.defs.assets.metadata import row_count
from fm_pipeline.defs.assets.tables import table_metadata
from fm_pipeline.defs.names import CONFIGURATION, OWNERS
from fm_pipeline.nexus.catalogue.schema import read_catalogue

DESCRIPTIONS = {
    "clinics": "Clinics with their colours, which FileMaker does not have.",
    "clinicians": "Clinicians, looked up by name.",
    "appointment_types": "Appointment types, looked up by name.",
    "funding_sources": "Funding sources (the funding types of the import sequence), looked up by name.",
}


def configuration_assets() -> list[dg.AssetSpec]:
    """One external asset a table."""
    return [
        dg.AssetSpec(
            name,
            group_name=CONFIGURATION,
            description=f"{text} Never deleted, never reimported.",
            kinds={"postgres"},
            owners=OWNERS,
        )
        for name, text in DESCRIPTIONS.items()
    ]


def observe_configuration(connection: Connection, schema: str) -> Iterator[dg.AssetObservation]:
    """Rows and digest of each table, as they are now."""
    with connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, schema)
        for name in DESCRIPTIONS:
            table = catalogue.table(name)
            if table in catalogue.columns:
                digest = table_digest(cursor, table, catalogue.columns[table])
                yield dg.AssetObservation(
                    name, metadata=row_count(digest.rows, digest=digest.hash, **table_metadata(catalogue, name))
                )
    connection.rollback()
