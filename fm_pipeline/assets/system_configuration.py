"""Phase 1: what Nexus keeps for itself. Observed, never written: these assets cannot be materialized."""

from collections.abc import Iterator

import dagster as dg

from fm_pipeline.assets.shared import CONFIGURATION, OWNERS, explained, row_count
from fm_pipeline.nexus.catalogue import read_catalogue
from fm_pipeline.nexus.digest import table_digest
from fm_pipeline.nexus.policy import SYSTEM_CONFIGURATION
from fm_pipeline.resources.pipeline import NexusTarget

DESCRIPTIONS = {
    "clinics": "Clinics with their colours, which FileMaker does not have.",
    "clinicians": "Clinicians, looked up by name.",
    "appointment_types": "Appointment types, looked up by name.",
    "funding_sources": "Funding sources (the funding types of the import sequence), looked up by name.",
}


@dg.multi_observable_source_asset(  # type: ignore[untyped-decorator]  # Dagster has no types for it
    name="system_configuration",
    specs=[
        dg.AssetSpec(name, group_name=CONFIGURATION, description=DESCRIPTIONS[name], kinds={"postgres"}, owners=OWNERS)
        for name in SYSTEM_CONFIGURATION
    ],
    can_subset=True,
    required_resource_keys={"nexus"},
)
def system_configuration(context: dg.AssetExecutionContext) -> Iterator[dg.ObserveResult]:
    """Row count and digest of each table."""
    nexus: NexusTarget = context.resources.nexus
    with explained(), nexus.connect() as connection, connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, nexus.settings.nexus_schema)
        for key in sorted(context.selected_asset_keys):
            table = catalogue.table(key.path[-1])
            digest = table_digest(cursor, table, catalogue.columns[table])
            yield dg.ObserveResult(
                asset_key=key, data_version=dg.DataVersion(digest.hash), metadata=row_count(digest.rows)
            )
