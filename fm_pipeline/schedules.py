"""Schedules. Off by default, and none of them is destructive. https://docs.dagster.io/guides/automate/schedules"""

from __future__ import annotations

import dagster as dg

from fm_pipeline.jobs import import_image_files, plan_reimport

nightly_plan = dg.ScheduleDefinition(
    name="nightly_plan",
    job=plan_reimport,
    cron_schedule="30 2 * * *",
    execution_timezone="Australia/Sydney",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night: preflight and plan. Reads FileMaker, writes only to staging, changes nothing in Nexus.",
)
daily_image_import = dg.ScheduleDefinition(
    name="daily_image_import",
    job=import_image_files,
    run_config={"ops": {"filemaker_image_files": {"config": {"daily": True}}}},
    cron_schedule="0 4 * * *",
    execution_timezone="Australia/Sydney",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every morning, behind the plan: FILEMAKER_IMAGES_A_DAY images out of FileMaker's containers. Adds to"
    " S3 and Nexus and marks in FileMaker; changes and deletes nothing.",
)
SCHEDULES = [nightly_plan, daily_image_import]
