"""Emails that a run cannot send of itself: it failed before its transaction, was cancelled, or was killed.

A plan that a schedule has launched is told when it failed: nobody waits for it. Whoever launches a plan sees its page.

One ordinary sensor over all runs that change Nexus, whichever job launched them ("Materialize" has no job of its own).
Not Dagster's run status sensors: those are one for each status, they move on when an email could not be sent, and the
emails that a run or a command left in the outbox must be tried again as well.

It depends on the daemon; so does every run from the UI, because the daemon takes them from the queue. It is on from
the start: all that it does is send email. A run whose machine died is turned into a failure by Dagster's run
monitoring (dagster.yaml), and is told then.

The cursor says from when on runs are looked at, and up to when they were; what was said is known to the outbox.
https://docs.dagster.io/guides/automate/sensors
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

import dagster as dg

from fm_pipeline.defs.assets.reimport import PHASES, given_permission
from fm_pipeline.defs.dagster_internals import SCHEDULE_NAME_TAG
from fm_pipeline.defs.jobs import full_reimport, plan_reimport
from fm_pipeline.errors import redacted
from fm_pipeline.notifications.alerts import enqueue_alert
from fm_pipeline.notifications.console_pages import RUN_PAGE
from fm_pipeline.notifications.email_texts.plan import plan_failed
from fm_pipeline.notifications.email_texts.reimport import EventType
from fm_pipeline.notifications.email_texts.why_it_failed import NO_STEP_FAILED, class_name_only
from fm_pipeline.notifications.outbox import Outbox
from fm_pipeline.notifications.send_run_emails import enqueue_run_email, send_due_emails
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings

INTERVAL_SECONDS = 30
# A tick is cut off after 60: this, an attempt that takes its 20, and 15 until a database is known to be away.
PATIENCE_SECONDS = 15
# Older news is history, for example when the sensor was off for a month.
NEWS_LASTS = timedelta(days=2)
# Storage writes the time of a change before the change can be seen. And after the clock was set back, Dagster's sensors
# wait until it has come where it was: what ended meanwhile is older than what was seen. Nothing is said twice.
OVERLAP = timedelta(hours=2)
RUNS_A_TICK = 500

_EVENTS = {
    dg.DagsterRunStatus.STARTED: EventType.STARTED,
    dg.DagsterRunStatus.SUCCESS: EventType.SUCCEEDED,
    dg.DagsterRunStatus.FAILURE: EventType.FAILED,
    dg.DagsterRunStatus.CANCELED: EventType.CANCELLED,
}
_REIMPORT = {dg.AssetKey(phase.key) for phase in PHASES}
# The labels under which explained_failure.explained puts the sentences of our own errors; no other text is quoted.
_SENTENCES = ("what happened", "what it means", "what to do")


class Watermark(NamedTuple):
    """The cursor.

    Attributes:
        begin: when the sensor was first on; earlier runs are never told of.
        seen: changes of runs up to this time were looked at.
    """

    begin: datetime
    seen: datetime

    @classmethod
    def read(cls, cursor: str | None, now: datetime) -> Self:
        """From a tick's cursor; at the first tick, now.

        A time that is still to come was written by a clock that was ahead and was set back since. It becomes now, or no
        run would be told of until the clock has come there again.
        """
        if not cursor:
            return cls(now, now)
        content = json.loads(cursor)
        return cls(*(min(datetime.fromisoformat(content[name]), now) for name in cls._fields))

    def write(self) -> str:
        """For the next tick."""
        return json.dumps({name: value.isoformat() for name, value in self._asdict().items()})


def reimport_mails(read_settings: Callable[[], Settings]) -> dg.SensorDefinition:
    """The sensor of a code location."""

    @dg.sensor(
        name="reimport_mails",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Emails to SMTP_TO when a reimport has started, succeeded, failed or was cancelled, and when a plan"
        " of a schedule has failed. Tries again what the mail server did not take. Launches nothing.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        with redacted():  # what is raised here makes a failed tick
            settings = read_settings()
        if not settings.smtp_host:
            return dg.SkipReason("SMTP_HOST is not set, so no email is sent.")
        with redacted():
            watermark = Watermark.read(context.cursor, datetime.now(UTC))
            watermark = _say_news(context.instance, settings, watermark)
            sent = send_due_emails(settings, warn=context.log.warning, patience_seconds=PATIENCE_SECONDS)
        context.update_cursor(watermark.write())
        return dg.SkipReason(f"{counted(sent, 'email')} sent, {Outbox(settings.state_dir).count_unsent()} waiting.")

    return sensor


def is_reimport(run: dg.DagsterRun) -> bool:
    """Whether the run has a phase of the reimport in it."""
    if not run.asset_selection:
        return run.job_name == full_reimport.name
    return not _REIMPORT.isdisjoint(run.asset_selection)


def is_scheduled_plan(run: dg.DagsterRun) -> bool:
    """Whether a schedule has launched the run, and it makes a plan."""
    return run.job_name == plan_reimport.name and SCHEDULE_NAME_TAG in run.tags


def _tell_failed_plan(instance: dg.DagsterInstance, settings: Settings, run_id: str) -> None:
    """Put the email of a plan that failed into the outbox, unless it is there already."""
    enqueue_alert(
        settings,
        f"plan-failed-{run_id}",
        plan_failed(_why(instance, run_id)),
        now=datetime.now(UTC),
        page=RUN_PAGE.format(run_id),
        link=f"runs/{run_id}",
    )


def _say_news(instance: dg.DagsterInstance, settings: Settings, watermark: Watermark) -> Watermark:
    """Put an email for every change of a run since the last tick into the outbox."""
    records = instance.get_run_records(
        dg.RunsFilter(
            statuses=list(_EVENTS),
            created_after=watermark.begin,
            updated_after=max(watermark.seen, datetime.now(UTC) - NEWS_LASTS),
        ),
        limit=RUNS_A_TICK,
        order_by="update_timestamp",
        ascending=True,
    )
    for record in records:
        run = record.dagster_run
        if is_reimport(run):
            event = _EVENTS[run.status]
            why = _why(instance, run.run_id) if event is EventType.FAILED else ()
            plan_id = str(given_permission(run.run_config).get("plan_id", ""))
            enqueue_run_email(settings, run.run_id, event, sentences=why, in_dagster=True, plan_id=plan_id)
        elif is_scheduled_plan(run) and run.status is dg.DagsterRunStatus.FAILURE:
            _tell_failed_plan(instance, settings, run.run_id)
    if not records:
        return watermark
    last = records[-1].update_timestamp
    return watermark._replace(seen=last if len(records) == RUNS_A_TICK else max(last - OVERLAP, watermark.seen))


def _why(instance: dg.DagsterInstance, run_id: str) -> tuple[str, ...]:
    """Why a run failed: our own sentences, or the class of the error and nothing of its text."""
    failures = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    if not failures:
        return (NO_STEP_FAILED,)
    data = failures[0].event_log_entry.get_dagster_event().step_failure_data
    if data.user_failure_data:
        metadata = data.user_failure_data.metadata
        if sentences := tuple(str(metadata[label].value) for label in _SENTENCES if label in metadata):
            return sentences
    error = data.error
    while error and error.cause:
        error = error.cause
    return class_name_only(error.cls_name if error and error.cls_name else "unknown")
