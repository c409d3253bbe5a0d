"""Emails when an expected plan, DICOM import or file did not come: once a miss, and once when it is back.

What is missed is decided by `fm_pipeline.status.expected`. The cursor has what was told and is not over; the outbox
takes an email of the same miss once only, also if a tick ends before its cursor is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg

from fm_pipeline.errors import redacted
from fm_pipeline.notifications.alerts import enqueue_alert
from fm_pipeline.notifications.console_pages import EXPECTED_PAGE
from fm_pipeline.notifications.email_texts.overdue import no_longer_overdue, overdue
from fm_pipeline.notifications.send_run_emails import send_due_emails
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings
from fm_pipeline.status.expected import Expectation, read_expectations

INTERVAL_SECONDS = 300
PATIENCE_SECONDS = 15


def overdue_alarms(read_settings: Callable[[], Settings]) -> dg.SensorDefinition:
    """The sensor of a code location."""

    @dg.sensor(
        name="overdue_alarms",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Emails to SMTP_TO when a plan, a DICOM import or a DICOM file did not come within the hours of"
        " EXPECT_PLAN_HOURS, EXPECT_DICOM_HOURS and EXPECT_DICOM_FILE_HOURS, and when it has come again. Launches"
        " nothing.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        with redacted():  # what is raised here makes a failed tick
            settings, now = read_settings(), datetime.now(UTC)
            expected = read_expectations(settings)
            told = tell_changes(settings, json.loads(context.cursor or "{}"), expected, now=now)
            send_due_emails(settings, warn=context.log.warning, patience_seconds=PATIENCE_SECONDS)
        context.update_cursor(json.dumps(told))
        if not expected:
            return dg.SkipReason("Nothing is expected: EXPECT_PLAN_HOURS and the settings beside it are not set.")
        missed = [each.sentence(settings.clinic_time_zone) for each in expected if each.is_overdue(now)]
        return dg.SkipReason(" ".join(missed) or f"{counted(len(expected), 'expectation')}: all came in time.")

    return sensor


def tell_changes(
    settings: Settings, told: Mapping[str, str], expected: Sequence[Expectation], *, now: datetime
) -> dict[str, str]:
    """Put emails about what has been missed since, and about what is back, into the outbox.

    Args:
        told: the misses that were told and were not over, by name: the last occurrence before.

    Returns:
        The same for the next tick.
    """
    missed = {each.name: each.occurrence for each in expected if each.is_overdue(now)}
    for each in expected:
        if each.name in missed and told.get(each.name) != each.occurrence:
            enqueue_alert(
                settings,
                f"overdue.{each.name.replace('_', '-')}.{each.occurrence}",
                overdue(each.what, each.hours, each.sentence(settings.clinic_time_zone)),
                now=now,
                page=EXPECTED_PAGE,
                link="runs",
            )
        elif each.name in told and each.name not in missed:
            enqueue_alert(
                settings,
                f"back.{each.name.replace('_', '-')}.{each.occurrence}",
                no_longer_overdue(each.what),
                now=now,
                page=EXPECTED_PAGE,
                link="runs",
            )
    return missed
