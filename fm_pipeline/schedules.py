"""Schedules. Off by default, and none of them is destructive. https://docs.dagster.io/guides/automate/schedules"""

from __future__ import annotations

import dagster as dg

from fm_pipeline.jobs import source_check

nightly_source_check = dg.ScheduleDefinition(
    name="nightly_source_check",
    job=source_check,
    cron_schedule="30 2 * * *",
    execution_timezone="Australia/Sydney",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night: is FileMaker's data fit for a reimport? Reads FileMaker, writes only to staging.",
)
SCHEDULES = [nightly_source_check]
