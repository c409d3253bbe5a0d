"""The code location: `defs` is what workspace.yaml loads, `build_defs` makes another one with a part swapped.

Nothing here needs a setting or the network. Two settings are read: CLINIC_TIME_ZONE, since Dagster wants to know the
time zone of a schedule beforehand, and FILEMAKER_PROFILE, whose tables are assets. All else is read when a run starts.
"""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from fm_pipeline.defs.assets.backup import nexus_backup
from fm_pipeline.defs.assets.dicom import imported_dicom_files
from fm_pipeline.defs.assets.file_checks import file_checks
from fm_pipeline.defs.assets.filemaker import extraction_assets
from fm_pipeline.defs.assets.image_files import filemaker_image_files
from fm_pipeline.defs.assets.image_link import (
    bulk_dump_inventory,
    image_link_transaction,
    image_metadata_csv,
    patient_image_copies,
)
from fm_pipeline.defs.assets.plan import reimport_plan
from fm_pipeline.defs.assets.preflight import preflight
from fm_pipeline.defs.assets.reimport import reimport_transaction
from fm_pipeline.defs.assets.staging import staging_assets
from fm_pipeline.defs.assets.system_configuration import configuration_assets
from fm_pipeline.defs.jobs import JOBS
from fm_pipeline.defs.resources import pipeline_resources
from fm_pipeline.defs.schedules import all_schedules
from fm_pipeline.defs.sensors.dicom_chunks import dicom_chunks_sensor, dicom_comparison_sensor
from fm_pipeline.defs.sensors.hospital_dicom import hospital_dicom_sensor
from fm_pipeline.defs.sensors.mail import reimport_mails
from fm_pipeline.defs.sensors.overdue import overdue_alarms
from fm_pipeline.settings import Settings, load_clinic_time_zone, load_settings


def build_defs(
    *,
    read_settings: Callable[[], Settings] = load_settings,
    read_time_zone: Callable[[], str] = load_clinic_time_zone,
) -> dg.Definitions:
    """Assemble the code location.

    Args:
        read_settings: where a run's settings come from; the environment unless a test says otherwise.
        read_time_zone: where the time zone of the schedules comes from; called now.

    Raises:
        SettingsError: CLINIC_TIME_ZONE is no time zone, or `.env` cannot be used. Dagster shows it as the reason why
            the code location does not load; no run could read its settings either.
    """
    return dg.Definitions(
        assets=[
            preflight,
            *extraction_assets(),
            *staging_assets(),
            *configuration_assets(),
            nexus_backup,
            reimport_plan,
            reimport_transaction,
            filemaker_image_files,
            image_metadata_csv,
            bulk_dump_inventory,
            patient_image_copies,
            image_link_transaction,
            imported_dicom_files,
        ],
        asset_checks=file_checks(),
        jobs=JOBS,
        schedules=all_schedules(read_settings, read_time_zone()),
        sensors=[
            reimport_mails(read_settings),
            hospital_dicom_sensor(read_settings),
            dicom_chunks_sensor(read_settings),
            dicom_comparison_sensor(read_settings),
            overdue_alarms(read_settings),
        ],
        resources=pipeline_resources(read_settings),
        # Applies to "Materialize" in the UI as well; fifteen steps in process take seconds, not a minute.
        executor=dg.in_process_executor,
    )


defs = build_defs()
