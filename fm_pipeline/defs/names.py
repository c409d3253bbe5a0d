"""The names that the definitions have in common: owners, the pool, groups, tags."""

from __future__ import annotations

from fm_pipeline.defs.registry import entities
from fm_pipeline.entities.registry import staged

OWNERS = ["team:clinic-data"]
# Serialises whole runs (dagster.yaml sets the granularity): two of them would fight over the staging tables.
POOL = "nexus"
EXTRACT, STAGE, BACKUP, PLAN = "phase_0_filemaker", "phase_0_staging", "phase_0_backup", "phase_0_plan"
IMAGE_LINK = "image_link"
PREFLIGHT, CONFIGURATION = "phase_0_preflight", "phase_1_system_configuration"
IMAGE_FILES = "phase_7_image_files"
NIGHTLY_DICOM = "nightly_dicom_import"

PLURALS = {name: entity.plural for name, entity in entities().items()}  # by the source entity
STAGED_ASSETS = [f"staged_{entity.plural}" for entity in staged(entities())]
# The run tag that a plan's run and the runs that carry it out have in common: a click on it lists them.
PLAN_TAG = "fm_pipeline/plan"

# The run tag of a chunk of a DICOM import: job and number.
CHUNK_TAG = "fm_pipeline/dicom_chunk"
# With this tag the launcher for several hosts gives the run to Celery. The default one ignores it.
FOR_CELERY = {"dagster-celery/queue": "dagster"}
# The tag of a job that limits the seconds of each run; Dagster ends longer ones.
MAX_RUNTIME_TAG = "dagster/max_runtime"
