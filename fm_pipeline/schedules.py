"""Schedules. Off by default, and none of them is destructive. https://docs.dagster.io/guides/automate/schedules"""

from __future__ import annotations

import dagster as dg

from fm_pipeline.jobs import plan_reimport

nightly_plan = dg.ScheduleDefinition(
    name="nightly_plan",
    job=plan_reimport,
    cron_schedule="30 2 * * *",
    execution_timezone="Australia/Sydney",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night: preflight and plan. Reads FileMaker, writes only to staging, changes nothing in Nexus.",
)
SCHEDULES = [nightly_plan]
