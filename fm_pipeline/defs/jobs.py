"""Jobs, in the order in which they are used. https://docs.dagster.io/guides/build/jobs"""

from __future__ import annotations

from typing import Any

import dagster as dg

from fm_pipeline.defs.assets.backup_jobs import export_nexus_csv, make_backup, restore_drill, verify_backup
from fm_pipeline.defs.assets.dicom import DICOM
from fm_pipeline.defs.assets.reimport import PHASES
from fm_pipeline.defs.assets.restore import restore_backup
from fm_pipeline.defs.dicom_chunks_job import dicom_import_chunks
from fm_pipeline.defs.dicom_removal import remove_dicom_import
from fm_pipeline.defs.names import BACKUP, EXTRACT, IMAGE_LINK, MAX_RUNTIME_TAG, PLAN, PREFLIGHT, STAGE
from fm_pipeline.defs.sync_job import filemaker_sync

# Four hours: reading a slow FileMaker Server took more than one, and a run that hangs must not hold the pool for ever.
MAX_RUNTIME = {MAX_RUNTIME_TAG: str(4 * 3600)}

plan_reimport = dg.define_asset_job(
    "plan_reimport",
    selection=dg.AssetSelection.groups(PREFLIGHT, EXTRACT, STAGE, PLAN),
    executor_def=dg.in_process_executor,
    description="Step 1 of a reimport: reads FileMaker and shows what a reimport would do, by doing it and rolling it"
    " back. Nexus is unchanged. Then read the plan: its page in the console, or the asset reimport_plan.",
    tags=MAX_RUNTIME,
)
full_reimport = dg.define_asset_job(
    "full_reimport",
    selection=dg.AssetSelection.groups(PREFLIGHT, EXTRACT, STAGE, BACKUP)
    | dg.AssetSelection.assets(*(asset.key for asset in PHASES)),
    executor_def=dg.in_process_executor,
    description="Step 2 of a reimport: carries out a plan that a person has read. Look, read FileMaker, stage, check,"
    " back up, then one transaction. Start it in the console, on the page of the plan; or in the launchpad, with"
    " plan_id and confirm.",
    tags=MAX_RUNTIME,
)
# Twelve hours: 6,664 pictures of 3 MB, one after the other, with rests.
import_image_files = dg.define_asset_job(
    "import_image_files",
    selection=dg.AssetSelection.assets("filemaker_image_files"),
    executor_def=dg.in_process_executor,
    description="Step 2 of the images, as often as needed: pictures out of FileMaker's containers into S3 and Nexus. A"
    " reimport that is started meanwhile waits; cancel this one if it must not, it goes on later where it stopped.",
    tags={MAX_RUNTIME_TAG: str(12 * 3600)},
)
link_images = dg.define_asset_job(
    "link_images",
    selection=dg.AssetSelection.groups(IMAGE_LINK),
    executor_def=dg.in_process_executor,
    description="Step 1 of the images, once: the images of the bulk dump become images of patients: export, listing,"
    " verified copies, rows. Safe to run again.",
    tags=MAX_RUNTIME,
)
# A week: the first import of a hospital's archive takes days. It may be ended and gone on with at any time.
dicom_import = dg.define_asset_job(
    "dicom_import",
    selection=dg.AssetSelection.groups(DICOM),
    executor_def=dg.in_process_executor,
    description="Imports DICOM files of the configured directory, or of a job that was prepared, into Orthanc. Start it"
    " in the console, on the page DICOM.",
    tags={MAX_RUNTIME_TAG: str(7 * 24 * 3600)},
)
# Dagster does not export the type of an asset job.
JOBS: list[Any] = [
    *(plan_reimport, full_reimport, filemaker_sync, link_images, import_image_files),
    *(dicom_import, dicom_import_chunks, remove_dicom_import),
    *(restore_backup, restore_drill, make_backup, verify_backup, export_nexus_csv),
]
