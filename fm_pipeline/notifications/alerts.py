"""Alerts: one email when an alert begins, none at the following ticks.

They are about everything but the run of a reimport: a plan, a sync, a restore drill, what did not come in time, and the
imports of DICOM files.

This module only fills the outbox; the sensor `fm_pipeline.defs.sensors.mail` sends and retries.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fm_pipeline.notifications.console_pages import PLAN_PAGE, console_address
from fm_pipeline.notifications.for_the_operator import who_can_do_it
from fm_pipeline.notifications.outbox import Outbox
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings

KIND = "alarm"

_log = logging.getLogger(__name__)


def enqueue_alert(
    settings: Settings,
    key: str,
    subject: str,
    sentences: Sequence[str],
    *,
    now: datetime,
    page: str = "",
    link: str | None = None,
) -> None:
    """Put an alert into the outbox, unless it is there already. Without SMTP_HOST do nothing.

    Args:
        key: identifies the alert from its beginning to its end; part of the Message-ID.
        subject, sentences: counts and ids only; no patient data and no path.
        now: with a zone.
        page: of the console, for the email's link.
        link: a path in Dagster's UI, for the email of a pipeline without a console.
    """
    if not settings.smtp_host:
        return
    ui = settings.dagster_ui_url
    said = who_can_do_it(*sentences)
    time = now.astimezone(ZoneInfo(settings.clinic_time_zone))
    lines = [*sentences, *(["", said] if said else []), "", f"Time: {time:%Y-%m-%d %H:%M:%S %Z}"]
    if address := (page and console_address(settings, page)) or (ui and link and f"{ui.rstrip('/')}/{link}"):
        lines.append(f"Page: {address}")
    if settings.support_contact:
        lines.append(f"Help: {settings.support_contact}")
    try:
        Outbox(settings.state_dir).enqueue(key, KIND, subject, "\n".join(lines) + "\n")
    except (OSError, sqlite3.Error) as error:  # the alert is in the log and in the audit trail as well
        _log.warning("The email of an alarm could not be written (%s).", type(error).__name__)


def enqueue_plan_alert(settings: Settings, plan_id: str, report: Mapping[str, Any], *, now: datetime) -> None:
    """Put the email that a plan is ready into the outbox.

    Args:
        report: `ReimportReport.as_dict()` of the plan.
        now: with a zone.
    """
    rows = int(report["changed_rows"])
    change = f"{counted(rows, 'row')} of Nexus would change" if rows else "nothing has to be done"
    sentences = [
        f"The plan of a reimport from FileMaker into Nexus is ready: {change}. Nexus is unchanged.",
        "",
        *report["losses"],
        "",
        "Read the plan. Nothing is carried out before an administrator has confirmed it.",
        "The plan holds until FileMaker or Nexus changes. Then make a new one.",
        "",
        f"Plan: {plan_id}",
    ]
    page, link = PLAN_PAGE.format(plan_id), "assets/reimport_plan"
    enqueue_alert(settings, f"plan-{plan_id}", f"Plan ready: {change}", sentences, now=now, page=page, link=link)
