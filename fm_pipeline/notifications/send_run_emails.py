"""Emails about a reimport: the context manager that commands and assets use, and what the sensor uses.

Two senders share one outbox, which sends each email once:

- The process that runs the transaction sends an email before and after it (`run_emails`). This works for a Dagster job,
  for "Materialize" and for a command, and it does not need Dagster's daemon.
- The sensor `fm_pipeline.defs.sensors.mail` reports runs that could not report themselves: they failed or were
  cancelled earlier, or were killed with their machine. It also retries emails that the mail server did not accept.

A mail server that is down, slow or refuses an email does not change the result of the reimport. It causes a warning,
after `smtp.LIMIT_SECONDS` at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from fm_pipeline.db.audit import requested_cancels
from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.db.run_requests import run_requester
from fm_pipeline.errors import PipelineError
from fm_pipeline.nexus.undoing_restores import read_restores
from fm_pipeline.notifications.console_pages import RUN_PAGE, console_address
from fm_pipeline.notifications.email_texts.reimport import CommitStatus, EventType, RunEvent
from fm_pipeline.notifications.email_texts.why_it_failed import safe_sentences
from fm_pipeline.notifications.maintenance import enqueue_maintenance_mail
from fm_pipeline.notifications.outbox import Claim, Outbox
from fm_pipeline.notifications.smtp import EmailNotSent, EmailUnconfirmed, deliver
from fm_pipeline.settings import Settings

Warn = Callable[[str], None]
USERS_PATIENCE_SECONDS = 5  # the second email of an event is begun within this time, or left to the sensor


@contextmanager
def run_emails(
    settings: Settings, run_id: str, *, warn: Warn, in_dagster: bool = False, plan_id: str = ""
) -> Iterator[None]:
    """Send an email before and after the block, also when it fails or is cancelled. Without SMTP_HOST send nothing.

    Args:
        run_id: of the reimport.
        warn: called when an email could not be sent; this never changes the result of the block.
        in_dagster: the run has a page in the console or in Dagster's UI, to which the emails link.
        plan_id: of the plan that is executed; the first email lists its losses.
    """

    def tell(event: EventType, error: BaseException | None = None) -> None:
        if not settings.smtp_host:
            return
        try:
            why = safe_sentences(error) if error else ()
            enqueue_run_email(settings, run_id, event, sentences=why, in_dagster=in_dagster, plan_id=plan_id)
            patience = USERS_PATIENCE_SECONDS if settings.console_maintenance_mails else 0
            send_due_emails(settings, warn=warn, run_id=run_id, patience_seconds=patience)
        except Exception as fault:  # noqa: BLE001  # a full disk or a wrong time zone must not end the reimport
            warn(f"The email that the reimport has {event} could not be sent ({type(fault).__name__}).")

    tell(EventType.STARTED)
    try:
        yield
    except Exception as error:
        tell(EventType.FAILED, error)
        raise
    except BaseException:
        tell(EventType.CANCELLED)
        raise
    tell(EventType.SUCCEEDED)


def enqueue_run_email(
    settings: Settings,
    run_id: str,
    event: EventType,
    *,
    sentences: tuple[str, ...] = (),
    in_dagster: bool,
    plan_id: str = "",
) -> None:
    """Put an email about an event into the outbox, unless it is there already.

    Args:
        plan_id: as for `run_emails`.

    Raises:
        OSError, sqlite3.Error: STATE_DIR cannot be written.
    """
    outbox = Outbox(settings.state_dir)
    if outbox.contains(run_id, event):
        return
    ui = settings.dagster_ui_url
    page = console_address(settings, RUN_PAGE.format(run_id)) or (ui and f"{ui.rstrip('/')}/runs/{run_id}")
    run_event = RunEvent(
        run_id,
        event,
        datetime.now(ZoneInfo(settings.clinic_time_zone)),
        outcome=_planned_changes(settings, plan_id)
        if event is EventType.STARTED
        else read_commit_status(settings, run_id),
        sentences=sentences,
        contact=settings.support_contact,
        link=page if in_dagster else None,
        **(_accounts(settings, run_id, event) if in_dagster else {}),
    )
    enqueue_maintenance_mail(settings, run_event)  # before the event, which says that both are there
    outbox.enqueue_run_event(run_event)


def read_commit_status(settings: Settings, run_id: str) -> CommitStatus:
    """Ask the Nexus database whether a run was committed, and whether a restore has undone it since."""
    try:
        with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
            if not has_table(cursor, "fm_pipeline.reimports"):
                return CommitStatus(committed=False)
            cursor.execute(
                "SELECT report, started_at, backup_id::text FROM fm_pipeline.reimports WHERE run_id = %s", (run_id,)
            )
            row = cursor.fetchone()
            if row is None:
                return CommitStatus(committed=False)
            report, *committed = row
            return CommitStatus(True, report, undone=read_restores(connection).undone_by(*committed) is not None)
    except PipelineError:
        return CommitStatus(committed=None)


def _accounts(settings: Settings, run_id: str, event: EventType) -> dict[str, str]:
    """Return who has started the run in the console, and cancelled it; nothing if the database does not answer."""
    url = settings.nexus_database_url.get_secret_value()
    try:
        cancelled = requested_cancels(url, [run_id]) if event is EventType.CANCELLED else {}
        return {"started_by": run_requester(url, run_id) or "", "cancelled_by": cancelled.get(run_id, "")}
    except PipelineError:
        return {}


def _planned_changes(settings: Settings, plan_id: str) -> CommitStatus:
    """Return the report of the plan; none if there is no such plan, or the database does not answer."""
    try:
        with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
            if not plan_id or not has_table(cursor, "fm_pipeline.plans"):
                return CommitStatus(committed=None)
            cursor.execute("SELECT report FROM fm_pipeline.plans WHERE id::text = %s", (plan_id.strip().lower(),))
            row = cursor.fetchone()
    except PipelineError:
        return CommitStatus(committed=None)
    return CommitStatus(committed=None, report=row[0] if row else None)


def send_due_emails(settings: Settings, *, warn: Warn, run_id: str | None = None, patience_seconds: float = 0) -> int:
    """Send emails that are due, and return how many were sent.

    Args:
        run_id: only emails of this run.
        patience_seconds: after this time no further attempt starts; the current one ends after
            `smtp.LIMIT_SECONDS` at most. After a failed attempt no other one starts: it would fail as well.

    Raises:
        OSError, sqlite3.Error: STATE_DIR cannot be written.
    """
    outbox, sent = Outbox(settings.state_dir), 0
    end = time.monotonic() + patience_seconds
    while claim := outbox.claim(datetime.now(UTC), run_id=run_id):
        if not _attempt(settings, outbox, claim, warn):
            break
        sent += 1
        if time.monotonic() >= end:
            break
    return sent


def _attempt(settings: Settings, outbox: Outbox, claim: Claim, warn: Warn) -> bool:
    email = f"The email {claim.email.subject!r}"
    try:
        refused = deliver(settings, claim.email, lambda: outbox.mark_handed_over(claim))
    except EmailUnconfirmed:
        warn(f"{email} was handed over, and the mail server did not confirm it in time; it is not repeated.")
        return False
    except EmailNotSent as error:
        again = outbox.release(claim, datetime.now(UTC), for_ever=error.permanent)
        when = f"the sensor tries again after {again:%H:%M:%S} UTC" if again else "it is given up"
        warn(f"{email} was not sent at attempt {claim.attempt}: {error}; {when}.")
        return False
    outbox.mark_sent(claim)
    if refused:
        warn(f"{email} was sent, but the mail server refused {refused} of its receivers.")
    return True
