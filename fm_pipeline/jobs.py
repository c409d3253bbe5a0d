"""Jobs: the full reimport, and the part of it that only reads. https://docs.dagster.io/guides/build/jobs"""

from __future__ import annotations

import dagster as dg

from fm_pipeline.assets.shared import EXTRACT, STAGE

# Eight hours: a clinic of ten times the size takes minutes, and a run that hangs must not hold the pool for ever.
MAX_RUNTIME = {"dagster/max_runtime": str(8 * 3600)}

source_check = dg.define_asset_job(
    "source_check",
    selection=dg.AssetSelection.groups(EXTRACT, STAGE),
    executor_def=dg.in_process_executor,
    description="Reads FileMaker into staging and checks every rule. Writes nothing to Nexus' own tables.",
    tags=MAX_RUNTIME,
)
full_reimport = dg.define_asset_job(
    "full_reimport",
    selection=dg.AssetSelection.groups(EXTRACT, STAGE)
    | dg.AssetSelection.assets("reimport_validation").upstream().materializable(),
    executor_def=dg.in_process_executor,
    description="The import sequence from end to end: read FileMaker, stage, check, then one transaction.",
    tags=MAX_RUNTIME,
)
observe_system_configuration = dg.define_asset_job(
    "observe_system_configuration",
    selection=dg.AssetSelection.assets("clinics", "clinicians", "appointment_types", "funding_sources"),
    executor_def=dg.in_process_executor,
    description="Counts and digests of what Nexus keeps for itself.",
)
JOBS = [full_reimport, source_check, observe_system_configuration]
