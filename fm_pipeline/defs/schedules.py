"""Schedules. Off by default, and none of them is destructive. Their hours are those of the clinic.

https://docs.dagster.io/guides/automate/schedules
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import dagster as dg

from fm_pipeline.defs.assets.backup_jobs import restore_drill
from fm_pipeline.defs.assets.dicom import STEP
from fm_pipeline.defs.jobs import dicom_import, import_image_files, plan_reimport
from fm_pipeline.defs.names import NIGHTLY_DICOM
from fm_pipeline.defs.sensors.hospital_dicom import unfinished_imports
from fm_pipeline.defs.sync_job import filemaker_sync
from fm_pipeline.dicom.sensor.tick import sync_due
from fm_pipeline.errors import redacted
from fm_pipeline.settings import TIME_ZONE, Settings


def all_schedules(read_settings: Callable[[], Settings], time_zone: str) -> list[dg.ScheduleDefinition]:
    """The schedules of a code location.

    Args:
        read_settings: called at each tick that needs them.
        time_zone: of the clinic, whose hours these are.
    """
    schedule = partial(
        dg.ScheduleDefinition, execution_timezone=time_zone, default_status=dg.DefaultScheduleStatus.STOPPED
    )
    nightly_plan = schedule(
        name="nightly_plan",
        job=plan_reimport,
        cron_schedule="30 2 * * *",
        description="Every night: preflight and plan, and the email that the plan is ready or has failed. Reads"
        " FileMaker, writes only to staging, changes nothing in Nexus.",
    )
    daily_image_import = schedule(
        name="daily_image_import",
        job=import_image_files,
        run_config={"ops": {"filemaker_image_files": {"config": {"daily": True}}}},
        cron_schedule="0 4 * * *",
        description="Every morning, after the plan: FILEMAKER_IMAGES_A_DAY images from FileMaker's containers. Adds to"
        " S3 and Nexus and marks in FileMaker; changes and deletes nothing.",
    )
    nightly_sync = schedule(
        name="nightly_sync",
        job=filemaker_sync,
        cron_schedule="30 3 * * *",
        description="Every night, after the plan: merges what changed in FileMaker into Nexus. With"
        " FILEMAKER_SYNC_CHANGES=0 it changes nothing without a person; deletions and conflicts always wait.",
    )
    weekly_restore_drill = schedule(
        name="weekly_restore_drill",
        job=restore_drill,
        cron_schedule="0 5 * * 0",
        description="Every Sunday: tries the newest backup in the empty database of RESTORE_DRILL_URL, rolls it back"
        " and emails the result. Changes nothing in Nexus.",
    )
    dicom = nightly_dicom_import(read_settings, time_zone)
    return [nightly_plan, nightly_sync, daily_image_import, weekly_restore_drill, dicom]


def nightly_dicom_import(read_settings: Callable[[], Settings], time_zone: str = TIME_ZONE) -> dg.ScheduleDefinition:
    """The schedule that imports everything new, as the sync of the hospital's own system does."""

    @dg.schedule(
        name="nightly_dicom_import",
        job=dicom_import,
        cron_schedule="0 1 * * *",
        execution_timezone=time_zone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Every night: an incremental import of the configured directory, after a pull from the FTP server"
        " if that is on. Needs `fm-pipeline dicom configure --sync-enabled` as well.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        with redacted():  # what is raised here makes a failed tick
            settings = read_settings()
            why, pull = sync_due(
                settings, now=datetime.now(UTC), runs_unfinished=len(unfinished_imports(context.instance))
            )
        if why:
            return dg.SkipReason(why)
        config = {"job_type": "incremental", "requested_by": NIGHTLY_DICOM, "pull_from_ftp": pull}
        return dg.RunRequest(run_config={"ops": {STEP: {"config": config}}})

    return schedule
